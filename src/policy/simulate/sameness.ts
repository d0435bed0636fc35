// Which packets are one to the evaluator: it cannot judge them differently, whatever the policies of these worlds say. So of half a million
// flows a few hundred are judged. The worlds have the same pods, nodes and Services; policies and lists of networks are what differs.
//
// Of an end counts: the node it is; of a pod its labels, its namespace, its account and its named ports; whether it lives here; the networks
// that policies name and it lies in; and where policies name Services (or the API server), whose endpoint it is.

import { type Address, familyOf, type Prefix } from '../../model/address.ts'
import {
  type Policy,
  type PolicyDirection,
  type PolicyPacket,
  type PolicyPeer,
  type PolicyWorld,
  rulesOf,
} from '../../model/policy.ts'
import { PrefixIndex, placeOfAddress } from '../compile/prefix-index.ts'
import { isSameParty, type Party, partyAt } from '../parties.ts'

/** An end's address as it was found, and what of it counts. */
export interface End {
  readonly party: Party
  /** A number for them. */
  readonly traits: number
}

/** Addresses remembered at once: a walk over a table meets most of them again soon. */
const REMEMBERED_MAX = 65_536

export class Sameness {
  readonly #node: string
  readonly #people: PolicyWorld
  readonly #pods = new Map<string, PolicyWorld['pods'][number][]>()
  readonly #nodes = new Map<string, PolicyWorld['nodes'][number][]>()
  /** Those that hold an address are told by the longest of them. */
  readonly #prefixes = new PrefixIndex()
  /** Address → what lists hold it. */
  readonly #lists: ReadonlyMap<string, string>
  readonly #known = new Map<string, End>()
  readonly #numbers = new Map<string, number>()

  /** @param node who judges, always */
  constructor(worlds: readonly [PolicyWorld, ...PolicyWorld[]], node: string) {
    const [people] = worlds
    this.#node = node
    this.#people = people
    for (const pod of people.pods) for (const address of pod.addresses) put(this.#pods, address, pod)
    for (const one of people.nodes) for (const address of one.addresses) put(this.#nodes, address, one)
    const peers = worlds.flatMap(({ policies }) => policies.flatMap(peersOf))
    for (const prefix of prefixesOf(worlds, peers)) this.#prefixes.add(prefix)
    this.#lists = listsOf(people, peers)
  }

  /** The same for packets that are one to the evaluator. */
  keyOf(packet: PolicyPacket, direction: PolicyDirection): string {
    const source = this.endAt(packet.source, packet.isMasqueraded)
    const destination = this.endAt(packet.destination)
    const isToItself = isSameParty(source.party, destination.party)
    return [
      ...[direction, packet.protocol, packet.port, isToItself, packet.isHairpin],
      ...[source.traits, destination.traits],
    ].join('|')
  }

  endAt(address: string, isMasqueraded = false): End {
    const name = isMasqueraded ? `~${address}` : address
    const known = this.#known.get(name)
    if (known) return known
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    const party: Party = isMasqueraded
      ? { kind: 'outside', address, isMasqueraded }
      : partyAt(this.about([address]), address, this.#node)
    const end = { party, traits: this.#traitsOf(party) }
    this.#known.set(name, end)
    return end
  }

  /** A world with nobody in it but who has one of these addresses: to these it is the same. @param of one of the worlds */
  about(addresses: readonly string[], of: PolicyWorld = this.#people): PolicyWorld {
    return {
      ...of,
      pods: [...new Set(addresses.flatMap((address) => this.#pods.get(address) ?? []))],
      nodes: [...new Set(addresses.flatMap((address) => this.#nodes.get(address) ?? []))],
    }
  }

  #traitsOf(party: Party): number {
    const address = party.address as Address
    const network = this.#prefixes.longest(placeOfAddress(address)) ?? familyOf(address)
    const lists = party.kind === 'outside' && party.isMasqueraded ? '' : (this.#lists.get(address) ?? '')
    const text = [familyOf(address), network, lists, whoIs(party, this.#node)].join(';')
    const number = this.#numbers.get(text) ?? this.#numbers.size
    this.#numbers.set(text, number)
    return number
  }
}

function whoIs(party: Party, node: string): string {
  switch (party.kind) {
    case 'node':
      return `node ${party.node.name}`
    case 'outside':
      return `outside ${party.isMasqueraded}`
    case 'pod': {
      const { pod, labels, namespaceLabels } = party
      const said = [pod.namespace, inOrder(labels), inOrder(namespaceLabels), pod.namedPorts]
      return `pod ${pod.node === node} ${JSON.stringify(said)}`
    }
  }
}

function inOrder(labels: Readonly<Record<string, string>>) {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
}

function put<Row>(rows: Map<string, Row[]>, key: string, row: Row): void {
  const found = rows.get(key)
  if (found) found.push(row)
  else rows.set(key, [row])
}

function peersOf(policy: Policy): readonly PolicyPeer[] {
  return rulesOf(policy).flatMap(({ peers }) => (peers === 'any' ? [] : peers))
}

function prefixesOf(worlds: readonly PolicyWorld[], peers: readonly PolicyPeer[]): readonly Prefix[] {
  const named = peers.flatMap((peer) => {
    if (peer.kind === 'networks') return [peer.prefix, ...peer.except]
    return peer.kind === 'network-groups' ? peer.except : []
  })
  const areGroupsNamed = peers.some(({ kind }) => kind === 'network-groups')
  const listed = areGroupsNamed
    ? worlds.flatMap(({ networkGroups }) => networkGroups.flatMap(({ prefixes }) => prefixes))
    : []
  return [...new Set([...named, ...listed])]
}

function listsOf(world: PolicyWorld, peers: readonly PolicyPeer[]): ReadonlyMap<string, string> {
  const names = new Map<string, string[]>()
  if (peers.some((peer) => peer.kind === 'entity' && peer.entity === 'kube-apiserver'))
    for (const address of world.apiServers) put(names, address, 'API server')
  if (peers.some(({ kind }) => kind === 'services'))
    for (const { key, endpoints } of world.services) for (const address of endpoints) put(names, address, key)
  return new Map([...names].map(([address, list]) => [address, list.join(',')]))
}
