// Rows of `netns_endpoints`: by which addresses the sockets of a network namespace speak. The hooks at connect() see no address
// of their caller, and session affinity and source ranges are about it. The node's own namespace has the node's addresses.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { KernelHash, NetnsEndpointValue } from './kernel-tables.ts'
import type { PodDevice } from './nexthop-plan.ts'
import { setIfRoom } from './room.ts'

export type FamilyAddresses = Readonly<Partial<Record<Family, Address>>>

export class NetnsEndpoints {
  readonly #table: KernelHash<bigint, NetnsEndpointValue>
  readonly #hostCookie: bigint
  readonly #rows: Map<bigint, NetnsEndpointValue>

  /** @param hostCookie of the node's own namespace */
  constructor(table: KernelHash<bigint, NetnsEndpointValue>, hostCookie: bigint) {
    this.#table = table
    this.#hostCookie = hostCookie
    this.#rows = new Map(table.entries())
  }

  /** Rows in use. */
  get used(): number {
    return this.#rows.size
  }

  /**
   * Makes the table hold the node and exactly these pods. Of several addresses of one family a namespace's first counts.
   * @param host the node's addresses; what an earlier process wrote stays while none is known
   * @param unknown pods that are there but not yet understood: what an earlier process wrote of them stays
   */
  set(host: FamilyAddresses, pods: readonly PodDevice[], unknown: ReadonlySet<Address>): void {
    const wanted = new Map<bigint, NetnsEndpointValue>()
    for (const { address, namespace } of pods) {
      if (namespace === undefined || namespace.cookie === this.#hostCookie) continue
      const known = wanted.get(namespace.cookie) ?? { ipv4: undefined, ipv6: undefined }
      const family = familyOf(address)
      if (known[family] === undefined) wanted.set(namespace.cookie, { ...known, [family]: address })
    }
    if (FAMILIES.some((family) => host[family] !== undefined))
      wanted.set(this.#hostCookie, { ipv4: host.ipv4, ipv6: host.ipv6 })
    for (const [cookie, row] of this.#rows) {
      const isKept = FAMILIES.some((family) => unknown.has(row[family] ?? ('' as Address)))
      if (wanted.has(cookie) || isKept || cookie === this.#hostCookie) continue
      this.#table.delete(cookie)
      this.#rows.delete(cookie)
    }
    for (const [cookie, row] of wanted) {
      const current = this.#rows.get(cookie)
      if (current?.ipv4 === row.ipv4 && current?.ipv6 === row.ipv6) continue
      if (setIfRoom(this.#table, cookie, row)) this.#rows.set(cookie, row)
    }
  }
}
