// What each path of the local API answers: views of the agent's parts, made when asked for.

import { tickSeconds } from '../datapath/load.ts'
import { planService } from '../services/plan-service.ts'
import type { Parts } from './agent.ts'
import type { AgentConfig } from './config.ts'
import { listFlows, readFlowFilter, readNumber } from './flow-view.ts'
import { type LocalHandler, RequestError } from './local-api.ts'
import { planContext } from './plan-context.ts'
import type { ServedService } from './service-loop.ts'
import { describeService, summarizeService } from './service-view.ts'
import { describeStatus } from './status-view.ts'

const DROPS_DEFAULT = 100
const DROPS_MAX = 1000

export function apiHandlers(config: AgentConfig, parts: Parts): Record<string, LocalHandler> {
  return {
    '/v1/status': () => describeStatus(config, parts),
    '/v1/metrics': () => parts.datapath.metrics(),
    '/v1/services': () => served(parts).map(summarizeService),
    '/v1/service': (query) => showService(config, parts, query),
    '/v1/flows': (query) =>
      listFlows(parts.datapath.flows, parts.datapath.flowNames(), readFlowFilter(query), tickSeconds()),
    '/v1/drops': (query) => ({
      drops: parts.drops.newest(readNumber(query, 'limit', DROPS_MAX) ?? DROPS_DEFAULT),
      lost: parts.datapath.metrics()['EVENT_LOST']?.packets ?? 0,
    }),
    '/v1/routes': () => parts.routing.status(),
  }
}

function served(parts: Parts): ServedService[] {
  return [...(parts.loop()?.served.values() ?? [])]
}

function showService(config: AgentConfig, parts: Parts, query: URLSearchParams): unknown {
  const name = query.get('name') ?? ''
  const found = served(parts).find(({ service }) => service.key === name)
  if (!found)
    throw new RequestError(404, `this node serves no Service '${name}'; 'weir service list' tells which`)
  const { sources } = parts
  const slices = sources.slices.find('service', found.service.key)
  return describeService(found, planService(found.service, slices, planContext(config, sources.nodes)))
}
