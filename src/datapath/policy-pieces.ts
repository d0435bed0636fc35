// Batches of policy's rows, cut where they are long. Of the rows of a batch order means nothing, so neither does where it is cut.

import type { PolicyWrite } from '../policy/compile/rows.ts'

/** Some three milliseconds of the kernel's. */
const PIECE_ROWS = 2048

export function* inPieces(write: PolicyWrite): Iterable<PolicyWrite> {
  const isPut = 'put' in write
  const rows: readonly unknown[] = isPut ? write.put : write.delete
  if (rows.length <= PIECE_ROWS) {
    yield write
    return
  }
  for (let first = 0; first < rows.length; first += PIECE_ROWS) {
    const piece = rows.slice(first, first + PIECE_ROWS)
    yield { table: write.table, ...(isPut ? { put: piece } : { delete: piece }) } as PolicyWrite
  }
}
