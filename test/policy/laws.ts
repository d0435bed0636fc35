// Changes of a world that must change no verdict, and worlds to add that may change it one way only.

import {
  type Address,
  addressBits,
  addressFromNumber,
  type Prefix,
  prefixParts,
} from '../../src/model/address.ts'
import type {
  DirectionRules,
  Policy,
  PolicyPeer,
  PolicyRule,
  PolicyWorld,
  RuleAction,
} from '../../src/model/policy.ts'
import { Random } from './random.ts'

const EVERYTHING = { requirements: [] }

/** @param change of each rule */
function withRules(policy: Policy, change: (rule: PolicyRule) => PolicyRule): Policy {
  const changed = (rules: DirectionRules | undefined) => rules && { ...rules, rules: rules.rules.map(change) }
  return { ...policy, ingress: changed(policy.ingress), egress: changed(policy.egress) }
}

function withPeers(policy: Policy, change: (peer: PolicyPeer) => readonly PolicyPeer[]): Policy {
  return withRules(policy, (rule) => ({
    ...rule,
    peers: rule.peers === 'any' ? 'any' : rule.peers.flatMap(change),
  }))
}

/** Every list in which order means nothing is in another one. */
export function shuffled(world: PolicyWorld, random: Random): PolicyWorld {
  const list = <T>(values: readonly T[] | 'any'): readonly T[] | 'any' =>
    values === 'any' ? 'any' : random.shuffled(values)
  return {
    ...world,
    policies: random
      .shuffled(world.policies)
      .map((policy) =>
        withRules(policy, (rule) => ({ ...rule, peers: list(rule.peers), ports: list(rule.ports) })),
      ),
    pods: random.shuffled(world.pods),
    namespaces: new Map(random.shuffled([...world.namespaces])),
    nodes: random.shuffled(world.nodes),
    networkGroups: random
      .shuffled(world.networkGroups)
      .map((group) => ({ ...group, prefixes: random.shuffled(group.prefixes) })),
    services: random
      .shuffled(world.services)
      .map((service) => ({ ...service, endpoints: random.shuffled(service.endpoints) })),
    apiServers: random.shuffled(world.apiServers),
  }
}

/** The two halves of a prefix; of a single address itself. */
function halves(prefix: Prefix): readonly Prefix[] {
  const { family, length, first } = prefixParts(prefix)
  if (length === addressBits(family)) return [prefix]
  const second = first + (1n << BigInt(addressBits(family) - length - 1))
  const half = (address: Address) => `${address}/${length + 1}` as Prefix
  return [half(addressFromNumber(family, first)), half(addressFromNumber(family, second))]
}

/** Every prefix is written as its halves, exceptions too. */
export function withSplitPrefixes(world: PolicyWorld): PolicyWorld {
  const split = (peer: PolicyPeer): readonly PolicyPeer[] => {
    if (peer.kind === 'network-groups') return [{ ...peer, except: peer.except.flatMap(halves) }]
    if (peer.kind !== 'networks') return [peer]
    return halves(peer.prefix).map((prefix) => ({ ...peer, prefix, except: peer.except.flatMap(halves) }))
  }
  return {
    ...world,
    policies: world.policies.map((policy) => withPeers(policy, split)),
    networkGroups: world.networkGroups.map((group) => ({
      ...group,
      prefixes: group.prefixes.flatMap(halves),
    })),
  }
}

const NOTHING: readonly Pick<PolicyRule, 'peers' | 'ports'>[] = [
  { peers: [], ports: 'any' },
  { peers: 'any', ports: [] },
  { peers: [{ kind: 'entity', entity: 'none' }], ports: 'any' },
  {
    peers: [{ kind: 'network-groups', groups: { name: 'nowhere' }, except: [], covers: 'everything' }],
    ports: 'any',
  },
  { peers: [{ kind: 'services', services: { key: 'x/nowhere' } }], ports: 'any' },
]

function idlePolicy(tier: Policy['tier'], action: RuleAction): Policy {
  const rules = NOTHING.map((rule, index) => ({ action, path: `spec.idle[${index}]`, ...rule }))
  return {
    kind: tier === 'normal' ? 'CiliumClusterwideNetworkPolicy' : 'ClusterNetworkPolicy',
    key: `a-idle-${tier}-${action}`,
    part: 0,
    uid: 'uid-idle',
    tier,
    priority: 0,
    subject: { kind: 'pods', namespaces: EVERYTHING, pods: EVERYTHING },
    ingress: { isolates: false, rules },
    egress: { isolates: false, rules },
    isAudit: false,
    existingConnections: undefined,
    faults: [],
  }
}

/** With rules that list nobody or no port, policies that select nobody, and pods that have ended on others' addresses. */
export function withIdleObjects(world: PolicyWorld): PolicyWorld {
  const nobody = { key: 'app', operator: 'In' as const, values: [] }
  const selectsNobody: Policy = {
    ...idlePolicy('normal', 'deny'),
    key: 'a-nobody',
    subject: { kind: 'pods', namespaces: EVERYTHING, pods: { requirements: [nobody] } },
    ingress: { isolates: true, rules: [] },
    egress: { isolates: true, rules: [] },
  }
  return {
    ...world,
    policies: [
      idlePolicy('admin', 'allow'),
      idlePolicy('admin', 'deny'),
      idlePolicy('admin', 'pass'),
      idlePolicy('normal', 'allow'),
      idlePolicy('normal', 'deny'),
      idlePolicy('baseline', 'deny'),
      selectsNobody,
      ...world.policies,
    ],
    pods: [
      ...world.pods.map((pod) => ({
        ...pod,
        key: `${pod.key}-before`,
        labels: { app: 'a' },
        isFinished: true,
        isHostNetwork: false,
      })),
      ...world.pods,
    ],
  }
}

/** Everything that must not matter is otherwise. */
export function inOtherWords(world: PolicyWorld): PolicyWorld {
  return shuffled(withIdleObjects(withSplitPrefixes(world)), new Random(world.pods.length))
}

/** The world, and another's policies beside its own with every rule saying `action`; they isolate nobody where they allow. */
export function withMore(
  world: PolicyWorld,
  policies: readonly Policy[],
  action: 'allow' | 'deny',
): PolicyWorld {
  const direction = (rules: DirectionRules | undefined) =>
    rules && { ...rules, isolates: rules.isolates && action === 'deny' }
  const more = policies.map((policy) => ({
    ...withRules(policy, (rule) => ({ ...rule, action })),
    key: `${policy.key}-more`,
  }))
  return {
    ...world,
    policies: [
      ...world.policies,
      ...more.map((policy) => ({
        ...policy,
        ingress: direction(policy.ingress),
        egress: direction(policy.egress),
      })),
    ],
  }
}
