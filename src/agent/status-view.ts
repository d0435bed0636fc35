// The agent and its datapath on one page: what `/v1/status` answers and `weir status` prints.

import { type KernelFeature, kernelFeatures } from '../datapath/kernel-features.ts'
import { isNearlyFull, tableBytes } from '../datapath/map-fill.ts'
import { FAMILIES } from '../model/address.ts'
import type { Parts } from './agent.ts'
import { routingInBrief } from './bgp-view.ts'
import type { AgentConfig } from './config.ts'
import { anonymousMemoryBytes } from './metrics/readings.ts'

export type AgentStatus = Awaited<ReturnType<typeof describeStatus>>

export async function describeStatus(config: AgentConfig, parts: Parts) {
  const { datapath, network, sources, live } = parts
  const routing = await routingInBrief(config.nodeName, parts)
  return {
    node: config.nodeName,
    synced: parts.loop() !== undefined,
    isMember: sources.nodes.get(config.nodeName) !== undefined,
    allocatesAddresses: parts.allocator()?.isLeader ?? false,
    sources: { ...sources.describe(), ...parts.policySources?.describe() },
    policy: parts.policy()?.status,
    policyProblems: parts.policySources?.problems ?? [],
    closedPods: parts.closedPods()?.status,
    lackingRules: parts.lackingRules(),
    uplinks: uplinksOf(parts),
    defaultRoutes: parts.uplinks.describe().defaultRoutes,
    programs: attachedPrograms(parts),
    pods: network.facts().pods.map(({ address, ifindex, takesRedirects, mayBypass }) => ({
      address,
      ifindex,
      takesRedirects,
      mayBypass,
    })),
    ...sizesOf(parts),
    flows: {
      ...datapath.flows.counts,
      swept: parts.capacity.sweptFlows,
      refused: datapath.metrics()['FLOW_SET_FULL']?.packets ?? 0,
    },
    features: featuresOf(parts),
    endedSockets: parts.sockets()?.status,
    restored: parts.upkeep.restored,
    sysctls: parts.surroundings.sysctls,
    neighbours: parts.surroundings.neighbours,
    masquerade: parts.masquerade()?.status,
    configuration: live.status(),
    routing: routing.status,
    sessions: routing.sessions,
    drain: parts.drain.view(),
  }
}

function uplinksOf({ datapath, network }: Parts) {
  const { uplinks, gateways } = network.facts()
  return uplinks.map(({ name, ifindex, isUp, mtu }) => ({
    name,
    ifindex,
    isUp,
    mtu,
    ...datapath.uplinkHook(ifindex),
    problem: datapath.failedUplinks.get(name),
    gateways: FAMILIES.map(
      (family) => gateways.find((entry) => entry.family === family && entry.ifindex === ifindex)?.address,
    ),
  }))
}

function sizesOf({ datapath }: Parts) {
  const memory = datapath.memory()
  return {
    tables: datapath.services.usage,
    fills: datapath.fills().map((fill) => ({
      ...fill,
      isNearlyFull: isNearlyFull(fill),
      memoryBytes: tableBytes(fill.map, memory),
    })),
    memory: {
      mapsBytes: [...memory.values()].reduce((sum, bytes) => sum + bytes, 0),
      agentAnonymousBytes: anonymousMemoryBytes(),
    },
  }
}

export function featuresOf({ datapath, sockets }: Parts): readonly KernelFeature[] {
  return kernelFeatures({
    noSocketLists: datapath.socketLists.problem,
    noSocketEnding: sockets()?.status.problem,
    noUnseen: datapath.noUnseen,
  })
}

function attachedPrograms({ datapath, network }: Parts) {
  const names = new Map(network.devices().map(({ ifindex, name }) => [ifindex, name]))
  return datapath.programs.map((one) => ({
    ...one,
    device: one.ifindex === undefined ? undefined : (names.get(one.ifindex) ?? `device ${one.ifindex}`),
  }))
}
