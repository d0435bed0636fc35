// Row numbers of an array map. A number that is given back rests for a grace period, because flows and packets in flight
// may still carry it; within that time whoever held it may have it again.

export class IdPool {
  readonly #first: number
  readonly #limit: number
  readonly #graceMs: number
  readonly #free: number[] = []
  readonly #resting = new Map<number, number>()
  readonly #used = new Set<number>()
  #next: number

  /** Numbers from `first` up to, not including, `limit`. */
  constructor(first: number, limit: number, graceMs: number) {
    this.#first = first
    this.#limit = limit
    this.#graceMs = graceMs
    this.#next = first
  }

  get used(): number {
    return this.#used.size
  }

  /** @returns undefined when every number is in use or resting */
  take(): number | undefined {
    let id = this.#free.pop()
    while (id === undefined && this.#next < this.#limit) {
      const candidate = this.#next
      this.#next += 1
      if (!this.#used.has(candidate) && !this.#resting.has(candidate)) id = candidate
    }
    if (id !== undefined) this.#used.add(id)
    return id
  }

  /** Claims a number found in the kernel at start, or one that is still resting. */
  claim(id: number): void {
    if (id < this.#first || id >= this.#limit)
      throw new RangeError(`id ${id} is outside ${this.#first}..${this.#limit - 1}`)
    if (this.#used.has(id)) return
    this.#used.add(id)
    if (this.#resting.delete(id)) return
    const position = this.#free.indexOf(id)
    if (position >= 0) this.#free.splice(position, 1)
  }

  isUsed(id: number): boolean {
    return this.#used.has(id)
  }

  release(id: number, nowMs: number): void {
    if (!this.#used.delete(id)) throw new RangeError(`id ${id} is not in use`)
    this.#resting.set(id, nowMs + this.#graceMs)
  }

  /**
   * Ends the rest of what has rested long enough. @returns those numbers
   * @param isNamed whether something still carries the number, which then rests once more
   */
  wake(nowMs: number, isNamed: (id: number) => boolean = () => false): number[] {
    const due: number[] = []
    for (const [id, untilMs] of this.#resting) {
      if (untilMs > nowMs) break
      due.push(id)
    }
    const rested: number[] = []
    for (const id of due) {
      this.#resting.delete(id)
      if (isNamed(id)) this.#resting.set(id, nowMs + this.#graceMs)
      else rested.push(id)
    }
    this.#free.push(...rested)
    return rested
  }

  /** When `wake` has something to do next; undefined when nothing rests. */
  nextWakeMs(): number | undefined {
    return this.#resting.values().next().value
  }
}
