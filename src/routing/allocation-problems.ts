// Why a Service has no address, or not the one that it asks for, as far as pools decide it: sentences with their mends. Pure.

import { type Address, FAMILY_NAMES, type Family } from '../model/address.ts'
import { SERVICE_KEYS } from '../model/own-keys.ts'
import type { AddressWish } from '../model/service.ts'
import { type AddressPool, type PoolCandidate, type PoolIndex, poolAccepts } from './address-pools.ts'

export type ProblemReason =
  | 'NoPool'
  | 'UnknownPool'
  | 'PoolClosed'
  | 'PoolExhausted'
  | 'AddressInUse'
  | 'AddressOutsidePools'
  | 'AddressNotForService'
  | 'AddressReserved'
  | 'InvalidRequest'
  | 'NotShared'

export interface AllocationProblem {
  readonly reason: ProblemReason
  /** What could not be granted, why, and the mend: one sentence. */
  readonly text: string
}

interface Asker extends PoolCandidate {
  readonly wish: AddressWish | undefined
}

export function problem(reason: ProblemReason, text: string): AllocationProblem {
  return { reason, text }
}

/** Why a Service has an address of its own beside the one that another of its sharing key has. @param why undefined: no terms forbid it */
export function notShared(
  key: string,
  mine: Address,
  other: { readonly service: string; readonly address: Address },
  why: string | undefined,
): AllocationProblem {
  const reason = why ?? `this Service had ${mine} already, and what is held stays`
  return problem(
    'NotShared',
    `${mine} is this Service's own: ${other.service} of sharing key '${key}' has ${other.address}, but ${reason}; to share, ${why === undefined ? '' : 'mend that and '}ask for ${other.address} by annotation ${SERVICE_KEYS.loadBalancerIps}`,
  )
}

function namesOf(pools: readonly AddressPool[]): string {
  return pools.map(({ name }) => name).join(', ')
}

/** Why no pool gives the address that is asked for; undefined: one would. */
export function whyPoolsRefuse(
  index: PoolIndex,
  asker: Asker,
  address: Address,
): AllocationProblem | undefined {
  const pools = index.poolsOf(address)
  const names = namesOf(pools)
  if (pools.length === 0)
    return problem(
      'AddressOutsidePools',
      `${address} is asked for, but lies in no pool; ask for one of ${namesOf(index.pools)}`,
    )
  const { wish } = asker
  const mine = pools.filter(
    (pool) => poolAccepts(pool, asker) && (wish?.pool === undefined || wish.pool === pool.name),
  )
  if (mine.length === 0)
    return problem(
      'AddressNotForService',
      `${address} is asked for, but pool ${names} is not for this Service`,
    )
  const giving = mine.filter((pool) => index.gives(pool, address))
  if (giving.length === 0)
    return problem(
      'AddressReserved',
      `${address} is asked for, but pool ${names} keeps back the first and last address of its networks; ask for another, or set its allowFirstLast`,
    )
  if (giving.some(({ closed }) => closed === undefined)) return undefined
  return problem(
    'PoolClosed',
    `${address} is asked for, but pool ${names} gives nothing new: ${giving[0]?.closed}`,
  )
}

/** @param pools those that would give this Service an address of the family, were one free and they open */
export function whyNoneFree(
  index: PoolIndex,
  { wish }: Asker,
  family: Family,
  pools: readonly AddressPool[],
): AllocationProblem {
  const label = FAMILY_NAMES[family]
  const open = pools.filter(({ closed }) => closed === undefined)
  if (open.length > 0)
    return problem(
      'PoolExhausted',
      `no free ${label} address in ${namesOf(open)}; add a prefix to pools or delete a Service of type LoadBalancer`,
    )
  const [closed] = pools
  if (closed !== undefined)
    return problem('PoolClosed', `pool ${closed.name} gives nothing new: ${closed.closed}`)
  if (wish?.pool !== undefined) return whyNotPool(index, wish.pool, family)
  if (!index.has(family))
    return problem('NoPool', `no pool has ${label} addresses; add an ${label} prefix to pools`)
  return problem('NoPool', `no pool with ${label} addresses is for this Service; see the pools' selectors`)
}

function whyNotPool(index: PoolIndex, name: string, family: Family): AllocationProblem {
  const pool = index.pools.find((one) => one.name === name)
  if (pool === undefined)
    return problem(
      'UnknownPool',
      `it asks for pool ${name}, which there is not; there are ${namesOf(index.pools)}`,
    )
  if (!index.offers(pool, family))
    return problem('NoPool', `it asks for pool ${name}, which has no ${FAMILY_NAMES[family]} addresses`)
  return problem('AddressNotForService', `it asks for pool ${name}, which is not for this Service`)
}
