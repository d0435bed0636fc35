// Peers of rules, each distinct one once, and the identities it means: kept up to date from both sides, for a new peer and for a new
// identity. Neither asks all of the other: labels, prefixes and lists of Services lead to the few that can match.

import type { Prefix } from '../../model/address.ts'
import { type LabelSelector, selectorMatches } from '../../model/label-selector.ts'
import type { PolicyEntity, PolicyPeer } from '../../model/policy.ts'
import { ByPrefix, Grouped } from './grouped.ts'
import { type Identities, type Identity, labelAnchor, labelAnchorsOf } from './identities.ts'
import { PrefixIndex, placeOfPrefix } from './prefix-index.ts'
import { type GroupPrefixes, type GroupsChange, mayBeOthers, servicesKey } from './references.ts'
import { SCOPES, type Scope } from './rows.ts'
import { without } from './without.ts'

export interface Peer {
  readonly key: string
  readonly peer: PolicyPeer
  /** Scopes everyone of which it means: it has no members there. */
  readonly everyone: readonly Scope[]
  /** Of networks: a group's prefixes change. */
  prefixes: ReadonlySet<Prefix>
  readonly places: PrefixIndex
  readonly except: PrefixIndex
  readonly members: Set<Identity>
  /** Where a new identity finds it; none: among those that are always asked. */
  anchors: readonly string[]
  uses: number
}

/** Of whoever has none: never added to. */
const NOWHERE = new PrefixIndex()
const NO_PREFIXES: ReadonlySet<Prefix> = new Set()

function peerKey(peer: PolicyPeer): string {
  // Of these there are thousands in one policy.
  if (peer.kind === 'networks') return `${peer.covers} ${peer.prefix} ${peer.except.join()}`
  return JSON.stringify(peer)
}

const ENTITY_SCOPES: Partial<Record<PolicyEntity, readonly Scope[]>> = {
  all: SCOPES,
  world: ['outside'],
  cluster: ['pod', 'node'],
}

function isEmpty({ requirements }: LabelSelector): boolean {
  return requirements.length === 0
}

function everyoneOf(peer: PolicyPeer): readonly Scope[] {
  if (peer.kind === 'entity') return ENTITY_SCOPES[peer.entity] ?? []
  if (peer.kind === 'pods' && isEmpty(peer.pods) && isEmpty(peer.namespaces)) return ['pod']
  return peer.kind === 'nodes' && isEmpty(peer.labels) ? ['node'] : []
}

function entityMatches(entity: PolicyEntity, { scope, isOwnNode, isApiServer, place }: Identity): boolean {
  switch (entity) {
    case 'world-ipv4':
      return scope === 'outside' && place?.family === 'ipv4'
    case 'world-ipv6':
      return scope === 'outside' && place?.family === 'ipv6'
    case 'host':
      return isOwnNode
    case 'remote-node':
      return scope === 'node' && !isOwnNode
    case 'kube-apiserver':
      return isApiServer
    default:
      return false
  }
}

function isWithin(identity: Identity, { peer, places, except }: Peer): boolean {
  const { place, scope } = identity
  if (place === undefined || !('covers' in peer) || (peer.covers === 'outside' && scope !== 'outside'))
    return false
  return places.covers(place) && !except.covers(place)
}

function means(candidate: Peer, identity: Identity): boolean {
  const { peer } = candidate
  switch (peer.kind) {
    case 'pods':
      return (
        identity.scope === 'pod' &&
        selectorMatches(peer.namespaces, identity.namespaceLabels) &&
        selectorMatches(peer.pods, identity.labels)
      )
    case 'nodes':
      return identity.scope === 'node' && selectorMatches(peer.labels, identity.labels)
    case 'networks':
    case 'network-groups':
      return isWithin(identity, candidate)
    case 'entity':
      return entityMatches(peer.entity, identity)
    case 'services':
      return identity.services.includes(servicesKey(peer))
  }
}

function join(peer: Peer, identity: Identity): void {
  peer.members.add(identity)
  identity.peers.add(peer)
}

/** Requirements that name the values they want: each a list of places where candidates are found. */
function labelAnchors(peer: Extract<PolicyPeer, { kind: 'pods' }>): readonly (readonly string[])[] {
  const of = (kind: 'pod' | 'namespace', { requirements }: LabelSelector) =>
    requirements
      .filter(({ operator }) => operator === 'In')
      .map(({ key, values }) => [...new Set(values)].map((value) => labelAnchor(kind, key, value)))
  return [...of('pod', peer.pods), ...of('namespace', peer.namespaces)]
}

/** The list whose places hold the fewest. */
function fewest<Item>(
  lists: readonly (readonly string[])[],
  found: Grouped<string, Item>,
): readonly string[] | undefined {
  let best: { readonly list: readonly string[]; readonly count: number } | undefined
  for (const list of lists) {
    const count = list.reduce((sum, anchor) => sum + found.count(anchor), 0)
    if (!best || count < best.count) best = { list, count }
  }
  return best?.list
}

const SERVICES_ANCHOR = 'services '

export class Peers {
  readonly #identities: Identities
  readonly #groupPrefixes: GroupPrefixes
  readonly #byKey = new Map<string, Peer>()
  readonly #byAnchor = new Grouped<string, Peer>()
  readonly #loose = new Set<Peer>()
  /** Those that name groups of networks. */
  readonly #grouped = new Set<Peer>()
  readonly #byPrefix = new ByPrefix<Peer>()

  constructor(identities: Identities, groupPrefixes: GroupPrefixes) {
    this.#identities = identities
    this.#groupPrefixes = groupPrefixes
  }

  /** One more use of a peer; a new one finds its members. */
  take(peer: PolicyPeer): Peer {
    const key = peerKey(peer)
    const known = this.#byKey.get(key)
    if (known) {
      known.uses += 1
      return known
    }
    const made: Peer = {
      key,
      peer,
      everyone: everyoneOf(peer),
      prefixes: NO_PREFIXES,
      places: 'except' in peer ? new PrefixIndex() : NOWHERE,
      except: 'except' in peer && peer.except.length > 0 ? new PrefixIndex(peer.except) : NOWHERE,
      members: new Set(),
      anchors: [],
      uses: 1,
    }
    this.#byKey.set(key, made)
    this.#attach(made)
    return made
  }

  give(peer: Peer): void {
    peer.uses -= 1
    if (peer.uses > 0) return
    this.#byKey.delete(peer.key)
    this.#detach(peer)
  }

  /** Finds the peers that mean a new identity. */
  greet(identity: Identity): void {
    for (const candidate of this.#candidatesFor(identity)) this.#link(candidate, identity)
  }

  /** No row refers to the identity any more. */
  forget(identity: Identity): void {
    for (const peer of identity.peers) peer.members.delete(identity)
    identity.peers.clear()
  }

  /** Reads the groups of networks anew. @returns the peers that mean others now, and whom they meant, or mean, alone */
  refreshGroups(change: GroupsChange): ReadonlyMap<Peer, ReadonlySet<Identity>> {
    const changed = new Map<Peer, ReadonlySet<Identity>>()
    for (const peer of this.#grouped) {
      if (peer.peer.kind !== 'network-groups' || !mayBeOthers(peer.peer, change)) continue
      const before = peer.prefixes
      const prefixes = this.#groupPrefixes(peer.peer)
      const [gone, come] = [without(before, prefixes), without(prefixes, before)]
      for (const prefix of gone) this.#leavePrefix(peer, prefix)
      for (const prefix of come) this.#takePrefix(peer, prefix)
      peer.prefixes = prefixes
      const moved = new Set<Identity>()
      for (const prefix of [...gone, ...come])
        for (const identity of this.#identities.within(placeOfPrefix(prefix)))
          if (this.#relink(peer, identity)) moved.add(identity)
      if (moved.size > 0) changed.set(peer, moved)
    }
    return changed
  }

  #attach(peer: Peer): void {
    if (peer.peer.kind === 'networks') peer.prefixes = new Set([peer.peer.prefix])
    if (peer.peer.kind === 'network-groups') {
      peer.prefixes = this.#groupPrefixes(peer.peer)
      this.#grouped.add(peer)
    }
    this.#anchor(peer)
    for (const identity of this.#candidatesOf(peer)) this.#link(peer, identity)
  }

  #detach(peer: Peer): void {
    for (const identity of peer.members) identity.peers.delete(peer)
    peer.members.clear()
    this.#loose.delete(peer)
    for (const anchor of peer.anchors) this.#byAnchor.delete(anchor, peer)
    this.#grouped.delete(peer)
    for (const prefix of peer.prefixes) this.#leavePrefix(peer, prefix)
  }

  #takePrefix(peer: Peer, prefix: Prefix): void {
    this.#byPrefix.add(prefix, peer)
    peer.places.add(prefix)
  }

  #leavePrefix(peer: Peer, prefix: Prefix): void {
    this.#byPrefix.delete(prefix, peer)
    peer.places.delete(prefix)
  }

  #link(peer: Peer, identity: Identity): void {
    if (means(peer, identity)) join(peer, identity)
  }

  /** @returns whether it is meant now and was not, or the reverse */
  #relink(peer: Peer, identity: Identity): boolean {
    const isMeant = means(peer, identity)
    if (isMeant === peer.members.has(identity)) return false
    if (isMeant) join(peer, identity)
    else {
      peer.members.delete(identity)
      identity.peers.delete(peer)
    }
    return true
  }

  #anchor(made: Peer): void {
    const { peer } = made
    made.anchors = []
    if (made.everyone.length > 0) return
    if (peer.kind === 'networks' || peer.kind === 'network-groups') {
      for (const prefix of made.prefixes) this.#takePrefix(made, prefix)
      return
    }
    const anchors =
      peer.kind === 'services'
        ? [SERVICES_ANCHOR + servicesKey(peer)]
        : peer.kind === 'pods'
          ? fewest(labelAnchors(peer), this.#byAnchor)
          : undefined
    if (anchors === undefined) this.#loose.add(made)
    else for (const anchor of anchors) this.#byAnchor.add(anchor, made)
    made.anchors = anchors ?? []
  }

  *#candidatesFor(identity: Identity): Iterable<Peer> {
    yield* this.#loose
    for (const services of identity.services) yield* this.#byAnchor.get(SERVICES_ANCHOR + services)
    for (const anchor of labelAnchorsOf(identity)) yield* this.#byAnchor.get(anchor)
    const { place } = identity
    if (place !== undefined) yield* this.#byPrefix.around(place)
  }

  *#candidatesOf({ peer, everyone, places }: Peer): Iterable<Identity> {
    if (everyone.length > 0) return
    if (peer.kind === 'networks' || peer.kind === 'network-groups') {
      // A prefix's members are those whose own prefix lies in it.
      for (const prefix of places.outermost()) yield* this.#identities.within(placeOfPrefix(prefix))
    } else if (peer.kind === 'services') yield* this.#identities.byServices.get(servicesKey(peer))
    else if (peer.kind === 'pods') {
      const anchors = fewest(labelAnchors(peer), this.#identities.byLabel)
      if (anchors === undefined) yield* this.#identities.byScope.get('pod')
      else for (const anchor of anchors) yield* this.#identities.byLabel.get(anchor)
    } else if (peer.kind === 'nodes') yield* this.#identities.byScope.get('node')
    else yield* this.#identities
  }
}
