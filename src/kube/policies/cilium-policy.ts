// cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy → our model, as far as L3 and L4 go. Each `spec` and each of `specs`
// is a policy by itself. A deny beats every allow; a section with rules isolates its direction unless `enableDefaultDeny` says not to.
// What is not followed here (L7 rules, FQDNs, groups, authentication) makes the policy fail closed.

import { isRecord } from '../../model/is-record.ts'
import type {
  DirectionRules,
  Policy,
  PolicyDirection,
  PolicyFault,
  PolicyKind,
  PolicyRule,
  PolicySubject,
  RuleAction,
} from '../../model/policy.ts'
import type { ApiObject } from '../objects.ts'
import { readPeers, withoutSources } from './cilium-peers.ts'
import { readPorts } from './cilium-ports.ts'
import { readEndpointSelector } from './cilium-selector.ts'
import { addFault, Fields, type Item } from './fields.ts'
import { EVERYTHING, NOTHING, namespaceNamed, readAnnotations, readSelector } from './parts.ts'

/** @param namespace undefined for a cluster-wide policy */
export function toCiliumPolicies(object: ApiObject, namespace: string | undefined): Policy[] {
  const { metadata } = object
  const kind: PolicyKind = namespace === undefined ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy'
  const specs = specsOf(object)
  const annotations = readAnnotations(metadata)
  return specs.map((item, part) => {
    const faults: PolicyFault[] = []
    const spec = Fields.read(item, faults)
    if (item.value === undefined)
      addFault(faults, item.path, undefined, 'is missing', 'write spec, or a list of them in specs')
    return {
      kind,
      key: namespace === undefined ? `${metadata.name}` : `${namespace}/${metadata.name}`,
      part,
      uid: metadata.uid ?? '',
      tier: 'normal',
      priority: 0,
      ...annotations,
      faults,
      ...(spec ? readSpec(spec, namespace) : closed(namespace)),
    }
  })
}

function specsOf(object: unknown): readonly Item[] {
  if (!isRecord(object)) return [{ value: undefined, path: 'spec' }]
  const { spec, specs } = object
  const list = Array.isArray(specs)
    ? specs.map((value: unknown, index): Item => ({ value, path: `specs[${index}]` }))
    : []
  const single = spec === undefined || spec === null ? [] : [{ value: spec, path: 'spec' }]
  const all = [...single, ...list]
  return all.length > 0 ? all : [{ value: undefined, path: 'spec' }]
}

type Said = Pick<Policy, 'subject' | 'ingress' | 'egress'>

const CLOSED: DirectionRules = { isolates: true, rules: [] }

/** What cannot be read at all closes its namespace; cluster-wide it closes nobody, for that would be everybody. */
function closed(namespace: string | undefined): Said {
  return { subject: subjectOf(namespace, undefined), ingress: CLOSED, egress: CLOSED }
}

function subjectOf(namespace: string | undefined, read: PolicySubject | undefined): PolicySubject {
  if (read !== undefined) return read
  const namespaces = namespace === undefined ? NOTHING : namespaceNamed(namespace)
  return { kind: 'pods', namespaces, pods: EVERYTHING }
}

function readSpec(spec: Fields, namespace: string | undefined): Said {
  const subject = subjectOf(namespace, readSubject(spec, namespace))
  const defaults = spec.object('enableDefaultDeny')
  const said = {
    ingress: readDirection(spec, 'ingress', namespace, defaults),
    egress: readDirection(spec, 'egress', namespace, defaults),
  }
  defaults?.end()
  spec.ignore('labels', 'description')
  const log = spec.object('log')
  log?.text('value')
  log?.end()
  spec.end()
  if (spec.faults.length === 0) return { subject, ...said }
  return { subject, ingress: said.ingress && CLOSED, egress: said.egress && CLOSED }
}

function readSubject(spec: Fields, namespace: string | undefined): PolicySubject | undefined {
  const endpoints = spec.object('endpointSelector')
  const nodes = spec.object('nodeSelector')
  if ((endpoints === undefined) === (nodes === undefined)) {
    const text = `has ${endpoints ? 'both' : 'neither'} of endpointSelector and nodeSelector`
    addFault(spec.faults, spec.path, undefined, text, 'write exactly one')
    return undefined
  }
  if (nodes !== undefined) {
    const labels = readSelector(nodes)
    if (namespace === undefined) return labels && { kind: 'nodes', labels: withoutSources(labels) }
    spec.refuse(
      'nodeSelector',
      'is not for policies of a namespace',
      'write a CiliumClusterwideNetworkPolicy',
    )
    return undefined
  }
  const selector = endpoints && readEndpointSelector(endpoints, undefined)
  if (selector === undefined) return undefined
  if (selector.reserved.length > 0)
    spec.refuse('endpointSelector', 'selects what is no pod', 'select nodes with nodeSelector')
  return { kind: 'pods', namespaces: ownOnly(selector.namespaces, namespace), pods: selector.pods }
}

/** A policy of a namespace protects nobody outside it, whatever its selector asks of namespaces. */
function ownOnly(namespaces: typeof EVERYTHING, namespace: string | undefined): typeof EVERYTHING {
  if (namespace === undefined) return namespaces
  return { requirements: [...namespaceNamed(namespace).requirements, ...namespaces.requirements] }
}

/** Undefined when the spec says nothing about the direction. */
function readDirection(
  spec: Fields,
  direction: PolicyDirection,
  namespace: string | undefined,
  defaults: Fields | undefined,
): DirectionRules | undefined {
  const allows = spec.objects(direction) ?? []
  const denies = spec.objects(`${direction}Deny`) ?? []
  const said = defaults?.boolean(direction)
  const hasRules = allows.length + denies.length > 0
  if (!hasRules && said !== true) return undefined
  const read = (action: RuleAction) => (rule: Fields) => readRule(rule, action, direction, namespace)
  return {
    isolates: said ?? true,
    rules: [...denies.flatMap(read('deny')), ...allows.flatMap(read('allow'))],
  }
}

/** None for a rule that names neither peers nor ports: it isolates by being there, and matches nothing. */
function readRule(
  rule: Fields,
  action: RuleAction,
  direction: PolicyDirection,
  namespace: string | undefined,
): PolicyRule[] {
  const peers = readPeers(rule, direction, namespace)
  const ports = readPorts(rule)
  const authentication = rule.object('authentication')
  if (authentication && authentication.text('mode') !== 'disabled')
    rule.refuse('authentication', 'is not supported', 'remove it, or write mode: disabled')
  rule.end()
  if (peers === undefined && ports === 'any') return []
  return [{ action, peers: peers ?? 'any', ports, path: rule.path }]
}
