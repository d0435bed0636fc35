// The agent's parts as metrics: joins them to what metrics/readings.ts names.

import type { Parts } from './agent.ts'
import type { Reading } from './metrics/exposition.ts'
import { controlReadings, datapathReadings } from './metrics/readings.ts'

export function agentReadings(parts: Parts): readonly Reading[] {
  const { datapath, network, sources, sessions, capacity, upkeep, monitoring } = parts
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
    }),
    ...controlReadings({
      sources: () => sources.describe(),
      sessions,
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
