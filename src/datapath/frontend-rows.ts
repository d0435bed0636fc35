// Numbers and rows of `frontend_addresses`, which flows' replies name, and with them the filter of addresses. Both outlive
// their frontend by a grace period: its flows may still be answered, and must still be looked up.

import type { Address } from '../model/address.ts'
import type { FrontendFilter } from './frontend-filter.ts'
import { IdPool } from './id-pool.ts'
import type { FrontendAddressValue, ServiceTables } from './kernel-tables.ts'

export class FrontendRows {
  readonly #rows: ServiceTables['frontendAddresses']
  readonly #filter: FrontendFilter
  readonly #ids: IdPool
  readonly #used = new Set<number>()
  readonly #resting = new Map<number, Address>()

  constructor(tables: Pick<ServiceTables, 'frontendAddresses'>, filter: FrontendFilter, graceMs: number) {
    this.#rows = tables.frontendAddresses
    this.#filter = filter
    this.#ids = new IdPool(1, tables.frontendAddresses.length, graceMs)
  }

  /** Takes over the number of a frontend that an earlier process left. */
  adopt(id: number, address: Address): void {
    this.#ids.claim(id)
    this.#used.add(id)
    this.#filter.hold(address)
  }

  /** After every `adopt`, and after all others who hold addresses: rows without a frontend were left to rest, or never came into use. They rest anew. */
  adoptResting(nowMs: number): void {
    for (const [id, { address }] of this.#rows.entries()) {
      if (this.#used.has(id)) continue
      this.adopt(id, address)
      this.rest(id, address, nowMs)
    }
    this.#filter.settle()
  }

  /** A number for a new frontend of this address; undefined when the table is full. */
  take(address: Address): number | undefined {
    const id = this.#ids.take()
    if (id === undefined) return undefined
    this.#used.add(id)
    this.#filter.hold(address)
    return id
  }

  write(id: number, value: FrontendAddressValue): void {
    this.#rows.set(id, value)
  }

  /** Its frontend is gone. */
  rest(id: number, address: Address, nowMs: number): void {
    this.#used.delete(id)
    this.#ids.release(id, nowMs)
    this.#resting.set(id, address)
  }

  /** Clears what has rested long enough and no flow names. Throws what the kernel refused, when all else is done; that rests once more. */
  wake(nowMs: number, isNamed: (id: number) => boolean): void {
    const refusals: unknown[] = []
    for (const id of this.#ids.wake(nowMs, isNamed)) {
      try {
        this.#rows.set(id, undefined)
      } catch (error) {
        // Another must not have the number yet.
        this.#ids.claim(id)
        this.#ids.release(id, nowMs)
        refusals.push(error)
        continue
      }
      const address = this.#resting.get(id)
      this.#resting.delete(id)
      if (address !== undefined) this.#filter.release(address)
    }
    if (refusals.length > 0) throw refusals[0]
  }

  nextWakeMs(): number | undefined {
    return this.#ids.nextWakeMs()
  }
}
