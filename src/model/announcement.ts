// What this node may announce, wants to announce, and refuses to. An announcement is a row: a prefix, the reason for it (`why`, naming
// the object that asked) and its attributes; the speaker adds a status. Prefixes are canonical CIDR text, so they serve as keys.

import type { Family, Prefix } from './address.ts'
import type { PeerExport } from './routing.ts'

/** Where an announcement comes from: the node's own address, its pods' network, or a Service's VIP. */
export type AnnouncementSource = 'loopback' | 'pod-cidr' | 'service'

export interface Announcement {
  /** The key. */
  readonly prefix: Prefix
  readonly family: Family
  readonly source: AnnouncementSource
  /** One sentence with the object's name: "Service web/shop has 2 usable endpoints". */
  readonly why: string
  /** RFC 1997 communities as `high:low` decimal text. */
  readonly communities?: readonly string[]
  /**
   * To whom, with which attributes; undefined: to every peer, with `communities` alone. An export without peers is for whoever
   * there is: the configuration names none, for the sessions are somebody else's.
   */
  readonly exports?: readonly PeerExport[]
  /** What was said of its attributes and cannot be read, with the object's name: it must not leave without that. */
  readonly unreadable?: string
}

/** Part of what the node may announce: networks inside `prefix` whose length lies in lengthMin..lengthMax. */
export interface AllowedPrefix {
  readonly prefix: Prefix
  readonly family: Family
  readonly lengthMin: number
  readonly lengthMax: number
}

export type RefusalCode =
  | 'malformed'
  | 'outside-allowed'
  | 'wrong-length'
  | 'default-route'
  | 'too-many'
  | 'twice'
  | 'bad-community'
  | 'bad-attribute'
  | 'bad-annotation'

export const REFUSAL_MENDS: Readonly<Record<RefusalCode, string>> = {
  malformed: 'this is a fault of Weir; please report it',
  'outside-allowed': 'add its network to a pool or to routing.serviceNetworks, or take the address away',
  'wrong-length': 'announce single addresses of pools, and pod networks as a whole',
  'default-route': 'no default route is ever announced',
  'too-many': 'raise routing.maxAnnouncements here and the maximum at the routers, or need fewer addresses',
  twice: 'take it away from one of them',
  'bad-community': 'mend the rule or the annotation that asks for it',
  'bad-attribute': 'mend the rule or the annotation that asks for it',
  'bad-annotation': 'write the annotation as it is meant, or take it away',
}

/** An announcement that the guard kept in; shown on the object that asked for it. */
export interface RefusedAnnouncement {
  readonly announcement: Announcement
  readonly code: RefusalCode
  readonly reason: string
}

/** pending: not yet told GoBGP, with the reason when it waits for its turn; announced: in GoBGP's table; error: GoBGP refused it, with the reason. */
export type AnnouncementStatus =
  | { readonly kind: 'pending'; readonly reason?: string }
  | { readonly kind: 'announced'; readonly sinceMs: number }
  | { readonly kind: 'error'; readonly reason: string }

export interface AnnouncementRow extends Announcement {
  readonly status: AnnouncementStatus
}
