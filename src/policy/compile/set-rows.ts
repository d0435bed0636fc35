// One direction of one set as it stands in the kernel: its defaults, its cells and its rows, and how they change. A class is counted once
// for every default and cell.

import type { PolicyDirection } from '../../model/policy.ts'
import type { Steps } from '../../model/slices.ts'
import type { CellNumbers } from './cell-numbers.ts'
import type { Classes, PolicyClass } from './classes.ts'
import type { Identities, Identity } from './identities.ts'
import {
  type CellId,
  type CellRow,
  type PeerKey,
  type PeerRow,
  SCOPES,
  type SetDirection,
  type SetId,
} from './rows.ts'
import { type Cell, type CellChanges, Cells, newCellChanges } from './set-cells.ts'
import type { SetDirectionPlan } from './set-direction.ts'

/** Of those for which no number was left. */
const CLOSED_CELL: CellId = 0

type Defaults = readonly [PolicyClass, PolicyClass, PolicyClass]

/** Rows that a change puts or deletes. */
export interface RowChanges {
  /** Written before the rows. */
  readonly cells: CellRow[]
  readonly put: PeerRow[]
  readonly delete: PeerKey[]
  readonly left: Set<Cell>
}

export interface SetContext {
  readonly classes: Classes
  readonly cellNumbers: CellNumbers
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

/** Whether its policies record, and none decides. */
function isAudited({ parts }: SetDirectionPlan): boolean {
  return parts.length > 0 && parts.every(({ policy }) => policy.isAudit)
}

export class SetDirectionRows {
  readonly set: SetId
  readonly direction: PolicyDirection
  readonly #classes: Classes
  readonly #cellNumbers: CellNumbers
  readonly #cells = new Cells()
  #plan: SetDirectionPlan
  #defaults: Defaults

  /** A new one, to be filled. */
  constructor({ set, direction }: Omit<PeerKey, 'identity'>, plan: SetDirectionPlan, context: SetContext) {
    this.set = set
    this.direction = direction
    this.#classes = context.classes
    this.#cellNumbers = context.cellNumbers
    this.#plan = plan
    this.#defaults = takeDefaults(plan, context.classes, context.now)
  }

  /** Puts all of its rows. */
  *fill(context: SetContext): Steps {
    const cellChanges = newCellChanges(context.changes.left)
    yield* this.#cells.fill(this.#plan, context.identities, cellChanges)
    this.#follow(cellChanges, context)
    yield
  }

  get plan(): SetDirectionPlan {
    return this.#plan
  }

  get size(): number {
    let rows = 0
    for (const { members, number } of this.#cells.values()) if (number !== undefined) rows += members.size
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
    const cellChanges = newCellChanges(context.changes.left)
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
    const isOtherRow = this.#follow(cellChanges, context)
    const isOtherDefault =
      before.isOpen !== (plan.parts.length === 0) ||
      before.isAudited !== isAudited(plan) ||
      before.defaults.some((unit, index) => unit !== this.#defaults[index])
    if (isOtherFrame) for (const unit of before.defaults) classes.give(unit)
    return { isChanged: isOtherRow || isOtherDefault, isOtherDefault }
  }

  /** New identities, whose peers know them. */
  greet(fresh: Iterable<Identity>, context: SetContext): void {
    const cellChanges = newCellChanges(context.changes.left)
    for (const identity of fresh) {
      const traits = this.#plan.traitsFor(identity, this.#plan.rulesFor(identity))
      if (traits) this.#cells.join(identity, traits, cellChanges)
    }
    this.#follow(cellChanges, context)
  }

  /** Identities that were judged as others. */
  greetAgain(mimics: Iterable<Identity>, context: SetContext): void {
    const cellChanges = newCellChanges(context.changes.left)
    this.#placeEach(mimics, cellChanges)
    this.#follow(cellChanges, context)
  }

  /** A new identity, judged as another for now. */
  mimic(identity: Identity, other: Identity, context: SetContext): void {
    const cellChanges = newCellChanges(context.changes.left)
    this.#cells.place(identity, this.#cells.of(other)?.traits, cellChanges)
    this.#follow(cellChanges, context)
  }

  /** Identities that nobody carries any more. */
  forget(gone: Iterable<Identity>, context: SetContext): void {
    const cellChanges = newCellChanges(context.changes.left)
    for (const identity of gone)
      if (this.#cells.drop(identity, cellChanges)?.number !== undefined)
        context.changes.delete.push(this.#key(identity))
    this.#follow(cellChanges, context)
  }

  /** Nobody points to the set any more. */
  close(changes: Pick<RowChanges, 'delete'>): void {
    for (const cell of this.#cells.values()) {
      if (cell.number !== undefined)
        for (const identity of cell.members) changes.delete.push(this.#key(identity))
      this.#release(cell)
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
  #follow({ before, fresh, touched, gone }: CellChanges, { classes, now, changes }: SetContext): boolean {
    const countOf = () => changes.cells.length + changes.put.length + changes.delete.length
    const countBefore = countOf()
    const shown = new Set<Cell>()
    for (const cell of touched) {
      const known = cell.unit
      cell.unit = classes.take(this.#plan.contentFor(cell.traits), now)
      if (known) classes.give(known)
      const had = cell.number
      this.#number(cell, cell.unit !== known, changes, now)
      // Of a cell that has the number it had, only who came to it is looked at.
      if (cell.number === had) continue
      shown.add(cell)
      for (const identity of cell.members)
        this.#note(identity, before.has(identity) ? before.get(identity) : had, cell.number, changes)
    }
    for (const [identity, had] of before) {
      const cell = this.#cells.of(identity)
      if (!cell || !shown.has(cell)) this.#note(identity, had, cell?.number, changes)
    }
    for (const { identity, cell } of fresh)
      if (!shown.has(cell)) this.#note(identity, undefined, cell.number, changes)
    for (const cell of gone) this.#release(cell)
    return countOf() > countBefore
  }

  /**
   * Gives a cell the number that its rows are to say, and makes that say its class. A number that the rows of others still say, who leave by
   * the same change, goes on saying what it did, so that they are judged as before until they are as after.
   */
  #number(cell: Cell, isOtherClass: boolean, changes: RowChanges, now: number): void {
    const [any] = cell.members
    const { unit, number: had } = cell
    if (!any || !unit) return
    const isByDefault = unit === defaultIn(this.#defaults, any)
    if (had !== undefined) {
      const isStuck = isOtherClass && changes.left.has(cell)
      const isKept = !isByDefault && had !== CLOSED_CELL && !isStuck
      if (isKept && !isOtherClass) return
      if (!isKept) this.#cellNumbers.give(had)
      cell.number = isKept ? had : undefined
    }
    if (isByDefault) return
    cell.number ??= this.#cellNumbers.take(now)
    if (cell.number !== CLOSED_CELL) changes.cells.push({ cell: cell.number, class: unit.class })
  }

  #release({ unit, number }: Cell): void {
    if (unit) this.#classes.give(unit)
    if (number !== undefined) this.#cellNumbers.give(number)
  }

  #note(
    identity: Identity,
    had: CellId | undefined,
    has: CellId | undefined,
    { put, delete: gone }: RowChanges,
  ): void {
    if (has === had) return
    if (has === undefined) gone.push(this.#key(identity))
    else put.push({ set: this.set, direction: this.direction, identity: identity.id, cell: has })
  }

  #key(identity: Identity): PeerKey {
    return { set: this.set, direction: this.direction, identity: identity.id }
  }
}
