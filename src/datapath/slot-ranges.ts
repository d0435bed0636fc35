// Slot tables in the one flat array. A changed table is written into a fresh range; the one before stays readable as the
// second choice for flows that began under it, and is freed after the grace period.

import type { DesiredBackend, DesiredPort } from '../services/desired.ts'
import { buildMaglevTable, tableSizeFor } from '../services/maglev.ts'
import { type Extent, ExtentAllocator } from './extents.ts'

export const NO_RANGE: Extent = { base: 0, size: 0 }

/** The two ranges a frontend's value names for one set. */
export interface RangePair {
  readonly current: Extent
  readonly before: Extent
  /** When `before` may be dropped; meaningless while it is empty. */
  readonly beforeUntilMs: number
}

export const NO_RANGES: RangePair = { current: NO_RANGE, before: NO_RANGE, beforeUntilMs: 0 }

/** Small lists grow in steps, so that a Service gaining endpoints one by one re-uses freed ranges. */
const LIST_STEP = 8

export class SlotRanges {
  readonly #slots: Uint32Array
  readonly #extents: ExtentAllocator
  readonly #beforeMs: number
  readonly #adopted = new Map<string, Extent>()

  /**
   * @param slots the mapped array
   * @param beforeMs how long the table before a burst of changes stays the second choice
   */
  constructor(slots: Uint32Array, beforeMs: number) {
    this.#slots = slots
    this.#beforeMs = beforeMs
    this.#extents = new ExtentAllocator(slots.length, beforeMs)
  }

  get used(): number {
    return this.#extents.used
  }

  /** Takes note of a range that a frontend of an earlier process uses. */
  adopt(range: Extent): void {
    if (range.size === 0 || this.#adopted.has(rangeKey(range))) return
    if (this.#extents.claim(capacityOf(range))) this.#adopted.set(rangeKey(range), range)
  }

  /** Hands a noted range over to the first port that asks; others get nothing, so that no range has two owners. */
  takeAdopted(range: Extent): Extent {
    return this.#adopted.delete(rangeKey(range)) ? range : NO_RANGE
  }

  /**
   * The pair after the wanted table is in place.
   * @param wanted backend ids slot by slot
   * @param previous this port's pair, or the adopted one on its first plan
   * @returns undefined when the array is full
   */
  place(wanted: Uint32Array, previous: RangePair, nowMs: number): RangePair | undefined {
    if (this.#holds(previous.current, wanted)) return previous
    let current = NO_RANGE
    if (wanted.length > 0) {
      const capacity = this.#extents.allocate(roundUp(wanted.length))
      if (!capacity) return undefined
      this.#slots.set(wanted, capacity.base)
      current = { base: capacity.base, size: wanted.length }
    }
    // Within a burst the table from before it stays the second choice; the ones in between are nobody's.
    if (previous.before.size > 0 && previous.beforeUntilMs > nowMs) {
      this.#release(previous.current, nowMs)
      return { ...previous, current }
    }
    this.#release(previous.before, nowMs)
    return { current, before: previous.current, beforeUntilMs: nowMs + this.#beforeMs }
  }

  /** To be called when no frontend names `before` any more. */
  freeBefore(pair: RangePair, nowMs: number): void {
    this.#release(pair.before, nowMs)
  }

  free(pair: RangePair, nowMs: number): void {
    this.#release(pair.current, nowMs)
    this.#release(pair.before, nowMs)
  }

  /** After the first full plan: ranges that no port took over. */
  releaseUnclaimed(nowMs: number): void {
    for (const range of this.#adopted.values()) this.#extents.release(capacityOf(range), nowMs)
    this.#adopted.clear()
  }

  wake(nowMs: number): void {
    this.#extents.wake(nowMs)
  }

  nextWakeMs(): number | undefined {
    return this.#extents.nextWakeMs()
  }

  #holds(range: Extent, wanted: Uint32Array): boolean {
    if (range.size !== wanted.length) return false
    for (let index = 0; index < wanted.length; index += 1)
      if (this.#slots[range.base + index] !== wanted[index]) return false
    return true
  }

  #release(range: Extent, nowMs: number): void {
    if (range.size > 0) this.#extents.release(capacityOf(range), nowMs)
  }
}

/** Without `before` when its time is over. @returns the pair itself when nothing changes */
export function expire(pair: RangePair, nowMs: number): RangePair {
  if (pair.before.size === 0 || pair.beforeUntilMs > nowMs) return pair
  return { current: pair.current, before: NO_RANGE, beforeUntilMs: 0 }
}

function roundUp(size: number): number {
  return Math.ceil(size / LIST_STEP) * LIST_STEP
}

/** What the allocator gave for a table of this size. */
function capacityOf(range: Extent): Extent {
  return { base: range.base, size: roundUp(range.size) }
}

function rangeKey(range: Extent): string {
  return `${range.base}+${range.size}`
}

/** Where tables are made before they are compared and copied: one at a time, and never kept. */
let draft = new Uint32Array(0)

/**
 * The slot table of one set, in backend ids. It stands until the next one is asked for.
 * @param members indexes into `port.backends`
 * @param ids number of each backend of the port
 */
export function fillSlots(
  port: DesiredPort,
  members: readonly number[],
  ids: readonly number[],
): Uint32Array {
  if (port.balancing === 'list') return Uint32Array.from(members, (index) => ids[index] ?? 0)
  const chosen = members.map((index) => port.backends[index] as DesiredBackend)
  const size = tableSizeFor(chosen.length)
  if (draft.length < size) draft = new Uint32Array(size)
  return buildMaglevTable(
    chosen,
    size,
    draft,
    members.map((index) => ids[index] ?? 0),
  )
}
