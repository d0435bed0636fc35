// Identities: what policy can tell apart, interned to numbers. Two addresses share one exactly if no rule in use (and no configured label)
// could treat them differently.
//
// A prefix of the outside is an identity too. It stands for the addresses below it that no longer prefix in use covers, so it knows every
// prefix that covers it.

import { EVERYWHERE, type Prefix } from '../../model/address.ts'
import { ByPrefix, Grouped } from './grouped.ts'
import {
  IDENTITY_HOST,
  IDENTITY_KUBE_APISERVER,
  IDENTITY_RANGES,
  IDENTITY_REMOTE_NODE,
  IDENTITY_WORLD_IPV4,
  IDENTITY_WORLD_IPV6,
} from './identity-numbers.ts'
import { NumberPool } from './number-pool.ts'
import type { Peer } from './peers.ts'
import { type Place, placeOfPrefix } from './prefix-index.ts'
import type { IdentityId, Scope } from './rows.ts'
import type { NamedPorts } from './rule-ports.ts'

export type Labels = Readonly<Record<string, string>>

/** What makes an identity; the key says all of it. */
export interface IdentityTraits {
  readonly scope: Scope
  /** Labels that count: a pod's or a node's. */
  readonly labels: Labels
  readonly namespaceLabels: Labels
  /** Longest prefix in use that covers it: of pods and nodes among those that cover everything; of the outside always one. */
  readonly prefix: Prefix | undefined
  readonly isOwnNode: boolean
  readonly isApiServer: boolean
  /** Lists of Services in use that have it as an endpoint. */
  readonly services: readonly string[]
  /** Whose names a rule refers to. */
  readonly namedPorts: NamedPorts
  readonly namedPortsKey: string
}

export interface Identity extends IdentityTraits {
  readonly id: IdentityId
  readonly key: string
  readonly place: Place | undefined
  /** Peers of rules that mean it, those that mean everyone of its scope excepted. */
  readonly peers: Set<Peer>
  /** Addresses and prefixes that carry it. */
  uses: number
}

/** Between the parts of a key: in no label, name or prefix. */
const PART = '\u0001'
const ITEM = '\u0002'

function labelsKey(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(ITEM)
}

export function traitsKey(traits: IdentityTraits): string {
  return [
    traits.scope,
    labelsKey(traits.namespaceLabels),
    labelsKey(traits.labels),
    traits.prefix ?? '',
    traits.isOwnNode ? 'own' : '',
    traits.isApiServer ? 'api' : '',
    traits.services.join(ITEM),
    traits.namedPortsKey,
  ].join(PART)
}

/** The reserved number of one in whom nothing is told apart but what Cilium has a number for. */
export function reservedNumber(traits: IdentityTraits): IdentityId | undefined {
  const { scope, prefix, isApiServer, services, isOwnNode } = traits
  if (scope === 'pod' || services.length > 0) return undefined
  if (scope === 'node') {
    const isPlain = prefix === undefined && !isApiServer && Object.keys(traits.labels).length === 0
    if (!isPlain) return undefined
    return isOwnNode ? IDENTITY_HOST : IDENTITY_REMOTE_NODE
  }
  if (prefix === EVERYWHERE[0]) return isApiServer ? IDENTITY_KUBE_APISERVER : IDENTITY_WORLD_IPV4
  return prefix === EVERYWHERE[1] && !isApiServer ? IDENTITY_WORLD_IPV6 : undefined
}

/** A number that says another scope is for somebody else. */
function keepable(kept: IdentityId | undefined, scope: Scope): IdentityId | undefined {
  const { first, last } = IDENTITY_RANGES[scope]
  return kept !== undefined && kept >= first && kept <= last ? kept : undefined
}

/** Where peers that select pods by their labels find one, and it them. */
export function* labelAnchorsOf({ scope, labels, namespaceLabels }: IdentityTraits): Iterable<string> {
  if (scope !== 'pod') return
  for (const [key, value] of Object.entries(labels)) yield labelAnchor('pod', key, value)
  for (const [key, value] of Object.entries(namespaceLabels)) yield labelAnchor('namespace', key, value)
}

export function labelAnchor(kind: 'pod' | 'namespace', key: string, value: string): string {
  return `${kind}${PART}${key}${PART}${value}`
}

/** How peers find the identities they mean, without asking all. */
export class Identities {
  readonly #byKey = new Map<string, Identity>()
  readonly #numbers: Record<Scope, NumberPool>
  readonly byLabel = new Grouped<string, Identity>()
  readonly byScope = new Grouped<Scope, Identity>()
  readonly #byPrefix = new ByPrefix<Identity>()
  readonly byServices = new Grouped<string, Identity>()
  /** Those with names of ports that a rule refers to. */
  readonly named = new Set<Identity>()
  /** Reserved numbers that some address still carries as somebody else. */
  readonly barred = new Set<IdentityId>()
  readonly ownNode = new Set<Identity>()

  constructor(restMs: number) {
    const pool = (scope: Scope) => new NumberPool(IDENTITY_RANGES[scope], restMs)
    this.#numbers = { outside: pool('outside'), pod: pool('pod'), node: pool('node') }
  }

  /** Keeps numbers of an earlier agent for those that may keep them. */
  keepForeign(numbers: readonly IdentityId[]): void {
    for (const pool of Object.values(this.#numbers)) pool.keepForeign(numbers)
  }

  /**
   * One more use.
   * @param kept number that it had from an earlier agent
   * @returns also whether it is new: then peers are still to be found for it
   */
  take(
    traits: IdentityTraits,
    now: number,
    kept?: IdentityId,
  ): { readonly identity: Identity; readonly isNew: boolean } {
    const key = traitsKey(traits)
    const known = this.#byKey.get(key)
    if (known) {
      known.uses += 1
      return { identity: known, isNew: false }
    }
    const identity: Identity = {
      ...traits,
      id: this.#reserved(traits) ?? keepable(kept, traits.scope) ?? this.#takeNumber(traits.scope, now),
      key,
      place: traits.prefix === undefined ? undefined : placeOfPrefix(traits.prefix),
      peers: new Set(),
      uses: 1,
    }
    this.#byKey.set(key, identity)
    this.#index(identity, (group, groupKey) => group.add(groupKey, identity))
    if (identity.namedPortsKey !== '') this.named.add(identity)
    if (identity.isOwnNode) this.ownNode.add(identity)
    return { identity, isNew: true }
  }

  /** One use less. @returns whether it was the last: it is for the caller to `remove` it once no row refers to it */
  give(identity: Identity): boolean {
    identity.uses -= 1
    return identity.uses === 0
  }

  remove(identity: Identity, now: number): void {
    this.#byKey.delete(identity.key)
    this.#index(identity, (group, groupKey) => group.delete(groupKey, identity))
    this.named.delete(identity)
    this.ownNode.delete(identity)
    if (keepable(identity.id, identity.scope) !== undefined)
      this.#numbers[identity.scope].give(identity.id, now)
  }

  /** Those whose prefix lies in a place. */
  within(place: Place): Iterable<Identity> {
    return this.#byPrefix.within(place)
  }

  get size(): number {
    return this.#byKey.size
  }

  [Symbol.iterator](): Iterator<Identity> {
    return this.#byKey.values()
  }

  #reserved(traits: IdentityTraits): IdentityId | undefined {
    const number = reservedNumber(traits)
    return number === undefined || this.barred.has(number) ? undefined : number
  }

  #takeNumber(scope: Scope, now: number): IdentityId {
    const number = this.#numbers[scope].take(now)
    // Sixteen million of a scope on one node: memory ends long before.
    if (number === undefined)
      throw new RangeError(`all identity numbers for '${scope}' are in use or at rest`)
    return number
  }

  #index(
    identity: Identity,
    visit: <Key>(group: Pick<Grouped<Key, Identity>, 'add' | 'delete'>, key: Key) => void,
  ): void {
    visit(this.byScope, identity.scope)
    if (identity.prefix !== undefined) visit(this.#byPrefix, identity.prefix)
    for (const services of identity.services) visit(this.byServices, services)
    for (const anchor of labelAnchorsOf(identity)) visit(this.byLabel, anchor)
  }
}
