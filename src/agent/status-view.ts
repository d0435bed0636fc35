// The agent and its datapath on one page: what `/v1/status` answers and `weir status` prints.

import { kernelFeatures } from '../datapath/kernel-features.ts'
import { isNearlyFull } from '../datapath/map-fill.ts'
import { FAMILIES } from '../model/address.ts'
import type { Parts } from './agent.ts'
import type { AgentConfig } from './config.ts'

export type AgentStatus = Awaited<ReturnType<typeof describeStatus>>

export async function describeStatus(config: AgentConfig, parts: Parts) {
  const { datapath, network, sources, routing } = parts
  const { uplinks, gateways, pods } = network.facts()
  return {
    node: config.nodeName,
    synced: parts.loop() !== undefined,
    isMember: sources.nodes.get(config.nodeName) !== undefined,
    allocatesAddresses: parts.allocator()?.isLeader ?? false,
    sources: sources.describe(),
    uplinks: uplinks.map(({ name, ifindex, isUp, mtu }) => ({
      name,
      ifindex,
      isUp,
      mtu,
      ...datapath.uplinkHook(ifindex),
      problem: datapath.failedUplinks.get(name),
      gateways: FAMILIES.map(
        (family) => gateways.find((entry) => entry.family === family && entry.ifindex === ifindex)?.address,
      ),
    })),
    pods: pods.map(({ address, ifindex, takesRedirects }) => ({ address, ifindex, takesRedirects })),
    tables: datapath.services.usage,
    fills: datapath.fills().map((fill) => ({ ...fill, isNearlyFull: isNearlyFull(fill) })),
    flows: {
      ...datapath.flows.counts,
      swept: parts.capacity.sweptFlows,
      refused: datapath.metrics()['FLOW_SET_FULL']?.packets ?? 0,
    },
    features: kernelFeatures(),
    endedSockets: parts.sockets()?.status,
    restored: parts.upkeep.restored,
    sysctls: parts.surroundings.sysctls,
    neighbours: parts.surroundings.neighbours,
    masquerade: parts.masquerade()?.status,
    routing: await routing.status(),
  }
}
