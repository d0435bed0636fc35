// What the compiler hands to the datapath: plain rows of six tables, and the order in which they are to be written.
//
// The kernel judges one direction of a new flow so:
//   subject's address → set                           (`SubjectRow`; in `policy_subjects`)
//   peer's address → identity, scope                  (`IdentityRow`: the exact address, else the longest prefix)
//   (set, direction, identity) → cell → class         (`PeerRow`, `CellRow`; a miss: the set's default class for the peer's scope)
//   class, protocol, port → verdict                   (`ClassRow`)
// What it needs beside rows: a pod may speak to itself (RULE_SELF; source and destination are one endpoint), unless a Service led it back:
// then the classes in its `SubjectRow` judge. A masqueraded packet's peer is looked up among the prefixes only, never among exact addresses.
//
// Zero is closed everywhere: set 0, cell 0, class 0 deny everything with RULE_NO_ROOM, so memory that nobody wrote lets nothing pass.
// Numbers of sets, cells, classes and identities are this node's own; none of them ever goes on the wire.

import type { PolicyDirection } from '../../model/policy.ts'

/** Number of a policy set: `policy_sets` index. 0: closed. */
export type SetId = number
/** Number of a cell: peers of one direction of a set that are judged alike. 0: closed. */
export type CellId = number
/** Number of a class. 0: closed. */
export type ClassId = number
/** Number of an identity; see `identity-numbers.ts` for the ranges. */
export type IdentityId = number
/** Names a rule or a built-in cause; see `rule-ids.ts`. 0: none. */
export type RuleId = number

/** No policy has an opinion. */
export const RULE_DEFAULT: RuleId = 1
/** A pod to its own address. */
export const RULE_SELF: RuleId = 2
/** The node's own traffic to its pods. */
export const RULE_OWN_NODE: RuleId = 3
/** No row was left for what policy says: closed. */
export const RULE_NO_ROOM: RuleId = 4
/** A port of the node that stays reachable unless a rule names it. */
export const RULE_FAIL_SAFE: RuleId = 5
/** Nothing is known of the subject yet: closed. The datapath's own. */
export const RULE_UNKNOWN: RuleId = 6
/** To a Service whose backend nobody here chooses: closed to whom something may be denied. The datapath's own. */
export const RULE_UNTRANSLATED: RuleId = 7
/** Registered rules begin here. */
export const FIRST_RULE: RuleId = 16

/** Index of a protocol in a class: the kernel's numbers too. 'icmp' is IPv4's; the port is the message's type; of 'other' it is 0. */
export const CLASS_PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'other'] as const
export type ClassProtocol = (typeof CLASS_PROTOCOLS)[number]

/** Verdict for the ports from `first` up to the next interval's `first` (the last one: up to 65535). */
export interface PortInterval {
  readonly first: number
  readonly isAllowed: boolean
  /** Why: the rule in force. */
  readonly rule: RuleId
  /** Not 0: with the audited policies in force the verdict would be the other one, by this rule. */
  readonly wouldBeRule: RuleId
  /** A denied flow that was allowed when it began goes on (`existingConnections: keep`). False for allowed ones. */
  readonly keepsExisting: boolean
}

/**
 * A class's verdicts, by `CLASS_PROTOCOLS`: per protocol ascending, the first interval begins at 0, neighbours differ. So there is always
 * exactly one: the last whose `first` is not above the port. A class never changes: other content is another class.
 */
export interface ClassRow {
  readonly class: ClassId
  readonly protocols: readonly (readonly PortInterval[])[]
  /** Defined: that interval (of first 0) for every protocol and port. Most classes are so: the kernel need not look at ports. */
  readonly uniform: PortInterval | undefined
}

/** In which of a set's defaults a peer is that has no row: kept beside its identity. */
export const SCOPES = ['outside', 'pod', 'node'] as const
export type Scope = (typeof SCOPES)[number]

export interface PeerKey {
  readonly set: SetId
  readonly direction: PolicyDirection
  readonly identity: IdentityId
}

/** Only where the class differs from the set's default for that direction and the identity's scope. */
export interface PeerRow extends PeerKey {
  readonly cell: CellId
}

/** The only row by which peers in their thousands are judged otherwise at once. */
export interface CellRow {
  readonly cell: CellId
  readonly class: ClassId
}

export interface SetDirection {
  /** By `SCOPES`: class of the peers without a row. */
  readonly defaults: readonly [outside: ClassId, pod: ClassId, node: ClassId]
  /** No policy says anything in this direction: all is allowed by RULE_DEFAULT, nothing need be looked up. */
  readonly isOpen: boolean
  /** Policies that are audited alone do: all is allowed, also what no port is known of. Absent: not so. */
  readonly isAudited?: boolean
}

export interface SetRow {
  readonly set: SetId
  /**
   * One counter for all sets, so that a subject that moves to another set is judged again too. Never 0. Read it BEFORE judging and keep
   * that with the verdict: it is written only after everything else of the change.
   */
  readonly epoch: number
  readonly ingress: SetDirection
  readonly egress: SetDirection
}

/** An exact address (hash) or a prefix (trie). 0.0.0.0/0 and ::/0 are always among the prefixes. */
export interface IdentityKey {
  readonly kind: 'address' | 'prefix'
  /** Canonical text: `10.1.2.3`, `10.0.0.0/8`. */
  readonly text: string
}

export interface IdentityRow extends IdentityKey {
  readonly identity: IdentityId
  readonly scope: Scope
}

/** Whose set: an address of a pod of this node, or the node itself (host policies; no row: the host is not judged). */
export type SubjectKey = { readonly kind: 'pod'; readonly address: string } | { readonly kind: 'node' }

export type SubjectRow =
  | { readonly kind: 'node'; readonly set: SetId }
  | {
      readonly kind: 'pod'
      readonly address: string
      readonly set: SetId
      /** `namespace/name`. Between addresses of one pod all is allowed, unless a Service led it back: then `hairpin` judges, nothing else. */
      readonly pod: string
      readonly hairpin: Readonly<Record<PolicyDirection, ClassId>>
    }

/**
 * A batch of rows of one table. Within a batch order means nothing; batches are applied strictly in the order given. Putting is idempotent,
 * deleting what is not there is fine.
 */
export type PolicyWrite =
  | { readonly table: 'classes'; readonly put: readonly ClassRow[] }
  | { readonly table: 'cells'; readonly put: readonly CellRow[] }
  | { readonly table: 'peers'; readonly put: readonly PeerRow[] }
  | { readonly table: 'sets'; readonly put: readonly SetRow[] }
  | { readonly table: 'identities'; readonly put: readonly IdentityRow[] }
  | { readonly table: 'subjects'; readonly put: readonly SubjectRow[] }
  | { readonly table: 'classes'; readonly delete: readonly ClassId[] }
  | { readonly table: 'cells'; readonly delete: readonly CellId[] }
  | { readonly table: 'peers'; readonly delete: readonly PeerKey[] }
  | { readonly table: 'sets'; readonly delete: readonly SetId[] }
  | { readonly table: 'identities'; readonly delete: readonly IdentityKey[] }
  | { readonly table: 'subjects'; readonly delete: readonly SubjectKey[] }

/**
 * What one change of the world changes in the kernel. A change is a sequence of steps, each of which alters either who is where or what is
 * allowed, never both. Who is where: rows of new identities, then addresses and prefixes, then rows of identities that are gone, then the
 * epochs of the sets by which a moved address is judged otherwise. What is allowed: new classes, new and changed cells (one that a peer
 * leaves is not changed, for that peer's row still names it: the others get a new one), new and changed rows, then sets (new ones
 * whole, of old ones the defaults with the epoch they had), then rows that go because the new default says the same, then subjects, then
 * epochs, then sets nobody points to, and at last cells and classes that nothing names. So every packet is judged as before or as after,
 * and no verdict of before carries an epoch of after; where a change alters both (`compiler.ts`), as before, as after what is allowed, or
 * as after both.
 */
export type PolicyChange = readonly PolicyWrite[]

/**
 * What an earlier agent left in the kernel. The compiler mixes up none of its numbers, and its first change, which must be of the whole
 * world, takes over: new sets with rows for the numbers that addresses still carry, then the subjects, then the addresses. Sets, their rows, cells
 * and classes that the first change did not put are left over after it, and for the datapath to delete.
 */
export interface EarlierRows {
  /** The highest. */
  readonly epoch: number
  /** The highest that flows or rows carry. */
  readonly rule: RuleId
  readonly sets: Iterable<SetId>
  readonly cells: Iterable<CellId>
  readonly classes: Iterable<ClassId>
  readonly subjects: Iterable<SubjectKey>
  readonly identities: Iterable<Pick<IdentityRow, 'kind' | 'text' | 'identity'>>
}
