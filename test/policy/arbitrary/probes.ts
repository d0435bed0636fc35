// Packets aimed at the edges of a world's rules: someone a policy selects, someone (or nearly someone) a rule means, a port at, beside or
// between the ends of what it lists. Part of them go astray on purpose.

import {
  type Address,
  addressBits,
  addressFromNumber,
  FAMILIES,
  type Family,
  familyOf,
  type Prefix,
  prefixParts,
} from '../../../src/model/address.ts'
import {
  POLICY_DIRECTIONS,
  PORT_PROTOCOLS,
  type PolicyDirection,
  type PolicyPacket,
  type PolicyPeer,
  type PolicyPod,
  type PolicyRule,
  type PolicyWorld,
  type PortMatch,
} from '../../../src/model/policy.ts'
import { peerMatches, subjectMatches } from '../../../src/policy/matching.ts'
import { partyAt } from '../../../src/policy/parties.ts'
import type { Random } from '../random.ts'
import { ICMP_TYPES, OUTSIDERS, PORTS } from './alphabet.ts'
import { OWN_NODE } from './worlds.ts'

/** A packet and the direction to judge, with what it was aimed at. */
export interface Probe {
  readonly packet: PolicyPacket
  readonly direction: PolicyDirection
  readonly aims: readonly string[]
}

/** A rule for which there is somebody here to be judged by it. */
interface Target {
  readonly direction: PolicyDirection
  readonly rule: PolicyRule | undefined
  /** Addresses of the pods of the own node, and of the node, that the rule's policy selects. */
  readonly subjects: readonly string[]
}

/** What packets of one world are drawn from. */
interface Range {
  readonly world: PolicyWorld
  readonly random: Random
  readonly targets: readonly Target[]
  /** Whoever is judged here. */
  readonly judged: readonly string[]
  readonly known: readonly string[]
}

/** What is drawn for one packet. */
interface Aim extends Range, Omit<Target, 'subjects'> {
  readonly subject: string
}

type Ports = Pick<PolicyPacket, 'protocol' | 'port'>

function isAlive(pod: PolicyPod): boolean {
  return !pod.isFinished && !pod.isHostNetwork
}

/** Everyone's addresses: also those of finished pods, and of nobody. */
function knownAddresses(world: PolicyWorld): readonly string[] {
  return [
    ...world.pods.flatMap((pod) => pod.addresses),
    ...world.nodes.flatMap((node) => node.addresses),
    ...world.services.flatMap((service) => service.endpoints),
    ...world.apiServers,
    ...OUTSIDERS,
  ]
}

/** First and last address, and the ones beside them. */
function edgesOf(prefix: Prefix): readonly { address: string; aim: string }[] {
  const { family, first, last } = prefixParts(prefix)
  const end = (1n << BigInt(addressBits(family))) - 1n
  const edges: [bigint, string][] = [
    [first, 'first of a prefix'],
    [last, 'last of a prefix'],
    [first - 1n, 'before a prefix'],
    [last + 1n, 'after a prefix'],
  ]
  return edges
    .filter(([number]) => number >= 0n && number <= end)
    .map(([number, aim]) => ({ address: addressFromNumber(family, number), aim }))
}

function edgesOfNetworks(prefixes: readonly Prefix[], except: readonly Prefix[]) {
  const outer = prefixes.flatMap(edgesOf)
  const inner = except.flatMap(edgesOf).map(({ address, aim }) => ({ address, aim: `${aim} excepted` }))
  return [...outer, ...inner]
}

/** Addresses at which one peer begins, ends, or is met. */
function aimAtPeer(peer: PolicyPeer, world: PolicyWorld): readonly { address: string; aim: string }[] {
  if (peer.kind === 'networks') return edgesOfNetworks([peer.prefix], peer.except)
  if (peer.kind === 'network-groups') {
    const prefixes = world.networkGroups.flatMap((group) => group.prefixes)
    return edgesOfNetworks(prefixes, peer.except)
  }
  return knownAddresses(world)
    .filter((address) => peerMatches(peer, partyAt(world, address, OWN_NODE), world))
    .map((address) => ({ address, aim: `peer ${peer.kind}` }))
}

function targetsOf(world: PolicyWorld, judged: readonly string[]): readonly Target[] {
  return world.policies.flatMap((policy) => {
    const subjects = judged.filter((address) =>
      subjectMatches(policy.subject, partyAt(world, address, OWN_NODE)),
    )
    if (subjects.length === 0) return []
    return POLICY_DIRECTIONS.flatMap((direction): Target[] => {
      const rules = policy[direction]?.rules
      if (rules?.length === 0) return [{ direction, rule: undefined, subjects }]
      return (rules ?? []).map((rule) => ({ direction, rule, subjects }))
    })
  })
}

function rangeOf(world: PolicyWorld, random: Random): Range {
  const pods = world.pods.filter((pod) => pod.node === OWN_NODE && isAlive(pod))
  const judged = [...pods.flatMap((pod) => pod.addresses), ...(world.nodes[0]?.addresses ?? [])]
  return { world, random, targets: targetsOf(world, judged), judged, known: knownAddresses(world) }
}

interface Somebody {
  readonly address: string
  readonly aim: string
  readonly isMasqueraded?: boolean
  readonly isHairpin?: boolean
}

function ofFamily(address: string, family: Family): boolean {
  return familyOf(address as Address) === family
}

/** Somebody whom the rule means or nearly means. */
function drawPeer({ world, random }: Range, rule: PolicyRule | undefined): Somebody | undefined {
  const peer = rule === undefined || rule.peers === 'any' ? undefined : random.pick(rule.peers)
  return peer === undefined || random.chance(15) ? undefined : random.pick(aimAtPeer(peer, world))
}

/** Anyone else of its family. */
function drawAnyone({ world, random, known }: Range, subject: string): Somebody {
  const pod = world.pods.find((each) => isAlive(each) && each.addresses.includes(subject))
  const own = pod?.addresses ?? world.nodes[0]?.addresses ?? []
  const family = familyOf(subject as Address)
  const others = known.filter((each) => ofFamily(each, family) && !own.includes(each))
  return { address: random.pick(others) ?? '', aim: 'anyone' }
}

/** Numbers at and beside both ends, and one between. */
function aimAtRange(first: number, last: number, max: number, random: Random): { port: number; aim: string } {
  const edges: [number, string][] = [
    [first - 1, 'before a range of ports'],
    [first, 'first of a range of ports'],
    [Math.floor((first + last) / 2), 'inside a range of ports'],
    [last, 'last of a range of ports'],
    [last + 1, 'after a range of ports'],
  ]
  const [port, aim] = random.pick(edges.filter(([number]) => number >= 0 && number <= max)) ?? [first, '']
  return { port, aim }
}

/** What pods call so: the destination's number, or another pod's, which must not count. */
function aimAtName(
  match: Extract<PortMatch, { kind: 'named' }>,
  destination: string,
  { world, random }: Aim,
) {
  const theirs = world.pods.filter((pod) => isAlive(pod) && pod.addresses.includes(destination))
  const isOther = random.chance(25)
  const named = (isOther ? world.pods : theirs)
    .flatMap((pod) => pod.namedPorts)
    .filter((port) => port.name === match.name && (port.protocol === match.protocol || random.chance(50)))
  const drawn = random.pick(named)
  return (
    drawn && {
      protocol: drawn.protocol,
      port: drawn.port,
      aim: isOther ? "another pod's named port" : "the destination's named port",
    }
  )
}

function anyPort(random: Random, family: Family): Ports & { aim: string } {
  const protocol =
    random.pick(['tcp', 'tcp', 'tcp', 'udp', 'udp', 'sctp', 'icmp', 'icmp', 'other'] as const) ?? 'tcp'
  const numbers = protocol === 'icmp' ? ICMP_TYPES[family] : protocol === 'other' ? [0] : PORTS
  return { protocol, port: random.pick<number>(numbers) ?? 0, aim: 'any port' }
}

function drawPort(aim: Aim, family: Family, destination: string): Ports & { aim: string } {
  const { world, random, rule, direction } = aim
  const isOwnNode = world.nodes[0]?.addresses.includes(aim.subject)
  const failSafe = isOwnNode ? world.failSafePorts?.[direction] : undefined
  const kept = random.chance(25) ? random.pick(failSafe ?? []) : undefined
  if (kept) return { protocol: kept.protocol, ...aimAtRange(kept.first, kept.last, 65535, random) }
  const match = rule === undefined || rule.ports === 'any' ? undefined : random.pick(rule.ports)
  if (match === undefined || random.chance(15)) return anyPort(random, family)
  if (match.kind === 'icmp') return { protocol: 'icmp', ...aimAtRange(match.type, match.type, 255, random) }
  if (match.kind === 'named') return aimAtName(match, destination, aim) ?? anyPort(random, family)
  const protocol = random.chance(15) ? (random.pick(PORT_PROTOCOLS) ?? 'tcp') : match.protocol
  return { protocol, ...aimAtRange(match.first, match.last, 65535, random) }
}

/** Itself, or an outsider behind a node's address, or that node. */
function drawSpecial({ world, random, direction, subject }: Aim): Somebody | undefined {
  if (random.chance(1)) return { address: subject, aim: 'itself' }
  const isPod = world.pods.some((pod) => isAlive(pod) && pod.addresses.includes(subject))
  if (isPod && random.chance(3)) return { address: subject, aim: 'itself through a Service', isHairpin: true }
  if (direction === 'egress' || !random.chance(8)) return undefined
  const lenders = world.nodes.flatMap((node) => node.addresses)
  const address = random.pick(lenders.filter((each) => ofFamily(each, familyOf(subject as Address))))
  if (address === undefined) return undefined
  const isMasqueraded = random.chance(80)
  return { address, aim: isMasqueraded ? 'masqueraded' : 'a node', isMasqueraded }
}

/** Whom the rule's policy selects, of the peer's family if there is one. */
function drawSubject({ random, judged }: Range, target: Target | undefined, family: Family): string {
  const subjects = target === undefined || random.chance(10) ? judged : target.subjects
  const same = subjects.filter((each) => ofFamily(each, family))
  return random.pick(same) ?? random.pick(subjects) ?? ''
}

function drawProbe(range: Range): Probe {
  const { random, targets } = range
  const target = random.chance(90) ? random.pick(targets) : undefined
  const { direction, rule } = target ?? {
    direction: random.pick(POLICY_DIRECTIONS) ?? 'ingress',
    rule: undefined,
  }
  const aimed = drawPeer(range, rule)
  const wanted = aimed ? familyOf(aimed.address as Address) : (random.pick(FAMILIES) ?? 'ipv4')
  const subject = drawSubject(range, target, wanted)
  const family = familyOf(subject as Address)
  const aim = { ...range, direction, rule, subject }
  const isFitting = aimed && ofFamily(aimed.address, family) && aimed.address !== subject
  const peer = drawSpecial(aim) ?? (isFitting ? aimed : drawAnyone(range, subject))
  const [source, destination] = direction === 'egress' ? [subject, peer.address] : [peer.address, subject]
  const { protocol, port, aim: portAim } = drawPort(aim, family, destination)
  const { isMasqueraded = false, isHairpin = false } = peer
  return {
    packet: { source, destination, protocol, port, node: OWN_NODE, isMasqueraded, isHairpin },
    direction,
    aims: [peer.aim, portAim, family],
  }
}

/** `count` packets for a world, in the directions to judge them in. */
export function aimProbes(world: PolicyWorld, random: Random, count: number): readonly Probe[] {
  const range = rangeOf(world, random)
  return Array.from({ length: count }, () => drawProbe(range))
}

/** Every counter of aims there is. */
export const AIMS: readonly string[] = [
  'anyone',
  'itself',
  'itself through a Service',
  'masqueraded',
  'a node',
  'peer pods',
  'peer entity',
  'peer nodes',
  'peer services',
  ...['first of', 'last of', 'before', 'after'].flatMap((place) => [
    `${place} a prefix`,
    `${place} a prefix excepted`,
  ]),
  ...['before', 'first of', 'inside', 'last of', 'after'].map((place) => `${place} a range of ports`),
  "another pod's named port",
  "the destination's named port",
  'any port',
  ...FAMILIES,
]
