// Whom a rule of Cilium's policies speaks of. Absent everywhere: whoever it is, if ports are named. An empty list: nobody.

import {
  POLICY_ENTITIES,
  type PolicyDirection,
  type PolicyPeer,
  type RuleAction,
} from '../../model/policy.ts'
import { readEndpointSelector } from './cilium-selector.ts'
import { addFault, type Fields, type Item } from './fields.ts'
import {
  EVERYTHING,
  namespaceNamed,
  type Placed,
  placed,
  readExcept,
  readPrefix,
  readSelector,
  selectorAt,
} from './parts.ts'

type Reader = (
  rule: Fields,
  name: string,
  namespace: string | undefined,
  action: RuleAction,
) => readonly Placed<PolicyPeer>[]

/** What is behind `from` and `to`. */
const BOTH: Readonly<Record<string, Reader>> = {
  Endpoints: readEndpoints,
  CIDR: readCidrs,
  CIDRSet: readCidrSets,
  Entities: readEntities,
  Nodes: readNodes,
}
const READERS: Readonly<Record<PolicyDirection, Readonly<Record<string, Reader>>>> = {
  ingress: prefixed('from', BOTH),
  egress: { ...prefixed('to', BOTH), toServices: readServices },
}
const UNSUPPORTED: Readonly<Record<PolicyDirection, readonly string[]>> = {
  ingress: ['fromGroups'],
  egress: ['toGroups', 'toFQDNs'],
}
const WITHOUT_ITEMS: Readonly<Record<PolicyDirection, string>> = {
  ingress: 'fromRequires',
  egress: 'toRequires',
}

function prefixed(word: string, readers: Readonly<Record<string, Reader>>): Readonly<Record<string, Reader>> {
  return Object.fromEntries(Object.entries(readers).map(([name, reader]) => [`${word}${name}`, reader]))
}

/** Undefined: the rule names no list of peers at all. */
export function readPeers(
  rule: Fields,
  direction: PolicyDirection,
  namespace: string | undefined,
  action: RuleAction,
): readonly Placed<PolicyPeer>[] | undefined {
  const present = Object.entries(READERS[direction]).filter(([name]) => rule.has(name))
  rule.unsupported(UNSUPPORTED[direction], 'name its addresses in CIDRs; such peers are not enforced yet')
  const requires = WITHOUT_ITEMS[direction]
  if ((rule.list(requires) ?? []).length > 0)
    rule.refuse(requires, 'takes no items any more', 'write the requirement into each selector')
  const filled = present.filter(([name]) => (rule.list(name) ?? []).length > 0).map(([name]) => name)
  if (filled.length > 1)
    addFault(rule.faults, rule.path, undefined, `has ${filled.join(' beside ')}`, 'make a rule of each')
  if (present.length === 0) return undefined
  return present.flatMap(([name, read]) => read(rule, name, namespace, action))
}

function readEndpoints(
  rule: Fields,
  name: string,
  namespace: string | undefined,
): readonly Placed<PolicyPeer>[] {
  return (rule.objects(name) ?? []).flatMap((fields): readonly Placed<PolicyPeer>[] => {
    const selector = readEndpointSelector(fields, namespace)
    if (selector === undefined) return []
    const { reserved, namespaces, pods } = selector
    const entities = reserved.map((entity) => ({ kind: 'entity', entity }) as const)
    return entities.length > 0
      ? placed<PolicyPeer>(fields.path, ...entities)
      : placed(fields.path, { kind: 'pods', namespaces, pods })
  })
}

function readCidrs(rule: Fields, name: string): readonly Placed<PolicyPeer>[] {
  return (rule.list(name) ?? []).flatMap((item): readonly Placed<PolicyPeer>[] => {
    const prefix = readPrefix(item, rule.faults)
    return prefix ? placed(item.path, { kind: 'networks', prefix, except: [], covers: 'outside' }) : []
  })
}

function readCidrSets(
  rule: Fields,
  name: string,
  _namespace: string | undefined,
  action: RuleAction,
): readonly Placed<PolicyPeer>[] {
  const unread = action === 'deny' ? ({ unread: 'everywhere' } as const) : {}
  return (rule.objects(name) ?? []).flatMap((set): readonly Placed<PolicyPeer>[] => {
    const cidr = set.item('cidr')
    const group = set.text('cidrGroupRef')
    const labels = selectorAt(set, 'cidrGroupSelector')
    const prefix = cidr && readPrefix(cidr, set.faults)
    const except = readExcept(set, prefix)
    const count = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'].filter((field) => set.has(field)).length
    set.end()
    if (count !== 1) {
      const text = `has ${count} of cidr, cidrGroupRef, cidrGroupSelector`
      addFault(set.faults, set.path, undefined, text, 'write exactly one')
      return []
    }
    if (prefix) return placed(set.path, { kind: 'networks', prefix, except, covers: 'outside' })
    const groups = group === undefined ? labels && { labels } : { name: group }
    return groups
      ? placed(set.path, { kind: 'network-groups', groups, except, covers: 'outside', ...unread })
      : []
  })
}

function readEntities(rule: Fields, name: string): readonly Placed<PolicyPeer>[] {
  return (rule.list(name) ?? []).flatMap(({ value, path }: Item): readonly Placed<PolicyPeer>[] => {
    const entity = POLICY_ENTITIES.find((one) => one === value)
    if (entity === undefined)
      addFault(
        rule.faults,
        path,
        value,
        'is no entity known here',
        `write one of ${POLICY_ENTITIES.join(', ')}`,
      )
    return entity ? placed(path, { kind: 'entity', entity }) : []
  })
}

function readNodes(rule: Fields, name: string): readonly Placed<PolicyPeer>[] {
  return (rule.objects(name) ?? []).flatMap((fields): readonly Placed<PolicyPeer>[] => {
    const labels = readSelector(fields)
    return labels ? placed(fields.path, { kind: 'nodes', labels: withoutSources(labels) }) : []
  })
}

/** Of nodes there are labels of one source only, so `k8s:zone` is `zone`. */
export function withoutSources(labels: NonNullable<ReturnType<typeof readSelector>>): typeof labels {
  return {
    requirements: labels.requirements.map((one) => ({
      ...one,
      key: one.key.replace(/^(k8s|any|node):/, ''),
    })),
  }
}

function readServices(
  rule: Fields,
  name: string,
  namespace: string | undefined,
): readonly Placed<PolicyPeer>[] {
  return (rule.objects(name) ?? []).flatMap((item): readonly Placed<PolicyPeer>[] => {
    const named = item.object('k8sService')
    const selected = item.object('k8sServiceSelector')
    item.end()
    const found: PolicyPeer[] = []
    if (named !== undefined) found.push(...readNamedService(named, namespace))
    if (selected !== undefined) {
      const labels = selectorAt(selected, 'selector')
      const where = selected.text('namespace') ?? namespace
      selected.end()
      const namespaces = where === undefined ? EVERYTHING : namespaceNamed(where)
      if (labels) found.push({ kind: 'services', services: { namespaces, labels } })
      else addFault(selected.faults, selected.pathOf('selector'), undefined, 'is missing', 'write one')
    }
    if (named === undefined && selected === undefined)
      addFault(
        item.faults,
        item.path,
        undefined,
        'names no Service',
        'write k8sService or k8sServiceSelector',
      )
    return placed(item.path, ...found)
  })
}

function readNamedService(fields: Fields, namespace: string | undefined): PolicyPeer[] {
  const name = fields.text('serviceName')
  const where = fields.text('namespace') ?? namespace
  fields.end()
  if (name !== undefined && where !== undefined)
    return [{ kind: 'services', services: { key: `${where}/${name}` } }]
  addFault(fields.faults, fields.path, undefined, 'lacks serviceName or namespace', 'write both')
  return []
}
