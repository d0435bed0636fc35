// One direction of one policy set: which class each peer has.
//
// Rules that mean everyone of a scope make the scope's default. The other rules mean their peers' members in particular; only these are
// looked at. Peers that the same rules mean (and that own the same named ports) are one cell, and judged alike.

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
import { without } from './without.ts'

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

function isSamePeers(a: ReadyRule['peers'], b: ReadyRule['peers']): boolean {
  if (a === 'any' || b === 'any') return a === b
  return a.length === b.length && a.every((peer, index) => peer === b[index])
}

/** Whether two of the same number say the same to the same peers. */
function isSameRule(a: ReadyRule, b: ReadyRule): boolean {
  return (
    a.action === b.action &&
    a.tier === b.tier &&
    a.priority === b.priority &&
    a.isAudit === b.isAudit &&
    a.keepsExisting === b.keepsExisting &&
    isDeepStrictEqual(a.ports, b.ports)
  )
}

/**
 * Peers that one of two rules means in particular, and the other does not.
 * @returns undefined: they have none in common
 */
function otherPeers(a: ReadyRule, b: ReadyRule): readonly Peer[] | undefined {
  if (isSamePeers(a.peers, b.peers)) return []
  const [before, after] = [new Set(a.particular), new Set(b.particular)]
  const others = [...without(before, after), ...without(after, before)]
  return others.length < before.size + after.size ? others : undefined
}

/** Ascending, each once. */
function ascending(numbers: readonly number[]): readonly number[] {
  if (numbers.length < 2) return numbers
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted.some((number, index) => number === sorted[index + 1]) ? [...new Set(sorted)] : sorted
}

export interface DirectionSubject {
  readonly kind: 'pod' | 'node'
  /** Of the subjects, as far as the rules name them. */
  readonly namedPorts: NamedPorts
  readonly namedPortsKey: string
  /** By `CLASS_PROTOCOLS`. */
  readonly failSafe: readonly (readonly Span[])[] | undefined
}

/** Peers that the same rules mean in particular. */
export interface CellTraits {
  readonly scope: Scope
  /** Numbers, ascending. */
  readonly rules: readonly RuleId[]
  /** Of whom no policy is asked: the own node, but for egress of pods. */
  readonly isExempt: boolean
  readonly namedPorts: NamedPorts
  /** Of egress; of ingress the names of ports are the subject's. */
  readonly namedPortsKey: string
}

/** What makes a plan another than the one before it. */
export interface PlanDelta {
  readonly removed: ReadonlySet<RuleId>
  /** That rules which stay mean in particular now and did not, or the reverse. */
  readonly peers: ReadonlySet<Peer>
  readonly added: readonly ReadyRule[]
  /** They mean the same peers, and say something else. */
  readonly changed: ReadonlySet<RuleId>
  /** What holds for everyone changed. */
  readonly isOtherFrame: boolean
  /** Who is looked at in particular changed, apart from rules' peers. */
  readonly isOtherNaming: boolean
}

export class SetDirectionPlan {
  readonly parts: readonly ReadyDirection[]
  readonly #isIngress: boolean
  readonly subject: DirectionSubject
  readonly #rules: readonly ReadyRule[]
  readonly #places = new Map<RuleId, number>()
  readonly #context: Omit<FlattenContext, 'namedPorts'>
  /** Places in the rules of those that mean everyone of a scope. */
  readonly #everyone: Readonly<Record<Scope, readonly number[]>>
  readonly #byPeer = new Map<Peer, RuleId[]>()
  /** Scopes where even a peer that no rule means in particular is judged by the names of its ports. */
  readonly #namedScopes: ReadonlySet<Scope>
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
    for (const [place, rule] of this.#rules.entries()) {
      this.#places.set(rule.rule, place)
      for (const scope of rule.everyone) everyone[scope].push(place)
      for (const peer of rule.particular) {
        const known = this.#byPeer.get(peer)
        if (known) known.push(rule.rule)
        else this.#byPeer.set(peer, [rule.rule])
      }
    }
    this.#everyone = everyone
    const isNamed = (place: number) => (this.#rules[place]?.ports.named.length ?? 0) > 0
    this.#namedScopes = new Set(isIngress ? [] : SCOPES.filter((scope) => everyone[scope].some(isNamed)))
    const [outside, pod, node] = SCOPES.map((scope) => this.#flatten(everyone[scope], []))
    if (!outside || !pod || !node) throw new Error('a set has a default for every scope')
    this.defaults = [outside, pod, node]
  }

  /** Peers whose members may have rows. */
  get peers(): Iterable<Peer> {
    return this.#byPeer.keys()
  }

  /** Whether it is among them. */
  asks(peer: Peer): boolean {
    return this.#byPeer.has(peer)
  }

  delta(before: SetDirectionPlan): PlanDelta {
    const [older, newer] = [new Set(before.parts), new Set(this.parts)]
    const rulesOf = (parts: readonly ReadyDirection[], others: ReadonlySet<ReadyDirection>) =>
      new Map(
        parts
          .filter((part) => !others.has(part))
          .flatMap(({ rules }) => rules.map((rule) => [rule.rule, rule])),
      )
    const [gone, come] = [rulesOf(before.parts, newer), rulesOf(this.parts, older)]
    const removed = new Set<RuleId>()
    const changed = new Set<RuleId>()
    const added: ReadyRule[] = []
    const peers = new Set<Peer>()
    let isOtherFrame = this.#isOtherFrame(before)
    const note = (rule: ReadyRule) => {
      if (rule.everyone.size > 0) isOtherFrame = true
    }
    for (const [id, rule] of gone) {
      const next = come.get(id)
      const isSame = next !== undefined && isSameRule(rule, next)
      if (isSame && isSamePeers(rule.peers, next.peers)) continue
      note(rule)
      const others = next && otherPeers(rule, next)
      for (const peer of others ?? []) peers.add(peer)
      if (!others) removed.add(id)
      else if (!isSame) changed.add(id)
    }
    for (const [id, rule] of come) {
      const last = gone.get(id)
      if (last && isSamePeers(last.peers, rule.peers)) continue
      note(rule)
      if (!last || removed.has(id)) added.push(rule)
    }
    const isOtherNaming = SCOPES.some(
      (scope) => this.#namedScopes.has(scope) !== before.#namedScopes.has(scope),
    )
    return { removed, added, peers, changed, isOtherFrame, isOtherNaming }
  }

  /** Numbers of the rules that mean a peer in particular. */
  rulesFor(identity: Identity): readonly RuleId[] {
    const rules: RuleId[] = []
    for (const peer of identity.peers) rules.push(...(this.#byPeer.get(peer) ?? []))
    return rules
  }

  /** All that rules mean in particular, and who is looked at without. */
  particular(identities: Identities): ReadonlyMap<Identity, readonly RuleId[]> {
    const rules = new Map<Identity, RuleId[]>()
    for (const [peer, found] of this.#byPeer)
      for (const identity of peer.members) {
        const known = rules.get(identity)
        if (known) known.push(...found)
        else rules.set(identity, [...found])
      }
    if (this.#namedScopes.size > 0)
      for (const identity of identities.named) if (!rules.has(identity)) rules.set(identity, [])
    for (const identity of identities.ownNode) if (!rules.has(identity)) rules.set(identity, [])
    return rules
  }

  /** @returns undefined for who is judged by the default */
  traitsFor(identity: Identity, rules: readonly RuleId[]): CellTraits | undefined {
    const { scope, isOwnNode, namedPorts, namedPortsKey } = identity
    const isExempt = isOwnNode && (this.#isIngress || this.subject.kind === 'node')
    const portsKey = this.#isIngress ? '' : namedPortsKey
    const isNamed = portsKey !== '' && this.#namedScopes.has(scope)
    if (rules.length === 0 && !isExempt && !isNamed) return undefined
    return { scope, rules: ascending(rules), isExempt, namedPorts, namedPortsKey: portsKey }
  }

  contentFor({ scope, rules, isExempt, namedPorts }: CellTraits): KeyedContent {
    // The kubelet's probes arrive at the node's pods whatever policy says; and the node may speak to itself.
    if (isExempt) return this.subject.kind === 'node' ? SELF : OWN_NODE
    const particular = rules.flatMap((rule) => this.#places.get(rule) ?? [])
    return this.#flatten(ascending([...this.#everyone[scope], ...particular]), namedPorts)
  }

  /** What judges a pod that a Service led back to itself: no policy of the normal tier. */
  hairpinContent(identity: Identity): KeyedContent {
    if (this.#rules.every(({ tier }) => tier === 'normal')) return OPEN
    const particular = this.rulesFor(identity).flatMap((rule) => this.#places.get(rule) ?? [])
    const places = ascending([...this.#everyone[identity.scope], ...particular])
    const rules = places.flatMap((place) => this.#rules[place] ?? []).filter(({ tier }) => tier !== 'normal')
    const context = { isolation: undefined, wouldIsolate: undefined, failSafe: undefined }
    const namedPorts = this.#isIngress ? this.subject.namedPorts : identity.namedPorts
    return keyedContent(flatten(rules, { ...context, namedPorts }))
  }

  #isOtherFrame(before: SetDirectionPlan): boolean {
    return (
      this.parts.length === 0 ||
      before.parts.length === 0 ||
      this.subject.namedPortsKey !== before.subject.namedPortsKey ||
      !isSameIsolation(this.#context.isolation, before.#context.isolation) ||
      !isSameIsolation(this.#context.wouldIsolate, before.#context.wouldIsolate)
    )
  }

  /** Without those that are never asked, for one before them decides all that is left. */
  #asked(places: readonly number[]): readonly ReadyRule[] {
    const asked: ReadyRule[] = []
    let passing: PolicyTier | undefined
    for (const place of places) {
      const rule = this.#rules[place]
      if (!rule) continue
      asked.push(rule)
      const { tier, action } = rule
      if (action === 'pass') passing = tier
      if (rule.isAudit || rule.ports !== ANY_PORT) continue
      // What a rule before it passed on is left to the lower tiers. At a fail-safe port not every deny counts.
      const isClosing = action === 'allow' || (action === 'deny' && !this.#context.failSafe)
      if (isClosing && passing !== tier) break
    }
    return asked
  }

  #flatten(places: readonly number[], peerPorts: NamedPorts): KeyedContent {
    const namedPorts = this.#isIngress ? this.subject.namedPorts : peerPorts
    return keyedContent(flatten(this.#asked(places), { ...this.#context, namedPorts }))
  }
}
