// networking.k8s.io/v1 NetworkPolicy → our model. Its semantics are those of the API's own comments and end-to-end tests: policies
// add up, isolate the directions of `policyTypes`, and know no deny.

import {
  type DirectionRules,
  PORT_MAX,
  type Policy,
  type PolicyDirection,
  type PolicyFault,
  type PolicyPeer,
  type PolicyRule,
  type PortMatch,
} from '../../model/policy.ts'
import type { ApiObject } from '../objects.ts'
import { isPort } from '../parts.ts'
import { addFault, Fields, type Item } from './fields.ts'
import {
  EVERYTHING,
  namespaceNamed,
  type Placed,
  readAnnotations,
  readExcept,
  readPrefix,
  readWidely,
  ruleAt,
  selectorAt,
  specOf,
  wholeProtocol,
} from './parts.ts'

const PROTOCOL_WORDS = ['TCP', 'UDP', 'SCTP'] as const
const WORDS = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const
const TYPES = ['Ingress', 'Egress'] as const

export function toNetworkPolicy(object: ApiObject): Policy {
  const { metadata } = object
  const namespace = metadata.namespace ?? ''
  const faults: PolicyFault[] = []
  const item = specOf(object, faults)
  const spec = item && Fields.read(item, faults)
  const selector = spec?.object('podSelector')
  const pods = selector && readWidely(selector)
  const rules: Record<PolicyDirection, readonly PolicyRule[] | undefined> = {
    ingress: spec && readRules(spec, 'ingress', 'from', namespace),
    egress: spec && readRules(spec, 'egress', 'to', namespace),
  }
  const types = spec ? readTypes(spec, rules.egress !== undefined) : TYPES
  spec?.end()
  const isFaulty = faults.length > 0
  const direction = (name: PolicyDirection, type: (typeof TYPES)[number]): DirectionRules | undefined =>
    types.includes(type) ? { isolates: true, rules: isFaulty ? [] : (rules[name] ?? []) } : undefined
  return {
    kind: 'NetworkPolicy',
    key: `${namespace}/${metadata.name}`,
    part: 0,
    uid: metadata.uid ?? '',
    tier: 'normal',
    priority: 0,
    // What cannot be read of a selector narrows nothing: better too many pods closed than one left open.
    subject: { kind: 'pods', namespaces: namespaceNamed(namespace), pods: pods ?? EVERYTHING },
    ingress: direction('ingress', 'Ingress'),
    egress: direction('egress', 'Egress'),
    ...readAnnotations(metadata),
    faults,
  }
}

/** Absent or empty: ingress always, egress where there is a section of that name, or of a slip of it. What is not known may be either. */
function readTypes(spec: Fields, hasEgress: boolean): readonly string[] {
  const before = spec.faults.length
  const types = (spec.list('policyTypes') ?? []).flatMap((item) => {
    const found = TYPES.find((type) => type === item.value)
    if (found === undefined)
      addFault(spec.faults, item.path, item.value, 'is not known', `write ${TYPES.join(' or ')}`)
    return found ?? []
  })
  const slips = spec.slipsOf(['policyTypes', 'egress'])
  if (spec.faults.length > before || slips.includes('policyTypes')) return TYPES
  if (types.length > 0) return types
  return hasEgress || slips.includes('egress') ? TYPES : ['Ingress']
}

function readRules(
  spec: Fields,
  section: PolicyDirection,
  peersName: 'from' | 'to',
  namespace: string,
): readonly PolicyRule[] | undefined {
  return spec.objects(section)?.map((rule) => {
    const peers = rule.objects(peersName) ?? []
    const ports = rule.objects('ports') ?? []
    rule.end()
    return ruleAt(
      rule,
      'allow',
      peers.length === 0 ? 'any' : peers.flatMap((peer) => inPlace(peer, readPeer(peer, namespace))),
      ports.length === 0 ? 'any' : ports.flatMap((port) => inPlace(port, readPort(port))),
    )
  })
}

function inPlace<What>({ path }: Fields, what: What | undefined): readonly Placed<What>[] {
  return what === undefined ? [] : [[what, path]]
}

function readPeer(peer: Fields, namespace: string): PolicyPeer | undefined {
  const block = peer.object('ipBlock')
  const pods = selectorAt(peer, 'podSelector')
  const namespaces = selectorAt(peer, 'namespaceSelector')
  const hasSelector = peer.has('podSelector') || peer.has('namespaceSelector')
  peer.end()
  if (block !== undefined && hasSelector) {
    addFault(peer.faults, peer.path, undefined, 'has ipBlock beside a selector', 'make two items of it')
    return undefined
  }
  if (block !== undefined) return readBlock(block)
  if (hasSelector)
    return {
      kind: 'pods',
      namespaces: peer.has('namespaceSelector') ? (namespaces ?? EVERYTHING) : namespaceNamed(namespace),
      pods: pods ?? EVERYTHING,
    }
  addFault(
    peer.faults,
    peer.path,
    undefined,
    'names nobody',
    'write podSelector, namespaceSelector or ipBlock',
  )
  return undefined
}

function readBlock(block: Fields): PolicyPeer | undefined {
  const cidr: Item = block.item('cidr') ?? { value: undefined, path: block.pathOf('cidr') }
  const prefix = readPrefix(cidr, block.faults)
  const except = readExcept(block, prefix)
  block.end()
  return prefix && { kind: 'networks', prefix, except, covers: 'everything' }
}

function readPort(port: Fields): PortMatch | undefined {
  const protocol = WORDS[port.choice('protocol', PROTOCOL_WORDS) ?? 'TCP']
  const value = port.item('port')?.value
  const last = port.number('endPort')
  port.end()
  if (typeof value === 'string' && last === undefined) return { kind: 'named', protocol, name: value }
  if (value === undefined && last === undefined) return wholeProtocol(protocol)
  if (!isPort(value)) {
    const mend = last === undefined ? 'write a number or a name' : 'endPort goes with a number only'
    port.refuse('port', `is not a port (1–${PORT_MAX})`, mend)
    return undefined
  }
  if (last === undefined) return { kind: 'ports', protocol, first: value, last: value }
  if (isPort(last, value)) return { kind: 'ports', protocol, first: value, last }
  port.refuse('endPort', `is not a port from ${value} to ${PORT_MAX}`, 'write the last port of the range')
  return undefined
}
