// The internal model of routing: what one node should do, whichever source said it (the configuration file, kube-router's annotations,
// Cilium's BGP kinds). Sources are translated to it; planner, speaker, BFD and command line know nothing else. Pure data.
//
// Everything is plain data that compares by content, so that two versions of it can be set against each other row by row.

import type { Address, Family, Prefix } from './address.ts'
import type { LabelSelector } from './label-selector.ts'

/** What a route carries beside its prefix. Text is canonical, lists are sorted and without doubles. */
export interface RouteAttributes {
  /** RFC 1997, `high:low` in decimal; well-known names are translated where they are read. */
  readonly communities: readonly string[]
  /** RFC 8092, `global:local1:local2` in decimal. */
  readonly largeCommunities: readonly string[]
  /** Sent on iBGP sessions alone. */
  readonly localPref?: number
  readonly med?: number
  /** How many times this node's ASN stands before the path once more; 0: not at all. */
  readonly prepend: number
}

/** Routers drop paths of more than 255 ASNs, and many long before. */
export const PREPEND_MAX = 255

export const NO_ATTRIBUTES: RouteAttributes = { communities: [], largeCommunities: [], prepend: 0 }

/** Attributes of one prefix for some peers; every peer stands in at most one export of a prefix. */
export interface PeerExport {
  /** Names of peers, sorted. */
  readonly peers: readonly string[]
  /**
   * Their sessions (sessionOf), in the same order. Whoever sends goes by these: a name that moves to another router does not take along
   * what was meant for the one before. Undefined: the peers that bear the names now.
   */
  readonly sessions?: readonly string[]
  readonly attributes: RouteAttributes
}

export interface BgpTimers {
  readonly holdSeconds: number
  readonly keepaliveSeconds: number
  readonly connectRetrySeconds: number
}

export interface GracefulRestart {
  /** How long the peer keeps our routes while gobgpd is away. */
  readonly restartSeconds: number
  /** RFC 9494; undefined: not offered. */
  readonly longLivedSeconds?: number
}

export interface BfdTimers {
  /** Both what we would like to send at and the fastest we accept. */
  readonly intervalMs: number
  readonly multiplier: number
}

export interface ImportRules {
  /** Networks inside `prefix` whose length lies in lengthMin..lengthMax. */
  readonly prefixes: readonly { prefix: Prefix; family: Family; lengthMin: number; lengthMax: number }[]
  /** Per peer; beyond it nothing more is taken, and an Event says so. */
  readonly maxPrefixes: number
}

/** Where a password is read; its text never stands in a model, a log or an answer. */
export type PasswordSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'secret'; readonly namespace: string; readonly name: string; readonly key: string }
  /** From a source that holds it in clear, as kube-router's annotations do. */
  | { readonly kind: 'inline'; readonly text: string }

export interface BgpPeer {
  /** The key: unique on the node. */
  readonly name: string
  /** Which object and key asked for it: `routing.peers[0]`, `CiliumBGPClusterConfig fabric`. */
  readonly source: string
  /** The peer's address, or the interface of an unnumbered session (RFC 8950 over link-local addresses). */
  readonly remote:
    | { readonly kind: 'address'; readonly address: Address }
    | { readonly kind: 'interface'; readonly interface: string }
  /** 'external': any ASN but ours; 'internal': ours. */
  readonly asn: number | 'external' | 'internal'
  /** What we call ourselves towards this peer, when it is not the node's ASN. */
  readonly localAsn?: number
  readonly port: number
  readonly localAddress?: Address
  readonly families: readonly Family[]
  readonly password?: PasswordSource
  readonly timers: BgpTimers
  /** TTL of an eBGP session over several hops; undefined: one hop. */
  readonly multihopTtl?: number
  /** GTSM (RFC 5082): the least TTL accepted; 255 for a neighbour on the link. Never beside multihopTtl. */
  readonly ttlSecurityMin?: number
  readonly gracefulRestart?: GracefulRestart
  readonly bfd?: BfdTimers
  /** This node reflects routes to the peer. The id is 32 bits as a dotted quad. */
  readonly reflectorClient?: { readonly clusterId: string }
  /** Undefined: nothing is imported. */
  readonly imports?: ImportRules
}

/** What makes a session the same one, whatever its peer is called: the address, or `%` and the interface. */
export function sessionOf({ remote }: Pick<BgpPeer, 'remote'>): string {
  return remote.kind === 'address' ? remote.address : `%${remote.interface}`
}

export type AnnounceKind = 'loopback' | 'pod-cidr' | 'cluster-ip' | 'external-ip' | 'load-balancer-ip'

/**
 * What is announced to whom with which attributes. A prefix goes to a peer when any rule says so; the attributes of all rules that say
 * so are joined: communities as a union, numbers by the last rule that has one.
 */
export interface AnnounceRule {
  readonly source: string
  readonly kinds: readonly AnnounceKind[]
  /** Names of peers; undefined: every peer. */
  readonly peers?: readonly string[]
  /** Of Services; undefined: every Service. */
  readonly services?: LabelSelector
  readonly namespaces?: readonly string[]
  /** Names of pools the address must come from, or all of them; undefined: it may come from anywhere that the guard lets pass. */
  readonly pools?: readonly string[] | 'all'
  readonly families?: readonly Family[]
  readonly attributes: RouteAttributes
  /** It lets nothing out by itself: its attributes join those of the rules that do (attributes of a pool, for example). */
  readonly isOnlyAttributes?: boolean
}

/** What a source that says nothing about announcing means: everything that leads here, to every peer. No rules at all: nothing. */
export const DEFAULT_RULES: readonly AnnounceRule[] = [
  { source: 'default', kinds: ['loopback', 'pod-cidr'], attributes: NO_ATTRIBUTES },
  { source: 'default', kinds: ['external-ip', 'load-balancer-ip'], pools: 'all', attributes: NO_ATTRIBUTES },
]

/** RFC 2439: each withdrawal adds to a VIP's penalty, which decays by half in `halfLifeMs`. */
export interface FlapDamping {
  readonly withdrawalPenalty: number
  /** Above it the VIP is suppressed … */
  readonly suppressThreshold: number
  /** … until its penalty has fallen below this, … */
  readonly reuseThreshold: number
  readonly halfLifeMs: number
  /** … but never for longer. */
  readonly maxSuppressMs: number
}

/** Six or seven withdrawals within a minute suppress (RFC 7196 asks for such patience), for three minutes unless they go on. */
export const DAMPING_DEFAULT: FlapDamping = {
  withdrawalPenalty: 1_000,
  suppressThreshold: 5_000,
  reuseThreshold: 750,
  halfLifeMs: 60_000,
  maxSuppressMs: 300_000,
}

export interface RoutingGates {
  /** `withdraw`: 2 s after the last endpoint of a Cluster Service; `keep`: never for want of endpoints. */
  readonly withoutEndpoints: 'withdraw' | 'keep'
  /** A VIP that comes back after a withdrawal must have been servable this long. The first announcement waits for nothing. */
  readonly holdDownMs: number
  /** Undefined: no VIP is suppressed. */
  readonly damping?: FlapDamping
}

export const GATES_DEFAULT: RoutingGates = {
  withoutEndpoints: 'withdraw',
  holdDownMs: 2_000,
  damping: DAMPING_DEFAULT,
}

export interface DrainSettings {
  /** Routers are told by 65535:0 (RFC 8326), and by these where they ignore it. */
  readonly med?: number
  readonly prepend: number
  /** Traffic counts as gone after this long without any. */
  readonly quietMs: number
  /** VIPs are withdrawn after this long, gone or not. */
  readonly timeoutMs: number
}

export const DRAIN_DEFAULT: DrainSettings = { prepend: 0, quietMs: 2_000, timeoutMs: 120_000 }

/** Most routers are told a maximum-prefix; passing it makes them drop the session, and with it every VIP. */
export const ANNOUNCEMENTS_MAX = 1_000
export const LIMITS_DEFAULT: NodeRouting['limits'] = {
  announcementsMax: ANNOUNCEMENTS_MAX,
  changesPerSecond: 1_000,
}

/** A collector of RFC 7854. */
export interface BmpStation {
  readonly address: Address
  readonly port: number
}

/** Routing of one node, resolved: selectors of nodes have been applied. */
export interface NodeRouting {
  readonly asn: number
  readonly routerId: string
  readonly loopbacks: readonly Prefix[]
  readonly podCidrs: readonly Prefix[]
  /** Where gobgpd takes sessions from peers; undefined: it dials only. No addresses: all of the node's. */
  readonly listen?: { readonly port: number; readonly addresses: readonly Address[] }
  readonly peers: readonly BgpPeer[]
  readonly rules: readonly AnnounceRule[]
  /** Networks beside the pools whose single addresses may be announced for Services: those of ClusterIPs, and of externalIPs. */
  readonly serviceNetworks: readonly Prefix[]
  readonly limits: {
    /** Per family. */
    readonly announcementsMax: number
    /** Announcements and withdrawals a second, all families together; bursts up to a whole second's worth of ten. */
    readonly changesPerSecond: number
  }
  readonly bmp: readonly BmpStation[]
  readonly gates: RoutingGates
  readonly drain: DrainSettings
}

/** A draining node's mark on everything it announces. */
export interface DrainMark {
  readonly communities: readonly string[]
  readonly med?: number
  readonly prepend: number
}
