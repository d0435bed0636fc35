// The load-balancer address allocator, as a pure function: pools, Services and the addresses they hold → who gets which.
//
// What is held stays held, as long as it lies in a pool and no older Service holds it too; so a restart, a new leader or a
// re-ordered list changes nothing. An address is never given twice.

import {
  type Address,
  addressBits,
  addressFromNumber,
  type Family,
  familyOf,
  type Prefix,
  prefixContains,
  prefixParts,
} from '../model/address.ts'
import type { ObjectKey } from '../model/service.ts'

export interface AddressPool {
  readonly name: string
  readonly prefixes: readonly Prefix[]
}

export interface AddressClaim {
  readonly service: ObjectKey
  /** Families the Service wants, in its order; empty gives back what it holds. */
  readonly families: readonly Family[]
  /** From its status. */
  readonly held: readonly Address[]
  readonly createdMs: number
}

export interface AddressGrant {
  readonly service: ObjectKey
  readonly addresses: readonly Address[]
  /** What could not be granted and why, one sentence each. */
  readonly problems: readonly string[]
}

/**
 * Decides every Service's addresses.
 * @returns one grant per claim; compare with `held` to see what must be written
 */
export function allocateAddresses(
  pools: readonly AddressPool[],
  claims: readonly AddressClaim[],
): AddressGrant[] {
  const order = [...claims].sort((a, b) => a.createdMs - b.createdMs || (a.service < b.service ? -1 : 1))
  const taken = new Set<Address>()
  const kept = new Map<ObjectKey, Map<Family, Address>>()
  // First everybody keeps what is rightly theirs, only then are fresh addresses drawn: a new Service never gets an
  // address that one further down the list already answers on.
  for (const claim of order) kept.set(claim.service, keepHeld(pools, claim, taken))
  const draw = drawerOf(pools, taken)
  return order.map((claim) => {
    const problems: string[] = []
    const mine = kept.get(claim.service) ?? new Map<Family, Address>()
    const addresses = claim.families.flatMap((family) => {
      const found = mine.get(family) ?? draw(family)
      if (found === undefined) problems.push(describeExhaustion(pools, family))
      else taken.add(found)
      return found ?? []
    })
    return { service: claim.service, addresses, problems }
  })
}

function keepHeld(
  pools: readonly AddressPool[],
  claim: AddressClaim,
  taken: Set<Address>,
): Map<Family, Address> {
  const mine = new Map<Family, Address>()
  for (const held of claim.held) {
    const family = familyOf(held)
    if (!claim.families.includes(family) || mine.has(family) || taken.has(held)) continue
    if (!pools.some((pool) => pool.prefixes.some((prefix) => prefixContains(prefix, held)))) continue
    mine.set(family, held)
    taken.add(held)
  }
  return mine
}

/** Draws one free address after another; `taken` only grows meanwhile, so no candidate is looked at twice. */
function drawerOf(
  pools: readonly AddressPool[],
  taken: ReadonlySet<Address>,
): (family: Family) => Address | undefined {
  const ranges = pools.flatMap((pool) => pool.prefixes.map((prefix) => ({ ...usableRange(prefix) })))
  return (family) => {
    for (const range of ranges) {
      if (range.family !== family) continue
      while (range.first <= range.last) {
        const candidate = addressFromNumber(family, range.first)
        range.first += 1n
        if (!taken.has(candidate)) return candidate
      }
    }
    return undefined
  }
}

/** Without the network and broadcast address, which some routers and hosts refuse to treat as a host's. */
function usableRange(prefix: Prefix): { family: Family; first: bigint; last: bigint } {
  const { family, length, first, last } = prefixParts(prefix)
  const hostBits = addressBits(family) - length
  if (hostBits < 2) return { family, first, last }
  const lastUsable = family === 'ipv4' ? last - 1n : last
  return { family, first: first + 1n, last: lastUsable }
}

function describeExhaustion(pools: readonly AddressPool[], family: Family): string {
  const label = family === 'ipv4' ? 'IPv4' : 'IPv6'
  const offering = pools.filter((pool) =>
    pool.prefixes.some((prefix) => prefixParts(prefix).family === family),
  )
  if (offering.length === 0) return `no pool has ${label} addresses; add an ${label} prefix to pools`
  const names = offering.map((pool) => pool.name).join(', ')
  return `no free ${label} address in ${names}; add a prefix to pools or delete a Service of type LoadBalancer`
}

/** Whether an address is one we would have given, so that taking it back is ours to do. */
export function isPoolAddress(pools: readonly AddressPool[], candidate: Address): boolean {
  return pools.some((pool) => pool.prefixes.some((prefix) => prefixContains(prefix, candidate)))
}
