// One direction of one policy set: which class each peer has.
//
// Rules that mean everyone of a scope make the scope's default. The other rules mean their peers' members; only these are looked at, and
// those whose rules come out as the default says get no row. Peers that match the same rules (and own the same named ports) share one
// flattening.

import { isDeepStrictEqual } from 'node:util'
import type { PolicyTier } from '../../model/policy.ts'
import { comparePolicies } from '../../model/policy-judgement.ts'
import { type KeyedContent, keyedContent } from './classes.ts'
import { type FlattenContext, flatten, type Isolation, uniformContent } from './flatten.ts'
import type { Identities, Identity } from './identities.ts'
import type { Peer } from './peers.ts'
import type { ReadyDirection, ReadyRule } from './policies.ts'
import { RULE_DEFAULT, RULE_OWN_NODE, RULE_SELF, type RuleId, SCOPES, type Scope } from './rows.ts'
import { ANY_PORT, type NamedPorts } from './rule-ports.ts'
import type { Span } from './spans.ts'

const TIER_ORDER: Readonly<Record<PolicyTier, number>> = { admin: 0, normal: 1, baseline: 2 }
/** In the normal tier a deny is asked before any allow. */
const ACTION_ORDER = { deny: 0, allow: 1, pass: 2 } as const

const OPEN = keyedContent(uniformContent(true, RULE_DEFAULT))
const OWN_NODE = keyedContent(uniformContent(true, RULE_OWN_NODE))
const SELF = keyedContent(uniformContent(true, RULE_SELF))

/** In the order in which they are asked. */
function orderedRules(parts: readonly ReadyDirection[]): readonly ReadyRule[] {
  const ordered = parts.toSorted(
    (a, b) => TIER_ORDER[a.tier] - TIER_ORDER[b.tier] || comparePolicies(a.policy, b.policy),
  )
  const rules = ordered.flatMap((part) => part.rules)
  const rank = ({ tier, action }: ReadyRule) =>
    TIER_ORDER[tier] * 4 + (tier === 'normal' ? ACTION_ORDER[action] : 0)
  return rules.toSorted((a, b) => rank(a) - rank(b))
}

/**
 * One cause stands for all that isolate: the one with the lowest number, so that a policy more changes no class by its name only.
 * Connections are kept only where all of them would.
 */
function isolationOf(parts: readonly ReadyDirection[]): Isolation | undefined {
  const isolating = parts.flatMap(({ isolation }) => isolation ?? [])
  if (isolating.length === 0) return undefined
  const rule = isolating.reduce(
    (lowest, isolation) => Math.min(lowest, isolation.rule),
    Number.POSITIVE_INFINITY,
  )
  return { rule, keepsExisting: isolating.every(({ keepsExisting }) => keepsExisting) }
}

function isSameIsolation(a: Isolation | undefined, b: Isolation | undefined): boolean {
  return a?.rule === b?.rule && a?.keepsExisting === b?.keepsExisting
}

/** Whether two say the same, at the same place of the same policy. */
function isSameRule(a: ReadyRule, b: ReadyRule): boolean {
  if (a === b) return true
  return (
    a.rule === b.rule &&
    a.action === b.action &&
    a.tier === b.tier &&
    a.priority === b.priority &&
    a.isAudit === b.isAudit &&
    a.keepsExisting === b.keepsExisting &&
    isDeepStrictEqual(a.ports, b.ports) &&
    (a.peers === b.peers ||
      (a.peers !== 'any' &&
        b.peers !== 'any' &&
        a.peers.length === b.peers.length &&
        a.peers.every((peer, index) => peer === b.peers[index])))
  )
}

/** Ascending, each once. */
function sortedPlaces(places: readonly number[]): readonly number[] {
  if (places.length < 2) return places
  const sorted = places.toSorted((a, b) => a - b)
  return sorted.some((place, index) => place === sorted[index + 1]) ? [...new Set(sorted)] : sorted
}

export interface DirectionSubject {
  readonly kind: 'pod' | 'node'
  /** Of the subjects, as far as the rules name them. */
  readonly namedPorts: NamedPorts
  readonly namedPortsKey: string
  /** By `CLASS_PROTOCOLS`. */
  readonly failSafe: readonly (readonly Span[])[] | undefined
}

export class SetDirectionPlan {
  readonly parts: readonly ReadyDirection[]
  readonly #isIngress: boolean
  readonly subject: DirectionSubject
  readonly #rules: readonly ReadyRule[]
  readonly #context: Omit<FlattenContext, 'namedPorts'>
  /** Places in the rules of those that mean everyone of a scope. */
  readonly #everyone: Readonly<Record<Scope, readonly number[]>>
  readonly #byPeer = new Map<Peer, number[]>()
  /** Scopes where even a peer that no rule means in particular is judged by the names of its ports. */
  readonly #namedScopes: ReadonlySet<Scope>
  readonly #known = new Map<string, KeyedContent>()
  readonly defaults: readonly [KeyedContent, KeyedContent, KeyedContent]

  constructor(parts: readonly ReadyDirection[], isIngress: boolean, subject: DirectionSubject) {
    this.parts = parts
    this.#isIngress = isIngress
    this.subject = subject
    this.#rules = orderedRules(parts)
    const enforced = parts.filter(({ policy }) => !policy.isAudit)
    const isolation = isolationOf(enforced)
    this.#context = {
      isolation,
      wouldIsolate: enforced.length === parts.length ? isolation : isolationOf(parts),
      failSafe: parts.length > 0 ? subject.failSafe : undefined,
    }
    const everyone: Record<Scope, number[]> = { outside: [], pod: [], node: [] }
    for (const [place, { peers }] of this.#rules.entries()) this.#placeRule(place, peers, everyone)
    this.#everyone = everyone
    const isNamed = (place: number) => (this.#rules[place]?.ports.named.length ?? 0) > 0
    this.#namedScopes = new Set(isIngress ? [] : SCOPES.filter((scope) => everyone[scope].some(isNamed)))
    const [outside, pod, node] = SCOPES.map((scope) => this.#contentFor(scope, everyone[scope], [], ''))
    if (!outside || !pod || !node) throw new Error('a set has a default for every scope')
    this.defaults = [outside, pod, node]
  }

  /** Peers whose members may have rows. */
  get peers(): Iterable<Peer> {
    return this.#byPeer.keys()
  }

  /**
   * What makes this plan another than one before, of the same set.
   * @returns peers whose members may be judged otherwise; undefined: anyone may
   */
  changedPeers(before: SetDirectionPlan): ReadonlySet<Peer> | undefined {
    const isOtherFrame =
      this.parts.length === 0 ||
      before.parts.length === 0 ||
      this.subject.namedPortsKey !== before.subject.namedPortsKey ||
      !isSameIsolation(this.#context.isolation, before.#context.isolation) ||
      !isSameIsolation(this.#context.wouldIsolate, before.#context.wouldIsolate)
    if (isOtherFrame) return undefined
    const [older, newer] = [before.parts, this.parts].map((parts) => new Set(parts))
    const changed = [
      ...before.parts.filter((part) => !newer?.has(part)),
      ...this.parts.filter((part) => !older?.has(part)),
    ]
    const byNumber = new Map<RuleId, ReadyRule[]>()
    for (const rule of changed.flatMap(({ rules }) => rules))
      byNumber.set(rule.rule, [...(byNumber.get(rule.rule) ?? []), rule])
    const peers = new Set<Peer>()
    for (const [one, other] of byNumber.values()) {
      if (one && other && isSameRule(one, other)) continue
      for (const rule of [one, other]) {
        if (rule?.peers === 'any') return undefined
        for (const peer of rule?.peers ?? []) {
          if (peer.everyone.length > 0) return undefined
          peers.add(peer)
        }
      }
    }
    return peers
  }

  /** What a peer gets; the default's own content where it gets no row for sure. */
  contentOf(identity: Identity): KeyedContent {
    const places: number[] = []
    for (const peer of identity.peers) {
      const found = this.#byPeer.get(peer)
      if (found) places.push(...found)
    }
    return this.#contentFrom(identity, places)
  }

  /** Contents of all that may differ from the default. */
  contents(identities: Identities): ReadonlyMap<Identity, KeyedContent> {
    const places = new Map<Identity, number[]>()
    for (const [peer, found] of this.#byPeer)
      for (const identity of peer.members) {
        const known = places.get(identity)
        if (known) known.push(...found)
        else places.set(identity, [...found])
      }
    if (this.#namedScopes.size > 0)
      for (const identity of identities.named) if (!places.has(identity)) places.set(identity, [])
    for (const identity of identities.ownNode) if (!places.has(identity)) places.set(identity, [])
    const contents = new Map<Identity, KeyedContent>()
    for (const [identity, found] of places) contents.set(identity, this.#contentFrom(identity, found))
    return contents
  }

  /** What judges a pod that a Service led back to itself: no policy of the normal tier. */
  hairpinContent(identity: Identity): KeyedContent {
    if (this.#rules.every(({ tier }) => tier === 'normal')) return OPEN
    const places = [...this.#everyone[identity.scope]]
    for (const peer of identity.peers) places.push(...(this.#byPeer.get(peer) ?? []))
    const rules = this.#rulesAt(places).filter(({ tier }) => tier !== 'normal')
    const context = { isolation: undefined, wouldIsolate: undefined, failSafe: undefined }
    const namedPorts = this.#isIngress ? this.subject.namedPorts : identity.namedPorts
    return keyedContent(flatten(rules, { ...context, namedPorts }))
  }

  #placeRule(place: number, peers: ReadyRule['peers'], everyone: Record<Scope, number[]>): void {
    const scopes = new Set(peers === 'any' ? SCOPES : peers.flatMap((peer) => peer.everyone))
    for (const scope of scopes) everyone[scope].push(place)
    if (peers === 'any' || scopes.size === SCOPES.length) return
    for (const peer of new Set(peers)) {
      if (peer.everyone.length > 0) continue
      const places = this.#byPeer.get(peer)
      if (places) places.push(place)
      else this.#byPeer.set(peer, [place])
    }
  }

  /** Without those that are never asked, for one before them decides all that is left. */
  #asked(ascending: readonly number[]): readonly number[] {
    let passing: PolicyTier | undefined
    for (const [index, place] of ascending.entries()) {
      const rule = this.#rules[place]
      if (!rule) continue
      const { tier, action } = rule
      if (action === 'pass') passing = tier
      if (rule.isAudit || rule.ports !== ANY_PORT) continue
      // What a rule before it passed on is left to the lower tiers. At a fail-safe port not every deny counts.
      if (action === 'allow' || (action === 'deny' && !this.#context.failSafe)) {
        if (passing !== tier) return ascending.slice(0, index + 1)
      }
    }
    return ascending
  }

  #rulesAt(places: readonly number[]): readonly ReadyRule[] {
    return sortedPlaces(places).flatMap((place) => this.#rules[place] ?? [])
  }

  #contentFrom(identity: Identity, places: readonly number[]): KeyedContent {
    const { scope } = identity
    if (identity.isOwnNode) {
      // The kubelet's probes arrive at the node's pods whatever policy says; and the node may speak to itself.
      if (this.subject.kind === 'node') return SELF
      if (this.#isIngress) return OWN_NODE
    }
    const isNamed = !this.#isIngress && identity.namedPortsKey !== ''
    if (places.length === 0 && !(isNamed && this.#namedScopes.has(scope)))
      return this.defaults[SCOPES.indexOf(scope)] ?? this.defaults[0]
    const all = [...this.#everyone[scope], ...places]
    return this.#contentFor(scope, all, identity.namedPorts, isNamed ? identity.namedPortsKey : '')
  }

  #contentFor(
    scope: Scope,
    places: readonly number[],
    peerPorts: NamedPorts,
    peerPortsKey: string,
  ): KeyedContent {
    const ascending = this.#asked(sortedPlaces(places))
    const key = `${ascending.join()} ${peerPortsKey}`
    const known = this.#known.get(key)
    if (known) return known
    const rules = ascending.flatMap((place) => this.#rules[place] ?? [])
    const namedPorts = this.#isIngress ? this.subject.namedPorts : scope === 'pod' ? peerPorts : []
    const made = keyedContent(flatten(rules, { ...this.#context, namedPorts }))
    this.#known.set(key, made)
    return made
  }
}
