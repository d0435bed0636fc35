// A policy set, and what one step of a change does to sets.

import type { CellRow, PeerKey, PeerRow, SetId, SetRow } from './rows.ts'
import type { Cell } from './set-cells.ts'
import type { RowChanges, SetDirectionRows } from './set-rows.ts'
import type { SetTraits } from './subjects.ts'

export interface PolicySet {
  readonly id: SetId
  traits: SetTraits
  epoch: number
  readonly subjects: Set<string>
  readonly ingress: SetDirectionRows
  readonly egress: SetDirectionRows
}

/** What a step does to the sets; rows are written in the order of the fields. */
export interface SetsStep {
  readonly putCells: CellRow[]
  readonly putRows: PeerRow[]
  /** New ones, and old ones whose defaults changed, these with the epoch they had. */
  readonly putSets: SetRow[]
  readonly deleteRows: PeerKey[]
  /** Sets whose epoch is to be raised at the end. */
  readonly raised: Set<PolicySet>
  /** Subjects whose set, or what it says, changed. */
  readonly subjects: Set<string>
  /** Sets without subjects, and their rows. */
  readonly closedRows: PeerKey[]
  readonly closedSets: SetId[]
  /** Cells that peers left by this step. */
  readonly leftCells: Set<Cell>
}

export function newSetsStep(): SetsStep {
  return {
    putCells: [],
    putRows: [],
    putSets: [],
    deleteRows: [],
    raised: new Set(),
    subjects: new Set(),
    closedRows: [],
    closedSets: [],
    leftCells: new Set(),
  }
}

export function rowChanges({ putCells, putRows, deleteRows, leftCells }: SetsStep): RowChanges {
  return { cells: putCells, put: putRows, delete: deleteRows, left: leftCells }
}

export function setRow({ id, epoch, ingress, egress }: PolicySet): SetRow {
  return { set: id, epoch, ingress: ingress.setDirection(), egress: egress.setDirection() }
}
