// The load-balancer address allocator: pools, Services and the addresses they hold → who gets which. It knows neither time nor
// Kubernetes.
//
// What is held stays held, as long as it lies in a pool for the Service, is what it asks for, and no older Service holds it too; so a
// restart, a new leader or a re-ordered list changes nothing. An address is given twice only to Services that agreed to share it
// (address-sharing.ts). One that asks for an address gets this or none, and is told why.

import { type Address, FAMILY_NAMES, type Family, familyOf } from '../model/address.ts'
import type { AddressWish, ObjectKey } from '../model/service.ts'
import { SetsByKey } from '../tables/sets-by-key.ts'
import { type AddressPool, PoolIndex, poolAccepts } from './address-pools.ts'
import { type SharingClaim, whyNotShared } from './address-sharing.ts'
import {
  type AllocationProblem,
  notShared,
  problem,
  whyNoneFree,
  whyPoolsRefuse,
} from './allocation-problems.ts'

export interface AddressClaim extends SharingClaim {
  readonly service: ObjectKey
  readonly labels: Readonly<Record<string, string>>
  /** Families the Service wants, in its order; empty gives back what it holds. */
  readonly families: readonly Family[]
  /** From its status. */
  readonly held: readonly Address[]
  readonly wish: AddressWish | undefined
  /** Another implementation gave it what it holds: we give that to nobody, and take nothing from it. */
  readonly isForeign: boolean
  readonly createdMs: number
}

export interface AddressGrant {
  readonly service: ObjectKey
  readonly addresses: readonly Address[]
  readonly problems: readonly AllocationProblem[]
  /** What it asked for beside an address, and has not. */
  readonly remarks: readonly AllocationProblem[]
}

type Granted = Map<Family, Address>

const NOTHING: ReadonlyMap<Family, Address> = new Map()

/**
 * Who has which address, kept up to date claim by claim. A decision looks at the claims that changed, and at those that contend
 * with them for an address; only when an address becomes free, at all that found none.
 */
export class AddressLedger {
  #index: PoolIndex
  readonly #claims = new Map<ObjectKey, AddressClaim>()
  /** Services whose status holds an address, or that ask for it: more than one is a quarrel, or sharing. */
  readonly #wanters = new SetsByKey<Address, ObjectKey>()
  readonly #sharers = new SetsByKey<string, ObjectKey>()
  readonly #granted = new Map<ObjectKey, Granted>()
  readonly #owners = new SetsByKey<Address, ObjectKey>()
  /** What other implementations gave. */
  readonly #foreign = new SetsByKey<Address, ObjectKey>()
  readonly #usage = new Map<string, number>()
  /** Services that found no free address. */
  readonly #short = new Set<ObjectKey>()
  /** Services that do not share, though others of their key have an address. */
  readonly #apart = new Set<ObjectKey>()
  #dirty = new Set<ObjectKey>()
  /** Something came free beside what the claims themselves tell. */
  #isFreeing = false

  constructor(pools: readonly AddressPool[]) {
    this.#index = new PoolIndex(pools)
  }

  /** Every claim is decided anew; what is held or granted stays where the new pools allow it. */
  setPools(pools: readonly AddressPool[]): void {
    this.#index = new PoolIndex(pools)
    this.#usage.clear()
    for (const address of this.#owners.keys()) this.#count(address, 1)
    for (const [service, { isForeign }] of this.#claims) if (!isForeign) this.#dirty.add(service)
  }

  /** Addresses of each pool that Services have, by the pool's name. */
  get usage(): ReadonlyMap<string, number> {
    return this.#usage
  }

  #count(address: Address, change: 1 | -1): void {
    const name = this.#index.poolsOf(address)[0]?.name
    if (name !== undefined) this.#usage.set(name, (this.#usage.get(name) ?? 0) + change)
  }

  /** @param claim undefined: the Service has gone */
  set(service: ObjectKey, claim: AddressClaim | undefined): void {
    const before = this.#claims.get(service)
    if (before) this.#unlink(before)
    if (claim) this.#link(claim)
    if (!claim?.isForeign || this.#granted.has(service)) this.#dirty.add(service)
  }

  #link(claim: AddressClaim): void {
    const { service, sharing, held, isForeign } = claim
    this.#claims.set(service, claim)
    for (const address of wantedBy(claim)) this.#wanters.add(address, service)
    if (sharing) this.#sharers.add(sharing.key, service)
    if (isForeign) for (const address of held) this.#foreign.add(address, service)
  }

  #unlink(claim: AddressClaim): void {
    const { service, sharing, held, isForeign } = claim
    this.#claims.delete(service)
    for (const address of wantedBy(claim)) this.#wanters.delete(address, service)
    if (sharing) {
      this.#sharers.delete(sharing.key, service)
      // Who shared its terms may find others now.
      for (const other of this.#sharers.get(sharing.key)) if (this.#isWaiting(other)) this.#dirty.add(other)
    }
    if (!isForeign) return
    for (const address of held) {
      this.#foreign.delete(address, service)
      this.#index.release(address)
      for (const other of this.#wanters.get(address)) if (!this.#isForeign(other)) this.#dirty.add(other)
      this.#isFreeing = true
    }
  }

  /** For an address, or to hear why it shares none. */
  #isWaiting(service: ObjectKey): boolean {
    return this.#short.has(service) || this.#apart.has(service)
  }

  #isForeign(service: ObjectKey): boolean {
    return this.#claims.get(service)?.isForeign ?? false
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
    const services = yield* this.#contenders()
    const before = new Map(services.map((service) => [service, this.#granted.get(service) ?? NOTHING]))
    yield* inSlices(services, (service) => this.#release(service))
    const claims = services
      .flatMap((service) => this.#claims.get(service) ?? [])
      .filter(({ isForeign }) => !isForeign)
      .sort(byAge)
    // First everybody keeps what is rightly theirs, by its status or by what was granted and is not in the status yet; then comes who
    // asks for an address, and only then are fresh ones drawn: a new Service never gets an address that one further down the list
    // answers on already.
    for (const { service } of claims) this.#granted.set(service, new Map())
    const granted = this.#granted
    const each = (step: (claim: AddressClaim, mine: Map<Family, Address>) => void) =>
      inSlices(claims, (claim) => step(claim, granted.get(claim.service) as Map<Family, Address>))
    const lastOf = ({ service }: AddressClaim) => [...(before.get(service)?.values() ?? [])]
    const inBoth = (claim: AddressClaim) => lastOf(claim).filter((address) => claim.held.includes(address))
    yield* each((claim, has) => this.#keep(claim, has, [...inBoth(claim), ...claim.held]))
    yield* each((claim, has) => this.#keep(claim, has, lastOf(claim)))
    const problems = new Map<ObjectKey, AllocationProblem[]>()
    yield* each((claim, has) => problems.set(claim.service, this.#takeAskedFor(claim, has)))
    yield* each((claim, has) => problems.get(claim.service)?.push(...this.#draw(claim, has)))
    const eldest = new Map<string, Sharer | undefined>()
    return claims.map((claim) => this.#grant(claim, eldest, problems.get(claim.service)))
  }

  /** What changed, whoever wants an address of theirs, and whoever waits for one that they give up. */
  *#contenders(): Generator<undefined, ObjectKey[]> {
    const found = this.#dirty
    this.#dirty = new Set()
    let isFreeing = this.#isFreeing
    this.#isFreeing = false
    // A set's iteration comes by what is added meanwhile.
    yield* inSlices(found, (service) => {
      const claim = this.#claims.get(service)
      const granted = this.#granted.get(service) ?? NOTHING
      const addresses = new Set([...(claim ? wantedBy(claim) : []), ...granted.values()])
      for (const address of addresses) {
        for (const owner of this.#owners.get(address)) found.add(owner)
        for (const wanter of this.#wanters.get(address)) if (!this.#isForeign(wanter)) found.add(wanter)
      }
      if (claim?.sharing)
        for (const other of this.#sharers.get(claim.sharing.key)) if (this.#isWaiting(other)) found.add(other)
      for (const address of granted.values())
        if (!claim?.held.includes(address) || !this.#mayKeep(claim, address)) isFreeing = true
    })
    if (isFreeing) for (const service of this.#short) found.add(service)
    return [...found]
  }

  #release(service: ObjectKey): void {
    this.#short.delete(service)
    this.#apart.delete(service)
    for (const address of this.#granted.get(service)?.values() ?? []) {
      this.#owners.delete(address, service)
      if (this.#owners.has(address)) continue
      this.#index.release(address)
      this.#count(address, -1)
    }
    this.#granted.delete(service)
  }

  /** Whether its pools and its own wish leave an address to a Service that has it. */
  #mayKeep({ families, wish, ...candidate }: AddressClaim, address: Address): boolean {
    const family = familyOf(address)
    if (!families.includes(family) || wish?.invalid !== undefined) return false
    const asked = wish?.addresses.find((one) => familyOf(one) === family)
    if (asked !== undefined && asked !== address) return false
    return this.#index
      .poolsOf(address)
      .some((pool) => poolAccepts(pool, candidate) && (wish?.pool === undefined || wish.pool === pool.name))
  }

  #keep(claim: AddressClaim, mine: Map<Family, Address>, candidates: Iterable<Address>): void {
    for (const address of candidates) {
      const family = familyOf(address)
      if (mine.has(family) || !this.#mayKeep(claim, address)) continue
      if (this.#rivalOf(claim, address) === undefined) this.#take(claim, mine, address)
    }
  }

  /** The one that keeps this Service from an address, and why. */
  #rivalOf(claim: AddressClaim, address: Address): { service: ObjectKey; why: string } | undefined {
    for (const service of this.#owners.get(address)) {
      if (service === claim.service) continue
      const why = whyNotShared(claim, this.#claims.get(service) as AddressClaim)
      if (why !== undefined) return { service, why }
    }
    return undefined
  }

  #take(claim: AddressClaim, mine: Map<Family, Address>, address: Address): void {
    mine.set(familyOf(address), address)
    if (!this.#owners.has(address)) this.#count(address, 1)
    this.#owners.add(address, claim.service)
  }

  /** This address or none. */
  #takeAskedFor(claim: AddressClaim, mine: Map<Family, Address>): AllocationProblem[] {
    const { wish, families } = claim
    if (wish === undefined) return []
    if (wish.invalid !== undefined && families.length > 0) return [problem('InvalidRequest', wish.invalid)]
    return wish.addresses.flatMap((address) => {
      const family = familyOf(address)
      if (families.length === 0 || mine.has(family)) return []
      if (!families.includes(family))
        return [
          problem(
            'InvalidRequest',
            `${address} is asked for, but the Service has no ${FAMILY_NAMES[family]}`,
          ),
        ]
      const why = this.#whyNotAskedFor(claim, address)
      if (why === undefined) this.#take(claim, mine, address)
      return why ?? []
    })
  }

  #whyNotAskedFor(claim: AddressClaim, address: Address): AllocationProblem | undefined {
    const refused = whyPoolsRefuse(this.#index, claim, address)
    if (refused !== undefined) return refused
    const rival = this.#rivalOf(claim, address)
    if (rival !== undefined)
      return problem('AddressInUse', `${address} is asked for, but ${rival.service} has it, and ${rival.why}`)
    const [other] = this.#foreign.get(address)
    if (other === undefined) return undefined
    return problem('AddressInUse', `${address} is asked for, but ${other} has it from another implementation`)
  }

  /** An address that Services of its sharing key have, or the lowest free one. */
  #draw(claim: AddressClaim, mine: Map<Family, Address>): AllocationProblem[] {
    const { families, wish } = claim
    if (wish?.invalid !== undefined) return []
    return families.flatMap((family) => {
      if (mine.has(family) || wish?.addresses.some((one) => familyOf(one) === family)) return []
      const pools = this.#index.pools.filter(
        (pool) =>
          this.#index.offers(pool, family) &&
          poolAccepts(pool, claim) &&
          (wish?.pool === undefined ? !pool.isOnRequest : wish.pool === pool.name),
      )
      const open = pools.filter(({ closed }) => closed === undefined)
      const found = this.#shared(claim, family, open) ?? this.#free(family, open)
      if (found === undefined) return [whyNoneFree(this.#index, claim, family, pools)]
      this.#take(claim, mine, found)
      return []
    })
  }

  #shared(claim: AddressClaim, family: Family, open: readonly AddressPool[]): Address | undefined {
    if (claim.sharing === undefined) return undefined
    const known = new Set<Address>()
    for (const other of this.#sharers.get(claim.sharing.key))
      for (const address of this.#granted.get(other)?.values() ?? [])
        if (familyOf(address) === family) known.add(address)
    return [...known]
      .sort()
      .find(
        (address) =>
          this.#index.poolsOf(address).some((pool) => open.includes(pool)) &&
          this.#rivalOf(claim, address) === undefined,
      )
  }

  #free(family: Family, open: readonly AddressPool[]): Address | undefined {
    const isTaken = (address: Address) => this.#owners.has(address) || this.#foreign.has(address)
    for (const pool of open) {
      const found = this.#index.draw(pool, family, isTaken)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Of each address that it has alone though its key was to share one. @param eldest of the same round, by key and family */
  #whyApart(claim: AddressClaim, eldest: Map<string, Sharer | undefined>): AllocationProblem[] {
    const { service, sharing, wish, families } = claim
    if (sharing === undefined) return []
    return families.flatMap((family) => {
      const mine = this.#granted.get(service)?.get(family)
      if (mine === undefined || wish?.addresses.includes(mine)) return []
      if ([...this.#owners.get(mine)].length > 1) return []
      const known = `${family} ${sharing.key}`
      if (!eldest.has(known)) eldest.set(known, this.#eldest(sharing.key, family))
      const other = eldest.get(known)
      if (other === undefined || other.claim.service === service) return []
      // Not the eldest itself has to be the one that forbids it.
      const rival = this.#rivalOf(claim, other.address)
      const found = { service: rival?.service ?? other.claim.service, address: other.address }
      return [notShared(sharing.key, mine, found, rival?.why)]
    })
  }

  /** Of those with this key that have an address: who need not be told, for others were to join it. */
  #eldest(key: string, family: Family): Sharer | undefined {
    let eldest: Sharer | undefined
    for (const service of this.#sharers.get(key)) {
      const claim = this.#claims.get(service)
      const address = this.#granted.get(service)?.get(family)
      if (claim && address && (eldest === undefined || byAge(claim, eldest.claim) < 0))
        eldest = { claim, address }
    }
    return eldest
  }

  #grant(
    claim: AddressClaim,
    eldest: Map<string, Sharer | undefined>,
    problems: readonly AllocationProblem[] = [],
  ): AddressGrant {
    const { service, families } = claim
    const remarks = this.#whyApart(claim, eldest)
    if (remarks.length > 0) this.#apart.add(service)
    const mine = this.#granted.get(service) ?? NOTHING
    if (mine.size === 0) this.#granted.delete(service)
    if (problems.some(({ reason }) => reason === 'PoolExhausted')) this.#short.add(service)
    const addresses = families.flatMap((family) => mine.get(family) ?? [])
    return { service, addresses, problems, remarks }
  }
}

interface Sharer {
  readonly claim: AddressClaim
  readonly address: Address
}

function byAge(a: AddressClaim, b: AddressClaim): number {
  return a.createdMs - b.createdMs || (a.service < b.service ? -1 : 1)
}

/** Worked on at a stretch: some milliseconds. */
const SLICE = 500

function* inSlices<Item>(items: Iterable<Item>, step: (item: Item) => void): Generator<undefined, void> {
  let count = 0
  for (const item of items) {
    step(item)
    count += 1
    if (count % SLICE === 0) yield
  }
}

function wantedBy({ held, wish }: AddressClaim): readonly Address[] {
  return wish === undefined || wish.addresses.length === 0 ? held : [...new Set([...held, ...wish.addresses])]
}
