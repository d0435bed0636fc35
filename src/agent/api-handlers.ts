// What each path of the local API answers: views of the agent's parts, made when asked for.

import { tickSeconds } from '../datapath/load.ts'
import type { ReasonCount } from '../datapath/maps.ts'
import { verdictOf } from '../datapath/verdict.ts'
import { planService } from '../services/plan-service.ts'
import type { Parts } from './agent.ts'
import { bgpHandlers } from './bgp-view.ts'
import type { AgentConfig } from './config.ts'
import { DROPS_KEPT_MAX } from './drop-log.ts'
import { type FlowNaming, listFlows, readFlowFilter, readLimit } from './flow-view.ts'
import { type LocalHandler, RequestError } from './local-api.ts'
import { planContext } from './plan-context.ts'
import { policyHandlers } from './policy-handlers.ts'
import { routingHandlers } from './routing-view.ts'
import type { ServedService } from './service-loop.ts'
import { describeService, summarizeService } from './service-view.ts'
import { describeStatus } from './status-view.ts'

const DROPS_DEFAULT = 100
const NOT_SYNCED =
  'the agent has not heard from an API server yet and goes on with what the kernel held; ask again later'

export function apiHandlers(config: AgentConfig, parts: Parts): Record<string, LocalHandler> {
  return {
    '/v1/status': () => describeStatus(config, parts),
    '/v1/metrics': () => parts.datapath.metrics(),
    '/v1/services': () => served(parts).map(summarizeService),
    '/v1/service': (query) => showService(config, parts, query),
    '/v1/flows': (query) =>
      listFlows(parts.datapath.flows, flowNaming(parts), readFlowFilter(query), tickSeconds()),
    '/v1/drops': (query) => showDrops(parts, query),
    '/v1/routes': () => parts.routing.status(),
    '/v1/bfd': () => parts.bfd.describe(),
    '/v1/uplinks': () => parts.uplinks.describe(),
    ...policyHandlers(config, parts, NOT_SYNCED),
    ...routingHandlers(parts),
    ...bgpHandlers(config, parts),
    '/v1/why': (query) => why(parts, query),
    '/v1/drain': (query) => parts.drainRequests.show(nodeOf(config, query)),
    'POST /v1/drain': (query) => parts.drainRequests.drain(nodeOf(config, query)),
    'POST /v1/undrain': (query) => parts.drainRequests.undrain(nodeOf(config, query)),
  }
}

async function showDrops(
  { drops, policy, lines, datapath }: Parts,
  query: URLSearchParams,
): Promise<unknown> {
  const newest = drops.newest(readLimit(query, DROPS_KEPT_MAX) ?? DROPS_DEFAULT)
  const rules = new Set(newest.flatMap(({ ruleId }) => ruleId ?? []))
  const named = [...rules].flatMap((rule) => {
    const name = policy()?.nameOf(rule)
    return typeof name === 'object' ? [name] : []
  })
  return {
    drops: newest,
    sinceMs: drops.sinceMs,
    counted: droppedPackets(datapath.metrics()),
    lines: await lines.of(named),
  }
}

function flowNaming({ datapath }: Parts): FlowNaming {
  return { ...datapath.flowNames(), service: (serviceId) => datapath.services.serviceOf(serviceId) }
}

async function why(parts: Parts, query: URLSearchParams): Promise<unknown> {
  const text = query.get('prefix') ?? ''
  const answer = await parts.routing.why(text)
  if (answer) return answer
  throw new RequestError(
    400,
    `'${text}' is neither an address nor a prefix; write 203.0.113.7 or 203.0.113.7/32`,
  )
}

function nodeOf({ nodeName }: AgentConfig, query: URLSearchParams): string {
  return query.get('node') ?? nodeName
}

/** Dropped and refused, whether they are listed or not. */
function droppedPackets(metrics: Readonly<Record<string, ReasonCount>>): number {
  return Object.entries(metrics)
    .filter(([reason]) => (verdictOf(reason) ?? 'forwarded') !== 'forwarded')
    .reduce((sum, [, { packets }]) => sum + packets, 0)
}

function served(parts: Parts): ServedService[] {
  return [...(parts.loop()?.served.values() ?? [])]
}

function showService(config: AgentConfig, parts: Parts, query: URLSearchParams): unknown {
  const name = query.get('name') ?? ''
  if (parts.loop() === undefined) throw new RequestError(404, NOT_SYNCED)
  const found = served(parts).find(({ service }) => service.key === name)
  if (!found)
    throw new RequestError(404, `this node serves no Service '${name}'; 'weir service list' tells which`)
  const { sources } = parts
  const slices = sources.slices.find('service', found.service.key)
  const plan = planContext(config, sources.nodes, () => parts.live.sources.pools)
  return describeService(found, planService(found.service, slices, plan))
}
