// Random policies of every kind and field, as the kinds' readers would hand them on.

import fc from 'fast-check'
import { FAMILIES, type Prefix } from '../../../src/model/address.ts'
import {
  type DirectionRules,
  NAMESPACE_NAME_LABEL,
  type NetworksCover,
  POLICY_ENTITIES,
  PORT_MAX,
  PORT_PROTOCOLS,
  type Policy,
  type PolicyDirection,
  type PolicyKind,
  type PolicyPeer,
  type PolicyRule,
  type PolicySubject,
  type PortMatch,
  type RuleAction,
} from '../../../src/model/policy.ts'
import {
  chance,
  GROUP_LABELS,
  ICMP_TYPES,
  NAMESPACE_SELECTORS,
  NAMESPACES,
  NODE_LABELS,
  POD_SELECTORS,
  PORT_NAMES,
  PORTS,
  PREFIXES,
  pick,
  prefixesWithin,
  SERVICE_SELECTORS,
  selectorOf,
  weighted,
} from './alphabet.ts'

const podsPeer: fc.Arbitrary<PolicyPeer> = fc.record({
  kind: fc.constant('pods'),
  namespaces: selectorOf(NAMESPACE_SELECTORS),
  pods: selectorOf(POD_SELECTORS),
})

/** Mostly as the kind has it; the other meaning is an option of Cilium's. */
function coverOf(usual: NetworksCover): fc.Arbitrary<NetworksCover> {
  return weighted([9, fc.constant(usual)], [1, pick(['everything', 'outside'] as const)])
}

const exceptNumbers = weighted<readonly number[]>(
  [2, fc.constant([])],
  [3, fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 2 })],
)

function networksPeer(usual: NetworksCover): fc.Arbitrary<PolicyPeer> {
  return fc.tuple(pick(PREFIXES), exceptNumbers, coverOf(usual)).map(([prefix, numbers, covers]) => {
    const within = prefixesWithin(prefix)
    const except = numbers.flatMap((number) => within[number % within.length] ?? [])
    return { kind: 'networks', prefix, except: [...new Set(except)], covers }
  })
}

const groupsPeer: fc.Arbitrary<PolicyPeer> = fc.record(
  {
    kind: fc.constant('network-groups'),
    groups: weighted<Extract<PolicyPeer, { kind: 'network-groups' }>['groups']>(
      [2, fc.record({ name: pick(['g0', 'g1', 'g2']) })],
      [1, fc.record({ labels: selectorOf(GROUP_LABELS) })],
    ),
    except: weighted<readonly Prefix[]>(
      [2, fc.constant([])],
      [1, fc.array(pick(PREFIXES), { minLength: 1, maxLength: 2 })],
    ),
    covers: coverOf('outside'),
    unread: fc.constant('everywhere'),
  },
  { requiredKeys: ['kind', 'groups', 'except', 'covers'] },
)

const nodesPeer: fc.Arbitrary<PolicyPeer> = fc.record({
  kind: fc.constant('nodes'),
  labels: selectorOf(NODE_LABELS),
})

const servicesPeer: fc.Arbitrary<PolicyPeer> = fc.record({
  kind: fc.constant('services'),
  services: weighted<Extract<PolicyPeer, { kind: 'services' }>['services']>(
    [
      1,
      fc
        .tuple(pick(NAMESPACES), pick(['s0', 's1']))
        .map(([namespace, name]) => ({ key: `${namespace}/${name}` })),
    ],
    [1, fc.record({ namespaces: selectorOf(NAMESPACE_SELECTORS), labels: selectorOf(SERVICE_SELECTORS) })],
  ),
})

const entityPeer: fc.Arbitrary<PolicyPeer> = fc.record({
  kind: fc.constant('entity'),
  entity: pick(POLICY_ENTITIES),
})

const PEERS: Readonly<Record<PolicyKind, fc.Arbitrary<PolicyPeer>>> = {
  NetworkPolicy: weighted([3, podsPeer], [2, networksPeer('everything')]),
  ClusterNetworkPolicy: weighted([3, podsPeer], [2, networksPeer('everything')], [1, nodesPeer]),
  CiliumNetworkPolicy: weighted(
    [3, podsPeer],
    [2, networksPeer('outside')],
    [2, groupsPeer],
    [3, entityPeer],
    [1, nodesPeer],
    [1, servicesPeer],
  ),
  CiliumClusterwideNetworkPolicy: weighted(
    [2, podsPeer],
    [2, networksPeer('outside')],
    [1, groupsPeer],
    [3, entityPeer],
    [1, nodesPeer],
    [1, servicesPeer],
  ),
}

const portsMatch: fc.Arbitrary<PortMatch> = fc
  .tuple(
    pick(PORT_PROTOCOLS),
    pick([0, ...PORTS]),
    weighted([3, fc.constant(0)], [2, pick([1, 2, 100, 9000])], [1, fc.constant(PORT_MAX)]),
  )
  .map(([protocol, first, more]) => ({
    kind: 'ports',
    protocol,
    first,
    last: Math.min(PORT_MAX, first + more),
  }))

function namedMatch(protocol: fc.Arbitrary<'tcp' | 'udp' | 'sctp' | undefined>): fc.Arbitrary<PortMatch> {
  return fc.record({ kind: fc.constant('named'), protocol, name: pick(PORT_NAMES) })
}

const icmpMatch: fc.Arbitrary<PortMatch> = fc
  .tuple(pick(FAMILIES), fc.nat({ max: 3 }))
  .map(([family, number]) => ({ kind: 'icmp', family, type: ICMP_TYPES[family][number] ?? 0 }))

const ciliumMatch = weighted(
  [4, portsMatch],
  [2, namedMatch(pick([undefined, ...PORT_PROTOCOLS]))],
  [2, icmpMatch],
)

const PORT_MATCHES: Readonly<Record<PolicyKind, fc.Arbitrary<PortMatch>>> = {
  NetworkPolicy: weighted([3, portsMatch], [1, namedMatch(pick(PORT_PROTOCOLS))]),
  ClusterNetworkPolicy: weighted([3, portsMatch], [1, namedMatch(fc.constant(undefined))]),
  CiliumNetworkPolicy: ciliumMatch,
  CiliumClusterwideNetworkPolicy: ciliumMatch,
}

function listOrAny<T>(item: fc.Arbitrary<T>, anyWeight: number): fc.Arbitrary<readonly T[] | 'any'> {
  return fc.oneof(
    { weight: anyWeight, arbitrary: fc.constant('any' as const) },
    { weight: 1, arbitrary: fc.constant([]) },
    { weight: 12, arbitrary: fc.array(item, { minLength: 1, maxLength: 3 }) },
  )
}

const ACTIONS: Readonly<Record<PolicyKind, fc.Arbitrary<RuleAction>>> = {
  NetworkPolicy: fc.constant('allow'),
  ClusterNetworkPolicy: pick(['allow', 'deny', 'pass']),
  CiliumNetworkPolicy: weighted<RuleAction>([2, fc.constant('allow')], [1, fc.constant('deny')]),
  CiliumClusterwideNetworkPolicy: weighted<RuleAction>([2, fc.constant('allow')], [1, fc.constant('deny')]),
}

type DraftRule = Omit<PolicyRule, 'path'>

function draftRule(kind: PolicyKind): fc.Arbitrary<DraftRule> {
  return fc.record({
    action: ACTIONS[kind],
    peers: listOrAny(PEERS[kind], 3),
    ports: listOrAny(PORT_MATCHES[kind], 6),
  })
}

interface Draft {
  readonly kind: PolicyKind
  readonly namespace: (typeof NAMESPACES)[number]
  readonly subject: PolicySubject
  readonly tier: 'admin' | 'baseline'
  readonly priority: number
  readonly directions: readonly PolicyDirection[]
  readonly ingress: readonly DraftRule[]
  readonly egress: readonly DraftRule[]
  readonly isolates: Readonly<Record<PolicyDirection, boolean>>
  readonly isAudit: boolean
  readonly isFaulty: boolean
  readonly isPart: boolean
  readonly existingConnections: Policy['existingConnections']
}

const isolatesOften = chance(65)

function draftOf(kind: PolicyKind): fc.Arbitrary<Draft> {
  const rules = fc.array(draftRule(kind), {
    minLength: kind === 'ClusterNetworkPolicy' ? 1 : 0,
    maxLength: 4,
  })
  const podSubject = fc.record({
    kind: fc.constant('pods' as const),
    namespaces: selectorOf(NAMESPACE_SELECTORS),
    pods: selectorOf(POD_SELECTORS),
  })
  const nodeSubject = fc.record({ kind: fc.constant('nodes' as const), labels: selectorOf(NODE_LABELS) })
  return fc.record({
    kind: fc.constant(kind),
    namespace: pick(NAMESPACES),
    subject:
      kind === 'CiliumClusterwideNetworkPolicy'
        ? weighted<PolicySubject>([1, podSubject], [1, nodeSubject])
        : podSubject,
    tier: pick(['admin', 'baseline'] as const),
    priority: pick([0, 1, 1, 5, 1000]),
    directions: pick<readonly PolicyDirection[]>([
      ['ingress'],
      ['egress'],
      ['ingress', 'egress'],
      ['ingress', 'egress'],
    ]),
    ingress: rules,
    egress: rules,
    isolates: fc.record({ ingress: isolatesOften, egress: isolatesOften }),
    isAudit: chance(12),
    isFaulty: chance(6),
    isPart: chance(30),
    existingConnections: pick([undefined, undefined, 'recheck', 'keep'] as const),
  })
}

const FAULT = { path: 'spec.ingress[0].toPorts[0].rules', text: 'is not supported', mend: 'Remove it' }

function isolatesOf(draft: Draft, direction: PolicyDirection): boolean {
  if (draft.kind === 'ClusterNetworkPolicy') return false
  return draft.kind === 'NetworkPolicy' || draft.isFaulty || draft.isolates[direction]
}

function directionOf(draft: Draft, direction: PolicyDirection): DirectionRules | undefined {
  if (!draft.directions.includes(direction)) return undefined
  // A faulty one of the tiers has been given denials in place of what was not understood, and keeps them.
  const rules = draft.isFaulty && draft.kind !== 'ClusterNetworkPolicy' ? [] : draft[direction]
  return {
    isolates: isolatesOf(draft, direction),
    rules: rules.map((rule, index) => ({ ...rule, path: `spec.${direction}[${index}]` })),
  }
}

function subjectOf({ kind, namespace, subject }: Draft): PolicySubject {
  if (subject.kind === 'nodes' || (kind !== 'NetworkPolicy' && kind !== 'CiliumNetworkPolicy')) return subject
  const requirement = { key: NAMESPACE_NAME_LABEL, operator: 'In' as const, values: [namespace] }
  return { ...subject, namespaces: { requirements: [requirement] } }
}

/** @param previous the policy before: a part of the same object may follow */
function policyOf(draft: Draft, index: number, previous: Policy | undefined): Policy {
  const isOrdered = draft.kind === 'ClusterNetworkPolicy'
  const isNamespaced = draft.kind === 'NetworkPolicy' || draft.kind === 'CiliumNetworkPolicy'
  // Names in another order than the list's.
  const name = `p${'dbfaegchij'[index] ?? index}`
  const isPart = draft.isPart && draft.kind.startsWith('Cilium') && previous?.kind === draft.kind
  return {
    kind: draft.kind,
    key: isPart ? previous.key : isNamespaced ? `${draft.namespace}/${name}` : name,
    part: isPart ? previous.part + 1 : 0,
    uid: isPart ? previous.uid : `uid-${index}`,
    tier: isOrdered ? draft.tier : 'normal',
    priority: isOrdered ? draft.priority : 0,
    subject: subjectOf(
      isPart ? { ...draft, namespace: previous.key.split('/')[0] as Draft['namespace'] } : draft,
    ),
    ingress: directionOf(draft, 'ingress'),
    egress: directionOf(draft, 'egress'),
    isAudit: draft.isAudit,
    existingConnections: draft.existingConnections,
    faults: draft.isFaulty ? [FAULT] : [],
  }
}

/** One to seven policies with names of their own. */
export const policiesArbitrary: fc.Arbitrary<readonly Policy[]> = fc
  .array(
    weighted<Draft>(
      [4, draftOf('NetworkPolicy')],
      [5, draftOf('ClusterNetworkPolicy')],
      [4, draftOf('CiliumNetworkPolicy')],
      [4, draftOf('CiliumClusterwideNetworkPolicy')],
    ),
    { minLength: 1, maxLength: 7 },
  )
  .map((drafts) => {
    const policies: Policy[] = []
    for (const [index, draft] of drafts.entries()) policies.push(policyOf(draft, index, policies.at(-1)))
    return policies
  })
