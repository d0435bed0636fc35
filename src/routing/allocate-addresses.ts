// The load-balancer address allocator: pools, Services and the addresses they hold → who gets which. It knows neither time nor
// Kubernetes.
//
// What is held stays held, as long as it lies in a pool and no older Service holds it too; so a restart, a new leader or a
// re-ordered list changes nothing. An address is never given twice.

import {
  type Address,
  addressBits,
  addressFromNumber,
  addressToNumber,
  type Family,
  familyOf,
  type Prefix,
  type PrefixParts,
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

interface Range {
  readonly family: Family
  /** Nothing below is free. */
  first: bigint
  readonly lowest: bigint
  readonly last: bigint
}

/**
 * Who has which address, kept up to date claim by claim. A decision looks at the claims that changed, and at those that contend
 * with them for an address; only when an address becomes free, at all that still lack one.
 */
export class AddressLedger {
  readonly #pools: readonly AddressPool[]
  readonly #prefixes: readonly PrefixParts[]
  readonly #ranges: readonly Range[]
  readonly #claims = new Map<ObjectKey, AddressClaim>()
  /** Services that say they hold an address; more than one is a quarrel. */
  readonly #holders = new Map<Address, Set<ObjectKey>>()
  readonly #granted = new Map<ObjectKey, ReadonlyMap<Family, Address>>()
  readonly #ownerOf = new Map<Address, ObjectKey>()
  /** Services that got less than they want. */
  readonly #short = new Set<ObjectKey>()
  #dirty = new Set<ObjectKey>()

  constructor(pools: readonly AddressPool[]) {
    this.#pools = pools
    const prefixes = pools.flatMap((pool) => pool.prefixes)
    this.#prefixes = prefixes.map(prefixParts)
    this.#ranges = prefixes.map(usableRange).map((range) => ({ ...range, lowest: range.first }))
  }

  /** @param claim undefined: the Service has gone */
  set(service: ObjectKey, claim: AddressClaim | undefined): void {
    for (const held of this.#claims.get(service)?.held ?? []) {
      const holders = this.#holders.get(held)
      holders?.delete(service)
      if (holders?.size === 0) this.#holders.delete(held)
    }
    if (claim) this.#claims.set(service, claim)
    else this.#claims.delete(service)
    for (const held of claim?.held ?? []) {
      const holders = this.#holders.get(held) ?? new Set()
      holders.add(service)
      this.#holders.set(held, holders)
    }
    this.#dirty.add(service)
  }

  /** @returns a grant for every claim that was decided; compare with `held` to see what must be written */
  decide(): AddressGrant[] {
    const steps = this.decideInSteps()
    for (;;) {
      const step = steps.next()
      if (step.done) return step.value
    }
  }

  /** The same, for ten thousand claims, with pauses in which others may run; no claim may be set in them. */
  *decideInSteps(): Generator<undefined, AddressGrant[]> {
    const services = this.#contenders()
    yield
    const before = new Map(services.map((service) => [service, this.#granted.get(service)]))
    for (const service of services) this.#release(service)
    yield
    const claims = services
      .flatMap((service) => this.#claims.get(service) ?? [])
      .sort((a, b) => a.createdMs - b.createdMs || (a.service < b.service ? -1 : 1))
    // First everybody keeps what is rightly theirs, only then are fresh addresses drawn: a new Service never gets an
    // address that one further down the list already answers on.
    const kept = new Map(claims.map((claim) => [claim.service, this.#keepHeld(claim)]))
    yield
    return claims.map((claim) => this.#grant(claim, kept.get(claim.service), before.get(claim.service)))
  }

  /** What changed, whoever wants an address of theirs, and whoever waits for one that they give up. */
  #contenders(): ObjectKey[] {
    const found = this.#dirty
    this.#dirty = new Set()
    let isFreeing = false
    // A set's iteration comes by what is added meanwhile.
    for (const service of found) {
      const held = this.#claims.get(service)?.held ?? []
      for (const address of held) {
        const owner = this.#ownerOf.get(address)
        if (owner !== undefined) found.add(owner)
        for (const holder of this.#holders.get(address) ?? []) found.add(holder)
      }
      for (const address of this.#granted.get(service)?.values() ?? []) {
        if (held.includes(address)) continue
        isFreeing = true
        for (const holder of this.#holders.get(address) ?? []) found.add(holder)
      }
      const wants = this.#claims.get(service)?.families.length ?? 0
      if ((this.#granted.get(service)?.size ?? 0) > wants) isFreeing = true
    }
    if (isFreeing) for (const service of this.#short) found.add(service)
    return [...found]
  }

  #release(service: ObjectKey): void {
    this.#short.delete(service)
    for (const address of this.#granted.get(service)?.values() ?? []) {
      this.#ownerOf.delete(address)
      const value = addressToNumber(address)
      const family = familyOf(address)
      for (const range of this.#ranges)
        if (range.family === family && range.lowest <= value && value < range.first) range.first = value
    }
    this.#granted.delete(service)
  }

  #keepHeld(claim: AddressClaim): Map<Family, Address> {
    const mine = new Map<Family, Address>()
    for (const held of claim.held) {
      const family = familyOf(held)
      if (!claim.families.includes(family) || mine.has(family) || this.#ownerOf.has(held)) continue
      if (!this.#isInPool(held)) continue
      mine.set(family, held)
      this.#ownerOf.set(held, claim.service)
    }
    return mine
  }

  /** @param before what it was granted last time, which its status may not say yet */
  #grant(
    { service, families }: AddressClaim,
    mine = new Map<Family, Address>(),
    before: ReadonlyMap<Family, Address> = new Map(),
  ): AddressGrant {
    const problems: string[] = []
    for (const family of families) {
      if (mine.has(family)) continue
      const last = before.get(family)
      const found = last !== undefined && !this.#ownerOf.has(last) ? last : this.#draw(family)
      if (found === undefined) {
        problems.push(describeExhaustion(this.#pools, family))
        continue
      }
      mine.set(family, found)
      this.#ownerOf.set(found, service)
    }
    this.#granted.set(service, mine)
    if (problems.length > 0) this.#short.add(service)
    return { service, addresses: families.flatMap((family) => mine.get(family) ?? []), problems }
  }

  /** The lowest free address; where a range begins to be free is remembered. */
  #draw(family: Family): Address | undefined {
    for (const range of this.#ranges) {
      if (range.family !== family) continue
      while (range.first <= range.last) {
        const candidate = addressFromNumber(family, range.first)
        range.first += 1n
        if (!this.#ownerOf.has(candidate)) return candidate
      }
    }
    return undefined
  }

  #isInPool(address: Address): boolean {
    const family = familyOf(address)
    const value = addressToNumber(address)
    return this.#prefixes.some(
      (prefix) => prefix.family === family && prefix.first <= value && value <= prefix.last,
    )
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
