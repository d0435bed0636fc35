// The library's own narrow types. Protobuf messages, Any and enum numbers stay below the dialect; a caller never sees them.

import type { Family } from './prefix.ts'

export interface DaemonInfo {
  /** 0: BGP is not started, and gobgpd holds nothing. */
  readonly asn: number
  readonly routerId: string
  readonly apiVersion: 3
}

export interface DaemonSettings {
  readonly asn: number
  readonly routerId: string
}

export interface Path {
  /** CIDR text without host bits; GoBGP prints it back as parsePrefix does. */
  readonly prefix: string
  /** Left out: each session announces its own local address, the only choice that suits a node with several routers. */
  readonly nextHop?: string
  /** RFC 1997, `high:low` in decimal. */
  readonly communities?: readonly string[]
}

/** What to change in gobgpd's table, withdrawals first. */
export interface PathChanges {
  readonly withdraw: readonly string[]
  readonly announce: readonly Path[]
}

export interface GracefulRestartSettings {
  /** How long the peer keeps our routes after the session broke. */
  readonly restartSeconds: number
  /** How long we wait for the peers' own routes before we send ours after a restart. */
  readonly deferralSeconds: number
  /** Tells the peer that we come back from a restart with our forwarding intact, so it need not flush. */
  readonly localRestarting: boolean
}

export interface PeerSettings {
  readonly address: string
  readonly asn: number
  /** One family per session: its next hop is then always the session's own address. */
  readonly family: Family
  readonly localAddress?: string
  readonly port: number
  /** gobgpd hands it out in clear to whoever may call ListPeer. */
  readonly password?: string
  readonly holdSeconds: number
  readonly keepaliveSeconds: number
  readonly connectRetrySeconds: number
  readonly gracefulRestart?: GracefulRestartSettings
}

export type SessionState =
  | 'unknown'
  | 'idle'
  | 'connect'
  | 'active'
  | 'open-sent'
  | 'open-confirm'
  | 'established'

export interface PeerStatus {
  readonly address: string
  readonly asn: number
  readonly session: SessionState
  readonly adminDown: boolean
  /** When it reached, or left, Established; 0 when it never did. */
  readonly sinceMs: number
  readonly received: number
  readonly accepted: number
  readonly advertised: number
}

export interface Peer {
  readonly settings: PeerSettings
  readonly status: PeerStatus
}

/** A peer's session changed. gobgpd 3.10 gives no reason. */
export interface PeerEvent {
  readonly kind: 'initial' | 'changed'
  readonly address: string
  readonly session: SessionState
}

export interface PrefixSetMember {
  readonly prefix: string
  readonly lengthMin: number
  readonly lengthMax: number
}

/** Members of one family only: gobgpd refuses a mixed set. An empty set matches nothing. */
export interface PrefixSet {
  readonly name: string
  readonly members: readonly PrefixSetMember[]
}

export interface PolicyStatement {
  readonly name: string
  /** Left out: matches every prefix. */
  readonly prefixSet?: string
  /** True: only paths that this daemon originated. */
  readonly localOnly: boolean
  readonly action: 'accept' | 'reject' | 'continue'
  readonly addCommunities?: readonly string[]
}

export interface Policy {
  readonly name: string
  readonly statements: readonly PolicyStatement[]
}

export type PolicyDirection = 'import' | 'export'

export interface PolicyAssignment {
  readonly direction: PolicyDirection
  readonly policies: readonly string[]
  readonly defaultAction: 'accept' | 'reject'
}
