// Random clusters: nodes, namespaces, pods (dual-stack or not, of the host network, finished, with the address of one that has ended),
// groups of prefixes, Services and API servers. The first node is the one that judges.

import fc from 'fast-check'
import {
  NAMESPACE_NAME_LABEL,
  PORT_PROTOCOLS,
  type Policy,
  type PolicyNode,
  type PolicyPod,
  type PolicyWorld,
  type PortRange,
} from '../../../src/model/policy.ts'
import {
  ACCOUNTS,
  chance,
  GROUP_LABELS,
  labelsOf,
  NAMESPACE_LABELS,
  NAMESPACES,
  NODE_LABELS,
  OUTSIDERS,
  POD_LABELS,
  PORT_NAMES,
  PORTS,
  PREFIXES,
  pick,
  SERVICE_LABELS,
  weighted,
} from './alphabet.ts'
import { policiesArbitrary } from './policies.ts'

/** Where all packets of a world are judged: `world.nodes[0]`. */
export const OWN_NODE = 'n1'

type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never

type Stack = 'both' | 'ipv4' | 'ipv6' | 'none'

function ofStack(stack: Stack, ipv4: string, ipv6: string): readonly string[] {
  if (stack === 'none') return []
  return stack === 'both' ? [ipv4, ipv6] : [stack === 'ipv4' ? ipv4 : ipv6]
}

const nodesArbitrary: fc.Arbitrary<readonly PolicyNode[]> = fc
  .array(fc.record({ labels: labelsOf(NODE_LABELS), isLooped: chance(30) }), { minLength: 1, maxLength: 3 })
  .map((drafts) =>
    drafts.map(({ labels, isLooped }, index) => ({
      name: `n${index + 1}`,
      labels,
      addresses: [
        `192.168.0.${index + 1}`,
        `fd01::${index + 1}`,
        ...(isLooped ? [`10.255.0.${index + 1}`] : []),
      ],
    })),
  )

const namedPortsArbitrary = fc.array(
  fc.record({ name: pick(PORT_NAMES), protocol: pick(PORT_PROTOCOLS), port: pick(PORTS) }),
  { maxLength: 4 },
)

const podDraft = fc.record({
  namespace: pick(NAMESPACES),
  labels: labelsOf(POD_LABELS),
  serviceAccount: pick(ACCOUNTS),
  stack: weighted<Stack>(
    [8, fc.constant('both')],
    [2, fc.constant('ipv4')],
    [2, fc.constant('ipv6')],
    [1, fc.constant('none')],
  ),
  node: weighted([4, fc.constant(0)], [2, pick([0, 1, 2])]),
  fate: weighted<'living' | 'host' | 'finished' | 'outlived'>(
    [9, fc.constant('living')],
    [1, fc.constant('host')],
    [1, fc.constant('finished')],
    [1, fc.constant('outlived')],
  ),
  namedPorts: namedPortsArbitrary,
})

/** @param previous the pod before, whose address one that is outlived has had */
function podOf(
  draft: Drawn<typeof podDraft>,
  index: number,
  nodes: readonly PolicyNode[],
  previous: PolicyPod | undefined,
): PolicyPod {
  const nodeIndex = draft.node % nodes.length
  const node = nodes[nodeIndex]
  if (!node) throw new RangeError('a world has a node')
  const own = ofStack(
    draft.stack,
    `10.0.${nodeIndex + 1}.${index + 1}`,
    `fd00::${nodeIndex + 1}:${index + 1}`,
  )
  const isHostNetwork = draft.fate === 'host'
  const isOutlived = draft.fate === 'outlived' && previous !== undefined && !previous.isHostNetwork
  return {
    key: `${draft.namespace}/pod-${index}`,
    namespace: draft.namespace,
    labels: draft.labels,
    serviceAccount: draft.serviceAccount,
    addresses: isHostNetwork ? node.addresses : isOutlived ? previous.addresses : own,
    node: isOutlived ? previous.node : node.name,
    isHostNetwork,
    isFinished: draft.fate === 'finished' || draft.fate === 'outlived',
    namedPorts: draft.namedPorts,
  }
}

const namespacesArbitrary = fc
  .tuple(...NAMESPACES.map(() => labelsOf(NAMESPACE_LABELS)))
  .map(
    (all) =>
      new Map(
        NAMESPACES.map((name, index) => [name, { ...all[index], [NAMESPACE_NAME_LABEL]: name }] as const),
      ),
  )

const groupsArbitrary = fc
  .array(
    fc.record({
      labels: labelsOf(GROUP_LABELS),
      prefixes: fc.array(pick(PREFIXES), { maxLength: 3 }),
      isBroken: chance(20),
    }),
    { maxLength: 3 },
  )
  .map((drafts) =>
    drafts.map(({ isBroken, ...draft }, index) => ({
      name: `g${index}`,
      ...draft,
      ...(isBroken ? { isBroken } : {}),
    })),
  )

/** Endpoints are drawn as numbers, for they are addresses of a world that is not there yet. */
const serviceDraft = fc.record({
  namespace: pick(NAMESPACES),
  labels: labelsOf(SERVICE_LABELS),
  endpoints: fc.array(fc.nat({ max: 1000 }), { maxLength: 5 }),
})

/** SSH and the like: what a node's policies do not close by the way. */
const rangesArbitrary: fc.Arbitrary<readonly PortRange[]> = fc.array(
  fc
    .tuple(pick(PORT_PROTOCOLS), pick(PORTS), pick([0, 0, 30]))
    .map(([protocol, first, more]) => ({ protocol, first, last: Math.min(65535, first + more) })),
  { maxLength: 3 },
)

const draftArbitrary = fc.record({
  nodes: nodesArbitrary,
  namespaces: namespacesArbitrary,
  pods: fc.array(podDraft, { minLength: 3, maxLength: 9 }),
  networkGroups: groupsArbitrary,
  services: fc.array(serviceDraft, { maxLength: 3 }),
  apiServers: fc.array(fc.nat({ max: 1000 }), { maxLength: 2 }),
  isShuffled: chance(50),
  failSafePorts: weighted(
    [1, fc.constant(undefined)],
    [1, fc.record({ ingress: rangesArbitrary, egress: rangesArbitrary })],
  ),
})

function assemble(draft: Drawn<typeof draftArbitrary>, policies: readonly Policy[]): PolicyWorld {
  const { nodes, namespaces, networkGroups } = draft
  const pods: PolicyPod[] = []
  for (const [index, podDraft] of draft.pods.entries()) pods.push(podOf(podDraft, index, nodes, pods.at(-1)))
  const podAddresses = pods.flatMap((pod) => pod.addresses)
  const others = [...nodes.flatMap((node) => node.addresses), ...OUTSIDERS]
  const known = [...podAddresses, ...podAddresses, ...others]
  const at = (list: readonly string[], number: number) => list[number % list.length] ?? ''
  return {
    policies,
    pods: draft.isShuffled ? pods.toReversed() : pods,
    namespaces,
    nodes,
    networkGroups,
    services: draft.services.map(({ namespace, labels, endpoints }, index) => ({
      key: `${namespace}/s${index}`,
      namespace,
      labels,
      endpoints: [...new Set(endpoints.map((number) => at(known, number)))],
    })),
    apiServers: [...new Set(draft.apiServers.map((number) => at(others, number)))],
    ...(draft.failSafePorts && { failSafePorts: draft.failSafePorts }),
  }
}

/** Without bias: the alphabet is small enough for every edge to come up by itself. */
export const worldArbitrary: fc.Arbitrary<PolicyWorld> = fc.noBias(
  fc.tuple(draftArbitrary, policiesArbitrary).map(([draft, policies]) => assemble(draft, policies)),
)

/** `count` worlds that the seed decides. */
export function randomWorlds(seed: number, count: number): readonly PolicyWorld[] {
  return fc.sample(worldArbitrary, { seed, numRuns: count })
}
