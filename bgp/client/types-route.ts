// Paths as we send them, and routes as gobgpd tells them.

import type { Family } from './prefix.ts'
import type { PeerRemote } from './types-peer.ts'

export interface PathAttributes {
  /** RFC 1997, `high:low` in decimal. */
  readonly communities?: readonly string[]
  /** RFC 8092, `global:local1:local2` in decimal. */
  readonly largeCommunities?: readonly string[]
  readonly med?: number
  /** gobgpd sends it to internal peers alone. */
  readonly localPref?: number
  /** What AS_PATH holds before gobgpd puts its own number in front. */
  readonly asPath?: readonly number[]
  /** Left out: igp. */
  readonly origin?: 'igp' | 'egp' | 'incomplete'
}

export interface Path extends PathAttributes {
  /** CIDR text without host bits; GoBGP prints it back as parsePrefix does. */
  readonly prefix: string
  /** Left out: each session announces its own local address, the only choice that suits a node with several routers. */
  readonly nextHop?: string
}

/** What to change in gobgpd's table, withdrawals first. */
export interface PathChanges {
  readonly withdraw: readonly string[]
  readonly announce: readonly Path[]
}

/**
 * `adj-in`: what a peer sent, before policy. `adj-out`: what the policy in force lets out to a peer, *reckoned when asked*: 3.x keeps
 * no record of what it sent, and shows a path gone that a narrower policy never withdrew. Only the peer itself knows better.
 */
export type TableName =
  | { readonly kind: 'global' }
  | { readonly kind: 'adj-in' | 'adj-out'; readonly peer: PeerRemote }

/** One path of one prefix in one table. */
export interface Route extends Path {
  readonly family: Family
  /** The address of the peer it came from, without a zone. Undefined: this daemon originated it. */
  readonly neighbor?: string
  /** ASN and router id of the neighbor; 0 and empty for own paths. */
  readonly sourceAsn: number
  readonly sourceId: string
  readonly isBest: boolean
  /** Kept over a graceful restart of the neighbor. */
  readonly isStale: boolean
  readonly isFiltered: boolean
  readonly isNextHopInvalid: boolean
  readonly sinceMs: number
}

/** Every best path of a prefix as it is now: one, or several with useMultiplePaths; none: the prefix is gone. */
export interface BestRoutes {
  readonly prefix: string
  readonly family: Family
  readonly routes: readonly Route[]
}
