// Rows of all sets for numbers that are no identity's any more, while addresses still carry them: see earlier-identities.ts.

import { POLICY_DIRECTIONS } from '../../model/policy.ts'
import type { CellNumbers } from './cell-numbers.ts'
import type { PopulationStep } from './population.ts'
import type { CellId, CellRow, ClassId, PeerRow } from './rows.ts'
import type { PolicySet } from './sets-step.ts'

export interface StrayRows {
  readonly cells: readonly CellRow[]
  readonly peers: readonly PeerRow[]
}

export const NO_STRAY_ROWS: StrayRows = { cells: [], peers: [] }

/** A set that judges those differently who still carry a number closes to them for so long. The cells go with this change. */
export function strayRows(
  sets: Iterable<PolicySet>,
  strays: PopulationStep['strays'],
  cellNumbers: CellNumbers,
  now: number,
): StrayRows {
  const cells = new Map<ClassId, CellId>([[0, 0]])
  const cellOf = (id: ClassId) => {
    const cell = cells.get(id) ?? cellNumbers.take(now)
    cells.set(id, cell)
    return cell
  }
  const peers = [...sets].flatMap(({ id, ...set }) =>
    POLICY_DIRECTIONS.flatMap((direction) =>
      [...strays].map(([identity, carriers]): PeerRow => {
        const classes = new Set([...carriers].map((one) => (one ? set[direction].classOf(one).class : 0)))
        const [only = 0] = classes
        return { set: id, direction, identity, cell: cellOf(classes.size === 1 ? only : 0) }
      }),
    ),
  )
  for (const cell of cells.values()) cellNumbers.give(cell)
  const named = [...cells].filter(([, cell]) => cell !== 0)
  return { cells: named.map(([id, cell]) => ({ cell, class: id })), peers }
}
