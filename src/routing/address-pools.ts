// Pools of load-balancer addresses: which addresses they have, for which Services, and where the next free one is. Pure.

import {
  type Address,
  addressFromNumber,
  addressToNumber,
  type Family,
  familyOf,
  type Prefix,
  prefixContains,
} from '../model/address.ts'
import { type AddressRange, innerRange, prefixRange, rangeParts } from '../model/address-range.ts'
import { type LabelSelector, selectorMatches, serviceLabels } from '../model/label-selector.ts'
import type { ObjectKey } from '../model/service.ts'

export interface AddressPool {
  readonly name: string
  /** Everything that is the pool's, ranges taken apart into prefixes: what is held there stays, and may be announced. */
  readonly prefixes: readonly Prefix[]
  /** What is given out of it. Absent: the prefixes without network and broadcast addresses. */
  readonly ranges?: readonly AddressRange[] | undefined
  /** Whose Services get addresses from it; undefined: all. */
  readonly services?: LabelSelector | undefined
  readonly namespaces?: readonly string[] | undefined
  /** The highest is asked first, then in the order of the list. Absent: 0. */
  readonly priority?: number | undefined
  /** Only a Service that names the pool, or an address of it, gets one. */
  readonly isOnRequest?: boolean | undefined
  /** Why nothing new is given; what is held stays. */
  readonly closed?: string | undefined
}

/** Why a pool is closed that its author disabled. */
export const DISABLED = 'it is disabled'

/** What a pool asks about a Service. */
export interface PoolCandidate {
  readonly service: ObjectKey
  readonly labels: Readonly<Record<string, string>>
}

export function poolAccepts({ services, namespaces }: AddressPool, candidate: PoolCandidate): boolean {
  const { service, labels } = candidate
  if (namespaces && !namespaces.includes(service.slice(0, service.indexOf('/')))) return false
  return services === undefined || selectorMatches(services, serviceLabels(service, labels))
}

/** Whether an address is one we would have given, so that taking it back is ours to do. */
export function isPoolAddress(pools: readonly AddressPool[], candidate: Address): boolean {
  return pools.some((pool) => pool.prefixes.some((prefix) => prefixContains(prefix, candidate)))
}

interface Range {
  readonly family: Family
  readonly lowest: bigint
  readonly last: bigint
  /** Nothing below is free. */
  next: bigint
}

interface Place {
  readonly first: bigint
  readonly last: bigint
  /** The largest `last` of this and all before. */
  readonly reach: bigint
  readonly pool: AddressPool
}

/** Pools by address, and their free addresses. */
export class PoolIndex {
  /** In the order in which they are asked. */
  readonly pools: readonly AddressPool[]
  readonly #ranges = new Map<AddressPool, readonly Range[]>()
  readonly #places: Readonly<Record<Family, readonly Place[]>>

  constructor(pools: readonly AddressPool[]) {
    // Sorting is stable.
    this.pools = [...pools].sort((a, b) => (b.priority ?? 0) - (a.priority ?? 0))
    for (const pool of this.pools) {
      const ranges = pool.ranges ?? pool.prefixes.map((prefix) => innerRange(prefix, 'network-and-broadcast'))
      this.#ranges.set(
        pool,
        ranges
          .map(rangeParts)
          .map(({ family, first, last }) => ({ family, lowest: first, last, next: first })),
      )
    }
    this.#places = { ipv4: placesOf(this.pools, 'ipv4'), ipv6: placesOf(this.pools, 'ipv6') }
  }

  /** The pools that the address belongs to, in the order in which they are asked; more than one where they overlap. */
  poolsOf(address: Address): readonly AddressPool[] {
    const places = this.#places[familyOf(address)]
    const value = addressToNumber(address)
    let low = 0
    let high = places.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((places[middle] as Place).first <= value) low = middle + 1
      else high = middle
    }
    const found: AddressPool[] = []
    for (let index = low - 1; index >= 0; index -= 1) {
      const { last, reach, pool } = places[index] as Place
      if (reach < value) break
      if (last >= value && !found.includes(pool)) found.push(pool)
    }
    return found.length < 2 ? found : this.pools.filter((pool) => found.includes(pool))
  }

  has(family: Family): boolean {
    return this.#places[family].length > 0
  }

  offers(pool: AddressPool, family: Family): boolean {
    return this.#ranges.get(pool)?.some((range) => range.family === family) ?? false
  }

  /** Whether the pool gives this one out: it may be an edge that is kept back. */
  gives(pool: AddressPool, address: Address): boolean {
    const family = familyOf(address)
    const value = addressToNumber(address)
    const ranges = this.#ranges.get(pool) ?? []
    return ranges.some((range) => range.family === family && range.lowest <= value && value <= range.last)
  }

  /** The lowest free address of a pool; where it begins to be free is remembered. */
  draw(pool: AddressPool, family: Family, isTaken: (address: Address) => boolean): Address | undefined {
    for (const range of this.#ranges.get(pool) ?? []) {
      if (range.family !== family) continue
      while (range.next <= range.last) {
        const candidate = addressFromNumber(family, range.next)
        if (!isTaken(candidate)) return candidate
        range.next += 1n
      }
    }
    return undefined
  }

  /** It is free now. */
  release(address: Address): void {
    const family = familyOf(address)
    const value = addressToNumber(address)
    for (const pool of this.poolsOf(address))
      for (const range of this.#ranges.get(pool) ?? [])
        if (range.family === family && range.lowest <= value && value < range.next) range.next = value
  }
}

function placesOf(pools: readonly AddressPool[], family: Family): readonly Place[] {
  const parts = pools
    .flatMap((pool) => pool.prefixes.map((prefix) => ({ pool, ...rangeParts(prefixRange(prefix)) })))
    .filter((place) => place.family === family)
    .sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
  let reach = -1n
  return parts.map(({ pool, first, last }) => {
    if (last > reach) reach = last
    return { pool, first, last, reach }
  })
}
