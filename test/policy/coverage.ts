// What random cases have exercised: counters by kind, field, peer, port, party and cause, with the list of those that must not stay at zero.

import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyDirection,
  type PolicyKind,
  type PolicyPeer,
  type PolicyRule,
  type PolicyWorld,
  type PortMatch,
} from '../../src/model/policy.ts'
import { isSamePolicy, type PolicyRuleRef } from '../../src/model/policy-judgement.ts'
import type { ExplainedJudgement } from '../../src/policy/evaluate.ts'
import { isInRange, peerMatches, portMatches } from '../../src/policy/matching.ts'
import { destinationOf, type Party, sourceOf } from '../../src/policy/parties.ts'
import { AIMS, type Probe } from './arbitrary/probes.ts'

const KINDS: readonly PolicyKind[] = [
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
]

function peerName(peer: PolicyPeer): string {
  switch (peer.kind) {
    case 'entity':
      return `entity ${peer.entity}`
    case 'networks':
      return `networks covering ${peer.covers}${peer.except.length > 0 ? ' but exceptions' : ''}`
    case 'network-groups':
      return `network-groups by ${'name' in peer.groups ? 'name' : 'label'}`
    case 'services':
      return `services by ${'key' in peer.services ? 'name' : 'label'}`
    default:
      return peer.kind
  }
}

function portName(match: PortMatch): string {
  if (match.kind === 'icmp') return `icmp ${match.family}`
  if (match.kind === 'named')
    return `named of ${match.protocol === undefined ? 'any protocol' : 'a protocol'}`
  if (match.first === 0 && match.last === 65535) return `${match.protocol} as a whole`
  return `${match.protocol} ${match.first === match.last ? 'port' : 'range'}`
}

function partyName(party: Party, world: PolicyWorld): string {
  if (party.kind === 'node') return party.isJudge ? 'own node' : 'other node'
  const before = world.pods.some((pod) => pod.isFinished && pod.addresses.includes(party.address))
  if (party.kind === 'pod') return before ? 'pod with a used address' : 'pod'
  if (party.isMasqueraded) return 'masqueraded'
  return before ? 'outside, a pod before' : 'outside'
}

function ruleName(policy: Policy, direction: PolicyDirection, rule: PolicyRule): string {
  const tier = policy.tier === 'normal' ? '' : ` ${policy.tier}`
  const host = policy.subject.kind === 'nodes' ? ' of nodes' : ''
  return `${policy.kind}${tier}${host} ${direction} ${rule.action}`
}

/** The rule that a judgement names. */
function findRule(world: PolicyWorld, direction: PolicyDirection, ref: PolicyRuleRef) {
  const policy = world.policies.find((each) => isSamePolicy(each, ref.policy))
  const rule = policy?.[direction]?.rules.find((each) => each.path === ref.path)
  return policy && rule && { policy, rule }
}

const EXPECTED: readonly string[] = [
  ...AIMS.map((aim) => `aimed at: ${aim}`),
  ...POLICY_DIRECTIONS.flatMap((direction) => [
    `rule: NetworkPolicy ${direction} allow`,
    ...['admin', 'baseline'].flatMap((tier) =>
      ['allow', 'deny', 'pass'].map((action) => `rule: ClusterNetworkPolicy ${tier} ${direction} ${action}`),
    ),
    ...[
      'CiliumNetworkPolicy',
      'CiliumClusterwideNetworkPolicy',
      'CiliumClusterwideNetworkPolicy of nodes',
    ].flatMap((kind) => ['allow', 'deny'].map((action) => `rule: ${kind} ${direction} ${action}`)),
  ]),
  ...[
    'any',
    'pods',
    'nodes',
    'network-groups by name',
    'network-groups by label',
    'services by name',
    'services by label',
  ].map((name) => `decided by peer: ${name}`),
  ...['everything', 'outside'].flatMap((covers) => [
    `decided by peer: networks covering ${covers}`,
    `decided by peer: networks covering ${covers} but exceptions`,
  ]),
  ...['all', 'world', 'world-ipv4', 'world-ipv6', 'cluster', 'host', 'remote-node', 'kube-apiserver'].map(
    (entity) => `decided by peer: entity ${entity}`,
  ),
  ...['ingress', 'init', 'health', 'unmanaged', 'none'].map((entity) => `passed over: entity ${entity}`),
  ...['any', 'icmp ipv4', 'icmp ipv6', 'named of any protocol', 'named of a protocol'].map(
    (name) => `decided by port: ${name}`,
  ),
  ...['tcp', 'udp', 'sctp'].flatMap((protocol) => [
    `decided by port: ${protocol} as a whole`,
    `decided by port: ${protocol} port`,
    `decided by port: ${protocol} range`,
  ]),
  ...['tcp', 'udp', 'sctp', 'icmp', 'other'].map((protocol) => `protocol: ${protocol}`),
  ...['pod', 'pod with a used address', 'own node'].map((party) => `subject: ${party}`),
  ...[
    'pod',
    'pod with a used address',
    'own node',
    'other node',
    'masqueraded',
    'outside',
    'outside, a pod before',
  ].map((party) => `peer: ${party}`),
  ...['rule', 'isolation', 'default'].flatMap((cause) => [
    ...(cause === 'default' ? [] : [`cause: deny by ${cause}`]),
    ...(cause === 'isolation' ? [] : [`cause: allow by ${cause}`]),
  ]),
  'cause: allow by self',
  'cause: allow by own-node',
  'cause: allow by fail-safe',
  'fail-safe port: deny by rule',
  'fail-safe port: allow by rule',
  'hairpin: allow',
  'hairpin: deny',
  'audit: would allow',
  'audit: would deny',
  ...KINDS.flatMap((kind) => [`policy: ${kind} audited`, `policy: ${kind} with faults`]),
  'policy: keep',
  'policy: recheck',
  'policy: a further part',
  'policy: without rules',
  'policy: rules that do not isolate',
  'policy: priority of another',
  'policy: a list of no peers',
  'policy: a list of no ports',
]

export class Coverage {
  readonly #counters = new Map<string, number>(EXPECTED.map((name) => [name, 0]))

  #count(name: string): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0) + 1)
  }

  /** The fields of the policies of one world. */
  countWorld({ policies }: PolicyWorld): void {
    const priorities = new Set<string>()
    for (const policy of policies) {
      if (policy.isAudit) this.#count(`policy: ${policy.kind} audited`)
      if (policy.faults.length > 0) this.#count(`policy: ${policy.kind} with faults`)
      if (policy.existingConnections) this.#count(`policy: ${policy.existingConnections}`)
      if (policy.part > 0) this.#count('policy: a further part')
      if (policy.tier !== 'normal') {
        const rank = `${policy.tier} ${policy.priority}`
        if (priorities.has(rank)) this.#count('policy: priority of another')
        priorities.add(rank)
      }
      for (const rules of [policy.ingress, policy.egress]) {
        if (rules?.rules.length === 0) this.#count('policy: without rules')
        if (rules && policy.tier === 'normal' && !rules.isolates)
          this.#count('policy: rules that do not isolate')
        for (const { peers, ports } of rules?.rules ?? []) {
          if (peers.length === 0) this.#count('policy: a list of no peers')
          if (ports.length === 0) this.#count('policy: a list of no ports')
        }
      }
    }
  }

  /** One packet and what the evaluator says of it. */
  countCase(world: PolicyWorld, probe: Probe, judged: ExplainedJudgement): void {
    const { packet, direction, aims } = probe
    for (const aim of aims) this.#count(`aimed at: ${aim}`)
    const [source, destination] = [sourceOf(world, packet), destinationOf(world, packet)]
    const [subject, peer] = direction === 'egress' ? [source, destination] : [destination, source]
    this.#count(`subject: ${partyName(subject, world)}`)
    this.#count(`peer: ${partyName(peer, world)}`)
    this.#count(`protocol: ${packet.protocol}`)
    this.#count(`cause: ${judged.verdict} by ${judged.cause.kind}`)
    const isFailSafe =
      subject.kind === 'node' &&
      (world.failSafePorts?.[direction] ?? []).some((range) => isInRange(range, packet))
    if (isFailSafe) this.#count(`fail-safe port: ${judged.verdict} by ${judged.cause.kind}`)
    if (packet.isHairpin) this.#count(`hairpin: ${judged.verdict}`)
    if (judged.wouldBe) this.#count(`audit: would ${judged.wouldBe.verdict}`)
    const refs = judged.cause.kind === 'rule' ? [...judged.passedBy, judged.cause] : judged.passedBy
    for (const ref of refs) {
      const found = findRule(world, direction, ref)
      if (!found) throw new Error(`the evaluator names a rule that is not there: ${JSON.stringify(ref)}`)
      this.#count(`rule: ${ruleName(found.policy, direction, found.rule)}`)
      this.#countMatches(world, found.rule, { probe, peer, destination })
    }
  }

  /** Which peers and ports of a rule that decided were met, and which entities beside them were not. */
  #countMatches(
    world: PolicyWorld,
    { peers, ports }: PolicyRule,
    { probe, peer, destination }: { probe: Probe; peer: Party; destination: Party },
  ): void {
    if (peers === 'any') this.#count('decided by peer: any')
    else
      for (const each of peers) {
        if (peerMatches(each, peer, world)) this.#count(`decided by peer: ${peerName(each)}`)
        else if (each.kind === 'entity') this.#count(`passed over: entity ${each.entity}`)
      }
    if (ports === 'any') this.#count('decided by port: any')
    else
      for (const each of ports)
        if (portMatches(each, probe.packet, destination)) this.#count(`decided by port: ${portName(each)}`)
  }

  /** What has to come up and never did. */
  missing(): readonly string[] {
    return EXPECTED.filter((name) => this.#counters.get(name) === 0)
  }

  /** One line per counter, in the order of the list above. */
  toString(): string {
    const width = Math.max(...[...this.#counters.keys()].map((name) => name.length))
    return [...this.#counters].map(([name, count]) => `${name.padEnd(width)}  ${count}`).join('\n')
  }
}
