// Numbers of what sets say. A flow's entry carries the one by which it was judged. One that is not current any more rests until no flow
// carries it, and so does every one that flows carry when the agent starts: a flow that was denied keeps the number of its last verdict, and
// would pass by it were it given out again.

import { IdPool } from './id-pool.ts'
import type { PolicyGenerations } from './policy-tables.ts'

/** After which it is asked whether a flow still carries a generation that is not current. */
const REST_MS = 60_000
/** Is never current. */
export const NO_GENERATION = 0

export class Generations {
  readonly #current: PolicyGenerations
  readonly #nowMs: () => number
  readonly #numbers: IdPool

  constructor(current: PolicyGenerations, nowMs: () => number) {
    this.#current = current
    this.#nowMs = nowMs
    this.#numbers = new IdPool(1, current.length, REST_MS)
  }

  /** Current from now on. None when all are carried by flows: then each packet is judged. */
  take(): number {
    const generation = this.#numbers.take()
    if (generation === undefined) return NO_GENERATION
    this.#current.set(generation, true)
    return generation
  }

  /** Holds no longer. */
  end(generation: number): void {
    if (generation === NO_GENERATION) return
    this.#current.set(generation, false)
    this.#numbers.release(generation, this.#nowMs())
  }

  /** An earlier process's set has it. */
  adopt(generation: number): void {
    if (generation !== NO_GENERATION) this.#numbers.claim(generation)
  }

  /** Of nobody's set: were it given to one, flows that were judged by another would go by it. */
  rest(generation: number): void {
    if (generation === NO_GENERATION || this.#numbers.isUsed(generation)) return
    this.#numbers.claim(generation)
    this.#numbers.release(generation, this.#nowMs())
  }

  /** @returns when to call again; undefined when nothing rests */
  wake(isNamed: (generation: number) => boolean): number | undefined {
    this.#numbers.wake(this.#nowMs(), isNamed)
    return this.#numbers.nextWakeMs()
  }
}
