// How fast announcements change: a token bucket between the guard and the speaker. A planner gone wild, or a controller that rewrites
// every Service, reaches the routers at a rate they were promised. Pure, with the time as a parameter.
//
//   - A withdrawal of what this node cannot serve any more never waits; it takes its token all the same.
//   - Everything else waits its turn when there is no token: first come, first served; a newer wish for a prefix takes its place.
//   - What is there when the agent starts is no change: nothing waits before `begin`.
//   - A wish that is what routers have already costs nothing: another reason for the same route, or back again before its turn.

import type { Prefix } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import { exportsKey } from './exports.ts'

/** A burst may use up what this many seconds bring. */
export const BURST_SECONDS = 10

export interface PacedChanges {
  /** To be told now; undefined: withdrawn. */
  readonly released: ReadonlyMap<Prefix, Announcement | undefined>
  /** Ask again then; undefined: nothing waits. */
  readonly nextDueMs: number | undefined
}

export class ChangePacer {
  #perSecond: number
  /** Below zero after withdrawals that could not wait. */
  #tokens: number
  #filledMs: number
  #hasBegun = false
  #toldOfServices = 0
  /** What was released. */
  readonly #told = new Map<Prefix, Announcement>()
  readonly #waiting = new Map<Prefix, Announcement | undefined>()
  readonly #urgent = new Map<Prefix, Announcement | undefined>()

  constructor(changesPerSecond: number, nowMs: number) {
    this.#perSecond = changesPerSecond
    this.#tokens = changesPerSecond * BURST_SECONDS
    this.#filledMs = nowMs
  }

  setRate(changesPerSecond: number, nowMs: number): void {
    this.#fill(nowMs)
    this.#perSecond = changesPerSecond
    this.#tokens = Math.min(this.#tokens, changesPerSecond * BURST_SECONDS)
  }

  /** What waits for its turn, and what is wanted of it. */
  get waiting(): ReadonlyMap<Prefix, Announcement | undefined> {
    return this.#waiting
  }

  /** Everything that was released and not withdrawn since. */
  get told(): ReadonlyMap<Prefix, Announcement> {
    return this.#told
  }

  /** How many of those are of Services: asked with each change, so it is counted along. */
  get toldOfServices(): number {
    return this.#toldOfServices
  }

  get changesPerSecond(): number {
    return this.#perSecond
  }

  /** @param canWait a withdrawal that is not for want of anything to serve; announcements always can */
  offer(prefix: Prefix, wanted: Announcement | undefined, canWait: boolean): void {
    const told = this.#told.get(prefix)
    if (sameRoute(told, wanted)) {
      this.#waiting.delete(prefix)
      if (wanted && told?.why !== wanted.why) this.#urgent.set(prefix, wanted)
    } else if (wanted === undefined && !canWait) {
      this.#waiting.delete(prefix)
      this.#urgent.set(prefix, undefined)
    } else this.#waiting.set(prefix, wanted)
  }

  /** From now on changes take their turn. */
  begin(): void {
    this.#hasBegun = true
  }

  take(nowMs: number): PacedChanges {
    this.#fill(nowMs)
    if (!this.#hasBegun) this.#tokens = Number.POSITIVE_INFINITY
    const released = new Map(this.#urgent)
    for (const [prefix, wanted] of this.#urgent) if (!wanted && this.#told.has(prefix)) this.#tokens -= 1
    this.#urgent.clear()
    for (const [prefix, wanted] of this.#waiting) {
      if (this.#tokens < 1) break
      this.#tokens -= 1
      this.#waiting.delete(prefix)
      released.set(prefix, wanted)
    }
    for (const [prefix, wanted] of released) {
      if (this.#told.get(prefix)?.source === 'service') this.#toldOfServices -= 1
      if (wanted?.source === 'service') this.#toldOfServices += 1
      if (wanted) this.#told.set(prefix, wanted)
      else this.#told.delete(prefix)
    }
    if (!this.#hasBegun) this.#tokens = this.#perSecond * BURST_SECONDS
    // A flood of withdrawals is not held against the announcements after it for longer than a burst takes.
    this.#tokens = Math.max(this.#tokens, -this.#perSecond * BURST_SECONDS)
    return { released, nextDueMs: this.#waiting.size === 0 ? undefined : nowMs + this.#untilTokenMs() }
  }

  #untilTokenMs(): number {
    return Math.max(1, Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000))
  }

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#filledMs) / 1000
    this.#filledMs = nowMs
    this.#tokens = Math.min(this.#perSecond * BURST_SECONDS, this.#tokens + seconds * this.#perSecond)
  }
}

/** For routers: whatever the reason. */
function sameRoute(left: Announcement | undefined, right: Announcement | undefined): boolean {
  if (left === undefined || right === undefined) return left === right
  const communities = (row: Announcement) => (row.communities ?? []).join(' ')
  return communities(left) === communities(right) && exportsKey(left.exports) === exportsKey(right.exports)
}
