// What may pass one end of a connection: a pod, or the node itself. The evaluator says what a beginning is worth; a table remembers who began
// what at each end, so that answers go the way of what they answer. Plain, and sharing nothing with the programs.
//
// Where the table cannot be sure (a frame met something that may be right either way), an end remembers all that may be, and a frame that
// may be judged in two ways may pass or not.

import { type Address, familyOf } from '../../src/model/address.ts'
import {
  PORT_PROTOCOLS,
  type PolicyDirection,
  type PolicyPacket,
  type PolicyWorld,
  rulesOf,
} from '../../src/model/policy.ts'
import { judge } from '../../src/policy/evaluate.ts'
import { subjectMatches } from '../../src/policy/matching.ts'
import { partyAt } from '../../src/policy/parties.ts'
import { PORTS } from '../policy/arbitrary/alphabet.ts'
import { OWN_NODE } from '../policy/arbitrary/worlds.ts'
import { type Cast, OWN } from './cast.ts'
import { ERRORS, hasPorts, PINGS, type Said } from './said.ts'

/** 'either': both are right. */
export type Verdict = 'pass' | 'drop' | 'either'

/** An end's part in a connection. */
interface Part {
  readonly role: 'client' | 'server'
  /** What began it, after translation. */
  readonly question: PolicyPacket
  /** It may be older than a policy that denies it, and keeps what there is. */
  readonly isKept?: true
}

/** A frame at one end, as the end has it. */
export interface Gate {
  readonly owner: 'node' | Address
  readonly way: PolicyDirection
  readonly said: Said
  /** Where it goes after translation, if that is not where it says. */
  readonly leadsTo?: { readonly address: Address; readonly port: number }
  readonly isHairpin?: boolean
  /** It comes from outside, so a node's address with a port of masquerading is not the node's. */
  readonly isFromWire?: boolean
  /** It comes from the device of a pod that has a part in the connection already. */
  readonly goesOn?: boolean
}

export interface Ruling {
  readonly verdict: Verdict
  readonly why: string
  /** Whether the end is the server's, or it is an error about what the end takes part in. */
  readonly isAnswer?: boolean
  /** What the end remembers when it let the frame pass. */
  readonly remembers?: { readonly key: string; readonly part: Part }
}

/** Of the datapath, and of the kernel's masquerade; they follow each other. */
export const LENT_PORTS = {
  snat: { first: 61_000, last: 65_535 },
  masquerade: { first: 49_152, last: 60_999 },
} as const
/** More of them than any rule names. */
const TYPES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 127, 128, 129, 130, 135, 254, 255]
const ND_TYPES = { first: 133, last: 137 } as const
const ND_HOPS = 255

const opposite = (way: PolicyDirection): PolicyDirection => (way === 'egress' ? 'ingress' : 'egress')
const isBeginning = ({ protocol, act, piece, hides }: Said): boolean =>
  (protocol === 'tcp' || protocol === 'sctp') && act === 'begin' && piece?.which !== 'later' && !hides
const hasConnections = ({ protocol }: Said): boolean => protocol === 'tcp' || protocol === 'sctp'

export function isError({ protocol, source, destinationPort }: Said): boolean {
  return protocol === 'icmp' && ERRORS[familyOf(source)].includes(destinationPort)
}

/** The link's own business (RFC 4861), which policy leaves alone. */
export function isOfLink({ protocol, source, destinationPort, hops, hides, piece }: Said): boolean {
  const isWhole = hides === undefined && piece === undefined
  const isDiscovery = destinationPort >= ND_TYPES.first && destinationPort <= ND_TYPES.last
  return isWhole && protocol === 'icmp' && familyOf(source) === 'ipv6' && isDiscovery && hops === ND_HOPS
}

function pingOf({ protocol, source, destinationPort }: Said): 'ask' | 'answer' | undefined {
  if (protocol !== 'icmp') return undefined
  const { ask, answer } = PINGS[familyOf(source)]
  if (destinationPort === ask) return 'ask'
  return destinationPort === answer ? 'answer' : undefined
}

const textOf = (...parts: readonly (string | number)[]) => parts.join(' ')

/** The connection that a frame is of, as the end has it; undefined: of none. */
function keyOf({ owner, way, said }: Pick<Gate, 'owner' | 'way' | 'said'>): string | undefined {
  const isOut = way === 'egress'
  const peer = isOut ? said.destination : said.source
  const own = isOut ? said.source : said.destination
  const ping = pingOf(said)
  if (ping)
    return textOf(owner, own, 'ping', said.sourcePort, (ping === 'ask') === isOut ? 'asks' : 'asked', peer)
  if (!hasPorts(said)) return undefined
  const [ownPort, peerPort] = isOut
    ? [said.sourcePort, said.destinationPort]
    : [said.destinationPort, said.sourcePort]
  return textOf(owner, own, said.protocol, ownPort, peer, peerPort)
}

/** Whether the node whose address it has may have lent it: by ports of masquerading, where there are any, and pings' identifiers. */
function isLent({ protocol, sourcePort }: Said, ping: ReturnType<typeof pingOf>): boolean {
  const { snat, masquerade } = LENT_PORTS
  if (protocol === 'other' || (protocol === 'icmp' && ping !== 'ask')) return true
  const last = ping === 'ask' ? masquerade.last : snat.last
  return sourcePort >= masquerade.first && sourcePort <= last
}

function questionOf(gate: Gate, world: PolicyWorld): PolicyPacket {
  const { said, leadsTo, isHairpin = false, isFromWire, way } = gate
  const isOfNode = partyAt(world, said.source, OWN_NODE).kind === 'node'
  return {
    source: said.source,
    destination: leadsTo?.address ?? said.destination,
    protocol: said.protocol,
    port: said.protocol === 'other' ? 0 : (leadsTo?.port ?? said.destinationPort),
    node: OWN_NODE,
    isMasqueraded: way === 'ingress' && isFromWire === true && isOfNode && isLent(said, pingOf(said)),
    isHairpin,
  }
}

const reversed = (said: Said): Said => ({
  ...said,
  source: said.destination,
  sourcePort: said.destinationPort,
  destination: said.source,
  destinationPort: said.sourcePort,
})

export class Gates {
  readonly #cast: Cast
  #world: PolicyWorld
  readonly #parts = new Map<string, readonly (Part | undefined)[]>()
  #ports: readonly number[]
  /** Datagrams whose first piece was met. */
  readonly #datagrams = new Set<number>()

  constructor(cast: Cast) {
    this.#cast = cast
    this.#world = cast.world
    this.#ports = edgesOfPorts(cast.world)
  }

  turn(world: PolicyWorld): void {
    this.#world = world
    this.#ports = edgesOfPorts(world)
  }

  rule(gate: Gate): Ruling {
    const { said, way } = gate
    if (isOfLink(said)) return { verdict: 'pass', why: 'neighbour discovery' }
    if (this.hidesPorts(said)) return this.#ruleHidden(gate)
    if (isError(said)) return this.#ruleError(gate)
    const key = keyOf(gate)
    const known = key === undefined || isBeginning(said) ? undefined : this.#parts.get(key)
    if (known === undefined) return this.#ruleNew(gate, key)
    return this.#union(known.map((part) => (part ? this.#ruleKnown(part, way) : this.#ruleNew(gate, key))))
  }

  /** What the first piece of a datagram tells is known of the later ones. */
  meet(said: Said): void {
    if (said.piece?.which === 'first') this.#datagrams.add(said.piece.datagram)
  }

  remember({ key, part }: NonNullable<Ruling['remembers']>): void {
    // Of the node's connections nothing is known from a time when no policy selects it.
    if (key.startsWith('node ') && !this.isNodeSelected()) return
    this.#parts.set(key, [part])
  }

  isNodeSelected(): boolean {
    const own = partyAt(this.#world, OWN.ipv4, OWN_NODE)
    return this.#world.policies.some(({ subject }) => subjectMatches(subject, own))
  }

  /** It may have been remembered, or not. */
  blur({ key, part }: NonNullable<Ruling['remembers']>): void {
    this.#parts.set(key, [...(this.#parts.get(key) ?? [undefined]), part])
  }

  forget({ key }: NonNullable<Ruling['remembers']>): void {
    this.#parts.delete(key)
  }

  knows(gate: Pick<Gate, 'owner' | 'way' | 'said'>): boolean {
    const key = keyOf(gate)
    return key !== undefined && this.#parts.has(key)
  }

  hidesPorts(said: Said): boolean {
    if (said.hides) return true
    if (!said.piece) return false
    if (said.protocol !== 'tcp' && said.protocol !== 'udp') return true
    return said.piece.which === 'later' && !this.#datagrams.has(said.piece.datagram)
  }

  #union(rulings: readonly Ruling[]): Ruling {
    const [first, ...rest] = rulings
    if (!first) throw new RangeError('an end knows something or nothing')
    if (rest.every(({ verdict }) => verdict === first.verdict)) return first
    return { ...first, verdict: 'either', why: rulings.map(({ why }) => why).join(', or ') }
  }

  #ruleKnown({ role, question, isKept }: Part, way: PolicyDirection): Ruling {
    const asked = role === 'client' ? 'egress' : 'ingress'
    const isAnswer = (asked === 'egress') === (way === 'ingress')
    const { verdict } = judge(this.#world, question, asked)
    const why = `${isAnswer ? 'answers' : 'goes on with'} what ${asked} policy ${verdict}s`
    if (verdict === 'deny') return { verdict: isKept || this.#keeps() ? 'either' : 'drop', why, isAnswer }
    return { verdict: 'pass', why, isAnswer }
  }

  #ruleNew(gate: Gate, key: string | undefined): Ruling {
    const { said, way, owner } = gate
    const isInTheMiddle = said.protocol === 'tcp' && !isBeginning(said)
    // Nobody listens on this node, so who speaks in the middle of a connection answers what the node began.
    if (owner === 'node' && isInTheMiddle && !gate.goesOn) return this.#ruleMiddleOfNode(gate, key)
    const question = questionOf(gate, this.#world)
    const { verdict } = judge(this.#world, question, way)
    const why = `new, and ${way} policy of ${owner} ${verdict}s it`
    if (verdict === 'deny' && !isInTheMiddle) return { verdict: 'drop', why }
    if (verdict === 'deny')
      return this.#ofBefore(owner, why, key, { role: way === 'egress' ? 'client' : 'server', question })
    const ping = pingOf(said)
    if (key === undefined || ping === 'answer') return { verdict: 'pass', why }
    if (owner !== 'node' && this.#mayBeCutOff(gate)) return { verdict: 'pass', why }
    const role = way === 'egress' ? 'client' : 'server'
    return { verdict: 'pass', why, remembers: { key, part: { role, question } } }
  }

  /** What a server says of a connection that policy has cut must not begin it anew. */
  #mayBeCutOff(gate: Gate): boolean {
    const { said, way, leadsTo } = gate
    if (way === 'ingress' || leadsTo || !hasConnections(said) || isBeginning(said)) return false
    const question = questionOf({ ...gate, said: reversed(said), way: 'ingress' }, this.#world)
    return judge(this.#world, question, 'ingress').verdict === 'deny'
  }

  #ruleMiddleOfNode(gate: Gate, key: string | undefined): Ruling {
    const { said, way } = gate
    const fromPodHere = way === 'ingress' && this.#cast.podAt.has(said.source)
    if (fromPodHere) return { verdict: 'pass', why: 'answers what the node began' }
    const asked = way === 'egress' ? gate : { ...gate, said: reversed(said), way: 'egress' as const }
    const question = questionOf(asked, this.#world)
    const { verdict } = judge(this.#world, question, 'egress')
    const why = `the node began it, and its policy ${verdict}s that`
    if (verdict === 'deny') return this.#ofBefore(gate.owner, why, key, { role: 'client', question })
    if (key === undefined) return { verdict: 'pass', why }
    return { verdict: 'pass', why, remembers: { key, part: { role: 'client', question } } }
  }

  /** Whether policies say that what there was goes on; which of them denies is not asked. */
  #keeps(): boolean {
    return this.#world.policies.some(
      ({ existingConnections, isAudit }) => existingConnections === 'keep' && !isAudit,
    )
  }

  /** Of a connection of the node that may be older than policies which keep what there is. */
  #ofBefore(owner: Gate['owner'], why: string, key: string | undefined, part: Part): Ruling {
    if (owner !== 'node' || !this.#keeps()) return { verdict: 'drop', why }
    return {
      verdict: 'either',
      why: `${why}, but what there was may be kept`,
      ...(key !== undefined && { remembers: { key, part: { ...part, isKept: true } } }),
    }
  }

  /** An error goes with the connection that it is about. */
  #ruleError(gate: Gate): Ruling {
    const { said, owner, way } = gate
    if (owner === 'node' && way === 'egress') return { verdict: 'pass', why: 'an error of a router' }
    const quoted = said.quotes
    // The quoted packet was sent to the end that reports, or by the end that hears of it.
    const isFitting =
      quoted !== undefined &&
      hasPorts(quoted) &&
      quoted.source === said.destination &&
      (way === 'ingress' || quoted.destination === said.source)
    const key = isFitting ? keyOf({ owner, way: opposite(way), said: quoted }) : undefined
    const known = key === undefined ? undefined : this.#parts.get(key)
    const fresh = this.#ruleNew(gate, undefined)
    if (!known) return fresh
    const ofPart = (part: Part | undefined): Ruling =>
      part ? { ...this.#ruleKnown(part, way), isAnswer: true } : fresh
    return this.#union(known.map(ofPart))
  }

  /** Nothing tells its ports: it passes where all that it may be is allowed. */
  #ruleHidden(gate: Gate): Ruling {
    const isDenied = this.#allQuestions(gate).some(
      (question) => judge(this.#world, question, gate.way).verdict === 'deny',
    )
    if (isDenied) return { verdict: 'drop', why: 'hidden, and some of what it may be is denied' }
    // Where even its protocol is hidden, what is said of the other family's messages may count too.
    const saysOfMessages = this.#world.policies.some((policy) =>
      rulesOf(policy).some(({ ports }) => ports !== 'any' && ports.some(({ kind }) => kind === 'icmp')),
    )
    const isOpen = gate.said.hides !== undefined && saysOfMessages
    return { verdict: isOpen ? 'either' : 'pass', why: 'hidden, and all that it may be is allowed' }
  }

  #allQuestions(gate: Gate): readonly PolicyPacket[] {
    const { said, way } = gate
    const plain = { ...questionOf(gate, this.#world), isMasqueraded: false }
    const isOfNode =
      way === 'ingress' && gate.isFromWire && partyAt(this.#world, said.source, OWN_NODE).kind === 'node'
    const protocols: readonly Said['protocol'][] = said.hides
      ? [...PORT_PROTOCOLS, 'icmp', 'other']
      : [said.protocol]
    return protocols.flatMap((protocol) => {
      const ports = protocol === 'icmp' ? TYPES : protocol === 'other' ? [0] : this.#ports
      return ports.flatMap((port) => {
        const question = { ...plain, protocol, port }
        return isOfNode ? [question, { ...question, isMasqueraded: true }] : [question]
      })
    })
  }
}

/** At which what is said of a port may change. */
function edgesOfPorts(world: PolicyWorld): readonly number[] {
  const matches = world.policies.flatMap(rulesOf).flatMap(({ ports }) => (ports === 'any' ? [] : ports))
  const ranges = matches.flatMap((match) =>
    match.kind === 'ports' ? [match.first - 1, match.first, match.last, match.last + 1] : [],
  )
  const named = world.pods.flatMap(({ namedPorts }) => namedPorts.map(({ port }) => port))
  const kept = Object.values(world.failSafePorts ?? {}).flatMap((all) =>
    all.flatMap(({ first, last }) => [first - 1, first, last, last + 1]),
  )
  const all = [0, 65_535, 40_000, ...PORTS, ...ranges, ...named, ...named.map((port) => port + 1), ...kept]
  return [...new Set(all)].filter((port) => port >= 0 && port <= 65_535)
}
