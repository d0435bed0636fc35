// Numbers of cells. One that nothing will name any more is still named by rows until the change is written, so it is free only afterwards.

import type { NumberPool } from './number-pool.ts'
import type { CellId } from './rows.ts'

/** Of those that find no number any more. */
const CLOSED: CellId = 0

export class CellNumbers {
  readonly #numbers: NumberPool
  #given: CellId[] = []

  constructor(numbers: NumberPool) {
    this.#numbers = numbers
  }

  take(now: number): CellId {
    return this.#numbers.take(now) ?? CLOSED
  }

  give(number: CellId): void {
    if (number !== CLOSED) this.#given.push(number)
  }

  /** Those that no row names any more: to be removed after the last row that did, and before the classes they name. */
  takeGiven(now: number): readonly CellId[] {
    const given = this.#given
    this.#given = []
    for (const number of given) this.#numbers.give(number, now)
    return given
  }
}
