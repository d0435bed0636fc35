// What gobgpd holds, as far as we know, and the steps from there to what it should hold. A full round looks at everything; a small
// one sends the paths that changed; both keep the order that routers rely on: policy, paths, less policy, peers.

import { setImmediate } from 'node:timers/promises'
import { type GobgpClient, GobgpError, type Path, type Peer } from '../../bgp/client/gobgp-grpc-client.ts'
import { type Family, familyOf, type Prefix } from '../model/address.ts'
import type { AllowedPrefix, Announcement } from '../model/announcement.ts'
import { type BgpPeer, type DrainMark, type NodeRouting, sessionOf } from '../model/routing.ts'
import { ensurePolicy, narrowPolicy } from './apply-policy.ts'
import { ensureBmp } from './bmp.ts'
import { CLASSES_MAX, type ExportClass, ExportClassifier, type PeerAddresses } from './export-classes.ts'
import { checkDaemon, type DaemonHost, guestPeers, mayAnnounce, otherAsn } from './hosts.ts'
import type { LinkView, NeighbourInUse } from './links.ts'
import type { PasswordReader } from './passwords.ts'
import { type InstalledPaths, installedPath, pathChanges, recordChanges } from './paths.ts'
import { type PlannedPeer, planPeers } from './peer-plan.ts'
import { addPeers, removePeers } from './peers.ts'
import { type PlannedPolicy, type PolicyPeer, planPolicy } from './policy-plan.ts'
import type { SpeakerProblem } from './problems.ts'

/** Announcements worked on at a stretch: some milliseconds. */
const SLICE = 500

/** A neighbour on an unnumbered link that has been silent for so long gives way to another that is there. */
const GIVE_UP_MS = 15_000

/** There may be thousands, for one reason. */
const LEFT_OUT_TOLD_MAX = 16

export interface MirrorOptions {
  readonly client: GobgpClient
  readonly target: string
  readonly host: DaemonHost
  readonly readPassword: PasswordReader
  readonly readLinks: () => Promise<LinkView>
  readonly nowMs: () => number
}

export interface Wanted {
  readonly routing: NodeRouting
  readonly allowed: readonly AllowedPrefix[]
  readonly drain: DrainMark | undefined
  readonly accepted: ReadonlyMap<Prefix, Announcement>
}

export interface FullRound {
  /** Called when gobgpd is the right one, before it is read. */
  readonly onDaemon: () => void
  /** Whether gobgpd still holds what we last knew; reading ten thousand paths back keeps both sides busy. */
  readonly mayTrust: boolean
  /** What was not looked at yet. */
  readonly changed: ReadonlySet<Prefix>
}

export class DaemonMirror {
  readonly #options: MirrorOptions
  /** What gobgpd holds of ours; undefined when that must be asked. Never outlives the event stream. */
  #installed: InstalledPaths | undefined
  /** A host's own paths: never touched, never replaced by one of ours. */
  #foreign: ReadonlySet<Prefix> = new Set()
  /** Set from a gobgpd found without peers until all peers are in, so that each of them is told of the restart. */
  #isRestarting = false
  #classifier = new ExportClassifier(new Map(), false)
  #peers: readonly PlannedPeer[] = []
  #policyPeers: readonly PolicyPeer[] = []
  #configured: readonly BgpPeer[] = []
  #addressesText = ''
  readonly #downSince = new Map<string, number>()
  #links: LinkView | undefined
  readonly #paths = new Map<Prefix, Path>()
  readonly #markerOf = new Map<Prefix, string>()
  /** Classes that gobgpd's policy knows, with how many prefixes of each family are of them. */
  #classes = new Map<string, { readonly class: ExportClass; counts: Record<Family, number> }>()
  /** Kept until done: a step that fails after the policy was swapped must not be forgotten. */
  #owesResend = false
  #owesJudging = false
  #changedAtMs = 0
  #problems: readonly SpeakerProblem[] = []
  readonly #leftOut = new Map<Prefix, SpeakerProblem>()

  constructor(options: MirrorOptions) {
    this.#options = options
  }

  get installed(): ReadonlyMap<Prefix, unknown> | undefined {
    return this.#installed
  }

  get peers(): readonly PlannedPeer[] {
    return this.#peers
  }

  get links(): LinkView | undefined {
    return this.#links
  }

  /** When a path was last added or taken away. */
  get changedAtMs(): number {
    return this.#changedAtMs
  }

  problems(): SpeakerProblem[] {
    return [...this.#problems, ...[...this.#leftOut.values()].slice(0, LEFT_OUT_TOLD_MAX)]
  }

  /** Why a prefix is not told to gobgpd though it may leave. */
  leftOut(prefix: Prefix): string | undefined {
    return this.#leftOut.get(prefix)?.text
  }

  /** What the configuration calls a peer of gobgpd; a host's own peers may have no name there. */
  describe(address: string): { readonly name: string; readonly source: string } {
    const found =
      this.#peers.find((planned) => planned.address === address)?.peer ??
      this.#configured.find(({ remote }) => remote.kind === 'address' && remote.address === address)
    return found ?? { name: address, source: this.#options.host === 'own' ? address : "kube-router's peers" }
  }

  /** How many prefixes of a family the peer should get. */
  wantedFor(address: string, family: Family): number {
    const [plain = ''] = address.split('%')
    const peer = this.#policyPeers.find((one) => one.address === plain)
    if (!peer?.families.includes(family)) return 0
    let count = 0
    for (const { class: one, counts } of this.#classes.values())
      if (one.exports.some(({ peers }) => peers === 'all' || peers.includes(plain))) count += counts[family]
    return count
  }

  /** gobgpd is away, or a step failed. */
  forget(): void {
    this.#installed = undefined
  }

  /** Everything. @returns how many paths differed */
  async bringAll(wanted: Wanted, how: FullRound): Promise<number> {
    const { client, host } = this.#options
    const isKnown = how.mayTrust && this.#installed !== undefined
    const { present, asn, refusedBefore, isSamePeers } = await this.#look(wanted, how.onDaemon, isKnown)
    const staying = host === 'own' ? await removePeers(client, this.#peers, present, asn) : new Set<string>()
    const prefixes = isKnown && isSamePeers ? how.changed : await this.#planAnew(wanted.accepted)
    if (isKnown && isSamePeers) for (const prefix of prefixes) this.#planOne(prefix, wanted.accepted)
    const isCarrying = await this.#bringPolicy(wanted)
    const changes = await this.#sendPaths(prefixes)
    if (isCarrying) await this.#bringPolicy(wanted)
    await narrowPolicy(client, this.#policyOf(wanted))
    // A gobgpd that died since is back without our paths, and must not get its peers before them.
    this.#assertThere()
    const refused = host === 'own' ? await addPeers(client, this.#peers, staying, this.#isRestarting) : []
    const silent = host === 'own' ? await ensureBmp(client, wanted.routing.bmp) : []
    this.#problems = [...refusedBefore, ...refused, ...silent]
    this.#isRestarting = false
    return changes
  }

  /** What changed since the last time, alone. @returns how many paths differed */
  async bringPaths(prefixes: ReadonlySet<Prefix>, wanted: Wanted): Promise<number> {
    this.#assertThere()
    let isNewClass = false
    for (const prefix of prefixes) isNewClass = this.#planOne(prefix, wanted.accepted) || isNewClass
    if (isNewClass) await this.#bringPolicy(wanted)
    return this.#sendPaths(prefixes)
  }

  /** The drain mark changed. */
  async bringPolicy(wanted: Wanted): Promise<void> {
    this.#assertThere()
    await this.#bringPolicy(wanted)
  }

  async #look(
    wanted: Wanted,
    onDaemon: () => void,
    isKnown: boolean,
  ): Promise<{
    present: readonly Peer[]
    asn: number
    refusedBefore: SpeakerProblem[]
    isSamePeers: boolean
  }> {
    const { client, host, target } = this.#options
    const daemon = await checkDaemon(client, host, target, wanted.routing)
    const { asn } = daemon
    onDaemon()
    const links = await this.#options.readLinks()
    const present = await client.listPeers(false)
    if (!isKnown)
      this.#takeInstalled([...(await client.listOwnPaths('ipv4')), ...(await client.listOwnPaths('ipv6'))])
    this.#links = links
    this.#configured = wanted.routing.peers
    if (present.length === 0) this.#isRestarting = true
    if (host === 'kube-router') {
      const guests = guestPeers(present, daemon, wanted.routing, links)
      const sessions = new Map(guests.policy.map(({ address }) => [address, address]))
      const isSamePeers = this.#setPeers([], guests.policy, guests.addresses, sessions)
      return { present, asn, refusedBefore: [...guests.problems], isSamePeers }
    }
    const { readPassword } = this.#options
    this.#noteDown(present)
    const inUse = (name: string) => this.#neighbourInUse(present, name)
    const plan = await planPeers({ ...wanted.routing, asn }, { links, readPassword, inUse })
    const isSamePeers = this.#setPeers(
      plan.peers,
      plan.peers.map(({ policy }) => policy),
      new Map(plan.peers.map(({ peer, policy }) => [peer.name, policy.address])),
      new Map(plan.peers.map(({ peer, policy }) => [sessionOf(peer), policy.address])),
    )
    const refusedBefore = [...otherAsn(daemon, wanted.routing), ...plan.problems]
    return { present, asn, refusedBefore, isSamePeers }
  }

  #noteDown(present: readonly Peer[]): void {
    const now = this.#options.nowMs()
    for (const { status } of present) {
      if (status.session === 'established') this.#downSince.delete(status.address)
      else if (!this.#downSince.has(status.address)) this.#downSince.set(status.address, now)
    }
  }

  #neighbourInUse(present: readonly Peer[], name: string): NeighbourInUse | undefined {
    const found = present.find(({ status }) => status.address.endsWith(`%${name}`))?.status.address
    const [address] = found?.split('%') ?? []
    if (found === undefined || address === undefined) return undefined
    const since = this.#downSince.get(found)
    return { address, isAlive: since === undefined || this.#options.nowMs() - since < GIVE_UP_MS }
  }

  /** @returns whether names and sessions lead to the same addresses as before, and so announcements to the same classes */
  #setPeers(
    peers: readonly PlannedPeer[],
    policyPeers: readonly PolicyPeer[],
    byName: PeerAddresses,
    bySession: PeerAddresses,
  ): boolean {
    this.#peers = peers
    this.#policyPeers = policyPeers
    const text = JSON.stringify([[...byName], [...bySession]])
    const isSame = text === this.#addressesText
    if (!isSame) this.#classifier = new ExportClassifier(byName, this.#options.host === 'own', bySession)
    this.#addressesText = text
    return isSame
  }

  #takeInstalled(paths: readonly Path[]): void {
    const isOwn = this.#options.host === 'own'
    const installed: InstalledPaths = new Map()
    const foreign = new Set<Prefix>()
    for (const path of paths) {
      const row = installedPath(path)
      if (isOwn || row.marker !== undefined) installed.set(path.prefix as Prefix, row)
      else foreign.add(path.prefix as Prefix)
    }
    this.#installed = installed
    this.#foreign = foreign
  }

  /** What changes meanwhile is looked at in the round that the change asks for. @returns all prefixes there are, here or in gobgpd */
  async #planAnew(accepted: Wanted['accepted']): Promise<ReadonlySet<Prefix>> {
    for (const prefix of this.#paths.keys()) this.#forgetPath(prefix)
    this.#classes.clear()
    this.#leftOut.clear()
    const announcements = [...accepted.values()]
    for (let start = 0; start < announcements.length; start += SLICE) {
      if (start > 0) await setImmediate()
      for (const announcement of announcements.slice(start, start + SLICE)) this.#plan(announcement)
    }
    return new Set([...this.#paths.keys(), ...this.#assertThere().keys()])
  }

  #planOne(prefix: Prefix, accepted: Wanted['accepted']): boolean {
    this.#forgetPath(prefix)
    this.#leftOut.delete(prefix)
    const announcement = accepted.get(prefix)
    return announcement !== undefined && this.#plan(announcement)
  }

  /** @returns whether it is the first of its class */
  #plan(announcement: Announcement): boolean {
    const { prefix } = announcement
    if (!mayAnnounce(this.#options.host, announcement)) return false
    if (this.#foreign.has(prefix)) {
      this.#leaveOut(prefix, 'owned-by-host', 'is announced by kube-router itself, which is left as it is')
      return false
    }
    const classified = this.#classifier.classify(announcement)
    if (!classified) return false
    const { marker } = classified.class
    const known = this.#classes.get(marker)
    if (!known && !this.#hasRoomForClass()) {
      const text =
        `needs a combination of peers and attributes of its own, beyond the ${CLASSES_MAX} there are. ` +
        'Mend: let Services share what differs from peer to peer'
      this.#leaveOut(prefix, 'too-many-classes', text)
      return false
    }
    const row = known ?? { class: classified.class, counts: { ipv4: 0, ipv6: 0 } }
    row.counts[familyOf(prefix)] += 1
    if (!known) this.#classes.set(marker, row)
    this.#paths.set(prefix, classified.path)
    this.#markerOf.set(prefix, marker)
    return !known
  }

  #hasRoomForClass(): boolean {
    if (this.#classes.size < CLASSES_MAX) return true
    for (const [marker, { counts }] of this.#classes)
      if (counts.ipv4 + counts.ipv6 === 0) this.#classes.delete(marker)
    return this.#classes.size < CLASSES_MAX
  }

  #leaveOut(prefix: Prefix, code: SpeakerProblem['code'], text: string): void {
    this.#leftOut.set(prefix, { code, object: prefix, text: `${prefix} ${text}` })
  }

  /** Its class stays in the policy until the next full round, for it may come back. */
  #forgetPath(prefix: Prefix): void {
    const marker = this.#markerOf.get(prefix)
    const row = marker === undefined ? undefined : this.#classes.get(marker)
    if (row) row.counts[familyOf(prefix)] -= 1
    this.#paths.delete(prefix)
    this.#markerOf.delete(prefix)
  }

  #policyOf({ allowed, drain }: Wanted): PlannedPolicy {
    // In an order of content, so that a restarted agent finds nothing to change.
    const classes = [...this.#classes.values()].map((row) => row.class)
    classes.sort((a, b) => a.exports.length - b.exports.length || (a.marker < b.marker ? -1 : 1))
    return planPolicy({ host: this.#options.host, allowed, drain, classes, peers: this.#policyPeers })
  }

  /** @returns whether classes of paths that must go, or change, are carried along */
  async #bringPolicy(wanted: Wanted): Promise<boolean> {
    const { client, host } = this.#options
    const installedMarkers = new Set([...this.#assertThere().values()].flatMap(({ marker }) => marker ?? []))
    const outcome = await ensurePolicy(client, this.#policyOf(wanted), { host, installedMarkers })
    this.#owesResend ||= outcome.mustResend
    this.#owesJudging ||= outcome.mustJudgeAgain
    // To every peer at once; those that are down get it when they come.
    if (this.#owesResend) await client.resetPeer(undefined, { kind: 'soft', direction: 'out' })
    this.#owesResend = false
    if (this.#owesJudging) await client.resetPeer(undefined, { kind: 'soft', direction: 'in' })
    this.#owesJudging = false
    return [...installedMarkers].some((marker) => !this.#classes.has(marker))
  }

  async #sendPaths(prefixes: Iterable<Prefix>): Promise<number> {
    const installed = this.#assertThere()
    const changes = pathChanges(prefixes, this.#paths, installed)
    const count = changes.withdraw.length + changes.announce.length
    if (count > 0) this.#changedAtMs = this.#options.nowMs()
    await this.#options.client.applyPaths(changes)
    recordChanges(installed, changes)
    return count
  }

  #assertThere(): InstalledPaths {
    if (this.#installed) return this.#installed
    throw new GobgpError('UNAVAILABLE', 'gobgpd went away during a round')
  }
}
