// The sessions as gobgpd tells of them while it lives. The end of its event stream is how a dead gobgpd is noticed at once.
//
// gobgpd never says why a session does not come up, so while one is down the kernel is looked at (authentication.ts): every second,
// and what was seen is remembered for a while, for attempts to connect are brief. Where a peer's settings become others everything
// that was seen is of a session that is no more, and counters of the whole namespace are counted anew.

import type { GobgpClient, PeerEvent } from '../../bgp/client/gobgp-grpc-client.ts'
import { timeText } from '../model/time-text.ts'
import { type Diagnosis, diagnose, type Md5Counters, type TcpFacts } from './authentication.ts'
import type { CameUp } from './losses.ts'
import type { PlannedPeer } from './peer-plan.ts'
import type { SpeakerProblem } from './problems.ts'

const LOOK_MS = 1_000
/** A session that takes longer than this to come up is worth a look. */
const SUSPECT_MS = 4_000
/** gobgpd tries again within five seconds or so; what was seen in one attempt holds until a few more have passed. */
const REMEMBER_MS = 30_000
/** A SYN that is answered in time is seen by one look at most. */
const SILENT_LOOKS = 2
/** A neighbour that is spoken to is asked again by the kernel within 50 seconds. */
const THERE_MS = 60_000
/** gobgpd tells of the end of a session before the round is over that ended it. */
const CUT_MS = 5_000
/** Neighbours may be many. */
const NEIGHBOURS_LOOK_MS = 5_000

export interface SessionWatchOptions {
  readonly client: GobgpClient
  readonly log: { info: (details: object, message: string) => void }
  readonly nowMs: () => number
  readonly onSessions: (established: ReadonlyMap<string, boolean>) => void
  /** gobgpd is away. */
  readonly onLost: (cameUp: CameUp) => void
  /** Sessions that are down were looked at. */
  readonly onLooked: () => void
  readonly readTcp?: () => TcpFacts
  readonly readNeighbours?: () => Promise<ReadonlyMap<string, number>>
}

interface Down {
  readonly sinceMs: number
  /** Undefined: to be read. */
  before: Md5Counters | undefined
  /** Looks in a row that found our SYN unanswered. */
  silentLooks: number
  found?: Diagnosis & { readonly atMs: number }
}

export class SessionWatch {
  readonly #options: SessionWatchOptions
  readonly #stop = new AbortController()
  #watch: Promise<void> | undefined
  readonly #established = new Map<string, boolean>()
  readonly #since = new Map<string, number>()
  readonly #ended = new Map<string, { readonly atMs: number; readonly reason: string | undefined }>()
  /** How often each fell since we watch. */
  readonly #falls = new Map<string, number>()
  /** When each session came up, of those that did since gobgpd is followed. */
  readonly #cameUp = new Map<string, number>()
  #expected: readonly PlannedPeer[] = []
  readonly #down = new Map<string, Down>()
  /** Sessions that were up until their settings were changed here. */
  readonly #cutAtMs = new Map<string, number>()
  /** When neighbours last proved to be there. */
  #heardAtMs: ReadonlyMap<string, number> = new Map()
  #neighboursReadAtMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined

  constructor(options: SessionWatchOptions) {
    this.#options = options
  }

  /** Follows gobgpd, if it is not followed already. */
  follow(): void {
    this.#watch ??= this.#options.client
      .watchPeers((event) => this.#take(event), this.#stop.signal)
      .catch(() => {
        this.#watch = undefined
        this.#established.clear()
        this.#since.clear()
        this.#options.onSessions(this.#established)
        const cameUp = new Map(this.#cameUp)
        this.#cameUp.clear()
        this.#options.onLost(cameUp)
      })
  }

  /** The peers that should be up. @param areAll in a gobgpd of our own there are no others: what is down and none of them is down no more */
  expect(peers: readonly PlannedPeer[], areAll: boolean): void {
    this.#noteChanges(this.#expected, peers)
    this.#expected = peers
    if (areAll) this.#forgetStrangers()
    for (const address of this.#down.keys())
      if (!peers.some((peer) => peer.address === address)) this.#down.delete(address)
    for (const address of this.#ended.keys())
      if (!peers.some((peer) => peer.address === address)) {
        this.#ended.delete(address)
        this.#falls.delete(address)
        this.#cutAtMs.delete(address)
      }
    if (!this.#options.readTcp || this.#timer) return
    this.#timer = setInterval(() => {
      this.#looking ??= this.look().finally(() => {
        this.#looking = undefined
      })
    }, LOOK_MS)
    this.#timer.unref()
  }

  #noteChanges(before: readonly PlannedPeer[], after: readonly PlannedPeer[]): void {
    const known = new Map(before.map((planned) => [planned.address, settingsOf(planned)]))
    const others = after.filter((planned) => known.get(planned.address) !== settingsOf(planned))
    if (others.length === 0 && before.length === after.length) return
    for (const down of this.#down.values()) down.before = undefined
    for (const { address } of others) {
      this.#down.delete(address)
      if (known.has(address) && this.#wasUp(address)) this.#cutAtMs.set(address, this.#options.nowMs())
    }
  }

  #wasUp(address: string): boolean {
    const endedAtMs = this.#ended.get(address)?.atMs
    if (this.#established.get(address)) return true
    return endedAtMs !== undefined && this.#options.nowMs() - endedAtMs < CUT_MS
  }

  /** Else an uplink would be out of use for good because its router is no peer any more. */
  #forgetStrangers(): void {
    const known = new Set(this.#expected.flatMap(({ address }) => [address, address.split('%')[0]]))
    const strangers = [...this.#established].filter(([address, isUp]) => !isUp && !known.has(address))
    for (const [address] of strangers) this.#established.delete(address)
    if (strangers.length > 0) this.#options.onSessions(this.#established)
  }

  /** By address, with or without its zone. */
  establishedSinceMs(address: string): number | undefined {
    for (const [known, since] of this.#since)
      if (known === address || known.split('%')[0] === address) return since
    return undefined
  }

  /** How the session that was up before ended; undefined while one is, and when none ever was. */
  ending(address: string): string | undefined {
    const ended = this.#ended.get(address)
    if (!ended || this.#established.get(address)) return undefined
    return `ended at ${timeText(ended.atMs)}: ${ended.reason ?? 'why, this version of gobgpd tells its log alone'}`
  }

  /** How often the session fell while it was watched. */
  falls(address: string): number {
    return this.#falls.get(address) ?? 0
  }

  /** Why the session does not come up, as far as the kernel knows. */
  diagnosis(address: string): string | undefined {
    const found = this.#found(address)
    return found && `${found.text}. Mend: ${found.mend}`
  }

  problems(): SpeakerProblem[] {
    return this.#expected.flatMap(({ address, peer }) => {
      const { problem, mend } = this.#found(address) ?? {}
      if (problem === undefined || this.#established.get(address)) return []
      const text = `${peer.name}: ${problem.text}. Mend: ${mend}`
      return [{ code: problem.code, object: peer.source, text }]
    })
  }

  #found(address: string): Diagnosis | undefined {
    const found = this.#down.get(address)?.found
    return found && this.#options.nowMs() - found.atMs < REMEMBER_MS ? found : undefined
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearInterval(this.#timer)
    await this.#looking
    await this.#watch
  }

  #take({ kind, address, session, reason }: PeerEvent): void {
    if (kind === 'changed')
      this.#options.log.info({ address, session, ...(reason ? { reason } : {}) }, 'BGP session changed')
    const isEstablished = session === 'established'
    if (isEstablished) this.#cutAtMs.delete(address)
    if (!isEstablished) this.#since.delete(address)
    else if (!this.#since.has(address)) this.#since.set(address, this.#options.nowMs())
    if (this.#established.get(address) === isEstablished) return
    if (this.#established.get(address)) this.#noteFall(address, reason)
    if (isEstablished && kind === 'changed') this.#cameUp.set(address, this.#options.nowMs())
    this.#established.set(address, isEstablished)
    this.#options.onSessions(this.#established)
  }

  #noteFall(address: string, reason: string | undefined): void {
    this.#ended.set(address, { atMs: this.#options.nowMs(), reason })
    this.#falls.set(address, this.falls(address) + 1)
  }

  /** Once: why those are down that should be up. */
  async look(): Promise<void> {
    const { readTcp, onLooked } = this.#options
    const expected = this.#expected
    for (const address of this.#down.keys()) if (this.#established.get(address)) this.#down.delete(address)
    const down = expected.filter(({ address }) => this.#established.get(address) !== true)
    if (down.length === 0 || !readTcp) return
    const facts = readTcp()
    if (down.some((planned) => facts.unanswered.has(socketOf(planned)))) await this.#readNeighbours()
    // What was read is of peers that are others by now.
    if (this.#expected !== expected) return
    for (const planned of down) this.#judge(planned, facts, down.length === 1)
    onLooked()
  }

  #judge(planned: PlannedPeer, facts: TcpFacts, isOnlyOne: boolean): void {
    const { address, peer, settings } = planned
    const now = this.#options.nowMs()
    const down: Down = this.#down.get(address) ?? { sinceMs: now, before: undefined, silentLooks: 0 }
    this.#down.set(address, down)
    const before = down.before ?? facts.md5
    down.before = before
    down.silentLooks = facts.unanswered.has(socketOf(planned)) ? down.silentLooks + 1 : 0
    if (now - down.sinceMs < SUSPECT_MS) return
    const grown = {
      failure: facts.md5.failure - before.failure,
      notFound: facts.md5.notFound - before.notFound,
      unexpected: facts.md5.unexpected - before.unexpected,
    }
    const about = {
      hasPassword: peer.password !== undefined,
      hasBlank: /\s/.test(settings?.password ?? ''),
      isSilent: down.silentLooks >= SILENT_LOOKS,
      isThere: this.#isThere(planned, down.sinceMs),
    }
    const found = diagnose(about, grown, isOnlyOne)
    if (found) down.found = { ...found, atMs: now }
  }

  /** Heard since the session is down and not long ago, or up until we changed its settings. */
  #isThere({ address, policy }: PlannedPeer, downSinceMs: number): boolean {
    const afterMs = this.#options.nowMs() - THERE_MS
    const heardAtMs = this.#heardAtMs.get(policy.address) ?? Number.NEGATIVE_INFINITY
    const cutAtMs = this.#cutAtMs.get(address) ?? Number.NEGATIVE_INFINITY
    return (heardAtMs > downSinceMs && heardAtMs > afterMs) || cutAtMs > afterMs
  }

  async #readNeighbours(): Promise<void> {
    const { readNeighbours, nowMs } = this.#options
    const now = nowMs()
    if (!readNeighbours || now - this.#neighboursReadAtMs < NEIGHBOURS_LOOK_MS) return
    this.#neighboursReadAtMs = now
    try {
      const ages = await readNeighbours()
      this.#heardAtMs = new Map([...ages].map(([address, ageMs]) => [address, now - ageMs]))
    } catch {
      // Then a silent router may as well be off; the next look asks again.
    }
  }
}

/** As the kernel's list of sockets has it. */
function socketOf({ policy, peer }: PlannedPeer): string {
  return `${policy.address} ${peer.port}`
}

function settingsOf({ settings }: PlannedPeer): string {
  return JSON.stringify(settings ?? null)
}
