// Policy: sets, statements over them, and which policies guard a direction.

import type { Family } from './prefix.ts'

export interface PrefixSetMember {
  readonly prefix: string
  readonly lengthMin: number
  readonly lengthMax: number
}

/** Members of one family only: gobgpd refuses a mixed set. An empty set matches nothing. */
export interface PrefixSet {
  readonly kind: 'prefix'
  readonly name: string
  readonly members: readonly PrefixSetMember[]
}

/** Addresses or prefixes of peers. An *empty* set matches every peer: no statement over one is sent, and none is emptied. */
export interface NeighborSet {
  readonly kind: 'neighbor'
  readonly name: string
  readonly members: readonly string[]
}

/** Communities as text: `65535:0`. gobgpd reads anything else as a regular expression, which is not offered. */
export interface CommunitySet {
  readonly kind: 'community'
  readonly name: string
  readonly members: readonly string[]
}

/** As above: `65101:1:2`. */
export interface LargeCommunitySet {
  readonly kind: 'large-community'
  readonly name: string
  readonly members: readonly string[]
}

export type DefinedSet = PrefixSet | NeighborSet | CommunitySet | LargeCommunitySet

export type SetKind = DefinedSet['kind']

export interface PolicyConditions {
  readonly prefixSet?: string
  /** Prefixes of the set's family that the set does not hold. Never beside `prefixSet`; an empty set has no family, and nothing matches. */
  readonly outsidePrefixSet?: string
  readonly neighborSet?: string
  readonly communitySet?: { readonly name: string; readonly match: 'any' | 'all' | 'none' }
  readonly largeCommunitySet?: { readonly name: string; readonly match: 'any' | 'all' | 'none' }
  /** `local`: originated by this daemon; `internal` and `external`: from such a peer. */
  readonly routeType?: 'local' | 'internal' | 'external'
  /** Empty or left out: every family. */
  readonly families?: readonly Family[]
}

export interface CommunityChange {
  readonly kind: 'add' | 'remove' | 'replace'
  readonly communities: readonly string[]
}

/** What a statement changes on the paths it matches. */
export interface PolicyChanges {
  readonly communities?: CommunityChange
  readonly largeCommunities?: CommunityChange
  /** `add` takes a negative number too. */
  readonly med?: { readonly kind: 'set' | 'add'; readonly value: number }
  readonly localPref?: number
  readonly prepend?: { readonly asn: number; readonly repeat: number }
  readonly nextHop?: 'self' | 'unchanged' | { readonly address: string }
}

export interface PolicyStatement {
  /** Unique among all statements of the daemon, whichever policy they are in. */
  readonly name: string
  /** All must hold; empty matches every path. */
  readonly conditions: PolicyConditions
  readonly changes?: PolicyChanges
  readonly action: 'accept' | 'reject' | 'continue'
}

export interface Policy {
  readonly name: string
  readonly statements: readonly PolicyStatement[]
}

export type PolicyDirection = 'import' | 'export'

export interface PolicyAssignment {
  readonly direction: PolicyDirection
  /** In the order they are asked. */
  readonly policies: readonly string[]
  readonly defaultAction: 'accept' | 'reject'
}
