// The agent's parts as metrics: joins them to what metrics/readings.ts names.

import type { Parts } from './agent.ts'
import { configurationReadings } from './metrics/configuration-readings.ts'
import type { Reading } from './metrics/exposition.ts'
import { policyReadings } from './metrics/policy-readings.ts'
import { controlReadings, datapathReadings } from './metrics/readings.ts'
import { featuresOf } from './status-view.ts'

export function agentReadings(parts: Parts): readonly Reading[] {
  const { datapath, network, sources, sessions, capacity, upkeep, surroundings, monitoring, live, records } =
    parts
  return [
    ...datapathReadings({
      metrics: () => datapath.metrics(),
      fills: () => datapath.fills(),
      flows: () => datapath.flows.counts,
      sweptFlows: () => capacity.sweptFlows,
      uplinks: () =>
        network.facts().uplinks.map(({ name, ifindex, isUp }) => ({
          name,
          isUp,
          hook: datapath.uplinkHook(ifindex)?.hook,
        })),
      restored: () => upkeep.restored,
      features: () => featuresOf(parts),
      neighbours: () => surroundings.neighbours,
    }),
    ...configurationReadings(() => live.status()),
    ...(records ? policyReadings({ tallies: () => records.tallies, count: () => records.count }) : []),
    ...controlReadings({
      sources: () => sources.describe(),
      // Of those that are configured: a router that nobody has heard of since the speaker started counts as down.
      sessions: () => {
        const known = sessions()
        const peers = live.sources.current?.peers ?? []
        return new Map(
          peers.flatMap(({ remote }) =>
            remote.kind === 'address' ? [[remote.address, known.get(remote.address) === true] as const] : [],
          ),
        )
      },
      bfd: () => parts.bfd.describe(),
      services: () => {
        const served = [...(parts.loop()?.served.values() ?? [])]
        return {
          served: served.length,
          troubled: served.filter(({ problems }) => problems.length > 0).length,
        }
      },
      endedSockets: () => parts.sockets()?.status.ended ?? {},
      checkPorts: () => monitoring.checkPorts.usage,
    }),
  ]
}
