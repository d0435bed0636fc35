// Rows of `known_netns`: the network namespaces of pods that policy knows. Sockets of every other pod are closed (bpf/lib/closed.h), and
// packet sockets of those that nothing could judge too (bpf/lib/unseen.h).

import { KnownNetnsKind } from './abi.gen.ts'
import type { KernelHash } from './kernel-tables.ts'
import { setIfRoom } from './room.ts'

/** Whether the pod's device judges what it sends and gets, or nothing could. */
export type KnownKind = 'judged' | 'unjudged'

const VALUES: Readonly<Record<KnownKind, number>> = {
  judged: KnownNetnsKind.NETNS_JUDGED,
  unjudged: KnownNetnsKind.NETNS_UNJUDGED,
}

export class KnownNetns {
  readonly #table: KernelHash<bigint, number>
  readonly #rows: Map<bigint, number>

  /** What an earlier process knew stays known until `set` is called. */
  constructor(table: KernelHash<bigint, number>) {
    this.#table = table
    this.#rows = new Map(table.entries())
  }

  /** Rows in use. */
  get used(): number {
    return this.#rows.size
  }

  /** Makes the table hold exactly these. What finds no room is closed. */
  set(cookies: ReadonlyMap<bigint, KnownKind>): void {
    for (const cookie of this.#rows.keys()) {
      if (cookies.has(cookie)) continue
      this.#table.delete(cookie)
      this.#rows.delete(cookie)
    }
    this.add(cookies)
  }

  add(cookies: ReadonlyMap<bigint, KnownKind>): void {
    for (const [cookie, kind] of cookies) {
      const value = VALUES[kind]
      if (this.#rows.get(cookie) !== value && setIfRoom(this.#table, cookie, value))
        this.#rows.set(cookie, value)
    }
  }
}
