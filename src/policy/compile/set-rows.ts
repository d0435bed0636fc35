// One direction of one set as it stands in the kernel: its defaults and its rows, and how they change. A class is counted once for every
// default and cell.

import type { PolicyDirection } from '../../model/policy.ts'
import type { Classes, PolicyClass } from './classes.ts'
import type { Identities, Identity } from './identities.ts'
import { type PeerKey, type PeerRow, SCOPES, type SetDirection, type SetId } from './rows.ts'
import { type Cell, type CellChanges, Cells, newCellChanges } from './set-cells.ts'
import type { SetDirectionPlan } from './set-direction.ts'

type Defaults = readonly [PolicyClass, PolicyClass, PolicyClass]

/** Rows that a change puts or deletes. */
export interface RowChanges {
  readonly put: PeerRow[]
  readonly delete: PeerKey[]
}

export interface SetContext {
  readonly classes: Classes
  readonly identities: Identities
  readonly now: number
  readonly changes: RowChanges
}

/** Whether any verdict may be another now, and whether defaults are. */
export interface SetChange {
  readonly isChanged: boolean
  readonly isOtherDefault: boolean
}

function takeDefaults(
  { defaults: [outside, pod, node] }: SetDirectionPlan,
  classes: Classes,
  now: number,
): Defaults {
  return [classes.take(outside, now), classes.take(pod, now), classes.take(node, now)]
}

function defaultIn(defaults: Defaults, { scope }: Identity): PolicyClass {
  return defaults[SCOPES.indexOf(scope)] ?? defaults[0]
}

/** The class that a row says; undefined: there is none, for the default says it. */
function rowOf(unit: PolicyClass | undefined, byDefault: PolicyClass): PolicyClass | undefined {
  return unit === byDefault ? undefined : unit
}

/** Whether its policies record, and none decides. */
function isAudited({ parts }: SetDirectionPlan): boolean {
  return parts.length > 0 && parts.every(({ policy }) => policy.isAudit)
}

export class SetDirectionRows {
  readonly set: SetId
  readonly direction: PolicyDirection
  readonly #classes: Classes
  readonly #cells = new Cells()
  #plan: SetDirectionPlan
  #defaults: Defaults

  /** A new one, all of whose rows are put. */
  constructor({ set, direction }: Omit<PeerKey, 'identity'>, plan: SetDirectionPlan, context: SetContext) {
    this.set = set
    this.direction = direction
    this.#classes = context.classes
    this.#plan = plan
    this.#defaults = takeDefaults(plan, context.classes, context.now)
    const cellChanges = newCellChanges()
    this.#cells.placeAll(plan, context.identities, cellChanges)
    this.#follow(cellChanges, this.#defaults, context)
  }

  get plan(): SetDirectionPlan {
    return this.#plan
  }

  get size(): number {
    let rows = 0
    for (const { members, unit } of this.#cells.values()) {
      const [any] = members
      if (any && unit !== defaultIn(this.#defaults, any)) rows += members.size
    }
    return rows
  }

  setDirection(): SetDirection {
    const [outside, pod, node] = this.#defaults
    const isOpen = this.#plan.parts.length === 0
    const defaults = [outside.class, pod.class, node.class] as const
    return { defaults, isOpen, ...(isAudited(this.#plan) ? { isAudited: true } : {}) }
  }

  classOf(identity: Identity): PolicyClass {
    return this.#cells.of(identity)?.unit ?? defaultIn(this.#defaults, identity)
  }

  /**
   * Other rules, or other members of their peers.
   * @param moved identities that peers mean now and did not, or the reverse
   */
  replan(plan: SetDirectionPlan, moved: Iterable<Identity>, context: SetContext): SetChange {
    const { classes, identities, now } = context
    const delta = plan.delta(this.#plan)
    const before = {
      defaults: this.#defaults,
      isOpen: this.#plan.parts.length === 0,
      isAudited: isAudited(this.#plan),
    }
    this.#plan = plan
    const cellChanges = newCellChanges()
    if (delta.isOtherNaming) this.#cells.placeAll(plan, identities, cellChanges)
    else {
      for (const rule of delta.removed) this.#cells.dropRule(rule, plan, cellChanges)
      for (const rule of delta.added) this.#cells.addRule(rule, plan, cellChanges)
      for (const peer of delta.peers) this.#placeEach(peer.members, cellChanges)
      this.#placeEach(moved, cellChanges)
    }
    this.#cells.touch(delta.changed, cellChanges)
    const isOtherFrame = delta.isOtherFrame || delta.isOtherNaming
    if (isOtherFrame) {
      this.#defaults = takeDefaults(plan, classes, now)
      this.#cells.touchAll(cellChanges)
    }
    const isOtherRow = this.#follow(cellChanges, before.defaults, context)
    const isOtherDefault =
      before.isOpen !== (plan.parts.length === 0) ||
      before.isAudited !== isAudited(plan) ||
      before.defaults.some((unit, index) => unit !== this.#defaults[index])
    if (isOtherFrame) for (const unit of before.defaults) classes.give(unit)
    return { isChanged: isOtherRow || isOtherDefault, isOtherDefault }
  }

  /** New identities, whose peers know them. */
  greet(fresh: Iterable<Identity>, context: SetContext): void {
    const cellChanges = newCellChanges()
    this.#placeEach(fresh, cellChanges)
    this.#follow(cellChanges, this.#defaults, context)
  }

  /** A new identity, judged as another for now. */
  mimic(identity: Identity, other: Identity, context: SetContext): void {
    const cellChanges = newCellChanges()
    this.#cells.place(identity, this.#cells.of(other)?.traits, cellChanges)
    this.#follow(cellChanges, this.#defaults, context)
  }

  /** Identities that nobody carries any more. */
  forget(gone: Iterable<Identity>, context: SetContext): void {
    const cellChanges = newCellChanges()
    for (const identity of gone) this.#cells.place(identity, undefined, cellChanges)
    this.#follow(cellChanges, this.#defaults, context)
  }

  /** Nobody points to the set any more. */
  close(changes: RowChanges): void {
    for (const { members, unit } of this.#cells.values()) {
      for (const identity of members)
        if (unit !== defaultIn(this.#defaults, identity)) changes.delete.push(this.#key(identity))
      if (unit) this.#classes.give(unit)
    }
    for (const unit of this.#defaults) this.#classes.give(unit)
  }

  #placeEach(identities: Iterable<Identity>, changes: CellChanges): void {
    for (const identity of identities) {
      const traits = this.#plan.traitsFor(identity, this.#plan.rulesFor(identity))
      this.#cells.place(identity, traits, changes)
    }
  }

  /** Gives touched cells their classes, and writes what differs. @returns whether anything does */
  #follow(
    { before, touched, released }: CellChanges,
    defaultsBefore: Defaults,
    { classes, now, changes }: SetContext,
  ): boolean {
    const rowsBefore = changes.put.length + changes.delete.length
    const isOtherDefault = defaultsBefore !== this.#defaults
    const shown = new Set<Cell>()
    for (const cell of touched) {
      const known = cell.unit
      const unit = classes.take(this.#plan.contentFor(cell.traits), now)
      cell.unit = unit
      if (known) classes.give(known)
      // Of a cell that is what it was, only who came to it is looked at.
      if (unit === known && !isOtherDefault) continue
      shown.add(cell)
      this.#showCell(cell, known, before, defaultsBefore, changes)
    }
    for (const [identity, unit] of before) {
      const cell = this.#cells.of(identity)
      if (!cell || !shown.has(cell))
        this.#show(identity, unit ?? defaultIn(defaultsBefore, identity), defaultsBefore, changes)
    }
    for (const unit of released) classes.give(unit)
    return changes.put.length + changes.delete.length > rowsBefore
  }

  #showCell(
    { members, unit }: Cell,
    known: PolicyClass | undefined,
    before: CellChanges['before'],
    defaultsBefore: Defaults,
    changes: RowChanges,
  ): void {
    // A cell's members are of one scope, so those that were in it before had one class, and have one.
    const [any] = members
    if (!any) return
    const had = rowOf(known, defaultIn(defaultsBefore, any))
    const has = rowOf(unit, defaultIn(this.#defaults, any))
    for (const identity of members) {
      if (before.has(identity))
        this.#show(
          identity,
          before.get(identity) ?? defaultIn(defaultsBefore, identity),
          defaultsBefore,
          changes,
        )
      else if (has !== had) this.#note(identity, has, changes)
    }
  }

  #show(identity: Identity, was: PolicyClass, defaultsBefore: Defaults, changes: RowChanges): void {
    const had = rowOf(was, defaultIn(defaultsBefore, identity))
    const has = rowOf(this.classOf(identity), defaultIn(this.#defaults, identity))
    if (has !== had) this.#note(identity, has, changes)
  }

  #note(identity: Identity, has: PolicyClass | undefined, changes: RowChanges): void {
    if (has)
      changes.put.push({ set: this.set, direction: this.direction, identity: identity.id, class: has.class })
    else changes.delete.push(this.#key(identity))
  }

  #key(identity: Identity): PeerKey {
    return { set: this.set, direction: this.direction, identity: identity.id }
  }
}
