// Rows of `closed_cgroups`: the roots of pods' cgroups, for a program that hangs on none of them (bpf/lib/unseen.h).

import { statSync } from 'node:fs'
import type { KernelHash } from './kernel-tables.ts'
import { setIfRoom } from './room.ts'

const CLOSED = 1

export class ClosedCgroups {
  readonly #table: KernelHash<bigint, number>

  constructor(table: KernelHash<bigint, number>) {
    this.#table = table
  }

  /** Makes the table hold exactly these, without those that are not there. */
  set(cgroups: readonly string[]): void {
    const ids = cgroups.map((path) => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino)
    const wanted = new Set(ids.filter((id) => id !== undefined))
    for (const [id] of [...this.#table.entries()]) if (!wanted.has(id)) this.#table.delete(id)
    for (const id of wanted) setIfRoom(this.#table, id, CLOSED)
  }
}
