// Cells of policy in the kernel: what the rows of peers name, and which class judges those peers. A word of mapped memory each.

import type { CellId, CellRow, ClassId } from '../policy/compile/rows.ts'
import { Leftovers } from './leftovers.ts'
import type { PolicyCells } from './policy-tables.ts'

/** Never written: whom it means is denied. */
const CLOSED: CellId = 0

export class PolicyCellRows {
  readonly #cells: PolicyCells
  readonly #leftovers: Leftovers<CellId>

  constructor(cells: PolicyCells) {
    this.#cells = cells
    this.#leftovers = new Leftovers(this.earlier(), (cell) => cell)
  }

  /** What an earlier process left. */
  earlier(): readonly CellId[] {
    return [...this.#cells.entries()].map(([cell]) => cell)
  }

  /** What the kernel is told of a cell: one beyond its table is closed. */
  numberOf(cell: CellId): CellId {
    return cell < this.#cells.length ? cell : CLOSED
  }

  /** @param numberOf what the kernel is told of a class */
  put(rows: readonly CellRow[], numberOf: (id: ClassId) => ClassId): void {
    for (const row of rows) this.#set(row.cell, numberOf(row.class))
  }

  delete(cells: readonly CellId[]): void {
    for (const cell of cells) this.#set(cell, 0)
  }

  settle(): void {
    this.delete(this.#leftovers.take())
  }

  #set(cell: CellId, id: ClassId): void {
    this.#leftovers.claim(cell)
    if (this.numberOf(cell) !== CLOSED) this.#cells.set(cell, id)
  }
}
