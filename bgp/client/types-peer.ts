// Peers: how they are set, and what gobgpd says of them.

import type { Family } from './prefix.ts'

/** How a peer is named: by its address, or by the interface of an unnumbered session (RFC 8950 over link-local addresses). */
export type PeerRemote =
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'interface'; readonly interface: string }

export interface GracefulRestartSettings {
  /** How long the peer keeps our routes after the session broke. */
  readonly restartSeconds: number
  /** How long we wait for the peers' own routes before we send ours after a restart. */
  readonly deferralSeconds: number
  /** Tells the peer that we come back from a restart with our forwarding intact, so it need not flush. */
  readonly localRestarting: boolean
  /** RFC 8538: a NOTIFICATION or an expired hold timer starts graceful restart too. */
  readonly notification?: boolean
  /** RFC 9494: how much longer the peer keeps our routes as a last resort. Left out: not offered. */
  readonly longLivedSeconds?: number
}

/** Beyond `maximum` gobgpd ends the session; a warning is logged at `warnPercent` of it. */
export interface PrefixLimit {
  readonly family: Family
  readonly maximum: number
  readonly warnPercent?: number
}

export interface PeerSettings {
  readonly remote: PeerRemote
  /**
   * The neighbour's link-local address on the interface, without a zone. Left out when adding: gobgpd is made to look for it, and REFUSED
   * when its kernel's neighbour table holds none or two. A peer that is listed always has it. One session is for one address: another
   * router at the other end of the cable takes a deletePeer and an addPeer.
   */
  readonly linkLocal?: string
  /** 'any': whoever answers is believed. */
  readonly asn: number | 'any'
  /** What we call ourselves towards this peer; left out: the daemon's ASN. */
  readonly localAsn?: number
  /**
   * Both families only where each has a usable next hop: an IPv6 path in an IPv4 session leaves with `::ffff:` and the IPv4 address
   * unless a policy gives it another.
   */
  readonly families: readonly Family[]
  readonly port: number
  readonly localAddress?: string
  /** SO_BINDTODEVICE of the session's socket. */
  readonly bindInterface?: string
  /** gobgpd hands it out in clear to whoever may call ListPeer. */
  readonly password?: string
  readonly holdSeconds: number
  readonly keepaliveSeconds: number
  readonly connectRetrySeconds: number
  /** TTL of an eBGP session over several hops; left out: one hop. */
  readonly multihopTtl?: number
  /** GTSM (RFC 5082): the least TTL accepted. Never beside multihopTtl. */
  readonly ttlSecurityMin?: number
  readonly gracefulRestart?: GracefulRestartSettings
  /** We reflect routes to this peer. The id is a dotted quad. */
  readonly reflectorClient?: { readonly clusterId: string }
  readonly description?: string
  /** We wait for the peer to connect. */
  readonly passive?: boolean
  readonly prefixLimits?: readonly PrefixLimit[]
}

export type SessionState =
  | 'unknown'
  | 'idle'
  | 'connect'
  | 'active'
  | 'open-sent'
  | 'open-confirm'
  | 'established'

export interface FamilyCounters {
  readonly family: Family
  readonly received: number
  readonly accepted: number
  /** What the policy in force lets out; 3.x reckons it when asked, and does not know what was sent before. */
  readonly advertised: number
}

export interface MessageCounters {
  readonly open: number
  readonly update: number
  readonly keepalive: number
  readonly notification: number
  readonly refresh: number
  readonly total: number
}

export interface PeerStatus {
  readonly remote: PeerRemote
  /** The address in use; with a zone (`fe80::1%eth0`) for an unnumbered peer. */
  readonly address: string
  /** The peer's; 0 while an 'any' peer has not told it. */
  readonly asn: number
  /** Empty before the first OPEN. */
  readonly routerId: string
  readonly session: SessionState
  readonly admin: 'up' | 'down' | 'prefix-limit'
  /** When it reached, or left, Established; 0 when it never did. */
  readonly sinceMs: number
  /** 0 until negotiated. */
  readonly holdSeconds: number
  readonly families: readonly FamilyCounters[]
  readonly messages: { readonly received: MessageCounters; readonly sent: MessageCounters }
  /** Names of RFC 5492 capabilities, as `graceful-restart`, with the family where they have one: `multi-protocol ipv4`. */
  readonly capabilities: { readonly local: readonly string[]; readonly remote: readonly string[] }
  /** Why the session ended last. Version 4 alone knows it. */
  readonly lastError?: string
  /** How often it fell; 3.10 always says 0. */
  readonly flaps: number
}

export interface Peer {
  readonly settings: PeerSettings
  readonly status: PeerStatus
}

/** A peer's session changed. */
export interface PeerEvent {
  readonly kind: 'initial' | 'changed'
  readonly remote: PeerRemote
  readonly address: string
  readonly session: SessionState
  /** Version 4 alone gives one. */
  readonly reason?: string
}

/** `soft`: paths are sent or looked at again, the session stays. `hard`: it ends with Cease and the text (RFC 9003), and returns. */
export type PeerReset =
  | { readonly kind: 'soft'; readonly direction: 'in' | 'out' | 'both' }
  | { readonly kind: 'hard'; readonly reason?: string }
