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

type PolicyKind = (typeof POLICY_KINDS)[number]
type Source =
  | PolicyKind
  | 'pods'
  | 'namespaces'
  | 'networkGroups'
  | 'services'
  | 'slices'
  | 'unservedServices'
  | 'unservedSlices'
  | 'nodes'
/** What policies say; who is elsewhere; and who may be judged here, and be somebody's peer too. */
type Group = 'said' | 'elsewhere' | 'here'

/** What may be told as one. */
interface Run {
  readonly group: Group
  readonly keys: Map<Source, Set<string>>
}

/** What comes while so many wait is told as one: a flood is not taken one by one for minutes. */
const RUNS_MAX = 256
const NO_KEYS: ReadonlySet<string> = new Set()

/**
 * In the order in which the tables changed, as far as it matters: policies, then a pod, then policies are three changes, for else a packet
 * could be judged by the pod of after and the policies of before where these came first. A packet meets one of the policies' changes at
 * most, and one of the peers elsewhere: of either any number that come in a row are one. A subject may be the peer of another one, so
 * each is a change of its own.
 */
export class PolicyChanges {
  readonly #tables: PolicyWorldTables
  readonly #node: string
  readonly #readers: readonly ChangeReader[]
  /** Undefined until something changes. */
  #open: Run | undefined
  readonly #closed: WorldChange[] = []
  /** Until it is asked first: all that is there is one change. */
  #isWhole = true
  #isTold = false
  /** Pods of this node. */
  readonly #ownPods = new Set<string>()
  /** What the compiler was told of last: by kind and object, and by id. */
  readonly #policies = new Map<string, ReadonlyMap<string, Policy>>()
  readonly #services = new Map<string, PolicyService>()
  readonly #nodes = new Map<string, PolicyNode>()
  /** Whose a slice that is gone was. */
  readonly #serviceOfSlice = new Map<string, ObjectKey>()
  #apiServers: readonly string[] = []

  /** @param onChange called at most once between two `take`s, when there is something to take */
  constructor(tables: PolicyWorldTables, node: string, onChange: () => void) {
    this.#tables = tables
    this.#node = node
    const { policy, services, slices, unserved, nodes } = tables
    const sources: readonly (readonly [Source, Pick<Table<unknown>, 'reader'>])[] = [
      ...POLICY_KINDS.map((kind) => [kind, policy.objects[kind]] as const),
      ['pods', policy.pods],
      ['namespaces', policy.namespaces],
      ['networkGroups', policy.networkGroups],
      ['services', services],
      ['slices', slices],
      ['unservedServices', unserved.services],
      ['unservedSlices', unserved.slices],
      ['nodes', nodes],
    ]
    this.#readers = sources.map(([source, table]) => {
      const reader = table.reader()
      reader.onChange(() => {
        for (const key of reader.take()) this.#note(source, key)
        if (this.#isTold) return
        this.#isTold = true
        onChange()
      })
      return reader
    })
  }

  /** Nothing: nothing that matters. The first time all that is there, as one. */
  take(): readonly WorldChange[] {
    this.#close()
    this.#isWhole = false
    this.#isTold = false
    return this.#closed.splice(0)
  }

  close(): void {
    for (const reader of this.#readers) reader.close()
  }

  #note(source: Source, key: string): void {
    const group = this.#groupOf(source, key)
    const isJoined = this.#isWhole || this.#closed.length >= RUNS_MAX
    if (!isJoined && (group === 'here' || group !== this.#open?.group)) this.#close()
    this.#open ??= { group, keys: new Map() }
    const { keys } = this.#open
    const known = keys.get(source)
    if (known) known.add(key)
    else keys.set(source, new Set([key]))
  }

  #groupOf(source: Source, key: string): Group {
    switch (source) {
      case 'pods':
        return this.#isOwnPod(key) ? 'here' : 'elsewhere'
      case 'nodes':
        return key === this.#node ? 'here' : 'elsewhere'
      case 'namespaces':
        return 'here'
      case 'services':
      case 'slices':
      case 'unservedServices':
      case 'unservedSlices':
        return 'elsewhere'
      default:
        return 'said'
    }
  }

  /** Or was until now. */
  #isOwnPod(key: string): boolean {
    const isOwn = this.#tables.policy.pods.get(key)?.node === this.#node
    if (!isOwn) return this.#ownPods.delete(key)
    this.#ownPods.add(key)
    return true
  }

  /** Reads the rows, which may be others a moment later. */
  #close(): void {
    const { keys } = this.#open ?? {}
    this.#open = undefined
    const change = keys && this.#read((source) => keys.get(source) ?? NO_KEYS)
    if (change) this.#closed.push(change)
  }

  #read(keys: (source: Source) => ReadonlySet<string>): WorldChange | undefined {
    const { policy, nodes } = this.#tables
    const changes = {
      policies: this.#readPolicies(keys),
      pods: rowsOf(policy.pods, keys('pods')),
      namespaces: rowsOf(policy.namespaces, keys('namespaces')),
      networkGroups: rowsOf(policy.networkGroups, keys('networkGroups')),
      nodes: told(this.#nodes, keys('nodes'), (name) => toPolicyNode(nodes.get(name))),
      services: this.#readServices(keys),
    }
    const some = Object.entries(changes).filter(([, rows]) => rows.size > 0)
    const apiServers = keys('slices').size > 0 ? apiServersOf(this.#tables) : this.#apiServers
    const areApiServersOthers = !equalRows(apiServers, this.#apiServers)
    this.#apiServers = apiServers
    if (some.length === 0 && !areApiServersOthers) return undefined
    return { ...Object.fromEntries(some), ...(areApiServersOthers ? { apiServers } : {}) }
  }

  /** What of an object says the same as before is the same policy to the compiler. */
  #readPolicies(keys: (kind: PolicyKind) => ReadonlySet<string>): ReadonlyMap<string, Policy | undefined> {
    const changed = new Map<string, Policy | undefined>()
    for (const kind of POLICY_KINDS)
      for (const key of keys(kind)) {
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

  #readServices(
    keys: (source: Source) => ReadonlySet<string>,
  ): ReadonlyMap<string, PolicyService | undefined> {
    const dirty = new Set([...keys('services'), ...keys('unservedServices')])
    for (const key of new Set([...keys('slices'), ...keys('unservedSlices')])) {
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
