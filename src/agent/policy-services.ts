// Which Service, or which pod's host port, answers at an address and port: what `weir policy explain` follows to the endpoints. From the
// agent's tables, as the planner has it for the node that leads the connection.

import type { Address } from '../model/address.ts'
import type { PolicyPacket } from '../model/policy.ts'
import type { Service } from '../model/service.ts'
import type { DesiredFrontend, DesiredPort } from '../services/desired.ts'
import { planHostPorts } from '../services/plan-host-ports.ts'
import { planService } from '../services/plan-service.ts'
import type { AgentConfig } from './config.ts'
import { RequestError } from './local-api.ts'
import { type AgentPlanContext, planContext } from './plan-context.ts'
import type { ReachedService, WayContext } from './policy-ways.ts'
import type { Sources } from './sources.ts'

export type ServiceQuestion = Pick<PolicyPacket, 'protocol' | 'port'> & { readonly address: Address }

export interface PolicyServices extends Omit<WayContext, 'node'> {
  /** Undefined: no Service's. Throws RequestError for a port that its Service does not have. */
  readonly at: (question: ServiceQuestion) => ReachedService | undefined
}

type Tables = Pick<Sources, 'services' | 'slices' | 'nodes' | 'pods'>

/** What is asked of a node is asked in its place: hints and Local policies are of the node that leads. */
type ContextOf = (node: string) => AgentPlanContext

export function policyServices(
  config: AgentConfig,
  tables: Tables,
  pools: Parameters<typeof planContext>[2],
): PolicyServices {
  const contexts = new Map<string, AgentPlanContext>()
  const contextOf: ContextOf = (nodeName) => {
    const context = contexts.get(nodeName) ?? planContext({ ...config, nodeName }, tables.nodes, pools)
    contexts.set(nodeName, context)
    return context
  }
  const { nodeName } = config
  return {
    at: (question) =>
      hostPortAt(question, tables, contextOf(nodeName)) ?? serviceAt(question, tables, contextOf, nodeName),
    nodes: [...tables.nodes.values()].map(({ name }) => name).sort(),
    addressOf: (node, family) => tables.nodes.get(node)?.internalIps[family],
  }
}

function serviceAt(
  question: ServiceQuestion,
  { services, slices, nodes }: Tables,
  contextOf: ContextOf,
  ownNode: string,
): ReachedService | undefined {
  const { address, port } = question
  const owner = [...nodes.values()].find(({ addresses }) => addresses.includes(address))?.name
  const portsElsewhere: string[] = []
  for (const service of services.values()) {
    const isOurs =
      addressesOf(service).includes(address) ||
      (owner !== undefined && service.ports.some(({ nodePort }) => nodePort === port))
    if (!isOurs) continue
    const planFor = (node: string) =>
      planService(service, slices.find('service', service.key), contextOf(node))
    const ports = planFor(owner ?? ownNode)
    const frontend = ports.flatMap(({ frontends }) => frontends).find(isAt(question))
    if (frontend) {
      const planAt = once((node) => planFor(node).find(({ frontends }) => frontends.some(isAt(question))))
      return {
        name: `Service ${service.key}`,
        kind: frontend.kind,
        owner: isOfNode(frontend) ? (owner ?? ownNode) : undefined,
        planAt,
      }
    }
    if (
      ports.some(({ frontends }) => frontends.some((one) => one.address === address)) &&
      owner === undefined
    )
      portsElsewhere.push(`${service.key} has ${service.ports.map(portText).join(', ')}`)
  }
  if (portsElsewhere.length === 0) return undefined
  if (question.protocol === 'icmp')
    throw new RequestError(
      400,
      `${address} is a Service's: no endpoint gets ICMP that is sent to it, and no policy is asked. Mend: ask for an endpoint's own address`,
    )
  throw new RequestError(
    404,
    `no Service has port ${port}/${question.protocol} at ${address}: Service ${portsElsewhere.join('; Service ')}. Mend: ask for a port of the Service, or for the endpoint's own address and port`,
  )
}

/** Of this node's pods: others' host ports are theirs to know. */
function hostPortAt(
  question: ServiceQuestion,
  { pods }: Tables,
  context: AgentPlanContext,
): ReachedService | undefined {
  for (const pod of pods.values()) {
    const found = planHostPorts(pod, context).find(({ frontends }) => frontends.some(isAt(question)))
    if (found) {
      const planAt = (node: string) => (node === context.nodeName ? found : undefined)
      return { name: `host port of pod ${pod.key}`, kind: 'host-port', owner: context.nodeName, planAt }
    }
  }
  return undefined
}

function isOfNode({ kind }: DesiredFrontend): boolean {
  return kind === 'node-port' || kind === 'loopback'
}

function addressesOf({ clusterIps, externalIps, loadBalancerIps }: Service): readonly Address[] {
  return [...clusterIps, ...externalIps, ...loadBalancerIps]
}

function isAt({ address, port, protocol }: ServiceQuestion): (frontend: DesiredFrontend) => boolean {
  return (one) => one.address === address && one.port === port && one.protocol.toLowerCase() === protocol
}

function portText({ port, protocol }: Service['ports'][number]): string {
  return `${port}/${protocol.toLowerCase()}`
}

function once(planOf: (node: string) => DesiredPort | undefined): (node: string) => DesiredPort | undefined {
  const known = new Map<string, DesiredPort | undefined>()
  return (node) => {
    if (!known.has(node)) known.set(node, planOf(node))
    return known.get(node)
  }
}
