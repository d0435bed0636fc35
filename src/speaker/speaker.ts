// The speaker: desired announcements → gobgpd. It works in rounds, each of which compares what gobgpd holds with what it should hold
// and sends the difference, so a lost connection, a restarted gobgpd and a restarted agent are all the same case.
//
// The order inside a round is what keeps routers from noticing any of them:
//   1. gobgpd must run the right AS (started only where it has none; a second start would silently empty it);
//   2. prefix sets and policies, so that nothing unwanted can leave;
//   3. all paths: withdrawals first, then announcements;
//   4. prefix-set members no longer allowed;
//   5. peers, last: after a restart of gobgpd a router flushes at the first end-of-RIB whatever it was not sent before.
// A gobgpd without peers has just started: its peers are told so (graceful restart), and keep the routes they hold.
//
// Nothing is sent before the first setDesired. close() leaves gobgpd, its sessions and its routes as they are.

import { GobgpError, openGobgpClient, type PeerStatus } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'
import type {
  AllowedPrefix,
  Announcement,
  AnnouncementRow,
  RefusedAnnouncement,
} from '../model/announcement.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { AnnouncementGuard } from '../routing/guard.ts'
import { ensurePolicy, narrowPolicy } from './desired-policy.ts'
import { type InstalledPaths, pathChanges, recordChanges } from './paths.ts'
import { ensurePeers, type SpeakerPeer } from './peers.ts'

const SETTLE_MS = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2_000
/** Everything is compared anew this often, in case somebody else changed gobgpd. */
const FULL_ROUND_MS = 30_000

export interface SpeakerConfig {
  readonly asn: number
  readonly routerId: string
  readonly peers: readonly SpeakerPeer[]
  readonly allowed: readonly AllowedPrefix[]
  readonly announcementsMax?: number
}

/** As pino's: an object with details, then the sentence. */
export interface SpeakerLog {
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
}

export interface SpeakerOptions {
  /** unix:///path or host:port. */
  readonly gobgpSocket: string
  readonly config: SpeakerConfig
  readonly log: SpeakerLog
  readonly nowMs?: () => number
  /** Told when a session comes up or goes, by the peer's address; empty when gobgpd itself is away and nothing is known. */
  readonly onSessions?: (established: ReadonlyMap<string, boolean>) => void
}

export interface SpeakerStatus {
  readonly connected: boolean
  readonly sessions: readonly PeerStatus[]
  readonly announcements: readonly AnnouncementRow[]
  readonly refused: readonly RefusedAnnouncement[]
  /** Why the last round failed; undefined when it did not. */
  readonly error: string | undefined
}

export interface Speaker {
  /** The full set; replaces the one before. */
  setDesired: (announcements: readonly Announcement[]) => void
  /**
   * Changes the set: what each asker wants now, or undefined.
   * @param isMore more is on its way, and nothing is sent before it is here
   */
  changeDesired: (changes: ReadonlyMap<string, Announcement | undefined>, isMore?: boolean) => void
  /** Asks gobgpd for the sessions when it can be asked. */
  status: () => Promise<SpeakerStatus>
  close: () => Promise<void>
}

export function createSpeaker(options: SpeakerOptions): Speaker {
  const speaker = new GobgpSpeaker(options)
  return {
    setDesired: (announcements) => speaker.setDesired(announcements),
    changeDesired: (changes, isMore) => speaker.changeDesired(changes, isMore),
    status: () => speaker.status(),
    close: () => speaker.close(),
  }
}

class GobgpSpeaker {
  readonly #options: SpeakerOptions
  readonly #client
  readonly #rounds
  readonly #fullRoundTimer: NodeJS.Timeout
  readonly #stop = new AbortController()
  readonly #nowMs: () => number
  readonly #guard: AnnouncementGuard
  /** Askers of the set as it was last given in full. */
  #askers: ReadonlySet<string> = new Set()
  /** Nothing is sent before the first set. */
  #isTold = false
  /** Prefixes to compare in the next round; a full round compares all. */
  #changed = new Set<Prefix>()
  /** What gobgpd holds of ours; undefined when that must be asked. Never outlives the event stream. */
  #installed: InstalledPaths | undefined
  #installedAtMs = 0
  readonly #announcedSince = new Map<string, number>()
  /** Set from a gobgpd found without peers until all peers are in, so that each of them is told of the restart. */
  #isRestarting = false
  #watch: Promise<void> | undefined
  readonly #sessions = new Map<string, boolean>()
  #error: string | undefined

  constructor(options: SpeakerOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? Date.now
    const { allowed, announcementsMax } = options.config
    this.#guard = new AnnouncementGuard({
      allowed,
      ...(announcementsMax === undefined ? {} : { announcementsMax }),
    })
    this.#client = openGobgpClient({ target: options.gobgpSocket })
    this.#rounds = new Rounds({
      name: 'speaker',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round(),
      onError: (error, retryInMs) => this.#noteFailure(error, retryInMs),
    })
    this.#fullRoundTimer = setInterval(() => this.#rounds.request(), FULL_ROUND_MS)
    this.#fullRoundTimer.unref()
  }

  setDesired(announcements: readonly Announcement[]): void {
    const changes = new Map<string, Announcement | undefined>()
    for (const asker of this.#askers) changes.set(asker, undefined)
    for (const row of announcements) changes.set(`${row.source} ${row.prefix}`, row)
    this.#askers = new Set(announcements.map((row) => `${row.source} ${row.prefix}`))
    this.changeDesired(changes)
  }

  changeDesired(changes: ReadonlyMap<string, Announcement | undefined>, isMore = false): void {
    for (const prefix of this.#guard.apply(changes)) this.#changed.add(prefix)
    if (isMore || (this.#isTold && this.#changed.size === 0)) return
    this.#isTold = true
    this.#rounds.request()
  }

  async status(): Promise<SpeakerStatus> {
    let sessions: readonly PeerStatus[] = []
    let connected = false
    try {
      const peers = await this.#client.listPeers()
      sessions = peers.map((peer) => peer.status).sort((a, b) => a.address.localeCompare(b.address))
      connected = true
    } catch (error) {
      if (!(error instanceof GobgpError)) throw error
    }
    return {
      connected,
      sessions,
      announcements: [...this.#guard.accepted.values()].map((row) => ({
        ...row,
        status: this.#statusOf(row),
      })),
      refused: this.#guard.refused,
      error: this.#error,
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearInterval(this.#fullRoundTimer)
    await this.#rounds.close()
    await this.#watch
    this.#client.close()
  }

  #statusOf(row: Announcement): AnnouncementRow['status'] {
    const sinceMs = this.#announcedSince.get(row.prefix)
    if (sinceMs !== undefined) return { kind: 'announced', sinceMs }
    return this.#error === undefined ? { kind: 'pending' } : { kind: 'error', reason: this.#error }
  }

  async #round(): Promise<void> {
    if (!this.#isTold || this.#stop.signal.aborted) return
    const isFull = !this.#installed || this.#nowMs() - this.#installedAtMs >= FULL_ROUND_MS
    try {
      if (isFull) await this.#fullRound()
      else await this.#sendPaths()
    } catch (error) {
      this.#installed = undefined
      throw error
    }
    this.#error = undefined
  }

  async #fullRound(): Promise<void> {
    const { config, log } = this.#options
    await this.#checkDaemon()
    this.#watchDaemon()
    await ensurePolicy(this.#client, config)
    const [peers, ipv4, ipv6] = await Promise.all([
      this.#client.listPeers(),
      this.#client.listOwnPaths('ipv4'),
      this.#client.listOwnPaths('ipv6'),
    ])
    if (peers.length === 0) this.#isRestarting = true
    this.#installed = new Map([...ipv4, ...ipv6].map((path) => [path.prefix, path.communities ?? []]))
    this.#installedAtMs = this.#nowMs()
    const { accepted } = this.#guard
    for (const prefix of [...accepted.keys(), ...this.#installed.keys()]) this.#changed.add(prefix as Prefix)
    const changes = await this.#sendPaths()
    await narrowPolicy(this.#client, config)
    // A gobgpd that died since is back without our paths, and must not get its peers before them.
    this.#assertStillThere()
    await ensurePeers(this.#client, config.peers, peers, this.#isRestarting)
    if (changes > 0)
      log.info({ paths: accepted.size, changes, peers: config.peers.length }, 'gobgpd holds what it should')
    this.#isRestarting = false
  }

  /** After a failure everything is compared again. @returns how many paths differed */
  async #sendPaths(): Promise<number> {
    const installed = this.#assertStillThere()
    const { accepted } = this.#guard
    const looked = this.#changed
    this.#changed = new Set()
    const changes = pathChanges(looked, accepted, installed)
    await this.#client.applyPaths(changes)
    recordChanges(installed, changes)
    const since = this.#announcedSince
    for (const prefix of looked) {
      if (!installed.has(prefix)) since.delete(prefix)
      else if (!since.has(prefix)) since.set(prefix, this.#nowMs())
    }
    return changes.withdraw.length + changes.announce.length
  }

  #assertStillThere(): InstalledPaths {
    if (this.#installed) return this.#installed
    throw new GobgpError('UNAVAILABLE', 'gobgpd went away during a round')
  }

  async #checkDaemon(): Promise<void> {
    const { asn, routerId } = this.#options.config
    const daemon = await this.#client.startIfIdle({ asn, routerId })
    if (daemon.asn === asn) return
    throw new GobgpError(
      'REFUSED',
      `gobgpd at ${this.#options.gobgpSocket} runs AS ${daemon.asn}, not ${asn}. ` +
        "Mend: start it from the file that 'weir speaker boot-config' writes",
    )
  }

  #noteSession(address: string, isEstablished: boolean): void {
    if (this.#sessions.get(address) === isEstablished) return
    this.#sessions.set(address, isEstablished)
    this.#options.onSessions?.(this.#sessions)
  }

  /** The stream's end is how a dead gobgpd is noticed at once; what it held is then unknown. */
  #watchDaemon(): void {
    this.#watch ??= this.#client
      .watchPeers(({ kind, address, session }) => {
        if (kind === 'changed') this.#options.log.info({ address, session }, 'BGP session changed')
        this.#noteSession(address, session === 'established')
      }, this.#stop.signal)
      .catch((error: unknown) => {
        this.#watch = undefined
        this.#sessions.clear()
        this.#options.onSessions?.(this.#sessions)
        this.#installed = undefined
        this.#announcedSince.clear()
        if (this.#stop.signal.aborted) return
        this.#options.log.warn({ error: describe(error) }, 'gobgpd went away; replaying when it is back')
        this.#rounds.requestIn(0)
      })
  }

  #noteFailure(error: unknown, retryInMs: number): void {
    const text = describe(error)
    if (text !== this.#error) this.#options.log.warn({ error: text, retryInMs }, 'routing round failed')
    this.#error = text
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
