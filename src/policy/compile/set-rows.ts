// One direction of one set as it stands in the kernel: its defaults and its rows, and how they change. A class is counted once for every
// default and row.

import type { PolicyDirection } from '../../model/policy.ts'
import type { Classes, PolicyClass } from './classes.ts'
import type { Identities, Identity } from './identities.ts'
import type { Peer } from './peers.ts'
import { type PeerKey, type PeerRow, SCOPES, type SetDirection, type SetId } from './rows.ts'
import type { SetDirectionPlan } from './set-direction.ts'

type Defaults = readonly [PolicyClass, PolicyClass, PolicyClass]

/** Rows that a change puts or deletes. */
export interface RowChanges {
  readonly put: PeerRow[]
  readonly delete: PeerKey[]
}

function takeDefaults(
  { defaults: [outside, pod, node] }: SetDirectionPlan,
  classes: Classes,
  now: number,
): Defaults {
  return [classes.take(outside, now), classes.take(pod, now), classes.take(node, now)]
}

export class SetDirectionRows {
  readonly set: SetId
  readonly direction: PolicyDirection
  readonly #classes: Classes
  #plan: SetDirectionPlan
  #defaults: Defaults
  #rows = new Map<Identity, PolicyClass>()

  /** A new one, all of whose rows are put. */
  constructor(
    { set, direction }: Omit<PeerKey, 'identity'>,
    plan: SetDirectionPlan,
    { classes, identities, now, changes }: SetContext,
  ) {
    this.set = set
    this.direction = direction
    this.#classes = classes
    this.#plan = plan
    this.#defaults = takeDefaults(plan, classes, now)
    for (const identity of this.#fill(identities, now).keys()) this.#put(identity, changes)
  }

  get plan(): SetDirectionPlan {
    return this.#plan
  }

  get size(): number {
    return this.#rows.size
  }

  setDirection(): SetDirection {
    const [outside, pod, node] = this.#defaults
    return { defaults: [outside.class, pod.class, node.class], isOpen: this.#plan.parts.length === 0 }
  }

  classOf(identity: Identity): PolicyClass {
    return this.#rows.get(identity) ?? this.#defaultOf(identity)
  }

  /**
   * Other rules, or other members of their peers.
   * @param isRegrouped members of peers changed that both plans have
   */
  replan(plan: SetDirectionPlan, isRegrouped: boolean, context: SetContext): SetChange {
    const peers = isRegrouped ? undefined : plan.changedPeers(this.#plan)
    if (!peers) return this.#replanAll(plan, context)
    const { classes, now, changes } = context
    this.#plan = plan
    let isChanged = false
    for (const identity of membersOf(peers)) {
      const before = this.#rows.get(identity)
      const unit = classes.take(plan.contentOf(identity), now)
      if (unit === before) {
        classes.give(unit)
        continue
      }
      if (before) classes.give(before)
      if (unit !== this.#defaultOf(identity)) {
        this.#rows.set(identity, unit)
        this.#put(identity, changes)
        isChanged = true
        continue
      }
      classes.give(unit)
      if (!before) continue
      this.#rows.delete(identity)
      changes.delete.push(this.#key(identity))
      isChanged = true
    }
    return { isChanged, isOtherDefault: false }
  }

  #replanAll(plan: SetDirectionPlan, { classes, identities, now, changes }: SetContext): SetChange {
    const before = { rows: this.#rows, defaults: this.#defaults, isOpen: this.#plan.parts.length === 0 }
    this.#plan = plan
    this.#defaults = takeDefaults(plan, classes, now)
    const rows = this.#fill(identities, now)
    let isChanged = false
    for (const [identity, unit] of rows) {
      const known = before.rows.get(identity)
      if (known === unit) continue
      this.#put(identity, changes)
      isChanged = true
    }
    for (const [identity, unit] of before.rows) {
      if (!rows.has(identity)) {
        changes.delete.push(this.#key(identity))
        isChanged = true
      }
      classes.give(unit)
    }
    const isOtherDefault =
      before.isOpen !== (plan.parts.length === 0) ||
      before.defaults.some((unit, index) => unit !== this.#defaults[index])
    for (const unit of before.defaults) classes.give(unit)
    return { isChanged: isChanged || isOtherDefault, isOtherDefault }
  }

  /** A new identity, whose peers know it. */
  greet(identity: Identity, now: number, changes: RowChanges): void {
    if (this.#fillOne(identity, now)) this.#put(identity, changes)
  }

  /** An identity that nobody carries any more. */
  forget(identity: Identity, changes: RowChanges): void {
    const unit = this.#rows.get(identity)
    if (!unit) return
    this.#rows.delete(identity)
    this.#classes.give(unit)
    changes.delete.push(this.#key(identity))
  }

  /** Nobody points to the set any more. */
  close(changes: RowChanges): void {
    for (const identity of [...this.#rows.keys()]) this.forget(identity, changes)
    for (const unit of this.#defaults) this.#classes.give(unit)
  }

  #defaultOf({ scope }: Identity): PolicyClass {
    return this.#defaults[SCOPES.indexOf(scope)] ?? this.#defaults[0]
  }

  #fill(identities: Identities, now: number): ReadonlyMap<Identity, PolicyClass> {
    this.#rows = new Map()
    for (const [identity, content] of this.#plan.contents(identities)) {
      const unit = this.#classes.take(content, now)
      if (unit === this.#defaultOf(identity)) this.#classes.give(unit)
      else this.#rows.set(identity, unit)
    }
    return this.#rows
  }

  /** @returns whether it gets a row */
  #fillOne(identity: Identity, now: number): boolean {
    const unit = this.#classes.take(this.#plan.contentOf(identity), now)
    if (unit === this.#defaultOf(identity)) {
      this.#classes.give(unit)
      return false
    }
    this.#rows.set(identity, unit)
    return true
  }

  #key(identity: Identity): PeerKey {
    return { set: this.set, direction: this.direction, identity: identity.id }
  }

  #put(identity: Identity, changes: RowChanges): void {
    const unit = this.#rows.get(identity)
    if (unit) changes.put.push({ ...this.#key(identity), class: unit.class })
  }
}

export interface SetContext {
  readonly classes: Classes
  readonly identities: Identities
  readonly now: number
  readonly changes: RowChanges
}

export interface SetChange {
  readonly isChanged: boolean
  readonly isOtherDefault: boolean
}

function membersOf(peers: ReadonlySet<Peer>): Iterable<Identity> {
  const [only] = peers
  if (only && peers.size === 1) return only.members
  const members = new Set<Identity>()
  for (const peer of peers) for (const identity of peer.members) members.add(identity)
  return members
}
