// What the rules refer to: keys of labels, names of ports, prefixes, lists of Services. Only what somebody refers to tells identities
// apart, so pods that differ in nothing else share one.
//
// Counted by the peers that refer. What nobody refers to any more stays for a while: a policy that is replaced, or deleted and made again,
// would otherwise give every pod with that label a new identity twice.
//
// Configuration adds to it, as Cilium's `labels` option does: keys that match `include` and not `exclude` always count. So a first policy
// on such a key renumbers nobody. A key that a rule refers to counts whatever is configured, for otherwise the rule would not be kept.

import type { Prefix } from '../../model/address.ts'
import type { LabelSelector } from '../../model/label-selector.ts'
import type { NetworksCover, PolicyPeer } from '../../model/policy.ts'
import type { GroupsPeer } from '../network-groups.ts'
import { without } from './without.ts'

export interface LabelFilter {
  readonly include: readonly RegExp[]
  readonly exclude: readonly RegExp[]
}

/** One kind of things referred to. */
export class ReferenceCount<Key> {
  readonly #uses = new Map<Key, number>()
  /** Without uses, and since when. */
  readonly #idle = new Map<Key, number>()
  /** Came or went since last asked. */
  #changed = new Set<Key>()

  has(key: Key): boolean {
    return this.#uses.has(key) || this.#idle.has(key)
  }

  add(key: Key): void {
    const uses = this.#uses.get(key) ?? 0
    this.#uses.set(key, uses + 1)
    if (uses === 0 && !this.#idle.delete(key)) this.#changed.add(key)
  }

  remove(key: Key, now: number): void {
    const uses = this.#uses.get(key) ?? 0
    if (uses > 1) this.#uses.set(key, uses - 1)
    else if (this.#uses.delete(key)) this.#idle.set(key, now)
  }

  /** Forgets what nobody has referred to for so long. */
  expire(now: number, idleMs: number): void {
    for (const [key, since] of this.#idle) {
      if (since + idleMs > now) continue
      this.#idle.delete(key)
      this.#changed.add(key)
    }
  }

  takeChanged(): ReadonlySet<Key> {
    const changed = this.#changed
    if (changed.size > 0) this.#changed = new Set()
    return changed
  }
}

/** Keys of labels, with what is configured. */
class LabelKeys extends ReferenceCount<string> {
  readonly #filter: LabelFilter
  /** Whether configuration includes a key, by key. */
  readonly #configured = new Map<string, boolean>()

  constructor(filter: LabelFilter) {
    super()
    this.#filter = filter
  }

  counts(key: string): boolean {
    return this.has(key) || this.#isConfigured(key)
  }

  #isConfigured(key: string): boolean {
    if (this.#filter.include.length === 0) return false
    const known = this.#configured.get(key)
    if (known !== undefined) return known
    const isIncluded =
      this.#filter.include.some((pattern) => pattern.test(key)) &&
      !this.#filter.exclude.some((pattern) => pattern.test(key))
    this.#configured.set(key, isIncluded)
    return isIncluded
  }
}

export type ServicesPeer = Extract<PolicyPeer, { kind: 'services' }>

/** Prefixes of a peer that names groups of networks, as the groups are now. */
export type GroupPrefixes = (peer: GroupsPeer) => ReadonlySet<Prefix>
/** Names of the groups that changed. */
export type GroupsChange = Pick<ReadonlyMap<string, unknown>, 'has'>

/** Which groups labels select is found anew. */
export function mayBeOthers({ groups }: GroupsPeer, change: GroupsChange): boolean {
  return !('name' in groups) || change.has(groups.name)
}

/** A peer that names groups, and the prefixes counted for it. */
interface GroupsUse {
  readonly peer: GroupsPeer
  uses: number
  prefixes: ReadonlySet<Prefix>
}

export class References {
  readonly podKeys: LabelKeys
  readonly namespaceKeys: LabelKeys
  readonly nodeKeys = new ReferenceCount<string>()
  /** Names of ports in egress rules: of peers. */
  readonly portNames = new ReferenceCount<string>()
  /** Prefixes and exceptions that cover pods and nodes too. */
  readonly coveringPrefixes = new ReferenceCount<Prefix>()
  /** All prefixes and exceptions. */
  readonly prefixes = new ReferenceCount<Prefix>()
  /** Lists of Services, by `servicesKey`. */
  readonly services = new ReferenceCount<string>()
  readonly #groups = new Map<string, GroupsUse>()
  readonly #groupPrefixes: GroupPrefixes

  constructor(filter: LabelFilter, groupPrefixes: GroupPrefixes) {
    this.podKeys = new LabelKeys(filter)
    this.namespaceKeys = new LabelKeys(filter)
    this.#groupPrefixes = groupPrefixes
  }

  add(peer: PolicyPeer): void {
    if (peer.kind === 'network-groups') this.#addGroups(peer)
    else this.#each(peer, (kind, key) => kind.add(key))
  }

  remove(peer: PolicyPeer, now: number): void {
    if (peer.kind === 'network-groups') this.#removeGroups(peer, now)
    else this.#each(peer, (kind, key) => kind.remove(key, now))
  }

  /** Groups changed: counts what they hold now. @returns what is to be done at the end, when no rule means what they held before */
  regroup(change: GroupsChange, now: number): () => void {
    const left: { readonly peer: GroupsPeer; readonly gone: readonly Prefix[] }[] = []
    for (const use of this.#groups.values()) {
      if (!mayBeOthers(use.peer, change)) continue
      const before = use.prefixes
      use.prefixes = this.#groupPrefixes(use.peer)
      left.push({ peer: use.peer, gone: without(before, use.prefixes) })
      const come = without(use.prefixes, before)
      this.#countPrefixes(use.peer.covers, come, (kind, key) => kind.add(key))
    }
    return () => {
      for (const { peer, gone } of left)
        this.#countPrefixes(peer.covers, gone, (kind, key) => kind.remove(key, now))
    }
  }

  expire(now: number, idleMs: number): void {
    for (const kind of [this.podKeys, this.namespaceKeys, this.nodeKeys, this.portNames, this.services])
      kind.expire(now, idleMs)
    for (const kind of [this.coveringPrefixes, this.prefixes]) kind.expire(now, idleMs)
  }

  #addGroups(peer: GroupsPeer): void {
    const key = JSON.stringify(peer)
    const known = this.#groups.get(key)
    if (known) {
      known.uses += 1
      return
    }
    const made = { peer, uses: 1, prefixes: this.#groupPrefixes(peer) }
    this.#groups.set(key, made)
    const count = (kind: ReferenceCount<Prefix>, prefix: Prefix) => kind.add(prefix)
    for (const prefixes of [made.prefixes, peer.except]) this.#countPrefixes(peer.covers, prefixes, count)
  }

  #removeGroups(peer: GroupsPeer, now: number): void {
    const key = JSON.stringify(peer)
    const known = this.#groups.get(key)
    if (!known) return
    known.uses -= 1
    if (known.uses > 0) return
    this.#groups.delete(key)
    const discount = (kind: ReferenceCount<Prefix>, prefix: Prefix) => kind.remove(prefix, now)
    for (const prefixes of [known.prefixes, peer.except]) this.#countPrefixes(peer.covers, prefixes, discount)
  }

  #countPrefixes(
    covers: NetworksCover,
    prefixes: Iterable<Prefix>,
    visit: (kind: ReferenceCount<Prefix>, key: Prefix) => void,
  ): void {
    for (const prefix of prefixes) {
      visit(this.prefixes, prefix)
      if (covers === 'everything') visit(this.coveringPrefixes, prefix)
    }
  }

  #each(peer: PolicyPeer, visit: <Key extends string>(kind: ReferenceCount<Key>, key: Key) => void): void {
    const keysOf = ({ requirements }: LabelSelector, kind: ReferenceCount<string>) => {
      for (const { key } of requirements) visit(kind, key)
    }
    if (peer.kind === 'pods') {
      keysOf(peer.namespaces, this.namespaceKeys)
      keysOf(peer.pods, this.podKeys)
    } else if (peer.kind === 'nodes') keysOf(peer.labels, this.nodeKeys)
    else if (peer.kind === 'services') visit(this.services, servicesKey(peer))
    else if (peer.kind === 'networks') this.#countPrefixes(peer.covers, [peer.prefix, ...peer.except], visit)
  }
}

export function servicesKey({ services }: ServicesPeer): string {
  return JSON.stringify(services)
}
