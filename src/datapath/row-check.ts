// Rows of the kernel's tables against what we wrote there: somebody's `bpftool map update` or `delete` tells nobody. A few rows at a
// time, in rotation, so that the cost is the same however many there are; a row that differs is written again.

import { equalRows } from '../tables/equal-rows.ts'
import type { Loss } from './attach.ts'
import type { CanGet } from './kernel-tables.ts'

/** Compares one row, and mends it. @returns what was wrong */
type Check = () => Loss | undefined

/** @param rows as they should be; read while they are compared, so what changes meanwhile is compared as it is then */
export function* rowChecks<Key, Value>(
  name: string,
  table: CanGet<Key, Value> & { set(key: Key, value: Value): void },
  rows: Iterable<readonly [Key, Value]>,
): Generator<Check> {
  for (const [key, value] of rows) {
    yield () => {
      if (equalRows(table.get(key), value)) return undefined
      table.set(key, value)
      return { what: `a row of map ${name}`, how: 'overwritten' }
    }
  }
}

export class RowCheck {
  readonly #all: () => Iterable<Check>
  #rest: Iterator<Check> | undefined

  /** @param all begins a pass over every table */
  constructor(all: () => Iterable<Check>) {
    this.#all = all
  }

  /** To be called while nothing waits to be written. Looks at the next rows, at most so many. */
  next(limit: number): Loss[] {
    const losses: Loss[] = []
    this.#rest ??= this.#all()[Symbol.iterator]()
    for (let count = 0; count < limit; count += 1) {
      const step = this.#rest.next()
      if (step.done) {
        this.#rest = undefined
        break
      }
      const loss = step.value()
      if (loss) losses.push(loss)
    }
    return losses
  }
}
