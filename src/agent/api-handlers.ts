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
import { POLICY_KINDS } from './policy-sources.ts'
import { explainPolicy, listPolicies, type PolicyViewParts } from './policy-view.ts'
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
    '/v1/drops': (query) => ({
      drops: parts.drops.newest(readLimit(query, DROPS_KEPT_MAX) ?? DROPS_DEFAULT),
      sinceMs: parts.drops.sinceMs,
      counted: droppedPackets(parts.datapath.metrics()),
    }),
    '/v1/routes': () => parts.routing.status(),
    '/v1/bfd': () => parts.bfd.describe(),
    '/v1/uplinks': () => parts.uplinks.describe(),
    '/v1/policies': () => policies(config, parts),
    '/v1/policy': (query) => explainPolicy(query, policyParts(config, parts)),
    ...routingHandlers(parts),
    ...bgpHandlers(config, parts),
    '/v1/why': (query) => why(parts, query),
    '/v1/drain': (query) => parts.drainRequests.show(nodeOf(config, query)),
    'POST /v1/drain': (query) => parts.drainRequests.drain(nodeOf(config, query)),
    'POST /v1/undrain': (query) => parts.drainRequests.undrain(nodeOf(config, query)),
  }
}

function policies(config: AgentConfig, parts: Parts): unknown {
  const view = policyParts(config, parts)
  const objects = POLICY_KINDS.flatMap((kind) => [...(parts.policySources?.objects[kind].values() ?? [])])
  return listPolicies(objects, view)
}

function policyParts({ nodeName }: AgentConfig, { policySources, policy, datapath }: Parts): PolicyViewParts {
  if (policySources === undefined)
    throw new RequestError(404, 'policy is not enforced on this node. Mend: policy.enforce: true turns it on')
  const loop = policy()
  if (loop === undefined) throw new RequestError(404, NOT_SYNCED)
  return {
    node: nodeName,
    world: loop.world,
    rows: datapath.policyRows,
    nameOf: (rule) => loop.nameOf(rule),
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
