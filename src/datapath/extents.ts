// Ranges of the one flat slot array. First fit over the free extents, neighbours merged. A freed range rests before it is
// used again, for a program may still be reading the table it held.

export interface Extent {
  readonly base: number
  readonly size: number
}

export class ExtentAllocator {
  readonly #graceMs: number
  #free: Extent[]
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
    const index = this.#free.findIndex(({ base, size }) => base <= wanted.base && end <= base + size)
    const found = this.#free[index]
    if (!found) return false
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
    const rested = this.#resting.filter(({ untilMs }) => untilMs <= nowMs)
    if (rested.length === 0) return
    this.#resting = this.#resting.filter(({ untilMs }) => untilMs > nowMs)
    for (const { size } of rested.map(({ extent }) => extent)) this.#used -= size
    this.#free = mergeNeighbours([...this.#free, ...rested.map(({ extent }) => extent)])
  }

  nextWakeMs(): number | undefined {
    return this.#resting[0]?.untilMs
  }
}

function mergeNeighbours(extents: readonly Extent[]): Extent[] {
  const merged: Extent[] = []
  for (const extent of [...extents].sort((a, b) => a.base - b.base)) {
    const last = merged.at(-1)
    if (last && last.base + last.size === extent.base) {
      merged[merged.length - 1] = { base: last.base, size: last.size + extent.size }
    } else merged.push(extent)
  }
  return merged
}
