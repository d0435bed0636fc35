// Peers of one direction of a set, in cells: a cell's members are meant in particular by the same rules, so they have one class. When a
// rule comes, goes or changes, whole cells are looked at instead of their members, and moved or renamed as a whole where they can.

import { type Steps, stopping } from '../../model/slices.ts'
import type { PolicyClass } from './classes.ts'
import type { Identities, Identity } from './identities.ts'
import type { ReadyRule } from './policies.ts'
import type { CellId, RuleId } from './rows.ts'
import type { CellTraits, SetDirectionPlan } from './set-direction.ts'

/** Stops are so many peers apart. */
const STOP_PLACES = 512

export interface Cell {
  traits: CellTraits
  readonly members: Set<Identity>
  /** Of its members, but for those that came lately; undefined: all came lately. */
  unit: PolicyClass | undefined
  /** What its members' rows say in the kernel; undefined: they have none, for the default says the same. */
  number: CellId | undefined
}

/** What a change does to cells, until rows follow. */
export interface CellChanges {
  /** What rows said before, of members that came from elsewhere; undefined: there was none. */
  readonly before: Map<Identity, CellId | undefined>
  /** Those that came from nowhere, each once, and where to: they had no row. */
  readonly fresh: { readonly identity: Identity; readonly cell: Cell }[]
  /** Cells whose class is to be found anew. */
  readonly touched: Set<Cell>
  /** Cells that are gone. */
  readonly gone: Cell[]
  /** Those whose number the row of a peer still says that is a member no more. */
  readonly left: Set<Cell>
}

export function newCellChanges(left: Set<Cell>): CellChanges {
  return { before: new Map(), fresh: [], touched: new Set(), gone: [], left }
}

function keyOf({ scope, rules, isExempt, namedPortsKey }: CellTraits): string {
  return `${scope}${isExempt ? '!' : ''} ${rules.join()} ${namedPortsKey}`
}

export class Cells {
  readonly #byKey = new Map<string, Cell>()
  readonly #byIdentity = new Map<Identity, Cell>()

  of(identity: Identity): Cell | undefined {
    return this.#byIdentity.get(identity)
  }

  values(): IterableIterator<Cell> {
    return this.#byKey.values()
  }

  /** Puts a peer where its rules say. */
  place(identity: Identity, traits: CellTraits | undefined, changes: CellChanges): void {
    const from = this.#byIdentity.get(identity)
    const to = traits && this.#cell(traits)
    if (to === from) return
    if (!changes.before.has(identity)) {
      changes.before.set(identity, from?.number)
      if (from?.number !== undefined) changes.left.add(from)
    }
    if (from) this.#leave(from, identity, changes)
    if (!to) {
      this.#byIdentity.delete(identity)
      return
    }
    to.members.add(identity)
    this.#byIdentity.set(identity, to)
    if (to.unit === undefined) changes.touched.add(to)
  }

  /** Puts one that is nowhere yet, and of whom the kernel has no row, where its rules say. */
  join(identity: Identity, traits: CellTraits, changes: CellChanges): void {
    const cell = this.#cell(traits)
    cell.members.add(identity)
    this.#byIdentity.set(identity, cell)
    changes.fresh.push({ identity, cell })
    if (cell.unit === undefined) changes.touched.add(cell)
  }

  /** Takes one out. @returns the cell where it was */
  drop(identity: Identity, changes: CellChanges): Cell | undefined {
    const cell = this.#byIdentity.get(identity)
    if (!cell) return undefined
    if (cell.number !== undefined) changes.left.add(cell)
    this.#leave(cell, identity, changes)
    this.#byIdentity.delete(identity)
    return cell
  }

  /** All of them, where there are none. */
  *fill(plan: SetDirectionPlan, identities: Identities, changes: CellChanges): Steps {
    const particular = plan.particular(identities)
    yield
    yield* stopping(particular, STOP_PLACES, ([identity, rules]) => {
      const traits = plan.traitsFor(identity, rules)
      if (traits) this.join(identity, traits, changes)
    })
  }

  /** All of them anew. */
  placeAll(plan: SetDirectionPlan, identities: Identities, changes: CellChanges): void {
    const particular = plan.particular(identities)
    for (const identity of [...this.#byIdentity.keys()])
      if (!particular.has(identity)) this.place(identity, undefined, changes)
    for (const [identity, rules] of particular) this.place(identity, plan.traitsFor(identity, rules), changes)
  }

  dropRule(rule: RuleId, plan: SetDirectionPlan, changes: CellChanges): void {
    for (const cell of [...this.#byKey.values()]) {
      if (!cell.traits.rules.includes(rule)) continue
      const rules = cell.traits.rules.filter((other) => other !== rule)
      this.#moveAll(cell, rules, plan, changes)
    }
  }

  addRule(rule: ReadyRule, plan: SetDirectionPlan, changes: CellChanges): void {
    const byCell = new Map<Cell | undefined, Set<Identity>>()
    for (const peer of rule.particular)
      for (const identity of peer.members) {
        const cell = this.#byIdentity.get(identity)
        const known = byCell.get(cell)
        if (known) known.add(identity)
        else byCell.set(cell, new Set([identity]))
      }
    for (const [cell, identities] of byCell) {
      const rules = [...(cell?.traits.rules ?? []), rule.rule]
      if (cell && identities.size === cell.members.size) this.#moveAll(cell, rules, plan, changes)
      else for (const identity of identities) this.place(identity, plan.traitsFor(identity, rules), changes)
    }
  }

  touch(rules: ReadonlySet<RuleId>, changes: CellChanges): void {
    for (const cell of this.#byKey.values())
      if (cell.traits.rules.some((rule) => rules.has(rule))) changes.touched.add(cell)
  }

  touchAll(changes: CellChanges): void {
    for (const cell of this.#byKey.values()) changes.touched.add(cell)
  }

  #cell(traits: CellTraits): Cell {
    const key = keyOf(traits)
    const known = this.#byKey.get(key)
    if (known) return known
    const made: Cell = { traits, members: new Set(), unit: undefined, number: undefined }
    this.#byKey.set(key, made)
    return made
  }

  #leave(cell: Cell, identity: Identity, changes: CellChanges): void {
    cell.members.delete(identity)
    if (cell.members.size > 0) return
    this.#byKey.delete(keyOf(cell.traits))
    changes.touched.delete(cell)
    changes.gone.push(cell)
  }

  /** All members alike: the cell itself becomes the one they belong to, unless that is there. */
  #moveAll(cell: Cell, rules: readonly RuleId[], plan: SetDirectionPlan, changes: CellChanges): void {
    const [any] = cell.members
    const traits = any && plan.traitsFor(any, rules)
    if (traits && !this.#byKey.has(keyOf(traits))) {
      this.#byKey.delete(keyOf(cell.traits))
      cell.traits = traits
      this.#byKey.set(keyOf(traits), cell)
      changes.touched.add(cell)
    } else for (const identity of [...cell.members]) this.place(identity, traits, changes)
  }
}
