// What is sent, to whom, and what has to be reached.

import type { BenchService } from '../bed/cluster.ts'
import { type Destination, FLOWS_MAX, type Traffic } from '../bed/generator.ts'
import type { Bound } from '../frame/figure.ts'

/** Where packets go: to a pod of the node (which takes a packet of its stack), or to another node (which takes the frame). */
export type Side = 'local' | 'leaving'
export type Phase = 'established' | 'new'

export const SIDES: readonly Side[] = ['local', 'leaving']
export const SIDE_TITLES: Readonly<Record<Side, string>> = {
  local: 'to a pod of the node',
  leaving: 'leaving the node',
}

export const MANY_FLOWS = 65_536
/** Flows of a fixed set, the same at every number of Services. */
export const FIXED_FLOWS = 4096

/** Flows to the load-balancer addresses: up to 32 Services of each side. */
export function toServices(services: readonly BenchService[], side: Side, flows: number): Traffic {
  const chosen = services.filter(
    ({ loadBalancerIp, isLocal }) => loadBalancerIp !== undefined && isLocal === (side === 'local'),
  )
  return {
    destinations: chosen.map(({ loadBalancerIp, clusterIp, port }) => ({
      address: loadBalancerIp ?? clusterIp,
      port,
    })),
    flows,
  }
}

/** Flows to the ClusterIPs of all Services of a side. */
export function toAllServices(services: Iterable<BenchService>, side: Side, flows: number): Traffic {
  const destinations: Destination[] = []
  for (const { isLocal, clusterIp, port } of services)
    if (isLocal === (side === 'local')) destinations.push({ address: clusterIp, port })
  return { destinations, flows }
}

/** Past all Services: to the endpoints themselves. */
export function toEndpoints(services: readonly BenchService[], side: Side, flows: number): Traffic {
  const chosen = services.filter(({ isLocal }) => isLocal === (side === 'local'))
  return { destinations: chosen.flatMap(({ endpoints }) => endpoints), flows }
}

export const newFlows = (traffic: Traffic): Traffic => ({ ...traffic, flows: FLOWS_MAX })

/** Packets a core, Weir XDP over the rival; by number of Services where it depends on it. */
export function ratioBound(rival: string, phase: Phase, side: Side, size: number): Bound | undefined {
  const must = mustReach(rival, phase, side, size)
  return must === undefined ? undefined : { sense: 'at least', must }
}

const NEW_FLOWS: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  'iptables mode': { 10: 2.3, 1000: 7.5, 10000: 45 },
  'nftables mode': { 10: 1.9, 1000: 2.6, 10000: 2.6 },
}

function mustReach(rival: string, phase: Phase, side: Side, size: number): number | undefined {
  if (phase === 'new') return NEW_FLOWS[rival]?.[size]
  if (rival !== 'iptables mode' || ![10, 1000, 10_000].includes(size)) return undefined
  return side === 'local' ? 2.7 : 4.5
}

/** Packets a second at the largest number of Services over those at the smallest. */
export const FLAT: Bound = { sense: 'at least', must: 0.9 }
