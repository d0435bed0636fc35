// Numbers for rows of the kernel's tables. A number given back rests before it is taken again, so that whoever read it a moment ago
// (another CPU, a flow, an event on its way) never finds somebody else behind it.

export interface NumberRange {
  readonly first: number
  readonly last: number
}

export class NumberPool {
  readonly #range: NumberRange
  readonly #restMs: number
  #next: number
  /** Oldest first. */
  #resting: { readonly number: number; readonly since: number }[] = []
  #restingHead = 0
  /** Numbers that an earlier agent's rows still use: not handed out by counting. */
  readonly #foreign = new Set<number>()

  constructor(range: NumberRange, restMs: number) {
    this.#range = range
    this.#restMs = restMs
    this.#next = range.first
  }

  /** @returns undefined when all are in use or at rest */
  take(now: number): number | undefined {
    const oldest = this.#resting[this.#restingHead]
    if (oldest && oldest.since + this.#restMs <= now) {
      this.#restingHead += 1
      if (this.#restingHead > 1024 && this.#restingHead * 2 > this.#resting.length) {
        this.#resting = this.#resting.slice(this.#restingHead)
        this.#restingHead = 0
      }
      return oldest.number
    }
    while (this.#foreign.delete(this.#next)) this.#next += 1
    if (this.#next > this.#range.last) return undefined
    this.#next += 1
    return this.#next - 1
  }

  give(number: number, now: number): void {
    this.#resting.push({ number, since: now })
  }

  /** Keeps numbers of an earlier agent from being handed out; before the first `take`. */
  keepForeign(numbers: Iterable<number>): void {
    for (const number of numbers)
      if (number >= this.#range.first && number <= this.#range.last) this.#foreign.add(number)
  }
}
