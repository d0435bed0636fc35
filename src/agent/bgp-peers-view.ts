// This node's sessions with routers on one page: what the configuration wants, what gobgpd says of it, BFD, and the counts that should be.

import type { Family } from '../model/address.ts'
import type { BgpPeer, NodeRouting } from '../model/routing.ts'
import type { ProblemCode } from '../speaker/problems.ts'
import type { SessionStatus } from '../speaker/session-status.ts'
import type { SpeakerStatus } from '../speaker/speaker.ts'
import type { DaemonFacts } from '../speaker/tables.ts'
import type { BfdView } from './bfd-view.ts'
import { nearestCause } from './peer-cause.ts'
import type { PeerLink } from './peer-links.ts'

export interface PeerFamily {
  readonly family: Family
  readonly received: number
  readonly accepted: number
  readonly advertised: number
  /** What should be advertised. */
  readonly wanted: number
}

export interface PeerView {
  readonly name: string
  /** Which object and key asked for it; undefined: nobody here, it is gobgpd's own. */
  readonly source: string | undefined
  /** The address in use, or the interface where none is known. */
  readonly address: string
  readonly asn: number | 'external' | 'internal'
  readonly localAsn: number
  /** `missing`: wanted, and not in gobgpd. */
  readonly state: SessionStatus['session'] | 'missing'
  readonly isAdminDown: boolean
  /** Since when it is, or is not, established; undefined: it never was. */
  readonly sinceMs: number | undefined
  readonly flaps: number
  readonly families: readonly PeerFamily[]
  /** How many of its routes are in the kernel. */
  readonly taken: number
  /** Undefined: not asked for. */
  readonly bfd: { readonly state: string; readonly detail: string | undefined } | undefined
  /** What keeps it down nearer than BGP: its link, or BFD. */
  readonly cause: string | undefined
  readonly lastError: string | undefined
  readonly routerId: string
  readonly negotiatedHoldSeconds: number
  readonly capabilities: SessionStatus['capabilities']
  readonly messages: SessionStatus['messages'] | undefined
  /** Undefined: gobgpd's own. */
  readonly settings: PeerSettingsView | undefined
}

/** Of the configuration; never a password. */
interface PeerSettingsView
  extends Pick<BgpPeer, 'port' | 'families' | 'timers' | 'localAddress' | 'multihopTtl' | 'ttlSecurityMin'> {
  readonly hasPassword: boolean
  readonly gracefulRestart: BgpPeer['gracefulRestart']
  readonly bfd: BgpPeer['bfd']
}

/** Where a drain stands; `active` is none. */
export interface DrainWords {
  readonly phase: string
  readonly message: string
}

export interface PeersView {
  readonly node: string
  readonly asn: number
  readonly routerId: string
  readonly gobgpd: {
    readonly isConnected: boolean
    readonly apiVersion: number | undefined
    readonly error: string | undefined
  }
  readonly drain: DrainWords | undefined
  readonly peers: readonly PeerView[]
  readonly collectors: readonly {
    readonly address: string
    readonly port: number
    readonly upSinceMs: number | undefined
  }[]
  readonly problems: SpeakerStatus['problems']
}

export interface PeersFacts {
  readonly node: string
  readonly routing: NodeRouting
  readonly status: Pick<SpeakerStatus, 'connected' | 'sessions' | 'problems' | 'error'>
  readonly daemon: DaemonFacts | undefined
  readonly bfd: readonly BfdView[]
  /** By the peer's name. */
  readonly links: ReadonlyMap<string, PeerLink>
  readonly drain: DrainWords | undefined
  readonly nowMs: number
}

export function describePeers(facts: PeersFacts): PeersView {
  const { node, routing, status, daemon, drain } = facts
  const configured = routing.peers.map((peer) => {
    const session = status.sessions.find(({ name }) => name === peer.name)
    return session ? fromSession(session, peer, facts) : missing(peer, facts)
  })
  const others = status.sessions
    .filter(({ name }) => !routing.peers.some((peer) => peer.name === name))
    .map((session) => fromSession(session, undefined, facts))
  const up = (address: string, port: number) =>
    daemon?.collectors.find((one) => one.address === address && one.port === port)?.upSinceMs
  return {
    node,
    asn: routing.asn,
    routerId: routing.routerId,
    gobgpd: { isConnected: status.connected, apiVersion: daemon?.apiVersion, error: status.error },
    drain: drain && { phase: drain.phase, message: drain.message },
    peers: [...configured, ...others].sort((a, b) => (a.name < b.name ? -1 : 1)),
    collectors: routing.bmp.map(({ address, port }) => ({ address, port, upSinceMs: up(address, port) })),
    problems: status.problems,
  }
}

function fromSession(session: SessionStatus, peer: BgpPeer | undefined, facts: PeersFacts): PeerView {
  const { sinceMs } = session
  const isEstablished = session.session === 'established'
  const isDown = !isEstablished && sinceMs !== 0
  return {
    ...ofConfiguration(peer, facts),
    cause: causeOf(peer, isDown ? sinceMs : undefined, facts),
    name: session.name,
    address: session.address,
    asn: session.asn === 0 ? (peer?.asn ?? 0) : session.asn,
    state: session.session,
    isAdminDown: session.admin !== 'up',
    sinceMs: sinceMs === 0 ? undefined : sinceMs,
    flaps: session.flaps,
    families: session.families.map((counts) => ({
      ...counts,
      // gobgpd reckons what it would tell a router whether a session is there or not.
      advertised: isEstablished ? counts.advertised : 0,
      wanted: session.wanted[counts.family],
    })),
    taken: session.taken,
    lastError: session.lastError ?? problemOf(facts, peer, isOfSession),
    routerId: session.routerId,
    negotiatedHoldSeconds: session.holdSeconds,
    capabilities: session.capabilities,
    messages: session.messages,
  }
}

/** Refused by gobgpd, without an address yet, or gobgpd is away. */
function missing(peer: BgpPeer, facts: PeersFacts): PeerView {
  const { status } = facts
  const { remote } = peer
  const away = status.connected ? undefined : (status.error ?? 'gobgpd does not answer')
  return {
    ...ofConfiguration(peer, facts),
    cause: causeOf(peer, undefined, facts),
    name: peer.name,
    address: remote.kind === 'address' ? remote.address : remote.interface,
    asn: peer.asn,
    state: 'missing',
    isAdminDown: false,
    sinceMs: undefined,
    flaps: 0,
    families: peer.families.map((family) => ({ family, received: 0, accepted: 0, advertised: 0, wanted: 0 })),
    taken: 0,
    lastError:
      problemOf(facts, peer, () => true) ?? away ?? status.error ?? 'gobgpd has not been told of it yet',
    routerId: '',
    negotiatedHoldSeconds: 0,
    capabilities: { local: [], remote: [] },
    messages: undefined,
  }
}

/** What keeps a session from being as it should be. What is of one family, or of a count, is among the problems and no error of the session. */
const OF_SESSION: ReadonlySet<ProblemCode> = new Set([
  'other-asn',
  'peer-refused',
  'peer-unresolved',
  'password-unreadable',
  'ambiguous-peer',
  'authentication-failing',
  'peer-silent',
  'not-for-guests',
  'owned-by-host',
])

function isOfSession(code: ProblemCode): boolean {
  return OF_SESSION.has(code)
}

function problemOf(
  { status }: PeersFacts,
  peer: BgpPeer | undefined,
  counts: (code: ProblemCode) => boolean,
): string | undefined {
  return status.problems.find(({ object, code }) => object === peer?.source && counts(code))?.text
}

function causeOf(
  peer: BgpPeer | undefined,
  downSinceMs: number | undefined,
  { links, bfd, nowMs }: PeersFacts,
): string | undefined {
  if (!peer) return undefined
  return nearestCause({
    link: links.get(peer.name),
    bfd: bfd.find((view) => view.peer === peer.name),
    downSinceMs,
    holdSeconds: peer.timers.holdSeconds,
    nowMs,
  })
}

function ofConfiguration(peer: BgpPeer | undefined, { routing, bfd }: PeersFacts) {
  if (!peer) return { source: undefined, localAsn: routing.asn, bfd: undefined, settings: undefined }
  const { name, source, localAsn = routing.asn, password, gracefulRestart } = peer
  const { port, families, timers, localAddress, multihopTtl, ttlSecurityMin } = peer
  const limits = { localAddress, multihopTtl, ttlSecurityMin }
  const said = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
  return {
    source,
    localAsn,
    bfd: peer.bfd && bfdOf(bfd.find((view) => view.peer === name)),
    settings: {
      port,
      families,
      timers,
      ...said,
      hasPassword: password !== undefined,
      gracefulRestart,
      bfd: peer.bfd,
    },
  }
}

function bfdOf(view: BfdView | undefined): PeerView['bfd'] {
  if (view === undefined) return { state: 'missing', detail: 'it has not been set up yet' }
  if (view.state === 'unplaced') return { state: view.state, detail: view.problem }
  return { state: view.state, detail: view.diagnostic }
}
