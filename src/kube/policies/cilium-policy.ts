// cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy → our model, as far as L3 and L4 go. Each `spec` and each of `specs`
// is a policy by itself. A deny beats every allow; a section with rules isolates its direction unless `enableDefaultDeny` says not to.
// What is not followed here (L7 rules, FQDNs, groups, authentication) makes the policy fail closed: it allows nothing, and of its denies those hold
// that can be read, for another policy may allow whom they keep out.

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
import { readEndpointsWidely } from './cilium-selector.ts'
import { addFault, Fields, type Item } from './fields.ts'
import { EVERYTHING, namespaceNamed, readAnnotations, readWidely, ruleAt } from './parts.ts'

/** @param namespace undefined for a cluster-wide policy */
export function toCiliumPolicies(object: ApiObject, namespace: string | undefined): Policy[] {
  const { metadata } = object
  const kind: PolicyKind = namespace === undefined ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy'
  const specs = specsOf(object)
  const annotations = readAnnotations(metadata)
  return specs.flatMap((item, part) => {
    const faults: PolicyFault[] = []
    const isReadable = item.path !== SPECS && item.value !== undefined
    const spec = isReadable ? Fields.read(item, faults) : undefined
    if (item.path === SPECS)
      addFault(faults, item.path, item.value, 'is not a list', 'write a list of what spec would hold')
    if (item.value === undefined)
      addFault(faults, item.path, undefined, 'is missing', 'write spec, or a list of them in specs')
    const { subjects, ...said } = spec ? readSpec(spec, namespace) : closed(item, namespace)
    return subjects.map(
      (subject, index): Policy => ({
        kind,
        key: namespace === undefined ? `${metadata.name}` : `${namespace}/${metadata.name}`,
        part: part + index * specs.length,
        uid: metadata.uid ?? '',
        tier: 'normal',
        priority: 0,
        ...annotations,
        faults,
        subject,
        ...said,
      }),
    )
  })
}

/** All of them, where they are no list. */
const SPECS = 'specs'

function specsOf(object: unknown): readonly Item[] {
  if (!isRecord(object)) return [{ value: undefined, path: 'spec' }]
  const { spec, specs } = object
  const single = spec === undefined || spec === null ? [] : [{ value: spec, path: 'spec' }]
  const all = [...single, ...listed(specs)]
  // An empty list is one, and says nothing.
  return all.length > 0 || Array.isArray(specs) ? all : [{ value: undefined, path: 'spec' }]
}

function listed(specs: unknown): readonly Item[] {
  if (specs === undefined || specs === null) return []
  if (!Array.isArray(specs)) return [{ value: specs, path: SPECS }]
  return specs.map((value: unknown, index) => ({ value, path: `specs[${index}]` }))
}

/** Several subjects where it cannot be told which is meant. */
interface Said extends Pick<Policy, 'ingress' | 'egress'> {
  readonly subjects: readonly PolicySubject[]
}

const CLOSED: DirectionRules = { isolates: true, rules: [] }

/** What cannot be read at all closes whom it could mean. One without a spec names no direction: cluster-wide that closes nobody. */
function closed({ value }: Item, namespace: string | undefined): Said {
  const subjects = [podsOf(namespace)]
  if (value === undefined && namespace === undefined)
    return { subjects, ingress: undefined, egress: undefined }
  return { subjects, ingress: CLOSED, egress: CLOSED }
}

/** All of its namespace, or of the cluster. */
function podsOf(namespace: string | undefined): PolicySubject {
  return { kind: 'pods', namespaces: ownOnly(EVERYTHING, namespace), pods: EVERYTHING }
}

function readSpec(spec: Fields, namespace: string | undefined): Said {
  const subjects = readSubjects(spec, namespace)
  const areSubjectsKnown = spec.faults.length === 0
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
  const slips = spec.slipsOf(SECTIONS)
  spec.end()
  if (spec.faults.length === 0) return { subjects, ...said }
  // A deny that names a fail-safe port would cut nodes off, meant or not, from who mends it.
  const keepsDenies = areSubjectsKnown || subjects.every(({ kind }) => kind === 'pods')
  const closedIn = (direction: PolicyDirection): DirectionRules | undefined => {
    const isMeant = said[direction] !== undefined || slips.some((section) => section.startsWith(direction))
    if (!isMeant) return undefined
    return keepsDenies ? { ...CLOSED, rules: readableDenies(said[direction], spec.faults) } : CLOSED
  }
  return { subjects, ingress: closedIn('ingress'), egress: closedIn('egress') }
}

function readableDenies(
  said: DirectionRules | undefined,
  faults: readonly PolicyFault[],
): readonly PolicyRule[] {
  const isFaulty = (above: string) =>
    faults.some(({ path }) => path === above || path.startsWith(`${above}.`) || path.startsWith(`${above}[`))
  return (said?.rules ?? []).filter(({ action, path }) => action === 'deny' && !isFaulty(path))
}

/** A slip in one of these names is a direction that somebody meant to close. */
const SECTIONS = ['ingress', 'egress', 'ingressDeny', 'egressDeny'] as const

/** What cannot be read of a selector narrows nothing: with faults the policy allows nothing, and closes whoever may be meant. */
function readSubjects(spec: Fields, namespace: string | undefined): readonly PolicySubject[] {
  const areEndpoints = spec.has('endpointSelector')
  const areNodes = spec.has('nodeSelector')
  if (areEndpoints === areNodes) {
    const text = `has ${areNodes ? 'both' : 'neither'} of endpointSelector and nodeSelector`
    addFault(spec.faults, spec.path, undefined, text, 'write exactly one')
  }
  const subjects: PolicySubject[] = []
  const endpoints = spec.object('endpointSelector')
  if (endpoints !== undefined) {
    const { namespaces, pods } = readEndpointsWidely(endpoints)
    subjects.push({ kind: 'pods', namespaces: ownOnly(namespaces, namespace), pods })
  }
  if (areNodes && namespace === undefined) {
    const nodes = spec.object('nodeSelector')
    subjects.push({ kind: 'nodes', labels: nodes ? withoutSources(readWidely(nodes)) : EVERYTHING })
  } else if (areNodes)
    spec.refuse(
      'nodeSelector',
      'is not for policies of a namespace',
      'write a CiliumClusterwideNetworkPolicy',
    )
  const isReadable = areEndpoints ? endpoints !== undefined : subjects.length > 0
  return isReadable ? subjects : [podsOf(namespace), ...subjects]
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
  const isSaid = said === true || (said === undefined && defaults?.has(direction) === true)
  if (!isSaid && !names(spec, direction) && !names(spec, `${direction}Deny`)) return undefined
  const read = (action: RuleAction) => (rule: Fields) => readRule(rule, action, direction, namespace)
  return {
    isolates: said ?? true,
    rules: [...denies.flatMap(read('deny')), ...allows.flatMap(read('allow'))],
  }
}

/** Whether it has rules, be they readable or not. */
function names(spec: Fields, section: string): boolean {
  const value = spec.item(section)?.value
  return value !== undefined && !(Array.isArray(value) && value.length === 0)
}

/** None for a rule that names neither peers nor ports: it isolates by being there, and matches nothing. */
function readRule(
  rule: Fields,
  action: RuleAction,
  direction: PolicyDirection,
  namespace: string | undefined,
): PolicyRule[] {
  const peers = readPeers(rule, direction, namespace, action)
  const ports = readPorts(rule)
  const authentication = rule.object('authentication')
  if (authentication && authentication.text('mode') !== 'disabled')
    rule.refuse('authentication', 'is not supported', 'remove it, or write mode: disabled')
  rule.end()
  if (peers === undefined && ports === 'any') return []
  return [ruleAt(rule, action, peers ?? 'any', ports)]
}
