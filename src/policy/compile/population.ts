// Who is where: every address and prefix that policy knows, with its identity.
//
// Objects and references are noted as they change; `settle` then finds anew the identities of those addresses only that the changes
// concern, and tells which addresses went from which identity to which.

import { type Address, EVERYWHERE, type Prefix } from '../../model/address.ts'
import { type PolicyNode, type PolicyPod, SERVICE_ACCOUNT_LABEL } from '../../model/policy.ts'
import { type Steps, stopping } from '../../model/slices.ts'
import type { EarlierIdentities } from './earlier-identities.ts'
import { type Identities, type Identity, type IdentityTraits, traitsKey } from './identities.ts'
import { isSomebody, type Objects, type WorldChange } from './objects.ts'
import { type Place, PrefixIndex, placeOfAddress, placeOfPrefix } from './prefix-index.ts'
import type { References } from './references.ts'
import type { IdentityId, IdentityKey, IdentityRow } from './rows.ts'
import { ServiceLists } from './service-lists.ts'
import { OUTSIDER, Traits } from './traits.ts'

/** Stops are so many addresses or prefixes apart. */
const STOP_ENTRIES = 128

/** An address that somebody has, or that a rule means in particular. */
interface AddressEntry {
  readonly address: string
  readonly place: Place
  /** Should several claim it, the first by name has it. */
  pods: readonly PolicyPod[]
  nodes: readonly PolicyNode[]
  isApiServer: boolean
  identity: Identity | undefined
}

export interface PopulationStep {
  /** To be met by peers before anything is asked of them. */
  readonly fresh: readonly Identity[]
  /** Nobody carries them any more. */
  readonly gone: readonly Identity[]
  /** From → to: what an address or a prefix was found to be, and is now. */
  readonly moves: ReadonlyMap<Identity, ReadonlySet<Identity>>
  readonly put: readonly IdentityRow[]
  readonly delete: readonly IdentityKey[]
  /** Addresses that were asked about anew, moved or not. */
  readonly touched: readonly string[]
  /** Numbers of an earlier agent that stay on addresses until these rows are written, and who these addresses are then. */
  readonly strays: ReadonlyMap<IdentityId, ReadonlySet<Identity | undefined>>
}

/** What `settle` gathers. */
interface Draft {
  readonly fresh: Identity[]
  readonly released: Set<Identity>
  readonly moves: Map<Identity, Set<Identity>>
  readonly put: IdentityRow[]
  readonly delete: IdentityKey[]
  readonly earlier: EarlierIdentities | undefined
}

export class Population {
  readonly #objects: Objects
  readonly #references: References
  readonly #identities: Identities
  readonly #serviceLists: ServiceLists
  readonly #entries = new Map<string, AddressEntry>()
  #apiServers: ReadonlySet<string> = new Set()
  readonly #dirty = new Set<string>()
  readonly #traits: Traits
  /** Written to the trie. */
  readonly #installed = new PrefixIndex()
  readonly #installedIdentities = new Map<Prefix, Identity>()
  readonly #covering = new PrefixIndex()
  /** Until the first `settle`. */
  #earlier: EarlierIdentities | undefined

  constructor(
    node: string,
    objects: Objects,
    references: References,
    identities: Identities,
    earlier: EarlierIdentities | undefined,
  ) {
    this.#earlier = earlier
    if (earlier) identities.keepForeign(earlier.numbers())
    this.#objects = objects
    this.#references = references
    this.#identities = identities
    this.#serviceLists = new ServiceLists(objects)
    this.#traits = new Traits(node, objects, references)
  }

  /** Takes objects into `Objects`; the identities follow with `settle`. */
  *note(change: WorldChange): Steps {
    for (const [name, labels] of change.namespaces ?? []) this.#noteNamespace(name, labels)
    yield* stopping(change.pods ?? [], STOP_ENTRIES, ([key, pod]) => this.#notePod(key, pod))
    for (const [name, node] of change.nodes ?? []) this.#noteNode(name, node)
    for (const [key, service] of change.services ?? []) {
      if (service) this.#objects.services.set(key, service)
      else this.#objects.services.delete(key)
      this.#spoil(this.#serviceLists.changed(key))
    }
    if (change.apiServers) this.#noteApiServers(new Set(change.apiServers))
  }

  *settle(now: number): Steps<PopulationStep> {
    const prefixes = this.#noteReferences()
    const earlier = this.#earlier
    this.#earlier = undefined
    const draft: Draft = { fresh: [], released: new Set(), moves: new Map(), put: [], delete: [], earlier }
    const entries = [...this.#dirty].map((address) => this.#entryOf(address))
    const before = entries.map((entry) => this.#found(entry))
    this.#dirty.clear()
    yield
    for (const number of earlier?.carve(this.#outsideRows(prefixes, entries)) ?? [])
      this.#identities.barred.add(number)
    yield* this.#settlePrefixes(prefixes, draft, now)
    const traitsAt = (address: string) => {
      const entry = this.#entries.get(address)
      return entry && this.#traitsOf(entry)
    }
    for (const number of earlier?.outlived(traitsAt) ?? []) this.#identities.barred.add(number)
    const kept = earlier?.kept(traitsAt)
    yield
    yield* stopping(entries, STOP_ENTRIES, (entry) => this.#settleEntry(entry, kept, draft, now))
    for (const [index, entry] of entries.entries()) move(draft, before[index], this.#found(entry))
    if (earlier) draft.delete.push(...earlier.gone((key) => this.#rowAt(key) !== undefined))
    const used = new Set(earlier ? [...this.#identities].map(({ id }) => id) : [])
    return {
      fresh: draft.fresh,
      gone: [...draft.released].filter(({ uses }) => uses === 0),
      moves: draft.moves,
      put: draft.put,
      delete: draft.delete,
      touched: entries.map(({ address }) => address),
      strays: earlier?.strays((key) => this.#rowAt(key) ?? this.#aroundKey(key), used) ?? new Map(),
    }
  }

  /** The pod that has an address, and what it is known as there. */
  podAt(address: string): { readonly pod: PolicyPod; readonly identity: Identity } | undefined {
    const { pods: [pod] = [], identity } = this.#entries.get(address) ?? {}
    return pod && identity?.scope === 'pod' ? { pod, identity } : undefined
  }

  #noteNamespace(name: string, labels: Readonly<Record<string, string>> | undefined): void {
    this.#objects.setNamespace(name, labels)
    this.#traits.forgetNamespace(name)
    for (const key of this.#objects.podsByNamespace.get(name))
      this.#spoil(this.#objects.pods.get(key)?.addresses ?? [])
    for (const service of this.#objects.services.values())
      if (service.namespace === name) this.#spoil(this.#serviceLists.changed(service.key))
  }

  #notePod(key: string, pod: PolicyPod | undefined): void {
    const before = this.#objects.setPod(key, pod)
    for (const address of before && isSomebody(before) ? before.addresses : []) {
      const entry = this.#entryOf(address)
      entry.pods = entry.pods.filter((other) => other.key !== key)
      this.#dirty.add(address)
    }
    if (!pod || !isSomebody(pod)) return
    for (const address of new Set(pod.addresses)) {
      const entry = this.#entryOf(address)
      entry.pods = [...entry.pods, pod].sort((a, b) => (a.key < b.key ? -1 : 1))
      this.#dirty.add(address)
    }
  }

  #noteNode(name: string, node: PolicyNode | undefined): void {
    const before = this.#objects.nodes.get(name)
    for (const address of before?.addresses ?? []) {
      const entry = this.#entryOf(address)
      entry.nodes = entry.nodes.filter((other) => other.name !== name)
      this.#dirty.add(address)
    }
    if (!node) {
      this.#objects.nodes.delete(name)
      return
    }
    this.#objects.nodes.set(name, node)
    for (const address of new Set(node.addresses)) {
      const entry = this.#entryOf(address)
      entry.nodes = [...entry.nodes, node].sort((a, b) => (a.name < b.name ? -1 : 1))
      this.#dirty.add(address)
    }
  }

  #noteApiServers(addresses: ReadonlySet<string>): void {
    for (const address of [...this.#apiServers, ...addresses]) {
      this.#entryOf(address).isApiServer = addresses.has(address)
      this.#dirty.add(address)
    }
    this.#apiServers = addresses
  }

  #spoil(addresses: Iterable<string>): void {
    for (const address of addresses) this.#dirty.add(address)
  }

  /** Spoils the addresses that other references tell apart now. @returns prefixes of the trie that come or go */
  #noteReferences(): ReadonlySet<Prefix> {
    const { podKeys, namespaceKeys, nodeKeys, portNames, services, coveringPrefixes, prefixes } =
      this.#references
    const labels = podKeys.takeChanged()
    const names = portNames.takeChanged()
    if (labels.size + names.size > 0) this.#spoilPods(labels, names)
    this.#spoilNamespaces(namespaceKeys.takeChanged())
    for (const key of nodeKeys.takeChanged())
      for (const node of this.#objects.nodes.values())
        if (Object.hasOwn(node.labels, key)) this.#spoil(node.addresses)
    for (const key of services.takeChanged()) this.#spoil(this.#serviceLists.setList(key, services.has(key)))
    const covering = coveringPrefixes.takeChanged()
    for (const prefix of covering) {
      if (coveringPrefixes.has(prefix)) this.#covering.add(prefix)
      else this.#covering.delete(prefix)
    }
    this.#spoilWithin(covering, 'cluster')
    const moved = prefixes.takeChanged()
    this.#spoilWithin(moved, 'outside')
    return new Set([...moved, ...EVERYWHERE].filter((prefix) => this.#isMisplaced(prefix)))
  }

  /** The world's are written once and for all, whether rules refer to them or not. */
  #isMisplaced(prefix: Prefix): boolean {
    const isWanted = EVERYWHERE.includes(prefix) || this.#references.prefixes.has(prefix)
    return isWanted !== this.#installedIdentities.has(prefix)
  }

  #spoilPods(labels: ReadonlySet<string>, portNames: ReadonlySet<string>): void {
    for (const pod of this.#objects.pods.values()) {
      let isConcerned = labels.has(SERVICE_ACCOUNT_LABEL)
      for (const key of labels) isConcerned ||= Object.hasOwn(pod.labels, key)
      if (portNames.size > 0) isConcerned ||= pod.namedPorts.some(({ name }) => portNames.has(name))
      if (isConcerned) this.#spoil(pod.addresses)
    }
  }

  #spoilNamespaces(keys: ReadonlySet<string>): void {
    if (keys.size === 0) return
    this.#traits.forgetNamespaces()
    for (const namespace of this.#objects.namespaces()) {
      const labels = this.#objects.namespaceLabels(namespace)
      if (![...keys].some((key) => Object.hasOwn(labels, key))) continue
      for (const key of this.#objects.podsByNamespace.get(namespace))
        this.#spoil(this.#objects.pods.get(key)?.addresses ?? [])
    }
  }

  #spoilWithin(prefixes: ReadonlySet<Prefix>, whom: 'cluster' | 'outside'): void {
    if (prefixes.size === 0) return
    const index = new PrefixIndex()
    for (const prefix of prefixes) index.add(prefix)
    for (const { address, place, pods, nodes } of this.#entries.values()) {
      const isOfCluster = pods.length + nodes.length > 0
      if (isOfCluster === (whom === 'cluster') && index.longest(place) !== undefined) this.#dirty.add(address)
    }
  }

  #entryOf(address: string): AddressEntry {
    const known = this.#entries.get(address)
    if (known) return known
    const place = placeOfAddress(address as Address)
    const made = { address, place, pods: [], nodes: [], isApiServer: false, identity: undefined }
    this.#entries.set(address, made)
    return made
  }

  /** What the kernel's look-up gives. */
  #found({ identity, place }: AddressEntry): Identity | undefined {
    return identity ?? this.#around(place, place.length + 1)
  }

  #around(place: Place, below: number): Identity | undefined {
    const prefix = this.#installed.longest(place, below)
    return prefix === undefined ? undefined : this.#installedIdentities.get(prefix)
  }

  #rowAt({ kind, text }: IdentityKey): Identity | undefined {
    return kind === 'prefix'
      ? this.#installedIdentities.get(text as Prefix)
      : this.#entries.get(text)?.identity
  }

  #aroundKey({ kind, text }: IdentityKey): Identity | undefined {
    const place = kind === 'prefix' ? placeOfPrefix(text as Prefix) : placeOfAddress(text as Address)
    return this.#around(place, place.length + 1)
  }

  /** Rows of the outside that are to be. */
  *#outsideRows(
    prefixes: Iterable<Prefix>,
    entries: readonly AddressEntry[],
  ): Iterable<IdentityKey & { readonly place: Place }> {
    for (const prefix of prefixes) yield { kind: 'prefix', text: prefix, place: placeOfPrefix(prefix) }
    for (const entry of entries)
      if (entry.pods.length + entry.nodes.length === 0 && this.#traitsOf(entry))
        yield { kind: 'address', text: entry.address, place: entry.place }
  }

  *#settlePrefixes(prefixes: ReadonlySet<Prefix>, draft: Draft, now: number): Steps {
    const places = [...prefixes].map((prefix) => ({ prefix, place: placeOfPrefix(prefix) }))
    const find = ({ place }: { place: Place }) => this.#around(place, place.length + 1)
    const before = places.map(find)
    yield* stopping(places, STOP_ENTRIES, ({ prefix }) => {
      const known = this.#installedIdentities.get(prefix)
      if (known) {
        this.#installed.delete(prefix)
        this.#installedIdentities.delete(prefix)
        this.#release(known, draft)
        draft.delete.push({ kind: 'prefix', text: prefix })
        return
      }
      const identity = this.#take({ ...OUTSIDER, prefix }, draft, now, draft.earlier?.ofPrefix(prefix))
      this.#installed.add(prefix)
      this.#installedIdentities.set(prefix, identity)
      draft.put.push({ kind: 'prefix', text: prefix, identity: identity.id, scope: 'outside' })
    })
    for (const [index, place] of places.entries()) move(draft, before[index], find(place))
  }

  #settleEntry(
    entry: AddressEntry,
    kept: ReadonlyMap<string, IdentityId> | undefined,
    draft: Draft,
    now: number,
  ): void {
    const { address, identity: before } = entry
    const traits = this.#traitsOf(entry)
    const after = traits && this.#take(traits, draft, now, kept?.get(traitsKey(traits)))
    if (before) this.#release(before, draft)
    entry.identity = after
    if (!after) {
      this.#entries.delete(address)
      if (before) draft.delete.push({ kind: 'address', text: address })
    } else if (after !== before)
      draft.put.push({ kind: 'address', text: address, identity: after.id, scope: after.scope })
  }

  #take(traits: IdentityTraits, draft: Draft, now: number, kept: IdentityId | undefined): Identity {
    const { identity, isNew } = this.#identities.take(traits, now, kept)
    if (isNew) draft.fresh.push(identity)
    return identity
  }

  #release(identity: Identity, draft: Draft): void {
    if (this.#identities.give(identity)) draft.released.add(identity)
  }

  /** @returns undefined where prefixes say enough */
  #traitsOf({ address, place, pods, nodes, isApiServer }: AddressEntry): IdentityTraits | undefined {
    const services = this.#serviceLists.listsWith(address)
    const [node] = nodes
    const [pod] = pods
    if (node || pod) {
      const common = { isApiServer, services, prefix: this.#covering.longest(place) }
      if (node) return { ...OUTSIDER, ...common, ...this.#traits.ofNode(node) }
      if (pod) return { ...OUTSIDER, ...common, ...this.#traits.ofPod(pod) }
    }
    if (!isApiServer && services.length === 0) return undefined
    return { ...OUTSIDER, isApiServer, services, prefix: this.#installed.longest(place) }
  }
}

function move(draft: Draft, from: Identity | undefined, to: Identity | undefined): void {
  if (!from || !to || from === to) return
  const targets = draft.moves.get(from)
  if (targets) targets.add(to)
  else draft.moves.set(from, new Set([to]))
}
