// The speaker: a node's routing and its announcements → gobgpd. It works in rounds, each of which compares what gobgpd holds with what
// it should hold and sends the difference, so a lost connection, a restarted gobgpd and a restarted agent are all the same case.
//
// The order inside a round is what keeps routers from noticing any of them:
//   1. gobgpd must run the right AS (started only where it has none; a second start would silently empty it);
//   2. peers that have no place any more go, before they are told what is for others;
//   3. sets and policies, so that nothing unwanted can leave;
//   4. all paths: withdrawals first, then announcements;
//   5. what policy no longer needs;
//   6. peers, last: after a restart of gobgpd a router flushes at the first end-of-RIB whatever it was not sent before.
// A gobgpd without peers has just started: its peers are told so (graceful restart), and keep the routes they hold.
//
// Nothing is sent before the first routing and the first announcements. close() leaves gobgpd, its sessions and its routes as they are.

import { GobgpError, openGobgpClient, type Peer } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'
import type { AllowedPrefix, Announcement, AnnouncementRow } from '../model/announcement.ts'
import type { DrainMark, NodeRouting } from '../model/routing.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { AnnouncementGuard } from '../routing/guard.ts'
import { DaemonMirror, type Wanted } from './daemon-mirror.ts'
import type { DaemonHost } from './hosts.ts'
import { Learning, learningPeers } from './learning.ts'
import { NO_LINKS } from './links.ts'
import { type CameUp, Losses } from './losses.ts'
import { passwordReader } from './passwords.ts'
import type { SpeakerProblem } from './problems.ts'
import { describeSessions, type SessionStatus } from './session-status.ts'
import { SessionWatch } from './session-watch.ts'
import type { Speaker, SpeakerOptions, SpeakerStatus } from './speaker-interface.ts'
import { type SpeakerTables, speakerTables } from './tables.ts'

const SETTLE_MS = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2_000
/** Everything is compared anew this often, in case somebody else changed gobgpd; and at once when somebody set the clock. */
const FULL_ROUND_MS = 30_000
/** The neighbour on an unnumbered link is looked for again. */
const UNRESOLVED_MS = 1_000

/** A failure that lasts this long is worth telling. */
const FAILING_MS = 5_000
/** All but the paths; those this often, for there may be ten thousand. */
const PATHS_READ_MS = 300_000
/** Counts of what is advertised are compared this often. */
const COUNT_MS = 300_000

export type { Speaker, SpeakerOptions, SpeakerStatus } from './speaker-interface.ts'

export function createSpeaker(options: SpeakerOptions): Speaker {
  const speaker = new GobgpSpeaker(options)
  return {
    setRouting: (routing, allowed, changes) => speaker.setRouting(routing, allowed, changes),
    passwordsChanged: () => speaker.passwordsChanged(),
    setDrain: (mark) => speaker.setDrain(mark),
    setDesired: (announcements) => speaker.setDesired(announcements),
    changeDesired: (changes) => speaker.changeDesired(changes),
    get isInForce() {
      return speaker.isInForce
    },
    status: () => speaker.status(),
    tables: speaker.tables,
    close: () => speaker.close(),
  }
}

type Changes = ReadonlyMap<string, Announcement | undefined>

interface Configured {
  readonly routing: NodeRouting
  readonly allowed: readonly AllowedPrefix[]
}

class GobgpSpeaker {
  readonly #options: SpeakerOptions
  readonly #host: DaemonHost
  readonly #client
  readonly #rounds
  readonly #mirror
  readonly #learning: Learning | undefined
  readonly #sessions: SessionWatch
  readonly #fullRoundTimer: NodeJS.Timeout
  readonly #unresolvedTimer: NodeJS.Timeout
  readonly #nowMs: () => number
  #configured: Configured | undefined
  readonly #guard = new AnnouncementGuard({ allowed: [] })
  /** Askers of the set as it was last given in full. */
  #askers: ReadonlySet<string> = new Set()
  #drain: DrainMark | undefined
  #isPolicyStale = false
  /** Nothing is sent before the first set. */
  #isTold = false
  /** Prefixes to compare in the next round; a full round compares all. */
  #changed = new Set<Prefix>()
  #fullAtMs = Number.NEGATIVE_INFINITY
  #pathsReadAtMs = 0
  readonly #announcedSince = new Map<Prefix, number>()
  #error: string | undefined
  #failingSinceMs: number | undefined
  /** Counts what was asked for; and up to where gobgpd has been told. */
  #wishes = 0
  #fulfilled = -1
  #isClosed = false
  #toldProblems = '[]'
  /** What gobgpd was last seen to be told in full; while it is another routing, what is known of peers is of one that is gone. */
  #routingInForce: NodeRouting | undefined
  #countedAtMs = 0
  /** Sessions of a host that were heard of. */
  #guestPeers = 0
  readonly #losses = new Losses()
  #countProblems: readonly SpeakerProblem[] = []

  constructor(options: SpeakerOptions) {
    this.#options = options
    this.#host = options.host ?? 'own'
    this.#nowMs = options.nowMs ?? Date.now
    this.#client = options.openClient?.() ?? openGobgpClient({ target: options.gobgpSocket })
    this.#mirror = new DaemonMirror({
      client: this.#client,
      target: options.gobgpSocket,
      host: this.#host,
      readPassword: options.readPassword ?? passwordReader(),
      readLinks: options.readLinks ?? (async () => NO_LINKS),
      nowMs: this.#nowMs,
    })
    this.#sessions = new SessionWatch({
      client: this.#client,
      log: options.log,
      nowMs: this.#nowMs,
      onSessions: (established) => this.#takeSessions(established),
      onLost: (cameUp) => this.#noteLoss(cameUp),
      onLooked: () => this.#tellProblems(),
      ...(options.readTcp ? { readTcp: options.readTcp } : {}),
      ...(options.readNeighbours ? { readNeighbours: options.readNeighbours } : {}),
    })
    if (options.kernelRoutes)
      this.#learning = new Learning({
        client: this.#client,
        kernel: options.kernelRoutes,
        nowMs: this.#nowMs,
        establishedSinceMs: (address) => this.#sessions.establishedSinceMs(address),
        warn: (details, message) => options.log.warn(details, message),
      })
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
    this.#unresolvedTimer = setInterval(() => this.#seekNeighbours(), UNRESOLVED_MS)
    this.#unresolvedTimer.unref()
  }

  setRouting(routing: NodeRouting, allowed: readonly AllowedPrefix[], changes?: Changes): void {
    this.#configured = { routing, allowed }
    this.#countProblems = []
    // What it keeps in from now on has to be looked for in gobgpd, which withdraws nothing when policy narrows.
    const { announcementsMax } = routing.limits
    for (const prefix of this.#guard.setLimits({ allowed, announcementsMax })) this.#changed.add(prefix)
    if (changes) {
      for (const prefix of this.#guard.apply(changes)) this.#changed.add(prefix)
      this.#isTold = true
    }
    this.#lookAtAll()
  }

  passwordsChanged(): void {
    this.#lookAtAll()
  }

  #lookAtAll(): void {
    this.#fullAtMs = Number.NEGATIVE_INFINITY
    this.#wishes += 1
    this.#rounds.request()
  }

  setDrain(mark: DrainMark | undefined): void {
    if (JSON.stringify(mark) === JSON.stringify(this.#drain)) return
    this.#drain = mark
    this.#isPolicyStale = true
    this.#wishes += 1
    this.#rounds.request()
  }

  setDesired(announcements: readonly Announcement[]): void {
    const changes = new Map<string, Announcement | undefined>()
    for (const asker of this.#askers) changes.set(asker, undefined)
    for (const row of announcements) changes.set(`${row.source} ${row.prefix}`, row)
    this.#askers = new Set(announcements.map((row) => `${row.source} ${row.prefix}`))
    this.changeDesired(changes)
  }

  changeDesired(changes: Changes): void {
    for (const prefix of this.#guard.apply(changes)) this.#changed.add(prefix)
    if (this.#isTold && this.#changed.size === 0) return
    this.#isTold = true
    this.#wishes += 1
    this.#rounds.request()
  }

  get isInForce(): boolean {
    return this.#fulfilled === this.#wishes
  }

  async status(): Promise<SpeakerStatus> {
    let present: readonly Peer[] = []
    let connected = false
    try {
      present = await this.#client.listPeers()
      connected = true
    } catch (error) {
      if (!(error instanceof GobgpError)) throw error
    }
    const sessions = this.#describeSessions(present)
    return {
      connected,
      sessions,
      announcements: [...this.#guard.accepted.values()].map((row) => ({
        ...row,
        status: this.#statusOf(row),
      })),
      refused: this.#guard.refused,
      problems: [...this.#problems(), ...sessions.flatMap(({ problems }) => problems)],
      error: this.#error,
    }
  }

  get tables(): SpeakerTables {
    return speakerTables(this.#client, (address, prefix) => this.#learning?.judge(address, prefix))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#fullRoundTimer)
    clearInterval(this.#unresolvedTimer)
    await this.#rounds.close()
    await this.#sessions.close()
    await this.#learning?.close()
    this.#client.close()
  }

  #describeSessions(present: readonly Peer[]): SessionStatus[] {
    const sessions = describeSessions(present, this.#mirror, this.#learning, this.#sessions, this.#nowMs())
    const isDiffering = sessions.some(({ problems }) =>
      problems.some(({ code }) => code === 'advertised-differs'),
    )
    // The next full round shall not trust what it knows.
    if (isDiffering) this.#pathsReadAtMs = 0
    return sessions
  }

  #statusOf(row: Announcement): AnnouncementRow['status'] {
    const sinceMs = this.#announcedSince.get(row.prefix)
    if (sinceMs !== undefined) return { kind: 'announced', sinceMs }
    const reason = this.#mirror.leftOut(row.prefix) ?? this.#error
    return reason === undefined ? { kind: 'pending' } : { kind: 'error', reason }
  }

  /** Whatever the routing is. */
  #daemonProblems(): SpeakerProblem[] {
    const failing: SpeakerProblem[] = []
    // A gobgpd that restarts is back long before.
    if (this.#failingSinceMs !== undefined && this.#nowMs() - this.#failingSinceMs >= FAILING_MS)
      failing.push({ code: 'round-failed', object: 'routing.gobgp', text: this.#error ?? '' })
    return [...failing, ...this.#losses.problems(this.#nowMs(), (one) => this.#mirror.describe(one))]
  }

  #problems(): SpeakerProblem[] {
    return [
      ...this.#daemonProblems(),
      ...this.#mirror.problems(),
      ...(this.#learning?.problems() ?? []),
      ...this.#sessions.problems(),
    ]
  }

  async #round(): Promise<void> {
    const configured = this.#configured
    if (!configured || !this.#isTold || this.#isClosed) return
    const wanted: Wanted = { ...configured, drain: this.#drain, accepted: this.#guard.accepted }
    const wishes = this.#wishes
    const isFull = !this.#mirror.installed || Math.abs(this.#nowMs() - this.#fullAtMs) >= FULL_ROUND_MS
    try {
      if (isFull) await this.#fullRound(wanted)
      else await this.#smallRound(wanted)
    } catch (error) {
      this.#mirror.forget()
      throw error
    }
    this.#fulfilled = wishes
    this.#error = undefined
    this.#failingSinceMs = undefined
    if (isFull) this.#routingInForce = configured.routing
    if (isFull) await this.#compareCounts()
    this.#tellProblems()
  }

  /** Whether routers are told as much as they should be. Rarely, for counting keeps gobgpd busy. */
  async #compareCounts(): Promise<void> {
    const now = this.#nowMs()
    if (Math.abs(now - this.#countedAtMs) < COUNT_MS) return
    this.#countedAtMs = now
    const sessions = this.#describeSessions(await this.#client.listPeers())
    this.#countProblems = sessions.flatMap(({ problems }) => problems)
  }

  /** A host's peers come when it likes: they are looked at as soon as they are told of. */
  #takeSessions(established: ReadonlyMap<string, boolean>): void {
    if (this.#host !== 'own' && established.size > this.#guestPeers) {
      this.#fullAtMs = Number.NEGATIVE_INFINITY
      this.#rounds.request()
    }
    this.#guestPeers = established.size
    this.#options.onSessions?.(established)
  }

  #seekNeighbours(): void {
    if (!this.#mirror.problems().some(({ code }) => code === 'peer-unresolved')) return
    this.#fullAtMs = Number.NEGATIVE_INFINITY
    this.#rounds.request()
  }

  async #fullRound(wanted: Wanted): Promise<void> {
    const now = this.#nowMs()
    const changed = this.#changed
    // A host's own paths come and go; only ours are known without asking.
    const mayTrust = this.#host === 'own' && Math.abs(now - this.#pathsReadAtMs) < PATHS_READ_MS
    if (!mayTrust || !this.#mirror.installed) this.#pathsReadAtMs = now
    this.#fullAtMs = now
    this.#changed = new Set()
    this.#isPolicyStale = false
    const onDaemon = () => this.#sessions.follow()
    const changes = await this.#mirror.bringAll(wanted, { onDaemon, mayTrust, changed })
    this.#noteAnnounced(new Set([...this.#announcedSince.keys(), ...wanted.accepted.keys()]))
    this.#sessions.expect(this.#mirror.peers, this.#host === 'own')
    await this.#learning?.sync(
      this.#host === 'own' ? learningPeers(this.#mirror.peers, this.#mirror.links) : [],
      wanted.allowed,
    )
    const { log } = this.#options
    const { peers } = wanted.routing
    if (changes > 0)
      log.info({ paths: wanted.accepted.size, changes, peers: peers.length }, 'gobgpd holds what it should')
  }

  async #smallRound(wanted: Wanted): Promise<void> {
    const looked = this.#changed
    this.#changed = new Set()
    if (this.#isPolicyStale) {
      this.#isPolicyStale = false
      await this.#mirror.bringPolicy(wanted)
    }
    await this.#mirror.bringPaths(looked, wanted)
    this.#noteAnnounced(looked)
  }

  #noteAnnounced(prefixes: ReadonlySet<Prefix>): void {
    const since = this.#announcedSince
    for (const prefix of prefixes) {
      if (!this.#mirror.installed?.has(prefix)) since.delete(prefix)
      else if (!since.has(prefix)) since.set(prefix, this.#nowMs())
    }
  }

  #noteLoss(cameUp: CameUp): void {
    this.#fulfilled = -1
    this.#mirror.forget()
    this.#announcedSince.clear()
    this.#learning?.noteLoss()
    if (this.#isClosed) return
    this.#losses.note(this.#nowMs(), cameUp)
    this.#options.log.warn({}, 'gobgpd went away; replaying when it is back')
    this.#rounds.requestIn(0)
  }

  #noteFailure(error: unknown, retryInMs: number): void {
    const text = error instanceof Error ? error.message : String(error)
    this.#failingSinceMs ??= this.#nowMs()
    if (text !== this.#error) this.#options.log.warn({ error: text, retryInMs }, 'routing round failed')
    this.#error = text
    this.#tellProblems()
  }

  #tellProblems(): void {
    const isInForce = this.#configured?.routing === this.#routingInForce
    const problems = isInForce ? [...this.#problems(), ...this.#countProblems] : this.#daemonProblems()
    if (!isInForce && problems.length === 0) return
    const text = JSON.stringify(problems)
    if (text === this.#toldProblems) return
    this.#toldProblems = text
    for (const problem of problems) this.#options.log.warn({ ...problem }, problem.text)
    this.#options.onProblems?.(problems)
  }
}
