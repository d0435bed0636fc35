// How fast announcements change: a token bucket between the guard and the speaker. A planner gone wild, or a controller that rewrites
// every Service, reaches the routers at a rate they were promised. Pure, with the time as a parameter.
//
//   - A withdrawal of what this node cannot serve any more never waits; it takes its token all the same.
//   - Nor does what another configuration takes from a peer: what its rules forbid is not told again when its session starts anew.
//   - Everything else waits its turn when there is no token: first come, first served; a newer wish for a prefix takes its place.
//   - What is there when the agent starts is no change: nothing waits before `begin`.
//   - A wish that is what routers have already costs nothing: another reason for the same route, or back again before its turn.

import type { Prefix } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { PeerExport } from '../model/routing.ts'
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
    // The newest wish counts alone: a withdrawal may have been taken back before anybody was told of it.
    this.#urgent.delete(prefix)
    if (sameRoute(told, wanted)) {
      this.#waiting.delete(prefix)
      if (wanted && told?.why !== wanted.why) this.#urgent.set(prefix, wanted)
    } else if (wanted === undefined && !canWait) {
      this.#waiting.delete(prefix)
      this.#urgent.set(prefix, undefined)
    } else this.#waiting.set(prefix, wanted)
  }

  /** Another configuration: of what waits, that which takes a prefix from somebody waits no longer; what it gives waits on. */
  narrow(): void {
    for (const [prefix, wanted] of this.#waiting) {
      const told = this.#told.get(prefix)
      if (told === undefined) continue
      const left = wanted && withoutOthers(told, wanted)
      if (left === told) continue
      this.#urgent.set(prefix, left)
      if (wanted === undefined) this.#waiting.delete(prefix)
    }
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

/** What was told, without those sessions to which nothing of it is to go any more; undefined: none is left. */
function withoutOthers(told: Announcement, wanted: Announcement): Announcement | undefined {
  const stays = new Set(wanted.exports?.flatMap(({ sessions = [] }) => sessions))
  // Exports that name no session are for everybody there is.
  const isForAll = ({ exports }: Announcement) => exports?.every(({ sessions }) => sessions) !== true
  if (isForAll(wanted)) return told
  if (isForAll(told)) return wanted
  const exports = told.exports?.map((one) => keptOf(one, stays)) ?? []
  if (exports.every((one, index) => one === told.exports?.[index])) return told
  const left = exports.filter(({ peers }) => peers.length > 0)
  return left.length > 0 ? { ...told, exports: left } : undefined
}

function keptOf(one: PeerExport, stays: ReadonlySet<string>): PeerExport {
  const { sessions = [], peers } = one
  if (sessions.every((session) => stays.has(session))) return one
  const isKept = (_: string, index: number) => stays.has(sessions[index] ?? '')
  return { ...one, peers: peers.filter(isKept), sessions: sessions.filter(isKept) }
}

/** For routers: whatever the reason. */
function sameRoute(left: Announcement | undefined, right: Announcement | undefined): boolean {
  if (left === undefined || right === undefined) return left === right
  const communities = (row: Announcement) => (row.communities ?? []).join(' ')
  return communities(left) === communities(right) && exportsKey(left.exports) === exportsKey(right.exports)
}
