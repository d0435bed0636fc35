// The world as policy sees it, from the agent's tables: what of it changed since it was last asked for, for the compiler; and the whole
// of it, for whoever evaluates.

import type { Policy, PolicyNode, PolicyWorld } from '../model/policy.ts'
import type { EndpointSlice, Node, ObjectKey } from '../model/service.ts'
import { policyId, type WorldChange } from '../policy/compile/objects.ts'
import { equalRows } from '../tables/equal-rows.ts'
import type { ChangeReader, Table } from '../tables/table.ts'
import type { FailSafePorts } from './fail-safe-ports.ts'
import { POLICY_KINDS, type PolicySources } from './policy-sources.ts'
import type { Sources } from './sources.ts'

type PolicyService = PolicyWorld['services'][number]

export interface PolicyWorldTables extends Pick<Sources, 'services' | 'slices' | 'unserved' | 'nodes'> {
  readonly policy: Pick<PolicySources, 'objects' | 'pods' | 'namespaces' | 'networkGroups'>
}

const API_SERVICE = 'default/kubernetes' as ObjectKey

export class PolicyChanges {
  readonly #tables: PolicyWorldTables
  readonly #readers: {
    readonly objects: readonly ChangeReader[]
    readonly pods: ChangeReader
    readonly namespaces: ChangeReader
    readonly networkGroups: ChangeReader
    readonly services: ChangeReader
    readonly slices: ChangeReader
    readonly unservedServices: ChangeReader
    readonly unservedSlices: ChangeReader
    readonly nodes: ChangeReader
  }
  /** What the compiler was told of last: by kind and object, and by id. */
  readonly #policies = new Map<string, ReadonlyMap<string, Policy>>()
  readonly #services = new Map<string, PolicyService>()
  readonly #nodes = new Map<string, PolicyNode>()
  /** Whose a slice that is gone was. */
  readonly #serviceOfSlice = new Map<string, ObjectKey>()
  #apiServers: readonly string[] = []

  constructor(tables: PolicyWorldTables, onChange: () => void) {
    this.#tables = tables
    const { policy, services, slices, unserved, nodes } = tables
    this.#readers = {
      objects: POLICY_KINDS.map((kind) => policy.objects[kind].reader()),
      pods: policy.pods.reader(),
      namespaces: policy.namespaces.reader(),
      networkGroups: policy.networkGroups.reader(),
      services: services.reader(),
      slices: slices.reader(),
      unservedServices: unserved.services.reader(),
      unservedSlices: unserved.slices.reader(),
      nodes: nodes.reader(),
    }
    for (const reader of this.#all()) reader.onChange(onChange)
  }

  /** Undefined: nothing that matters. */
  take(): WorldChange | undefined {
    const { policy, nodes } = this.#tables
    const { pods, namespaces, networkGroups } = this.#readers
    const changes = {
      policies: this.#takePolicies(),
      pods: rowsOf(policy.pods, pods.take()),
      namespaces: rowsOf(policy.namespaces, namespaces.take()),
      networkGroups: rowsOf(policy.networkGroups, networkGroups.take()),
      nodes: told(this.#nodes, this.#readers.nodes.take(), (name) => toPolicyNode(nodes.get(name))),
      services: this.#takeServices(),
    }
    const apiServers = apiServersOf(this.#tables)
    const areApiServersOthers = !equalRows(apiServers, this.#apiServers)
    this.#apiServers = apiServers
    const some = Object.entries(changes).filter(([, rows]) => rows.size > 0)
    if (some.length === 0 && !areApiServersOthers) return undefined
    return { ...Object.fromEntries(some), ...(areApiServersOthers ? { apiServers } : {}) }
  }

  close(): void {
    for (const reader of this.#all()) reader.close()
  }

  #all(): ChangeReader[] {
    return Object.values(this.#readers).flat()
  }

  /** What of an object says the same as before is the same policy to the compiler. */
  #takePolicies(): ReadonlyMap<string, Policy | undefined> {
    const changed = new Map<string, Policy | undefined>()
    for (const [index, kind] of POLICY_KINDS.entries())
      for (const key of this.#readers.objects[index]?.take() ?? []) {
        const name = `${kind} ${key}`
        const before = this.#policies.get(name) ?? new Map<string, Policy>()
        const now = new Map<string, Policy>()
        for (const policy of this.#tables.policy.objects[kind].get(key)?.policies ?? []) {
          const id = policyId(policy)
          const known = before.get(id)
          const isSame = known !== undefined && equalRows(known, policy)
          now.set(id, isSame ? known : policy)
          if (!isSame) changed.set(id, policy)
        }
        for (const id of before.keys()) if (!now.has(id)) changed.set(id, undefined)
        if (now.size > 0) this.#policies.set(name, now)
        else this.#policies.delete(name)
      }
    return changed
  }

  #takeServices(): ReadonlyMap<string, PolicyService | undefined> {
    const { services, slices, unservedServices, unservedSlices } = this.#readers
    const dirty = new Set([...services.take(), ...unservedServices.take()])
    for (const key of new Set([...slices.take(), ...unservedSlices.take()])) {
      const before = this.#serviceOfSlice.get(key)
      const now = (this.#tables.slices.get(key) ?? this.#tables.unserved.slices.get(key))?.service
      if (before !== undefined) dirty.add(before)
      if (now === undefined) this.#serviceOfSlice.delete(key)
      else {
        dirty.add(now)
        this.#serviceOfSlice.set(key, now)
      }
    }
    return told(this.#services, dirty, (key) => toPolicyService(this.#tables, key as ObjectKey))
  }
}

export function policyWorld(tables: PolicyWorldTables, failSafePorts: FailSafePorts): PolicyWorld {
  const { policy, services, slices, unserved, nodes } = tables
  const keys = new Set<ObjectKey>()
  for (const table of [services, unserved.services]) for (const { key } of table.values()) keys.add(key)
  for (const table of [slices, unserved.slices]) for (const { service } of table.values()) keys.add(service)
  return {
    policies: POLICY_KINDS.flatMap((kind) =>
      [...policy.objects[kind].values()].flatMap((one) => one.policies),
    ),
    pods: [...policy.pods.values()],
    namespaces: new Map(policy.namespaces.entries()),
    nodes: [...nodes.values()].flatMap((node) => toPolicyNode(node) ?? []),
    networkGroups: [...policy.networkGroups.values()],
    services: [...keys].flatMap((key) => toPolicyService(tables, key) ?? []),
    apiServers: apiServersOf(tables),
    failSafePorts,
  }
}

function rowsOf<Row>(table: Table<Row>, keys: ReadonlySet<string>): ReadonlyMap<string, Row | undefined> {
  return new Map([...keys].map((key) => [key, table.get(key)]))
}

/** What differs from what was told before, and is from now on. */
function told<Row>(
  known: Map<string, Row>,
  keys: ReadonlySet<string>,
  rowOf: (key: string) => Row | undefined,
): ReadonlyMap<string, Row | undefined> {
  const changed = new Map<string, Row | undefined>()
  for (const key of keys) {
    const row = rowOf(key)
    const before = known.get(key)
    if (row === undefined ? before === undefined : before !== undefined && equalRows(before, row)) continue
    changed.set(key, row)
    if (row === undefined) known.delete(key)
    else known.set(key, row)
  }
  return changed
}

function toPolicyNode(node: Node | undefined): PolicyNode | undefined {
  return node && { name: node.name, labels: node.labels, addresses: node.addresses }
}

/** Served or not, and with a selector of its own or without: its slices tell. A slice may be there before its Service. */
function toPolicyService(
  { services, slices, unserved }: Pick<PolicyWorldTables, 'services' | 'slices' | 'unserved'>,
  key: ObjectKey,
): PolicyService | undefined {
  const service = services.get(key) ?? unserved.services.get(key)
  const own = slices.find('service', key)
  const others = unserved.slices.find('service', key)
  if (service === undefined && own.length === 0 && others.length === 0) return undefined
  return {
    key,
    namespace: key.slice(0, key.indexOf('/')),
    labels: service?.labels ?? {},
    endpoints: addressesOf(
      own,
      others.flatMap(({ addresses }) => addresses),
    ),
  }
}

export function apiSlicesOf({ slices }: Pick<PolicyWorldTables, 'slices'>): readonly EndpointSlice[] {
  return slices.find('service', API_SERVICE)
}

function apiServersOf(tables: Pick<PolicyWorldTables, 'slices'>): readonly string[] {
  return addressesOf(apiSlicesOf(tables))
}

function addressesOf(slices: readonly EndpointSlice[], more: readonly string[] = []): readonly string[] {
  const addresses = slices.flatMap(({ endpoints }) => endpoints.map(({ address }) => address as string))
  return [...new Set([...addresses, ...more])].sort()
}
