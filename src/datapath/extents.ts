// Ranges of the one flat slot array. First fit over the free extents, neighbours merged. A freed range rests before it is
// used again, for a program may still be reading the table it held.

export interface Extent {
  readonly base: number
  readonly size: number
}

export class ExtentAllocator {
  readonly #graceMs: number
  /** By base; no two touch. */
  readonly #free: Extent[]
  /** In the order they may be used again, for all rest equally long. */
  #resting: { extent: Extent; untilMs: number }[] = []
  #used = 0

  constructor(size: number, graceMs: number) {
    this.#free = [{ base: 0, size }]
    this.#graceMs = graceMs
  }

  /** Slots that are allocated or resting. */
  get used(): number {
    return this.#used
  }

  /** @returns undefined when no free extent is large enough */
  allocate(size: number): Extent | undefined {
    const index = this.#free.findIndex((extent) => extent.size >= size)
    const found = this.#free[index]
    if (!found) return undefined
    if (found.size === size) this.#free.splice(index, 1)
    else this.#free[index] = { base: found.base + size, size: found.size - size }
    this.#used += size
    return { base: found.base, size }
  }

  /**
   * Claims a range found in the kernel at start.
   * @returns false when part of it is taken already: two tables overlap, and the caller must build a fresh one
   */
  claim(wanted: Extent): boolean {
    const end = wanted.base + wanted.size
    const index = this.#firstFreeBehind(wanted.base) - 1
    const found = this.#free[index]
    if (!found || end > found.base + found.size) return false
    const before = { base: found.base, size: wanted.base - found.base }
    const after = { base: end, size: found.base + found.size - end }
    this.#free.splice(index, 1, ...[before, after].filter(({ size }) => size > 0))
    this.#used += wanted.size
    return true
  }

  release(extent: Extent, nowMs: number): void {
    this.#resting.push({ extent, untilMs: nowMs + this.#graceMs })
  }

  /** Returns rested ranges to the free list. */
  wake(nowMs: number): void {
    let rested = 0
    for (const { extent, untilMs } of this.#resting) {
      if (untilMs > nowMs) break
      rested += 1
      this.#used -= extent.size
      this.#giveBack(extent)
    }
    if (rested > 0) this.#resting = this.#resting.slice(rested)
  }

  nextWakeMs(): number | undefined {
    return this.#resting[0]?.untilMs
  }

  #giveBack({ base, size }: Extent): void {
    const index = this.#firstFreeBehind(base)
    const before = this.#free[index - 1]
    const after = this.#free[index]
    const joinsBefore = before !== undefined && before.base + before.size === base
    const joinsAfter = after !== undefined && base + size === after.base
    const joined = {
      base: joinsBefore ? before.base : base,
      size: size + (joinsBefore ? before.size : 0) + (joinsAfter ? after.size : 0),
    }
    this.#free.splice(index - Number(joinsBefore), Number(joinsBefore) + Number(joinsAfter), joined)
  }

  /** Index of the first free extent above `base`. */
  #firstFreeBehind(base: number): number {
    let low = 0
    let high = this.#free.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#free[middle] as Extent).base > base) high = middle
      else low = middle + 1
    }
    return low
  }
}
