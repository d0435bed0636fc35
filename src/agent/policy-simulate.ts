// What a file of policies would change for the connections of this node's flow table, and for what policy dropped or audited of late: the
// evaluator's word on the world as it is against the world with the file's objects in it. In turns of the event loop: the table may hold
// half a million entries.

import { setImmediate } from 'node:timers/promises'
import type { PolicyObject } from '../kube/policies/resources.ts'
import { nearMatches } from '../model/near-matches.ts'
import type { Policy, PolicyWorld } from '../model/policy.ts'
import { type Simulation, Simulator } from '../policy/simulate/simulate.ts'
import { equalRows } from '../tables/equal-rows.ts'
import type { FlowSource } from './flow-view.ts'
import { RequestError } from './local-api.ts'
import { faultText } from './policy-fault.ts'
import { GROUP_KIND, type PolicyFile, readPolicyFile, SIMULATED_KINDS } from './policy-file.ts'
import type { PolicyRecord } from './policy-records.ts'
import { type SeenContext, seenInEntry, seenInRecord } from './policy-seen.ts'

/** Entries looked at in one turn of the event loop: some milliseconds when every one is a flow. */
const ENTRIES_PER_TURN = 1024
/** What judging may take of a turn. */
const TURN_MS = 10
/** Rows of one answer; nobody reads more. */
const CHANGES_MAX = 2000

export interface SimulatedObject {
  readonly kind: string
  readonly key: string
  readonly change: 'new' | 'changed' | 'same' | 'deleted'
  /** What of it would not be followed, and what would be but is wrong: `spec.egress[0].toFQDNs: is not supported. Mend: …`. */
  readonly faults: readonly string[]
  /** Connections that exist go on though it denies them. */
  readonly keepsExisting: boolean
}

export interface SimulateAnswer extends Simulation {
  readonly objects: readonly SimulatedObject[]
  /** What of the file was not simulated, and why. */
  readonly leftOut: readonly string[]
  /** Changes that found no room in the answer. */
  readonly more: number
  /** What was looked at. */
  readonly flows: number
  readonly records: number
  /** Entries that do not say whose they are: of an earlier version's programs, or of pods that are gone. */
  readonly unnamed: number
}

export interface SimulateParts {
  readonly node: string
  readonly world: PolicyWorld
  readonly objects: Iterable<PolicyObject>
  readonly flows: FlowSource
  readonly records: readonly PolicyRecord[]
  readonly seen: SeenContext
  /** Where a policy does not say. */
  readonly existingConnections: 'recheck' | 'keep'
}

/** Throws RequestError. @param deleted `KIND/NAMESPACE/NAME` of objects that would go */
export async function simulatePolicies(
  text: string,
  deleted: readonly string[],
  parts: SimulateParts,
): Promise<SimulateAnswer> {
  const file = readPolicyFile(text)
  const current = new Map([...parts.objects].map((object) => [nameOf(object), object]))
  const gone = deleted.map((name) => findObject(name, parts.world, current))
  if (file.policies.length + file.groups.length + gone.length === 0)
    throw new RequestError(
      400,
      `there is no policy in the file: ${file.leftOut.join('; ') || 'it is empty'}. Mend: one of the kinds ${SIMULATED_KINDS.join(', ')}`,
    )
  const objects = describeObjects(file, gone, parts, current)
  const simulator = new Simulator({
    before: parts.world,
    after: worldAfter(parts.world, file, gone),
    node: parts.node,
  })
  const walked = await walk(simulator, parts)
  const simulation = await finish(simulator)
  return {
    ...simulation,
    changes: simulation.changes.slice(0, CHANGES_MAX),
    more: Math.max(0, simulation.changes.length - CHANGES_MAX),
    ...{ objects, leftOut: file.leftOut },
    ...walked,
    records: parts.records.length,
  }
}

async function walk(simulator: Simulator, { flows, records, seen }: SimulateParts) {
  let count = 0
  let unnamed = 0
  for (let first = 0; first < flows.capacity; first += ENTRIES_PER_TURN) {
    for (const entry of flows.entries(first, ENTRIES_PER_TURN)) {
      const all = seenInEntry(entry, seen)
      for (const one of all) simulator.add(one)
      count += 1
      if (entry.kind === 'POD' && all.length === 0) unnamed += 1
    }
    await setImmediate()
  }
  for (const record of records) simulator.add(seenInRecord(record, seen))
  return { flows: count, unnamed }
}

async function finish(simulator: Simulator): Promise<Simulation> {
  const run = simulator.run()
  let untilMs = performance.now() + TURN_MS
  for (;;) {
    const { done, value } = run.next()
    if (done) return value
    if (performance.now() < untilMs) continue
    await setImmediate()
    untilMs = performance.now() + TURN_MS
  }
}

interface Named {
  readonly kind: string
  readonly key: string
}

function nameOf({ kind, key }: Named): string {
  return `${kind} ${key}`
}

function worldAfter(
  world: PolicyWorld,
  { policies, groups }: PolicyFile,
  gone: readonly Named[],
): PolicyWorld {
  const replaced = new Set([
    ...policies.map(nameOf),
    ...groups.map(({ name }) => nameOf({ kind: GROUP_KIND, key: name })),
    ...gone.map(nameOf),
  ])
  const groupStays = ({ name }: { readonly name: string }) =>
    !replaced.has(nameOf({ kind: GROUP_KIND, key: name }))
  return {
    ...world,
    policies: [
      ...world.policies.filter((policy) => !replaced.has(nameOf(policy))),
      ...policies.flatMap((object) => object.policies),
    ],
    networkGroups: [...world.networkGroups.filter(groupStays), ...groups],
  }
}

function describeObjects(
  { policies, groups }: PolicyFile,
  gone: readonly Named[],
  { world, existingConnections }: SimulateParts,
  current: ReadonlyMap<string, PolicyObject>,
): readonly SimulatedObject[] {
  const keeps = ({ existingConnections: own }: Policy) => (own ?? existingConnections) === 'keep'
  const plain = { faults: [], keepsExisting: false }
  return [
    ...policies.map((object) => {
      const { kind, key, faults, notes } = object
      const known = current.get(nameOf(object))
      return {
        kind,
        key,
        change: changeOf(known && said(known), said(object)),
        faults: [...faults, ...notes].map(faultText),
        keepsExisting: object.policies.some(keeps),
      }
    }),
    ...groups.map((group) => {
      const known = world.networkGroups.find(({ name }) => name === group.name)
      return { kind: GROUP_KIND, key: group.name, change: changeOf(known, group), ...plain }
    }),
    ...gone.map(({ kind, key }) => ({ kind, key, change: 'deleted' as const, ...plain })),
  ]
}

/** All of an object that decides anything. */
function said({ policies }: PolicyObject): readonly Omit<Policy, 'uid'>[] {
  return policies.map(({ uid: _, ...policy }) => policy)
}

function changeOf<Row>(before: Row | undefined, after: Row): 'new' | 'changed' | 'same' {
  if (before === undefined) return 'new'
  return equalRows(before, after) ? 'same' : 'changed'
}

/** Throws RequestError. */
/** As kubectl takes them: `cnp` is Cilium's, of a namespace, and the cluster's, of none. */
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  ['netpol', 'NetworkPolicy'],
  ['ciliumnp', 'CiliumNetworkPolicy'],
  ['ccnp', 'CiliumClusterwideNetworkPolicy'],
  ['ccg', GROUP_KIND],
])

function kindNamed(word: string, isNamespaced: boolean): string | undefined {
  if (word === 'cnp') return isNamespaced ? 'CiliumNetworkPolicy' : 'ClusterNetworkPolicy'
  const namesOf = (kind: string) => [kind, `${kind}s`, kind.replace(/y$/, 'ies')]
  return SHORT_NAMES.get(word) ?? SIMULATED_KINDS.find((kind) => namesOf(kind.toLowerCase()).includes(word))
}

function findObject(text: string, world: PolicyWorld, current: ReadonlyMap<string, PolicyObject>): Named {
  const [word = '', ...rest] = text.split('/')
  const kind = kindNamed(word.toLowerCase(), rest.length > 1)
  if (kind === undefined) {
    const [near] = nearMatches(word, SIMULATED_KINDS, 1)
    const hint = near === undefined ? '' : `; did you mean ${near}`
    throw new RequestError(
      400,
      `--delete '${text}': no such kind of policy '${word}'. Mend: one of ${SIMULATED_KINDS.join(', ')}${hint}`,
    )
  }
  const key = rest.join('/')
  const known =
    kind === GROUP_KIND
      ? world.networkGroups.map(({ name }) => name)
      : [...current.values()].filter((object) => object.kind === kind).map((object) => object.key)
  if (known.includes(key)) return { kind, key }
  const near = nearMatches(key, known)
  const hint = near.length > 0 ? `; did you mean ${near.join(' or ')}` : ''
  throw new RequestError(
    404,
    `--delete '${text}': there is no ${kind} '${key}'. Mend: KIND/NAMESPACE/NAME, or KIND/NAME of a cluster-wide one${hint}`,
  )
}
