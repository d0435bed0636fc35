// The sessions as gobgpd tells of them while it lives. The end of its event stream is how a dead gobgpd is noticed at once.
//
// gobgpd never says why a session does not come up, so while one is down the kernel is looked at (authentication.ts): every few
// seconds, and what was seen is remembered for a while, for attempts to connect are brief.

import type { GobgpClient, PeerEvent } from '../../bgp/client/gobgp-grpc-client.ts'
import { diagnose, type Md5Counters, type TcpFacts } from './authentication.ts'
import type { PlannedPeer } from './peer-plan.ts'
import type { SpeakerProblem } from './problems.ts'

const LOOK_MS = 1_000
/** A session that takes longer than this to come up is worth a look. */
const SUSPECT_MS = 4_000
/** gobgpd tries again within five seconds or so; what was seen in one attempt holds until a few more have passed. */
const REMEMBER_MS = 30_000

export interface SessionWatchOptions {
  readonly client: GobgpClient
  readonly log: { info: (details: object, message: string) => void }
  readonly nowMs: () => number
  readonly onSessions: (established: ReadonlyMap<string, boolean>) => void
  readonly onLost: () => void
  /** Sessions that are down were looked at. */
  readonly onLooked: () => void
  readonly readTcp?: () => TcpFacts
}

interface Down {
  readonly sinceMs: number
  readonly before: Md5Counters
  diagnosis?: { readonly text: string; readonly atMs: number }
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
  #expected: readonly PlannedPeer[] = []
  readonly #down = new Map<string, Down>()
  #timer: NodeJS.Timeout | undefined

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
        this.#options.onLost()
      })
  }

  /** The peers that should be up. @param areAll in a gobgpd of our own there are no others: what is down and none of them is down no more */
  expect(peers: readonly PlannedPeer[], areAll: boolean): void {
    this.#expected = peers
    if (areAll) this.#forgetStrangers()
    for (const address of this.#down.keys())
      if (!peers.some((peer) => peer.address === address)) this.#down.delete(address)
    for (const address of this.#ended.keys())
      if (!peers.some((peer) => peer.address === address)) {
        this.#ended.delete(address)
        this.#falls.delete(address)
      }
    if (!this.#options.readTcp || this.#timer) return
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
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
    const at = new Date(ended.atMs).toISOString().slice(0, 19)
    return `ended at ${at}Z: ${ended.reason ?? 'why, this version of gobgpd tells its log alone'}`
  }

  /** How often the session fell while it was watched. */
  falls(address: string): number {
    return this.#falls.get(address) ?? 0
  }

  /** Why the session does not come up, as far as the kernel knows. */
  diagnosis(address: string): string | undefined {
    const found = this.#down.get(address)?.diagnosis
    return found && this.#options.nowMs() - found.atMs < REMEMBER_MS ? found.text : undefined
  }

  problems(): SpeakerProblem[] {
    return this.#expected.flatMap(({ address, peer }) => {
      const diagnosis = this.diagnosis(address)
      if (diagnosis === undefined || this.#established.get(address)) return []
      const text = `${peer.name}: ${diagnosis}. Mend: give both sides the same password`
      return [{ code: 'authentication-failing' as const, object: peer.source, text }]
    })
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearInterval(this.#timer)
    await this.#watch
  }

  #take({ kind, address, session, reason }: PeerEvent): void {
    if (kind === 'changed')
      this.#options.log.info({ address, session, ...(reason ? { reason } : {}) }, 'BGP session changed')
    const isEstablished = session === 'established'
    if (!isEstablished) this.#since.delete(address)
    else if (!this.#since.has(address)) this.#since.set(address, this.#options.nowMs())
    if (this.#established.get(address) === isEstablished) return
    if (this.#established.get(address)) this.#noteFall(address, reason)
    this.#established.set(address, isEstablished)
    this.#options.onSessions(this.#established)
  }

  #noteFall(address: string, reason: string | undefined): void {
    this.#ended.set(address, { atMs: this.#options.nowMs(), reason })
    this.#falls.set(address, this.falls(address) + 1)
  }

  #look(): void {
    const { readTcp, nowMs } = this.#options
    const down = this.#expected.filter(({ address }) => this.#established.get(address) !== true)
    for (const address of this.#down.keys()) if (this.#established.get(address)) this.#down.delete(address)
    if (down.length === 0 || !readTcp) return
    const facts = readTcp()
    const now = nowMs()
    for (const { address, peer, policy, settings } of down) {
      const known = this.#down.get(address)
      if (!known) {
        this.#down.set(address, { sinceMs: now, before: facts.md5 })
        continue
      }
      if (now - known.sinceMs < SUSPECT_MS) continue
      const hasPassword = peer.password !== undefined
      const hasBlank = /\s/.test(settings?.password ?? '')
      const silent = { address: policy.address, port: peer.port, hasPassword, hasBlank }
      const text = diagnose(silent, known.before, facts, down.length === 1)
      if (text !== undefined) known.diagnosis = { text, atMs: now }
    }
    this.#options.onLooked()
  }
}
