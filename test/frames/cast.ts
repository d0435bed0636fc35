// Who is there: pods of this node at devices of their own, this node, and Services of either kind whose backends are here and elsewhere.

import { type Address, address, FAMILIES, type Family, familyOf } from '../../src/model/address.ts'
import type { Policy, PolicyPod, PolicyWorld } from '../../src/model/policy.ts'
import { PORTS } from '../policy/arbitrary/alphabet.ts'
import { OWN_NODE } from '../policy/arbitrary/worlds.ts'
import type { Random } from '../policy/random.ts'
import type { Place, Said } from './said.ts'

/** How a frame gets to a pod's device from an uplink. */
export const WAYS = ['redirect', 'bypass', 'stack'] as const
export type Way = (typeof WAYS)[number]

export interface PodHere {
  readonly pod: PolicyPod
  readonly device: string
  readonly way: Way
}

export interface FrameService {
  /** What it is reached at: a VIP, a ClusterIP, or a port of this node. */
  readonly kind: 'vip' | 'masqueraded-vip' | 'cluster' | 'node-port'
  readonly family: Family
  readonly at: Place
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly backends: readonly Place[]
}

/** The agent's own choice, and what all worlds' first node has. */
export const OWN: Readonly<Record<Family, Address>> = {
  ipv4: address('192.168.0.1'),
  ipv6: address('fd01::1'),
}
const VIP: Readonly<Record<Family, Address>> = {
  ipv4: address('192.0.2.10'),
  ipv6: address('2001:db8:113::10'),
}
const CLUSTER_IP: Readonly<Record<Family, Address>> = {
  ipv4: address('10.96.0.10'),
  ipv6: address('fd96::10'),
}
export const SERVICE_ADDRESSES = FAMILIES.flatMap((family) => [VIP[family], CLUSTER_IP[family]])
/** Devices there are. */
export const PODS_MAX = 9
const SERVICES = 8
const KINDS = ['vip', 'vip', 'masqueraded-vip', 'masqueraded-vip', 'cluster', 'cluster', 'node-port'] as const

export const isAlive = (pod: PolicyPod): boolean => !pod.isFinished && !pod.isHostNetwork

export interface Cast {
  readonly world: PolicyWorld
  /** The same with other policies, which may come into force in their place. */
  readonly other: PolicyWorld
  readonly pods: readonly PodHere[]
  readonly podAt: ReadonlyMap<string, PodHere>
  readonly podsElsewhere: readonly Address[]
  readonly otherNodes: readonly Address[]
  readonly services: readonly FrameService[]
}

/** The number of a pod's device is that of its addresses (see the worlds). */
function deviceOf({ addresses }: PolicyPod): string | undefined {
  const number = addresses[0]?.split(/[.:]/).at(-1)
  return number === undefined ? undefined : `p${number}`
}

function podsHere(world: PolicyWorld): readonly PodHere[] {
  return world.pods.flatMap((pod) => {
    const device = deviceOf(pod)
    if (!isAlive(pod) || pod.node !== OWN_NODE || device === undefined) return []
    return [{ pod, device, way: WAYS[Number(device.slice(1)) % WAYS.length] ?? 'redirect' }]
  })
}

function placeOfService(kind: FrameService['kind'], family: Family, number: number): Place {
  if (kind === 'node-port') return { address: OWN[family], port: 30_000 + number }
  return { address: kind === 'cluster' ? CLUSTER_IP[family] : VIP[family], port: 100 + number }
}

function drawService(
  number: number,
  addresses: readonly Address[],
  world: PolicyWorld,
  random: Random,
): FrameService | undefined {
  const family = random.pick(FAMILIES) ?? 'ipv4'
  const kind = random.pick(KINDS) ?? 'vip'
  const protocol = random.pick(['tcp', 'tcp', 'udp', 'sctp'] as const) ?? 'tcp'
  const named = world.pods.flatMap(({ namedPorts }) => namedPorts)
  const port = (random.chance(30) ? random.pick(named)?.port : random.pick(PORTS)) ?? 80
  const candidates = random.shuffled(addresses.filter((each) => familyOf(each) === family))
  // One, for programs draw lots among several: what a seed finds it must find again.
  const backends = candidates.slice(0, 1).map((each) => ({ address: each, port }))
  if (backends.length === 0) return undefined
  return { kind, family, protocol, backends, at: placeOfService(kind, family, number) }
}

/** @param services those of a cast whose world has become smaller */
export function castOf(
  world: PolicyWorld,
  otherPolicies: readonly Policy[],
  random: Random,
  services?: readonly FrameService[],
): Cast {
  const pods = podsHere(world)
  const here = pods.flatMap(({ pod }) => pod.addresses as readonly Address[])
  const podsElsewhere = world.pods
    .filter((pod) => isAlive(pod) && pod.node !== OWN_NODE)
    .flatMap((pod) => pod.addresses as readonly Address[])
  const backends = [...here, ...podsElsewhere]
  return {
    world,
    other: { ...world, policies: otherPolicies },
    pods,
    podAt: new Map(pods.flatMap((each) => each.pod.addresses.map((at) => [at, each] as const))),
    podsElsewhere,
    otherNodes: world.nodes
      .filter(({ name }) => name !== OWN_NODE)
      .flatMap(({ addresses }) => addresses as readonly Address[]),
    services:
      services ??
      Array.from({ length: SERVICES }, (_, number) =>
        drawService(number, [...new Set(random.shuffled(backends))], world, random),
      ).filter((service) => service !== undefined),
  }
}

export function serviceAt(cast: Cast, { destination, destinationPort, protocol }: Said) {
  return cast.services.find(
    ({ at, protocol: own }) => at.address === destination && at.port === destinationPort && own === protocol,
  )
}
