// policy.networking.k8s.io ClusterNetworkPolicy, v1beta1 and v1alpha2 → our model. The two have the same fields and meaning; v1beta1 lets
// nobody write a network with bits beyond its length any more. Rules are in order, and none isolates. What cannot be followed fails closed:
//   - in a rule, the rule by itself, as the API asks: an Accept matches nobody, a Deny or Pass becomes a Deny of everybody on its ports;
//   - in the subject, whoever may be meant is protected: what is readable of it narrows. That too many pods are let nowhere is seen at once
//     and mended, that some are not protected is not;
//   - in the subject or beside the rules, every Accept matches nobody, and a Pass becomes a Deny, for nobody can tell whom, or ahead of
//     what, they would let pass.

import { type Prefix, parsePrefix } from '../../model/address.ts'
import {
  type DirectionRules,
  POLICY_DIRECTIONS,
  PORT_MAX,
  PORT_PROTOCOLS,
  type Policy,
  type PolicyDirection,
  type PolicyFault,
  type PolicyPeer,
  type PolicyRule,
  type PolicySubject,
  type PortMatch,
  type PortProtocol,
} from '../../model/policy.ts'
import type { ApiObject } from '../objects.ts'
import { isPort } from '../parts.ts'
import { addFault, Fields, type Item } from './fields.ts'
import {
  EVERYTHING,
  type Placed,
  placed,
  readAnnotations,
  readPrefix,
  readSelector,
  readWidely,
  ruleAt,
  selectorAt,
  specOf,
  wholeProtocol,
} from './parts.ts'

const PRIORITY_MAX = 1000
/** It lets networks have bits beyond their length, which mean nothing. */
const TAKES_HOST_BITS = 'v1alpha2'
const TIERS = { Admin: 'admin', Baseline: 'baseline' } as const
const TIER_WORDS = ['Admin', 'Baseline'] as const
const ACTIONS = { Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const
const ACTION_WORDS = ['Accept', 'Deny', 'Pass'] as const
const EVERYBODY: Extract<PolicySubject, { kind: 'pods' }> = {
  kind: 'pods',
  namespaces: EVERYTHING,
  pods: EVERYTHING,
}

interface Reading {
  readonly faults: PolicyFault[]
  readonly notes: PolicyFault[]
  readonly version: string
}

export function toClusterNetworkPolicy(object: ApiObject, version: string): Policy {
  const { metadata } = object
  const annotations = readAnnotations(metadata)
  const reading: Reading = { faults: [], notes: [...annotations.notes], version }
  const { faults } = reading
  const item = specOf(object, faults)
  const spec = item && Fields.read(item, faults)
  const head = spec ? readHead(spec) : UNREAD_HEAD
  const ingress = spec && readRules(spec, 'ingress', reading)
  const egress = spec && readRules(spec, 'egress', reading)
  const slips = spec?.slipsOf(POLICY_DIRECTIONS) ?? []
  spec?.end()
  const isClosed = !faults.every(isOfRule)
  const direction = (name: PolicyDirection, rules: DirectionRules | undefined) =>
    slips.includes(name)
      ? withSlip(closedRules(rules), `spec.${name}`)
      : isClosed
        ? closedRules(rules)
        : rules
  return {
    kind: 'ClusterNetworkPolicy',
    key: metadata.name ?? '',
    part: 0,
    uid: metadata.uid ?? '',
    ...head,
    ingress: direction('ingress', ingress),
    egress: direction('egress', egress),
    ...annotations,
    notes: reading.notes,
    faults,
  }
}

/** It closes its rule, and nothing beside it. */
export function isOfRule({ path }: PolicyFault): boolean {
  return /^spec\.(in|e)gress\[/.test(path)
}

type Head = Pick<Policy, 'tier' | 'priority' | 'subject'>
/** What cannot be read is taken for what comes first, and for everybody. */
const UNREAD_HEAD: Head = { tier: 'admin', priority: 0, subject: EVERYBODY }

function readHead(spec: Fields): Head {
  const tier = spec.choice('tier', TIER_WORDS)
  if (tier === undefined && !spec.has('tier'))
    addFault(spec.faults, 'spec.tier', undefined, 'is missing', `write ${TIER_WORDS.join(' or ')}`)
  const start = spec.faults.length
  const priority = spec.number('priority') ?? -1
  const isPriority = Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX
  if (!isPriority && spec.faults.length === start)
    spec.refuse('priority', 'is not a priority', `write a whole number from 0 to ${PRIORITY_MAX}`)
  const subject = spec.object('subject')
  if (subject === undefined && !spec.has('subject'))
    addFault(spec.faults, 'spec.subject', undefined, 'is missing', 'write namespaces or pods below it')
  return {
    tier: tier === undefined ? UNREAD_HEAD.tier : TIERS[tier],
    priority: isPriority ? priority : UNREAD_HEAD.priority,
    subject: subject ? readSubject(subject) : EVERYBODY,
  }
}

/** With faults, whoever may be meant: see above. */
function readSubject(subject: Fields): PolicySubject {
  const start = subject.faults.length
  const namespaces = subject.object('namespaces')
  const pods = subject.object('pods')
  subject.end()
  if (namespaces && pods)
    addFault(subject.faults, subject.path, undefined, 'has namespaces beside pods', 'write one of them')
  else if (!namespaces && !pods && subject.faults.length === start)
    addFault(subject.faults, subject.path, undefined, 'selects nobody', 'write namespaces or pods below it')
  const ofNamespaces = namespaces ? readWidely(namespaces) : EVERYTHING
  if (pods === undefined) return { ...EVERYBODY, namespaces: ofNamespaces }
  const [ofTheirs, ofPods] = ['namespaceSelector', 'podSelector'].map((name) => pods.object(name))
  const wide = {
    namespaces: ofTheirs ? readWidely(ofTheirs) : EVERYTHING,
    pods: ofPods ? readWidely(ofPods) : EVERYTHING,
  }
  pods.end()
  return namespaces ? EVERYBODY : { kind: 'pods', ...wide }
}

/** Of a peer. */
function readPods(fields: Fields): Extract<PolicyPeer, { kind: 'pods' }> | undefined {
  const namespaces = fields.object('namespaces')
  if (namespaces !== undefined)
    return { kind: 'pods', namespaces: readSelector(namespaces) ?? EVERYTHING, pods: EVERYTHING }
  const pods = fields.object('pods')
  if (pods === undefined) return undefined
  const found = {
    kind: 'pods',
    namespaces: selectorAt(pods, 'namespaceSelector') ?? EVERYTHING,
    pods: selectorAt(pods, 'podSelector') ?? EVERYTHING,
  } as const
  pods.end()
  return found
}

const PEERS = { ingress: 'from', egress: 'to' } as const

function readRules(spec: Fields, section: PolicyDirection, reading: Reading): DirectionRules | undefined {
  const item = spec.item(section)
  if (item === undefined) return undefined
  if (!Array.isArray(item.value)) {
    addFault(spec.faults, item.path, item.value, 'is not a list', "write its items with '-' before each")
    return { isolates: false, rules: [denyAll(item)] }
  }
  const rules = (spec.list(section) ?? []).map((one) => {
    const rule = Fields.read(one, spec.faults)
    return rule ? readRule(rule, PEERS[section], reading) : denyAll(one)
  })
  return { isolates: false, rules }
}

function denyAll({ path }: Pick<Item, 'path'>): PolicyRule {
  return { action: 'deny', peers: 'any', ports: 'any', path }
}

/** Rules under a name that is a slip may deny anybody. */
function withSlip(rules: DirectionRules | undefined, path: string): DirectionRules {
  return { isolates: false, rules: [...(rules?.rules ?? []), denyAll({ path })] }
}

function closedRules(rules: DirectionRules | undefined): DirectionRules | undefined {
  return rules && { ...rules, rules: rules.rules.map(closedRule) }
}

function closedRule(rule: PolicyRule): PolicyRule {
  const { places: _, ...bare } = rule
  return rule.action === 'allow' ? { ...bare, peers: [] } : { ...rule, action: 'deny' }
}

function readRule(rule: Fields, peersName: 'from' | 'to', reading: Reading): PolicyRule {
  const start = rule.faults.length
  const action = rule.choice('action', ACTION_WORDS)
  if (action === undefined && !rule.has('action'))
    addFault(rule.faults, rule.pathOf('action'), undefined, 'is missing', `write ${ACTION_WORDS.join(', ')}`)
  const peers = (rule.objects(peersName) ?? []).flatMap((peer) => readPeers(peer, peersName, reading))
  if (peers.length === 0 && rule.faults.length === start)
    addFault(rule.faults, rule.pathOf(peersName), undefined, 'names nobody', 'write at least one peer')
  const beforePorts = rule.faults.length
  const protocols = rule.objects('protocols') ?? []
  const ports = protocols.flatMap((protocol) => {
    const port = readProtocol(protocol)
    return port ? placed(protocol.path, port) : []
  })
  const arePortsKnown = rule.faults.length === beforePorts
  const name = rule.item('name')?.value
  const named = typeof name === 'string' && name !== '' ? { name } : {}
  rule.end()
  const allPorts = protocols.length === 0 ? 'any' : ports
  if (rule.faults.length === start && action !== undefined)
    return { ...ruleAt(rule, ACTIONS[action], peers, allPorts), ...named }
  if (action === 'Accept') return { ...ruleAt(rule, 'allow', [], allPorts), ...named }
  return { ...ruleAt(rule, 'deny', 'any', arePortsKnown ? allPorts : 'any'), ...named }
}

/** The API has no other peers in ingress. */
const FROM_MEND =
  'write namespaces or pods; networks outside are allowed or denied by ipBlock of a NetworkPolicy, or fromCIDR of a Cilium one'

function readPeers(peer: Fields, peersName: 'from' | 'to', reading: Reading): readonly Placed<PolicyPeer>[] {
  const start = peer.faults.length
  const kinds = ['namespaces', 'pods', ...(peersName === 'to' ? ['networks', 'nodes'] : [])]
  const present = kinds.filter((name) => peer.has(name))
  const pods = readPods(peer)
  const found = [...(pods === undefined ? [] : placed<PolicyPeer>(peer.path, pods))]
  if (peersName === 'to') {
    for (const item of peer.list('networks') ?? []) {
      const prefix = readNetwork(item, reading)
      if (prefix) found.push([{ kind: 'networks', prefix, except: [], covers: 'everything' }, item.path])
    }
    const nodes = selectorAt(peer, 'nodes')
    if (nodes) found.push([{ kind: 'nodes', labels: nodes }, peer.path])
    peer.unsupported(['domainNames'], 'name networks instead; rules by domain name are not enforced yet')
  } else {
    for (const name of ['networks', 'nodes', 'domainNames'])
      if (peer.has(name)) peer.refuse(name, 'is of egress rules only', FROM_MEND)
  }
  if (present.length > 1)
    addFault(peer.faults, peer.path, undefined, `has ${present.join(' beside ')}`, 'make an item of each')
  peer.end()
  if (found.length === 0 && peer.faults.length === start)
    addFault(peer.faults, peer.path, undefined, 'names nobody', `write one of ${kinds.join(', ')}`)
  return found
}

/** Objects may be older than the version as which they are read. */
function readNetwork(item: Item, { faults, notes, version }: Reading): Prefix | undefined {
  const prefix = readPrefix(item, faults)
  if (prefix !== undefined && version !== TAKES_HOST_BITS && parsePrefix(String(item.value)) === undefined)
    addFault(notes, item.path, item.value, `has bits beyond its length; ${prefix} holds`, `write ${prefix}`)
  return prefix
}

function readProtocol(protocol: Fields): PortMatch | undefined {
  const start = protocol.faults.length
  const found: PortMatch[] = []
  for (const name of PORT_PROTOCOLS) {
    const one = protocol.object(name)
    const match = one && readDestination(one, name)
    if (match) found.push(match)
  }
  const name = protocol.text('destinationNamedPort')
  if (name !== undefined) found.push({ kind: 'named', protocol: undefined, name })
  protocol.end()
  if (found.length !== 1 && protocol.faults.length === start)
    addFault(
      protocol.faults,
      protocol.path,
      undefined,
      `has ${found.length} of tcp, udp, sctp, destinationNamedPort`,
      'write exactly one',
    )
  return found[0]
}

function readDestination(fields: Fields, protocol: PortProtocol): PortMatch | undefined {
  const destination = fields.object('destinationPort')
  fields.end()
  if (destination === undefined) return wholeProtocol(protocol)
  const number = destination.number('number')
  const range = destination.object('range')
  const start = range?.number('start')
  const end = range?.number('end')
  range?.end()
  destination.end()
  if (range === undefined && isPort(number)) return { kind: 'ports', protocol, first: number, last: number }
  if (number === undefined && isPort(start) && isPort(end, start))
    return { kind: 'ports', protocol, first: start, last: end }
  addFault(
    destination.faults,
    destination.path,
    undefined,
    'is no port and no range of ports',
    `write number, or range with start and end, from 1 to ${PORT_MAX}`,
  )
  return undefined
}
