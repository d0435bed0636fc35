// What the kernel's rows say of one direction of a new flow: the look-ups of bpf/lib/policy.h, row by row, for who wants to see them.

import { type Address, addressBits, familyOf, type Prefix } from '../model/address.ts'
import type { PolicyDirection } from '../model/policy.ts'
import { IDENTITY_WORLD } from '../policy/compile/identity-numbers.ts'
import {
  type CellId,
  CLASS_PROTOCOLS,
  type ClassId,
  type ClassProtocol,
  type IdentityId,
  type PeerKey,
  type PortInterval,
  RULE_DEFAULT,
  RULE_NO_ROOM,
  RULE_OWN_NODE,
  RULE_SELF,
  RULE_UNKNOWN,
  type RuleId,
  SCOPES,
  type SetId,
} from '../policy/compile/rows.ts'
import type { CanGet } from './kernel-tables.ts'
import {
  type IdentityValue,
  NODE_SUBJECT,
  type PolicyClassValue,
  type PolicyPorts,
  type PolicySetValue,
  type PolicySubjectValue,
} from './policy-tables.ts'

export interface PolicyReads {
  readonly identities: CanGet<Address, IdentityValue>
  readonly prefixes: CanGet<Prefix, IdentityValue>
  readonly subjects: CanGet<Address, PolicySubjectValue>
  readonly sets: CanGet<SetId, PolicySetValue>
  readonly peers: CanGet<PeerKey, CellId>
  readonly cells: CanGet<CellId, ClassId>
  readonly classes: CanGet<ClassId, PolicyClassValue>
  readonly ports: Pick<PolicyPorts, 'read'>
}

export interface PolicyQuestion {
  readonly direction: PolicyDirection
  /** A pod of this node, or the node itself. */
  readonly subject: Address
  readonly isOfHost?: boolean
  readonly peer: Address
  readonly protocol: ClassProtocol
  readonly port: number
  /** This node itself is the peer. */
  readonly isFromHost: boolean
  /** The peer has a node's address, and is the world's. */
  readonly isMasqueraded?: boolean
}

export interface KernelRuling {
  readonly isAllowed: boolean
  readonly rule: RuleId
  /** Not 0: with the audited policies in force it would be the other way round, by this rule. */
  readonly wouldBeRule: RuleId
  readonly set: SetId
  readonly identity: IdentityId
}

export function lookUpPolicy(rows: PolicyReads, question: PolicyQuestion): KernelRuling {
  const { direction, subject, peer, isFromHost, isOfHost = false } = question
  const { set: number = 0 } = rows.subjects.get(isOfHost ? NODE_SUBJECT : subject) ?? {}
  const set = number === 0 ? undefined : rows.sets.get(number)
  const identity = identityOf(rows, peer, question.isMasqueraded)
  const say = (isAllowed: boolean, rule: RuleId, wouldBeRule = 0): KernelRuling => ({
    ...{ isAllowed, rule, wouldBeRule, set: number },
    identity: identity.number,
  })
  if (subject === peer && !isOfHost) return say(true, RULE_SELF)
  if (isFromHost && !isOfHost && direction === 'ingress') return say(true, RULE_OWN_NODE)
  const isToPod = isOfHost && direction === 'egress' && peer !== NODE_SUBJECT && rows.subjects.get(peer)
  if (isToPod) return say(true, RULE_OWN_NODE)
  if (set === undefined) return say(false, RULE_UNKNOWN)
  if (set.isOpen[direction] && !isOfHost) return say(true, RULE_DEFAULT)
  if (set.isLocked) return say(false, RULE_NO_ROOM)
  const cell = rows.peers.get({ set: number, direction, identity: identity.number })
  const byDefault = set.defaults[direction][SCOPES.indexOf(identity.scope)]
  const found = (cell === undefined ? byDefault : rows.cells.get(cell)) ?? 0
  const verdict = intervalOf(rows, found, question)
  return verdict ? say(verdict.isAllowed, verdict.rule, verdict.wouldBeRule) : say(false, RULE_NO_ROOM)
}

function identityOf(rows: PolicyReads, peer: Address, isMasqueraded = false): IdentityValue {
  const whole = `${peer}/${addressBits(familyOf(peer))}` as Prefix
  // A trie answers with the longest prefix that holds what it is asked for.
  const own = isMasqueraded ? undefined : rows.identities.get(peer)
  return own ?? rows.prefixes.get(whole) ?? { number: IDENTITY_WORLD, scope: 'outside' }
}

function intervalOf(
  { classes, ports }: PolicyReads,
  id: ClassId,
  { protocol, port }: PolicyQuestion,
): PortInterval | undefined {
  const row = id === 0 ? undefined : classes.get(id)
  if (row === undefined || row.uniform) return row?.uniform
  const place = CLASS_PROTOCOLS.indexOf(protocol)
  let found: PortInterval | undefined
  for (let at = row.starts[place] ?? 0; at < (row.starts[place + 1] ?? 0); at += 1) {
    const interval = ports.read(row.base + at)
    if (interval.first <= port) found = interval
  }
  return found
}
