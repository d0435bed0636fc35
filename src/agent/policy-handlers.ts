// What the local API answers of policy: views of its loop, its records and the flow table.

import { type Address, familyOf } from '../model/address.ts'
import type { Parts } from './agent.ts'
import type { AgentConfig } from './config.ts'
import { lentPorts } from './lent-ports.ts'
import { type LocalHandler, RequestError } from './local-api.ts'
import { explainPolicy } from './policy-explain.ts'
import type { PolicyLoop } from './policy-loop.ts'
import type { SeenContext } from './policy-seen.ts'
import { policyServices } from './policy-services.ts'
import { simulatePolicies } from './policy-simulate.ts'
import { POLICY_KINDS } from './policy-sources.ts'
import { explainRule, listPolicies, type PolicyViewParts } from './policy-view.ts'
import { showRecords } from './records-view.ts'

const NOT_ENFORCED = 'policy is not enforced on this node. Mend: policy.enforce: true turns it on'

/** @param notSynced what is said before the first sync */
export function policyHandlers(
  config: AgentConfig,
  parts: Parts,
  notSynced: string,
): Record<string, LocalHandler> {
  const started = () => startedPolicy(parts, notSynced)
  const view = () => viewParts(config, parts, started())
  return {
    '/v1/policies': () => listPolicies(started().objects, view(), started().records.tallies),
    '/v1/policy': (query) => {
      const services = policyServices(config, parts.sources, () => parts.live.sources.pools)
      return explainPolicy(query, { ...view(), services })
    },
    '/v1/policy/rule': (query) => explainRule(query.get('id') ?? '', view()),
    '/v1/policy/records': (query) => {
      const { records, objects } = started()
      const keys = objects.map(({ key }) => key)
      return showRecords(query, records, keys)
    },
    'POST /v1/policy/simulate': (query, body) => {
      const { objects, loop, records } = started()
      const { world } = loop
      return simulatePolicies(body, query.getAll('delete'), {
        ...{ node: config.nodeName, world, objects, flows: parts.datapath.flows },
        existingConnections: config.policy.existingConnections,
        records: records.list(),
        seen: seenContext(config, parts, world),
      })
    },
  }
}

interface Started {
  readonly loop: PolicyLoop
  readonly records: NonNullable<Parts['records']>
  readonly objects: ReturnType<typeof allObjects>
}

/** Throws RequestError. */
function startedPolicy({ policySources, policy, records }: Parts, notSynced: string): Started {
  if (policySources === undefined || records === undefined) throw new RequestError(404, NOT_ENFORCED)
  const loop = policy()
  if (loop === undefined) throw new RequestError(404, policySources.problems[0] ?? notSynced)
  return { loop, records, objects: allObjects(policySources) }
}

function allObjects({ objects }: NonNullable<Parts['policySources']>) {
  return POLICY_KINDS.flatMap((kind) => [...objects[kind].values()])
}

function viewParts(
  { nodeName }: AgentConfig,
  { datapath, lines }: Parts,
  { loop }: Started,
): PolicyViewParts {
  return {
    node: nodeName,
    world: loop.world,
    rows: datapath.policyRows,
    nameOf: (rule) => loop.nameOf(rule),
    lines,
  }
}

function seenContext(
  config: AgentConfig,
  { datapath, network }: Parts,
  { pods, nodes }: PolicyLoop['world'],
): SeenContext {
  const { pods: devices, unknownPods } = network.facts()
  const ends = [...devices.map(({ address, ifindex }) => [address, ifindex] as const), ...unknownPods]
  const podAt = new Map(ends.map(([address, ifindex]) => [`${ifindex} ${familyOf(address)}`, address]))
  const ofNode = nodes.find(({ name }) => name === config.nodeName)?.addresses as
    | readonly Address[]
    | undefined
  const ofPods = pods.filter(({ node }) => node === config.nodeName).flatMap(({ addresses }) => addresses)
  const own = new Set<Address | string>([...ofPods, ...(ofNode ?? [])])
  const ofNodes = new Set<Address | string>(nodes.flatMap(({ addresses }) => addresses))
  const { backend } = datapath.flowNames()
  const backends = new Map<number, ReturnType<typeof backend>>()
  return {
    node: config.nodeName,
    podAt: (ifindex, family) => podAt.get(`${ifindex} ${family}`),
    backend: (id) => {
      // Each look-up is a system call, and many flows name the same few.
      if (!backends.has(id)) backends.set(id, backend(id))
      return backends.get(id)
    },
    nodeAt: (family) => ofNode?.find((address) => familyOf(address) === family),
    isOwn: (address) => own.has(address),
    isNode: (address) => ofNodes.has(address),
    lentPorts: lentPorts(config),
  }
}
