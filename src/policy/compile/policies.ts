// Policies made ready: each direction a list of rules with their numbers, peers and ports. A direction that did not change stays the same
// object, so that a set sees by comparison whether it has anything to do.

import { isDeepStrictEqual } from 'node:util'
import { selectorMatches } from '../../model/label-selector.ts'
import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyDirection,
  type PolicyNode,
  type PolicyPeer,
  type PolicyPod,
  type PolicyTier,
} from '../../model/policy.ts'
import { type Steps, stopping } from '../../model/slices.ts'
import type { FlatRule, Isolation } from './flatten.ts'
import type { Labels } from './identities.ts'
import { policyId } from './objects.ts'
import type { Peer, Peers } from './peers.ts'
import type { References } from './references.ts'
import { SCOPES, type Scope } from './rows.ts'
import type { RuleIds } from './rule-ids.ts'
import { rulePorts } from './rule-ports.ts'

export interface ReadyRule extends FlatRule {
  readonly priority: number
  readonly peers: readonly Peer[] | 'any'
  /** Scopes everyone of which it means: these are in the defaults. */
  readonly everyone: ReadonlySet<Scope>
  /** Peers whose members it means in particular, each once. */
  readonly particular: readonly Peer[]
}

/** What a policy says in one direction. */
export interface ReadyDirection {
  readonly policy: Policy
  readonly direction: PolicyDirection
  readonly tier: PolicyTier
  readonly isolation: Isolation | undefined
  readonly rules: readonly ReadyRule[]
  /** Names of ports in its rules. */
  readonly portNames: readonly string[]
}

export interface ReadyPolicy {
  readonly id: string
  readonly policy: Policy
  readonly ingress: ReadyDirection | undefined
  readonly egress: ReadyDirection | undefined
}

/** Whom a policy may select: a pod of this node, or the node. */
export type Subjectable =
  | {
      readonly kind: 'pod'
      readonly pod: PolicyPod
      /** With the service account. */
      readonly labels: Labels
      readonly namespaceLabels: Labels
    }
  | { readonly kind: 'node'; readonly node: PolicyNode }

export function selects({ subject }: Policy, whom: Subjectable): boolean {
  if (whom.kind === 'node')
    return subject.kind === 'nodes' && selectorMatches(subject.labels, whom.node.labels)
  return (
    subject.kind === 'pods' &&
    selectorMatches(subject.namespaces, whom.namespaceLabels) &&
    selectorMatches(subject.pods, whom.labels)
  )
}

/** Whether both say the same in a direction, to whomever. */
function isSameDirection(a: Policy, b: Policy, direction: PolicyDirection): boolean {
  return (
    a.tier === b.tier &&
    a.priority === b.priority &&
    a.isAudit === b.isAudit &&
    a.existingConnections === b.existingConnections &&
    isDeepStrictEqual(a[direction], b[direction])
  )
}

/** Stops are so many peers apart. */
const STOP_PEERS = 128

const ALL_SCOPES: ReadonlySet<Scope> = new Set(SCOPES)
const NO_SCOPE: ReadonlySet<Scope> = new Set()

function whom(peers: ReadyRule['peers']): Pick<ReadyRule, 'peers' | 'everyone' | 'particular'> {
  if (peers === 'any') return { peers, everyone: ALL_SCOPES, particular: [] }
  const scopes = peers.flatMap((peer) => peer.everyone)
  const everyone = scopes.length === 0 ? NO_SCOPE : new Set(scopes)
  if (everyone.size === SCOPES.length) return { peers, everyone, particular: [] }
  const particular = [...new Set(peers)].filter((peer) => peer.everyone.length === 0)
  // There are many rules: most have one list for both.
  return { peers, everyone, particular: particular.length === peers.length ? peers : particular }
}

export interface ReadyOptions {
  readonly existingConnections: 'recheck' | 'keep'
}

export class ReadyPolicies {
  readonly #peers: Peers
  readonly #references: References
  readonly #ruleIds: RuleIds
  readonly #options: ReadyOptions
  readonly #ready = new Map<string, ReadyPolicy>()
  /** Replaced, and still compared with. */
  #replaced: ReadyDirection[] = []

  constructor(peers: Peers, references: References, ruleIds: RuleIds, options: ReadyOptions) {
    this.#peers = peers
    this.#references = references
    this.#ruleIds = ruleIds
    this.#options = options
  }

  get(id: string): ReadyPolicy | undefined {
    return this.#ready.get(id)
  }

  values(): IterableIterator<ReadyPolicy> {
    return this.#ready.values()
  }

  /** Counts what a policy refers to, ahead of everything else, or no more, after everything else. */
  refer(policy: Policy, by: 1 | -1, now: number): void {
    for (const direction of POLICY_DIRECTIONS)
      for (const { peers, ports } of policy[direction]?.rules ?? []) {
        for (const peer of peers === 'any' ? [] : peers) {
          if (by > 0) this.#references.add(peer)
          else this.#references.remove(peer, now)
        }
        if (direction === 'ingress' || ports === 'any') continue
        for (const match of ports) {
          if (match.kind !== 'named') continue
          if (by > 0) this.#references.portNames.add(match.name)
          else this.#references.portNames.remove(match.name, now)
        }
      }
  }

  /** @returns what is there now; the same object where nothing changed */
  *set(id: string, policy: Policy | undefined): Steps<ReadyPolicy | undefined> {
    const before = this.#ready.get(id)
    if (policy === undefined) {
      for (const direction of POLICY_DIRECTIONS) this.#replace(before?.[direction])
      this.#ready.delete(id)
      return undefined
    }
    const ingress = yield* this.#remake(before, policy, 'ingress')
    const egress = yield* this.#remake(before, policy, 'egress')
    const ready = { id: policyId(policy), policy, ingress, egress }
    this.#ready.set(id, ready)
    return ready
  }

  /** Lets go of what was replaced, when no set goes by it any more. Until then its peers know whom they meant. */
  dropReplaced(): void {
    for (const { isolation, rules } of this.#replaced) {
      if (isolation) this.#ruleIds.give(isolation.rule)
      for (const { rule, peers } of rules) {
        this.#ruleIds.give(rule)
        for (const peer of peers === 'any' ? [] : peers) this.#peers.give(peer)
      }
    }
    this.#replaced = []
  }

  *#remake(
    before: ReadyPolicy | undefined,
    policy: Policy,
    direction: PolicyDirection,
  ): Steps<ReadyDirection | undefined> {
    const known = before?.[direction]
    if (before && isSameDirection(before.policy, policy, direction)) return known
    this.#replace(known)
    return yield* this.#make(policy, direction)
  }

  *#takePeers(peers: readonly PolicyPeer[]): Steps<readonly Peer[]> {
    const taken: Peer[] = []
    yield* stopping(peers, STOP_PEERS, (peer) => taken.push(this.#peers.take(peer)))
    return taken
  }

  *#make(policy: Policy, direction: PolicyDirection): Steps<ReadyDirection | undefined> {
    const said = policy[direction]
    if (!said) return undefined
    const { kind, key, part, tier, isAudit } = policy
    const keepsExisting = (policy.existingConnections ?? this.#options.existingConnections) === 'keep'
    const place = { kind, key, part, direction }
    const rules: ReadyRule[] = []
    for (const [index, { action, peers, ports, path }] of said.rules.entries())
      rules.push({
        tier,
        priority: policy.priority,
        action,
        isAudit,
        keepsExisting,
        rule: this.#ruleIds.take({ ...place, index, path }),
        ports: rulePorts(ports),
        ...whom(peers === 'any' ? 'any' : yield* this.#takePeers(peers)),
      })
    const isolates = said.isolates && tier === 'normal'
    const isolation = isolates
      ? { rule: this.#ruleIds.take({ ...place, index: -1, path: '' }), keepsExisting }
      : undefined
    const portNames = rules.flatMap(({ ports: { named } }) => named.map(({ name }) => name))
    return { policy, direction, tier, isolation, rules, portNames }
  }

  #replace(direction: ReadyDirection | undefined): void {
    if (direction) this.#replaced.push(direction)
  }
}
