// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy → our model. Rules are in order, and none isolates. A rule that holds something
// unknown fails closed by itself, as the API asks: an Accept matches nobody, a Deny or Pass becomes a Deny of everybody on its ports.

import {
  type DirectionRules,
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
import { addFault, Fields } from './fields.ts'
import {
  EVERYTHING,
  NOTHING,
  readAnnotations,
  readPrefix,
  readSelector,
  selectorAt,
  specOf,
  wholeProtocol,
} from './parts.ts'

const PRIORITY_MAX = 1000
const TIERS = { Admin: 'admin', Baseline: 'baseline' } as const
const TIER_WORDS = ['Admin', 'Baseline'] as const
const ACTIONS = { Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const
const ACTION_WORDS = ['Accept', 'Deny', 'Pass'] as const
const NOBODY: PolicySubject = { kind: 'pods', namespaces: NOTHING, pods: EVERYTHING }

export function toClusterNetworkPolicy(object: ApiObject): Policy {
  const { metadata } = object
  const faults: PolicyFault[] = []
  const item = specOf(object, faults)
  const spec = item && Fields.read(item, faults)
  const tier = spec?.choice('tier', TIER_WORDS)
  const priority = spec?.number('priority')
  const subject = spec?.object('subject')
  const policy: Policy = {
    kind: 'ClusterNetworkPolicy',
    key: metadata.name ?? '',
    part: 0,
    uid: metadata.uid ?? '',
    // What cannot be read is taken for what comes first.
    tier: tier === undefined ? 'admin' : TIERS[tier],
    priority: Math.min(Math.max(priority ?? 0, 0), PRIORITY_MAX),
    subject: (subject && readSubject(subject)) ?? NOBODY,
    ingress: spec && readRules(spec, 'ingress', 'from'),
    egress: spec && readRules(spec, 'egress', 'to'),
    ...readAnnotations(metadata),
    faults,
  }
  if (spec !== undefined) checkHead(spec, { tier, priority, subject })
  return policy
}

function checkHead(
  spec: Fields,
  { tier, priority, subject }: { tier: string | undefined; priority: number | undefined; subject: unknown },
): void {
  if (tier === undefined && !spec.has('tier'))
    addFault(spec.faults, 'spec.tier', undefined, 'is missing', `write ${TIER_WORDS.join(' or ')}`)
  if (priority === undefined || !Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX)
    spec.refuse('priority', 'is not a priority', `write a whole number from 0 to ${PRIORITY_MAX}`)
  if (subject === undefined && !spec.has('subject'))
    addFault(spec.faults, 'spec.subject', undefined, 'is missing', 'write namespaces or pods below it')
  spec.end()
}

/** Undefined when it cannot be read. That protects nobody: to guess would close or open pods all over the cluster. */
function readSubject(subject: Fields): PolicySubject | undefined {
  const before = subject.faults.length
  const peer = readPods(subject)
  subject.end()
  if (peer === undefined && subject.faults.length === before)
    addFault(subject.faults, subject.path, undefined, 'selects nobody', 'write namespaces or pods below it')
  return subject.faults.length === before ? peer : undefined
}

/** `namespaces` or `pods`, in subjects and peers alike. */
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

function readRules(
  spec: Fields,
  section: PolicyDirection,
  peersName: 'from' | 'to',
): DirectionRules | undefined {
  const rules = spec.objects(section)
  return rules && { isolates: false, rules: rules.map((rule) => readRule(rule, peersName)) }
}

function readRule(rule: Fields, peersName: 'from' | 'to'): PolicyRule {
  const start = rule.faults.length
  const action = rule.choice('action', ACTION_WORDS)
  if (action === undefined && !rule.has('action'))
    addFault(rule.faults, rule.pathOf('action'), undefined, 'is missing', `write ${ACTION_WORDS.join(', ')}`)
  const peers = (rule.objects(peersName) ?? []).flatMap((peer) => readPeers(peer, peersName))
  if (peers.length === 0 && rule.faults.length === start)
    addFault(rule.faults, rule.pathOf(peersName), undefined, 'names nobody', 'write at least one peer')
  const beforePorts = rule.faults.length
  const protocols = rule.objects('protocols') ?? []
  const ports = protocols.flatMap((protocol) => readProtocol(protocol) ?? [])
  const arePortsKnown = rule.faults.length === beforePorts
  rule.ignore('name')
  rule.end()
  const { path } = rule
  const allPorts = protocols.length === 0 ? 'any' : ports
  if (rule.faults.length === start && action !== undefined)
    return { action: ACTIONS[action], peers, ports: allPorts, path }
  if (action === 'Accept') return { action: 'allow', peers: [], ports: allPorts, path }
  return { action: 'deny', peers: 'any', ports: arePortsKnown ? allPorts : 'any', path }
}

function readPeers(peer: Fields, peersName: 'from' | 'to'): PolicyPeer[] {
  const start = peer.faults.length
  const pods = readPods(peer)
  const found: PolicyPeer[] = pods === undefined ? [] : [pods]
  if (peersName === 'to') {
    for (const item of peer.list('networks') ?? []) {
      const prefix = readPrefix(item, peer.faults)
      if (prefix) found.push({ kind: 'networks', prefix, except: [], covers: 'everything' })
    }
    const nodes = selectorAt(peer, 'nodes')
    if (nodes) found.push({ kind: 'nodes', labels: nodes })
    peer.unsupported(['domainNames'], 'name networks instead; rules by domain name are not enforced yet')
  }
  peer.end()
  if (found.length === 0 && peer.faults.length === start)
    addFault(peer.faults, peer.path, undefined, 'names nobody', 'write namespaces, pods, networks or nodes')
  return found
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
