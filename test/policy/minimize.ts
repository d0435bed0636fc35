// Makes a failing case small: leaves out whatever can be left out while it still fails, until nothing can.

import type { PolicyWorld } from '../../src/model/policy.ts'
import type { Probe } from './arbitrary/probes.ts'
import { OWN_NODE } from './arbitrary/worlds.ts'

export interface Case {
  readonly world: PolicyWorld
  readonly probe: Probe
}

/** More attempts than any case of the random worlds needs; a decision that is slow to make ends here. */
const ATTEMPTS_MAX = 20_000

/** Fields whose value has a plainer one. */
const PLAINER: Readonly<Record<string, unknown>> = {
  peers: 'any',
  ports: 'any',
  existingConnections: undefined,
  failSafePorts: undefined,
  ingress: undefined,
  egress: undefined,
  isAudit: false,
  isFinished: false,
  isHostNetwork: false,
  isMasqueraded: false,
  isHairpin: false,
}

/** Records whose keys are names, each of which may be left out. */
const NAMED = new Set(['labels'])

/** All values that are a little simpler than `value`: one thing left out, or made plain. */
function* simpler(value: unknown, field: string): Generator<unknown> {
  if (field in PLAINER && value !== PLAINER[field]) yield PLAINER[field]
  if (Array.isArray(value)) yield* simplerList(value)
  else if (value instanceof Map) {
    for (const key of value.keys()) yield new Map([...value].filter(([other]) => other !== key))
    for (const [key, inner] of value)
      for (const each of simpler(inner, 'labels')) yield new Map(value).set(key, each)
  } else if (typeof value === 'object' && value !== null)
    for (const [key, inner] of Object.entries(value)) {
      if (NAMED.has(field) && !('requirements' in value))
        yield Object.fromEntries(Object.entries(value).filter(([other]) => other !== key))
      for (const each of simpler(inner, key)) yield { ...value, [key]: each }
    }
}

function* simplerList(list: readonly unknown[]): Generator<unknown> {
  // Half at a time first: long lists shrink fast.
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let start = 0; start < list.length; start += size)
      yield [...list.slice(0, start), ...list.slice(start + size)]
  for (const [index, inner] of list.entries())
    for (const each of simpler(inner, '')) yield list.with(index, each)
}

/** What every random world keeps to, and whoever decides may rely on. */
function isSound({ world, probe }: Case): boolean {
  if (world.nodes[0]?.name !== OWN_NODE) return false
  if (!world.pods.every((pod) => world.namespaces.has(pod.namespace))) return false
  const living = world.pods.filter((pod) => !pod.isFinished && !pod.isHostNetwork)
  const taken = [...living.flatMap((pod) => pod.addresses), ...world.nodes.flatMap((node) => node.addresses)]
  const ofNodes = new Set(world.nodes.flatMap((node) => node.addresses))
  const isOnNodes = (address: string) => ofNodes.has(address)
  return (
    new Set(taken).size === taken.length &&
    world.pods.every((pod) => world.nodes.some((node) => node.name === pod.node)) &&
    world.pods.every((pod) => !pod.isHostNetwork || pod.addresses.every(isOnNodes)) &&
    (!probe.packet.isMasqueraded || isOnNodes(probe.packet.source)) &&
    (!probe.packet.isHairpin || probe.packet.source === probe.packet.destination)
  )
}

/** @returns a case that fails too, of which nothing can be left out */
export function minimize(failing: Case, fails: (candidate: Case) => boolean): Case {
  let smallest = failing
  let attempts = 0
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false
    for (const candidate of simpler(smallest, '')) {
      attempts += 1
      if (attempts > ATTEMPTS_MAX) return smallest
      if (!isSound(candidate as Case) || !fails(candidate as Case)) continue
      smallest = candidate as Case
      isSmaller = true
      break
    }
  }
  return smallest
}
