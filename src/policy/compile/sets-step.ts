// A policy set, and what one step of a change does to sets.

import type { PeerKey, PeerRow, SetId, SetRow } from './rows.ts'
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
}

export function newSetsStep(): SetsStep {
  return {
    putRows: [],
    putSets: [],
    deleteRows: [],
    raised: new Set(),
    subjects: new Set(),
    closedRows: [],
    closedSets: [],
  }
}

export function rowChanges({ putRows, deleteRows }: SetsStep): RowChanges {
  return { put: putRows, delete: deleteRows }
}

export function setRow({ id, epoch, ingress, egress }: PolicySet): SetRow {
  return { set: id, epoch, ingress: ingress.setDirection(), egress: egress.setDirection() }
}
