// The list of batches that a change becomes; empty ones are left out.

import type {
  CellId,
  CellRow,
  ClassId,
  ClassRow,
  IdentityKey,
  IdentityRow,
  PeerKey,
  PeerRow,
  PolicyWrite,
  SetId,
  SetRow,
  SubjectKey,
  SubjectRow,
} from './rows.ts'

export class Writes {
  #writes: PolicyWrite[] = []

  get list(): readonly PolicyWrite[] {
    return this.#writes
  }

  /** Afterwards there are none. */
  take(): readonly PolicyWrite[] {
    const writes = this.#writes
    this.#writes = []
    return writes
  }

  append({ list }: Writes): void {
    this.#writes.push(...list)
  }

  putClasses(put: readonly ClassRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'classes', put })
  }

  putCells(put: readonly CellRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'cells', put })
  }

  putPeers(put: readonly PeerRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'peers', put })
  }

  putSets(put: readonly SetRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'sets', put })
  }

  putIdentities(put: readonly IdentityRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'identities', put })
  }

  putSubjects(put: readonly SubjectRow[]): void {
    if (put.length > 0) this.#writes.push({ table: 'subjects', put })
  }

  deleteClasses(keys: readonly ClassId[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'classes', delete: keys })
  }

  deleteCells(keys: readonly CellId[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'cells', delete: keys })
  }

  deletePeers(keys: readonly PeerKey[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'peers', delete: keys })
  }

  deleteSets(keys: readonly SetId[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'sets', delete: keys })
  }

  deleteIdentities(keys: readonly IdentityKey[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'identities', delete: keys })
  }

  deleteSubjects(keys: readonly SubjectKey[]): void {
    if (keys.length > 0) this.#writes.push({ table: 'subjects', delete: keys })
  }
}
