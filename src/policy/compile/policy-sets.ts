// Policy sets: subjects that no policy distinguishes share one. Here the two kinds of steps of a change meet the sets: identities that
// come and go, and policies and subjects that change.

import { POLICY_DIRECTIONS, type PolicyDirection } from '../../model/policy.ts'
import type { Steps } from '../../model/slices.ts'
import type { CellNumbers } from './cell-numbers.ts'
import type { Classes } from './classes.ts'
import { Grouped } from './grouped.ts'
import type { Identities, Identity } from './identities.ts'
import type { NumberPool } from './number-pool.ts'
import type { Peer } from './peers.ts'
import type { ReadyDirection, ReadyPolicies } from './policies.ts'
import type { SetId, SetRow } from './rows.ts'
import { SetDirectionPlan } from './set-direction.ts'
import { type SetContext, SetDirectionRows } from './set-rows.ts'
import { type PolicySet, rowChanges, type SetsStep, setRow } from './sets-step.ts'
import type { Span } from './spans.ts'
import type { SetTraits } from './subjects.ts'

/** By direction and `CLASS_PROTOCOLS`. */
export type FailSafe = Readonly<Record<PolicyDirection, readonly (readonly Span[])[]>>

export interface SetsOptions {
  readonly classes: Classes
  readonly cellNumbers: CellNumbers
  readonly identities: Identities
  readonly policies: ReadyPolicies
  readonly numbers: NumberPool
  readonly failSafe: FailSafe
  /** Above every epoch that the kernel knows. */
  readonly firstEpoch: number
}

const EPOCH_MAX = 0xffff_ffff

function isSameList<Item>(a: readonly Item[], b: readonly Item[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index])
}

export class PolicySets {
  readonly #options: SetsOptions
  readonly #byKey = new Map<string, PolicySet>()
  readonly #bySubject = new Map<string, PolicySet>()
  /** Where a peer's members may have rows. */
  readonly #users = new Grouped<Peer, SetDirectionRows>()
  /** Sets that judge new identities as old ones still, until the step that follows. */
  readonly #lagging = new Map<PolicySet, readonly Identity[]>()
  #epoch: number

  constructor(options: SetsOptions) {
    this.#options = options
    this.#epoch = options.firstEpoch
  }

  setOf(subject: string): PolicySet | undefined {
    return this.#bySubject.get(subject)
  }

  values(): IterableIterator<PolicySet> {
    return this.#byKey.values()
  }

  /**
   * Rows for identities that are new; their peers know them.
   * @param moves whose addresses become theirs
   * @param leaving sets that subjects are about to leave by the same event: there the new identities are judged as the old ones were, and
   *   rightly only in the sets that follow, so that no subject of before meets a peer of after
   * @param handOver called after each set's: takes the step's rows, or leaves them for later
   */
  *greet(
    fresh: readonly Identity[],
    moves: ReadonlyMap<Identity, ReadonlySet<Identity>>,
    leaving: ReadonlySet<PolicySet>,
    step: SetsStep,
    now: number,
    handOver: () => Steps,
  ): Steps {
    const context = this.#context(step, now)
    const sources = leaving.size > 0 ? onlySources(moves) : new Map<Identity, Identity>()
    const left = new Set([...leaving].flatMap(({ ingress, egress }) => [ingress, egress]))
    for (const [rows, identities] of this.#concerned(fresh)) {
      rows.greet(
        left.has(rows) ? identities.filter((identity) => !sources.has(identity)) : identities,
        context,
      )
      yield* handOver()
    }
    for (const set of leaving)
      for (const identity of fresh) {
        const source = sources.get(identity)
        if (!source) continue
        for (const direction of POLICY_DIRECTIONS) set[direction].mimic(identity, source, context)
        this.#lagging.set(set, [...(this.#lagging.get(set) ?? []), identity])
      }
  }

  /** Sets that any of the subjects is about to leave. */
  leftBy(wanted: ReadonlyMap<string, SetTraits | undefined>): ReadonlySet<PolicySet> {
    const left = new Set<PolicySet>()
    for (const [subject, traits] of wanted) {
      const set = this.#bySubject.get(subject)
      if (set && set.traits.key !== traits?.key) left.add(set)
    }
    return left
  }

  *forget(gone: readonly Identity[], step: SetsStep, now: number, handOver: () => Steps): Steps {
    const context = this.#context(step, now)
    for (const [rows, identities] of this.#concerned(gone)) {
      rows.forget(identities, context)
      yield* handOver()
    }
  }

  /** Raises the sets by which addresses that moved are judged otherwise now. */
  compare(moves: ReadonlyMap<Identity, ReadonlySet<Identity>>, step: SetsStep): void {
    for (const [from, targets] of moves)
      for (const to of targets) {
        if (isJudgedAlike(from, to)) continue
        for (const set of this.#byKey.values()) {
          if (step.raised.has(set)) continue
          if (
            POLICY_DIRECTIONS.some((direction) => set[direction].classOf(from) !== set[direction].classOf(to))
          )
            step.raised.add(set)
        }
      }
  }

  /**
   * Gives subjects their sets, and sets their rows.
   * @param wanted sets for the subjects that may need another; undefined: it is no subject any more
   * @param changedPolicies ids of policies that say something else now
   * @param changedPeers peers that mean others now, and which others
   */
  *change(
    wanted: ReadonlyMap<string, SetTraits | undefined>,
    changedPolicies: ReadonlySet<string>,
    changedPeers: ReadonlyMap<Peer, ReadonlySet<Identity>>,
    step: SetsStep,
    now: number,
  ): Steps {
    const context = this.#context(step, now)
    const users = new Map<SetDirectionRows, ReadonlySet<Identity>>()
    for (const [peer, moved] of changedPeers)
      for (const rows of this.#users.get(peer))
        users.set(rows, new Set([...(users.get(rows) ?? []), ...moved]))
    const isConcerned = (set: PolicySet) =>
      users.has(set.ingress) ||
      users.has(set.egress) ||
      set.traits.policies.some((id) => changedPolicies.has(id))
    const renamed = this.#rename(wanted)
    const isChanging = (set: PolicySet) => renamed.has(set) || isConcerned(set) || this.#lagging.has(set)
    const left = this.#leave(wanted, isChanging)
    this.#catchUp(left.retired, context, step)
    yield
    const fresh = yield* this.#assign(left.wanted, context, step)
    for (const set of this.#byKey.values()) {
      if (fresh.has(set) || !(renamed.has(set) || isConcerned(set))) continue
      this.#refresh(set, users, context, step)
      yield
      for (const subject of set.subjects) step.subjects.add(subject)
    }
    for (const subject of left.wanted.keys()) step.subjects.add(subject)
    this.#close(left.retired, step, now)
  }

  /** New epochs for the raised sets: to be written after everything else. */
  takeRaised(step: SetsStep): readonly SetRow[] {
    return [...step.raised].map((set) => {
      set.epoch = this.#nextEpoch()
      return setRow(set)
    })
  }

  /** All sets are judged by anew. */
  raiseAll(step: SetsStep): void {
    for (const set of this.#byKey.values()) step.raised.add(set)
  }

  raise(subject: string, step: SetsStep): void {
    const set = this.#bySubject.get(subject)
    if (set) step.raised.add(set)
  }

  #nextEpoch(): number {
    this.#epoch = this.#epoch >= EPOCH_MAX ? 1 : this.#epoch + 1
    return this.#epoch
  }

  #context(step: SetsStep, now: number): SetContext {
    const { classes, cellNumbers, identities } = this.#options
    return { classes, cellNumbers, identities, now, changes: rowChanges(step) }
  }

  /** Where identities may have rows. */
  #concerned(identities: readonly Identity[]): ReadonlyMap<SetDirectionRows, readonly Identity[]> {
    const concerned = new Map<SetDirectionRows, Identity[]>()
    for (const identity of identities)
      for (const rows of this.#rowsConcerning(identity)) {
        const known = concerned.get(rows)
        if (known) known.push(identity)
        else concerned.set(rows, [identity])
      }
    return concerned
  }

  *#rowsConcerning(identity: Identity): Iterable<SetDirectionRows> {
    if (identity.isOwnNode || identity.namedPortsKey !== '') {
      for (const set of this.#byKey.values()) yield* [set.ingress, set.egress]
      return
    }
    const found = new Set<SetDirectionRows>()
    for (const peer of identity.peers) for (const rows of this.#users.get(peer)) found.add(rows)
    yield* found
  }

  /** A set all of whose subjects go to one that is not there yet becomes that one: only what differs is written. */
  #rename(wanted: ReadonlyMap<string, SetTraits | undefined>): ReadonlySet<PolicySet> {
    const renamed = new Set<PolicySet>()
    const touched = new Set([...wanted.keys()].flatMap((subject) => this.#bySubject.get(subject) ?? []))
    for (const set of touched) {
      const [first] = set.subjects
      const target = first === undefined ? undefined : wanted.get(first)
      if (!target || target.key === set.traits.key || this.#byKey.has(target.key)) continue
      if (this.#lagging.has(set)) continue
      if (![...set.subjects].every((subject) => wanted.get(subject)?.key === target.key)) continue
      this.#byKey.delete(set.traits.key)
      set.traits = target
      this.#byKey.set(target.key, set)
      renamed.add(set)
    }
    return renamed
  }

  /**
   * Takes subjects out of the sets they leave. A set that changes itself is not changed under those who are about to leave it (they would
   * be judged for a moment by what was never meant for them): it stays as it is, and those who stay get another one.
   */
  #leave(
    wanted: ReadonlyMap<string, SetTraits | undefined>,
    isChanging: (set: PolicySet) => boolean,
  ): { readonly wanted: ReadonlyMap<string, SetTraits | undefined>; readonly retired: readonly PolicySet[] } {
    const moving = new Map<string, SetTraits | undefined>()
    const retired = new Set<PolicySet>()
    for (const [subject, traits] of wanted) {
      const set = this.#bySubject.get(subject)
      if (set && set.traits.key === traits?.key) continue
      moving.set(subject, traits)
      if (!set) continue
      set.subjects.delete(subject)
      this.#bySubject.delete(subject)
      if (isChanging(set)) retired.add(set)
    }
    for (const set of retired) {
      this.#byKey.delete(set.traits.key)
      for (const subject of set.subjects) {
        moving.set(subject, set.traits)
        this.#bySubject.delete(subject)
      }
    }
    return { wanted: moving, retired: [...retired] }
  }

  /** @returns sets made just now */
  *#assign(
    wanted: ReadonlyMap<string, SetTraits | undefined>,
    context: SetContext,
    step: SetsStep,
  ): Steps<ReadonlySet<PolicySet>> {
    const fresh = new Set<PolicySet>()
    for (const [subject, traits] of wanted) {
      if (!traits) continue
      const known = this.#byKey.get(traits.key)
      const set = known ?? (yield* this.#open(traits, context, step))
      if (!set) continue
      if (!known) fresh.add(set)
      set.subjects.add(subject)
      this.#bySubject.set(subject, set)
    }
    return fresh
  }

  /** @returns undefined when there is no number left: its subjects get the closed set */
  *#open(traits: SetTraits, context: SetContext, step: SetsStep): Steps<PolicySet | undefined> {
    const id = this.#options.numbers.take(context.now)
    if (id === undefined) return undefined
    const set = {
      id,
      traits,
      epoch: this.#nextEpoch(),
      subjects: new Set<string>(),
      ingress: yield* this.#openDirection(id, traits, 'ingress', context),
      egress: yield* this.#openDirection(id, traits, 'egress', context),
    }
    this.#byKey.set(traits.key, set)
    step.putSets.push(setRow(set))
    return set
  }

  *#openDirection(
    id: SetId,
    traits: SetTraits,
    direction: PolicyDirection,
    context: SetContext,
  ): Steps<SetDirectionRows> {
    const rows = new SetDirectionRows({ set: id, direction }, this.#plan(traits, direction), context)
    yield* rows.fill(context)
    for (const peer of rows.plan.peers) this.#users.add(peer, rows)
    return rows
  }

  /** Sets that nobody left after all. */
  #catchUp(retired: readonly PolicySet[], context: SetContext, step: SetsStep): void {
    for (const [set, identities] of this.#lagging) {
      if (retired.includes(set)) continue
      for (const direction of POLICY_DIRECTIONS) set[direction].greetAgain(identities, context)
      step.raised.add(set)
    }
    this.#lagging.clear()
  }

  #partsOf({ policies }: SetTraits, direction: PolicyDirection): readonly ReadyDirection[] {
    return policies.flatMap((id) => this.#options.policies.get(id)?.[direction] ?? [])
  }

  #plan(traits: SetTraits, direction: PolicyDirection): SetDirectionPlan {
    return new SetDirectionPlan(this.#partsOf(traits, direction), direction === 'ingress', {
      kind: traits.kind,
      namedPorts: traits.namedPorts,
      namedPortsKey: traits.namedPortsKey,
      failSafe: traits.kind === 'node' ? this.#options.failSafe[direction] : undefined,
    })
  }

  /** @param users where peers mean others now, and which others */
  #refresh(
    set: PolicySet,
    users: ReadonlyMap<SetDirectionRows, ReadonlySet<Identity>>,
    context: SetContext,
    step: SetsStep,
  ): void {
    let isOtherDefault = false
    for (const direction of POLICY_DIRECTIONS) {
      const rows = set[direction]
      // The names of ports that a set's subjects have in common are in its key, and matter to ingress only.
      const isSame =
        isSameList(this.#partsOf(set.traits, direction), rows.plan.parts) &&
        (direction === 'egress' || rows.plan.subject.namedPortsKey === set.traits.namedPortsKey)
      if (isSame && !users.has(rows)) continue
      const { plan } = rows
      const change = rows.replan(this.#plan(set.traits, direction), users.get(rows) ?? [], context)
      for (const peer of plan.peers) if (!rows.plan.asks(peer)) this.#users.delete(peer, rows)
      for (const peer of rows.plan.peers) if (!plan.asks(peer)) this.#users.add(peer, rows)
      if (change.isChanged) step.raised.add(set)
      isOtherDefault ||= change.isOtherDefault
    }
    if (isOtherDefault) step.putSets.push(setRow(set))
  }

  #close(retired: readonly PolicySet[], step: SetsStep, now: number): void {
    const empty = [...this.#byKey.values()].filter(({ subjects }) => subjects.size === 0)
    for (const set of empty) this.#byKey.delete(set.traits.key)
    for (const set of [...empty, ...retired]) {
      for (const direction of POLICY_DIRECTIONS) {
        const rows = set[direction]
        for (const peer of rows.plan.peers) this.#users.delete(peer, rows)
        rows.close({ delete: step.closedRows })
      }
      step.closedSets.push(set.id)
      step.raised.delete(set)
      this.#options.numbers.give(set.id, now)
    }
  }
}

/** Who was somebody else, and one only. */
function onlySources(moves: ReadonlyMap<Identity, ReadonlySet<Identity>>): ReadonlyMap<Identity, Identity> {
  const sources = new Map<Identity, Identity | undefined>()
  for (const [from, targets] of moves)
    for (const to of targets) sources.set(to, sources.has(to) ? undefined : from)
  return new Map([...sources].flatMap(([to, from]) => (from ? [[to, from] as const] : [])))
}

/** No rule in use tells them apart: then no set need be asked. */
function isJudgedAlike(a: Identity, b: Identity): boolean {
  return (
    a.scope === b.scope &&
    a.isOwnNode === b.isOwnNode &&
    a.namedPortsKey === b.namedPortsKey &&
    a.peers.size === b.peers.size &&
    [...a.peers].every((peer) => b.peers.has(peer))
  )
}
