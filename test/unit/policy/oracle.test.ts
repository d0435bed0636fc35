// The oracle's own test: whoever errs in one point is found out, and the case that shows it is small enough to be read at a glance.

import t from 'tap'
import type { Policy, PolicyPacket, PolicyRule, PolicyWorld } from '../../../src/model/policy.ts'
import type { PolicyJudgement } from '../../../src/model/policy-judgement.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { isInRange } from '../../../src/policy/matching.ts'
import { checkAgainstOracle, type Decide } from '../../policy/oracle.ts'

const EFFORT = { sets: 2000, packetsPerSet: 50, seed: 11 }

function byWorld(change: (world: PolicyWorld) => PolicyWorld): Decide {
  return (world) => {
    const changed = change(world)
    return (packet, direction) => judge(changed, packet, direction)
  }
}

function byPolicy(change: (policy: Policy) => Policy): Decide {
  return byWorld((world) => ({ ...world, policies: world.policies.map(change) }))
}

function byRule(change: (rule: PolicyRule) => PolicyRule): Decide {
  const changed = (rules: Policy['ingress']) => rules && { ...rules, rules: rules.rules.map(change) }
  return byPolicy((policy) => ({
    ...policy,
    ingress: changed(policy.ingress),
    egress: changed(policy.egress),
  }))
}

function byPeer(change: (peer: Exclude<PolicyRule['peers'], 'any'>[number]) => typeof peer): Decide {
  return byRule((rule) => ({ ...rule, peers: rule.peers === 'any' ? 'any' : rule.peers.map(change) }))
}

function byPort(change: (port: Exclude<PolicyRule['ports'], 'any'>[number]) => typeof port): Decide {
  return byRule((rule) => ({ ...rule, ports: rule.ports === 'any' ? 'any' : rule.ports.map(change) }))
}

function byPacket(change: (packet: PolicyPacket) => PolicyPacket): Decide {
  return (world) => (packet, direction) => judge(world, change(packet), direction)
}

function byAnswer(change: (judged: PolicyJudgement) => PolicyJudgement): Decide {
  return (world) => (packet, direction) => change(judge(world, packet, direction))
}

/** Each makes one mistake. */
const MISTAKES: Readonly<Record<string, Decide>> = {
  'exceptions are forgotten': byPeer((peer) => ('except' in peer ? { ...peer, except: [] } : peer)),
  'prefixes of the outside cover pods': byPeer((peer) =>
    'covers' in peer ? { ...peer, covers: 'everything' } : peer,
  ),
  'prefixes cover the outside only': byPeer((peer) =>
    'covers' in peer ? { ...peer, covers: 'outside' } : peer,
  ),
  'a range ends one early': byPort((port) =>
    port.kind === 'ports' && port.last > port.first ? { ...port, last: port.last - 1 } : port,
  ),
  'a range begins one late': byPort((port) =>
    port.kind === 'ports' && port.last > port.first ? { ...port, first: port.first + 1 } : port,
  ),
  'a port is a range of two': byPort((port) =>
    port.kind === 'ports' && port.last === port.first ? { ...port, last: port.last + 1 } : port,
  ),
  'SCTP is read as TCP': byPort((port) =>
    port.kind === 'ports' && port.protocol === 'sctp' ? { ...port, protocol: 'tcp' } : port,
  ),
  'a named port is of any protocol': byPort((port) =>
    port.kind === 'named' ? { ...port, protocol: undefined } : port,
  ),
  'named ports are forgotten': byWorld((world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, namedPorts: [] })),
  })),
  'ICMP is of either family': byPort((port) => (port.kind === 'icmp' ? { ...port, family: 'ipv4' } : port)),
  'an empty list is anyone': byRule((rule) => ({
    ...rule,
    peers: rule.peers.length === 0 ? 'any' : rule.peers,
  })),
  'an empty list is any port': byRule((rule) => ({
    ...rule,
    ports: rule.ports.length === 0 ? 'any' : rule.ports,
  })),
  'a pass allows': byRule((rule) => (rule.action === 'pass' ? { ...rule, action: 'allow' } : rule)),
  'everything isolates': byPolicy((policy) => ({
    ...policy,
    ingress: policy.ingress && { ...policy.ingress, isolates: policy.tier === 'normal' },
    egress: policy.egress && { ...policy.egress, isolates: policy.tier === 'normal' },
  })),
  'audit is in force': byPolicy((policy) => ({ ...policy, isAudit: false })),
  'audit is not recorded': byAnswer(({ verdict, cause }) => ({ verdict, cause, wouldBe: undefined })),
  'equal priorities go by the list': byWorld((world) => ({
    ...world,
    policies: world.policies.map((policy, index) => ({ ...policy, priority: policy.priority * 100 + index })),
  })),
  'higher numbers go first': byPolicy((policy) => ({ ...policy, priority: -policy.priority })),
  'the baseline is forgotten': byWorld((world) => ({
    ...world,
    policies: world.policies.filter(({ tier }) => tier !== 'baseline'),
  })),
  'host policies are forgotten': byWorld((world) => ({
    ...world,
    policies: world.policies.filter(({ subject }) => subject.kind === 'pods'),
  })),
  'a finished pod keeps its address': byWorld((world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, isFinished: false })),
  })),
  'pods of the host network are pods': byWorld((world) => {
    const taken = new Set(world.pods.filter((pod) => pod.isHostNetwork).flatMap((pod) => pod.addresses))
    return {
      ...world,
      nodes: world.nodes.map((node) => ({
        ...node,
        addresses: node.addresses.filter((address) => !taken.has(address)),
      })),
      pods: world.pods.map((pod) => ({ ...pod, isHostNetwork: false })),
    }
  }),
  'the own node is judged': byWorld((world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, node: 'elsewhere' })),
  })),
  'whoever speaks to itself is judged': byPacket((packet) => ({ ...packet, isHairpin: true })),
  'fail-safe ports are forgotten': byWorld(({ failSafePorts, ...world }) => world),
  'fail-safe ports are safe from every deny': (world) => (packet, direction) => {
    const judged = judge(world, packet, direction)
    const isSafe =
      world.nodes.some((node) =>
        node.addresses.includes(direction === 'egress' ? packet.source : packet.destination),
      ) && (world.failSafePorts?.[direction] ?? []).some((range) => isInRange(range, packet))
    return isSafe ? { verdict: 'allow', cause: { kind: 'fail-safe' }, wouldBe: undefined } : judged
  },
  'a masqueraded packet is its node': byPacket((packet) => ({ ...packet, isMasqueraded: false })),
  'a hairpin is to itself': byPacket((packet) => ({ ...packet, isHairpin: false })),
  'service accounts are no labels': byWorld((world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, serviceAccount: '' })),
  })),
  'labels of namespaces are forgotten': byWorld((world) => ({
    ...world,
    namespaces: new Map(
      [...world.namespaces.keys()].map((name) => [name, { 'kubernetes.io/metadata.name': name }]),
    ),
  })),
  'groups are forgotten': byWorld((world) => ({ ...world, networkGroups: [] })),
  'endpoints of Services are forgotten': byWorld((world) => ({ ...world, services: [] })),
  'API servers are forgotten': byWorld((world) => ({ ...world, apiServers: [] })),
  'IPv6 is cut after 64 bits': byPacket((packet) => ({
    ...packet,
    source: packet.source.replace('2001:db8:1:0:8000::', '2001:db8:1::'),
    destination: packet.destination.replace('2001:db8:1:0:8000::', '2001:db8:1::'),
  })),
  'the cause is another': byAnswer((judged) =>
    judged.cause.kind === 'rule'
      ? { ...judged, cause: { ...judged.cause, path: 'spec.ingress[7]' } }
      : judged,
  ),
  'it fails': (world) => (packet, direction) => {
    if (packet.protocol === 'other') throw new Error('no such protocol')
    return judge(world, packet, direction)
  },
}

/** A case as long as this is still read at a glance. */
const LINES_MAX = 75

for (const [name, decide] of Object.entries(MISTAKES))
  t.test(name, async (t) => {
    let message = ''
    try {
      checkAgainstOracle(decide, EFFORT)
    } catch (error) {
      message = error instanceof Error ? error.message : ''
    }
    t.match(message, /decides otherwise than the evaluator .* The smallest case/, 'is found out')
    const lines = message.split('\n').length
    t.ok(lines <= LINES_MAX, `in ${lines} lines`)
    if (lines > LINES_MAX) t.comment(message)
  })

t.test('a mistake that only what came before explains is told as one', async (t) => {
  let asked = 0
  const decide: Decide = (world) => (packet, direction) => {
    asked += 1
    const judged = judge(world, packet, direction)
    return asked === 5 ? { ...judged, verdict: judged.verdict === 'allow' ? 'deny' : 'allow' } : judged
  }
  t.throws(() => checkAgainstOracle(decide, EFFORT), /something is left of what was asked before/)
})
