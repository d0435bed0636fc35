// Rows of `known_netns`: the network namespaces of pods that policy knows. Sockets of every other pod are closed (bpf/lib/closed.h).

import type { KernelHash } from './kernel-tables.ts'
import { setIfRoom } from './room.ts'

const KNOWN = 1

export class KnownNetns {
  readonly #table: KernelHash<bigint, number>
  readonly #rows: Set<bigint>

  /** What an earlier process knew stays known until `set` is called. */
  constructor(table: KernelHash<bigint, number>) {
    this.#table = table
    this.#rows = new Set([...table.entries()].map(([cookie]) => cookie))
  }

  /** Rows in use. */
  get used(): number {
    return this.#rows.size
  }

  /** Makes the table hold exactly these. What finds no room is closed. */
  set(cookies: ReadonlySet<bigint>): void {
    for (const cookie of this.#rows) {
      if (cookies.has(cookie)) continue
      this.#table.delete(cookie)
      this.#rows.delete(cookie)
    }
    this.add(cookies)
  }

  add(cookies: ReadonlySet<bigint>): void {
    for (const cookie of cookies)
      if (!this.#rows.has(cookie) && setIfRoom(this.#table, cookie, KNOWN)) this.#rows.add(cookie)
  }
}
