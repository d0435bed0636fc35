// A world that becomes another, one object at a time: for what must hold in between, and afterwards.

import type { PolicyWorld } from '../../src/model/policy.ts'
import { type Changed, policyId, type WorldChange, wholeWorld } from '../../src/policy/compile/objects.ts'
import type { Random } from './random.ts'

type Field = Exclude<keyof WorldChange, 'apiServers'>

const FIELDS: readonly Field[] = ['policies', 'pods', 'namespaces', 'nodes', 'networkGroups', 'services']

function changedBetween(before: Changed<unknown>, after: Changed<unknown>): ReadonlyMap<string, unknown> {
  const changed = new Map<string, unknown>()
  for (const key of before.keys()) if (!after.has(key)) changed.set(key, undefined)
  for (const [key, item] of after)
    if (JSON.stringify(before.get(key)) !== JSON.stringify(item)) changed.set(key, item)
  return changed
}

/** One object each, in random order. */
export function changesBetween(
  before: PolicyWorld,
  after: PolicyWorld,
  random: Random,
): readonly WorldChange[] {
  const [from, to] = [wholeWorld(before), wholeWorld(after)]
  const changes: WorldChange[] = [{ apiServers: after.apiServers }]
  for (const field of FIELDS)
    for (const [key, item] of changedBetween(from[field] ?? new Map(), to[field] ?? new Map()))
      changes.push({ [field]: new Map([[key, item]]) })
  return random.shuffled(changes)
}

function patched<Item>(
  items: readonly Item[],
  changed: Changed<Item> | undefined,
  keyOf: (item: Item) => string,
): readonly Item[] {
  if (!changed) return items
  const kept = items.filter((item) => !changed.has(keyOf(item)))
  return [...kept, ...[...changed.values()].filter((item) => item !== undefined)]
}

/** The objects as they are after a change. */
export function changedWorld(world: PolicyWorld, change: WorldChange): PolicyWorld {
  const namespaces = new Map(world.namespaces)
  for (const [name, labels] of change.namespaces ?? []) {
    if (labels) namespaces.set(name, labels)
    else namespaces.delete(name)
  }
  return {
    ...world,
    policies: patched(world.policies, change.policies, policyId),
    pods: patched(world.pods, change.pods, ({ key }) => key),
    namespaces,
    // The first one judges.
    nodes: patched(world.nodes, change.nodes, ({ name }) => name).toSorted((a, b) =>
      a.name < b.name ? -1 : 1,
    ),
    networkGroups: patched(world.networkGroups, change.networkGroups, ({ name }) => name),
    services: patched(world.services, change.services, ({ key }) => key),
    apiServers: change.apiServers ?? world.apiServers,
  }
}

/** Several changes as one. */
export function merged(changes: readonly WorldChange[]): WorldChange {
  const result: Record<string, unknown> = {}
  for (const change of changes) {
    if (change.apiServers) result['apiServers'] = change.apiServers
    for (const field of FIELDS) {
      const entries = change[field]
      if (entries) result[field] = new Map([...((result[field] as Map<string, unknown>) ?? []), ...entries])
    }
  }
  return result
}
