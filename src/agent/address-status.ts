// What a grant makes of a Service's status: whether it says so already, and the patch that makes it so. Pure.

import { ADDRESS_CONDITION, ALLOCATED } from '../kube/service-addressing.ts'
import type { AddressCondition, Service } from '../model/service.ts'
import { type AddressPool, isPoolAddress } from '../routing/address-pools.ts'
import type { AddressGrant } from '../routing/allocate-addresses.ts'
import { conditionPatch, isSameCondition } from './own-condition.ts'

/** undefined: it asks for no address. */
export function conditionOf(
  { loadBalancerFamilies }: Service,
  { problems, remarks }: AddressGrant,
): AddressCondition | undefined {
  const [first] = [...problems, ...remarks]
  if (loadBalancerFamilies.length === 0) return undefined
  if (first === undefined) return ALLOCATED
  const message = [...problems, ...remarks].map(({ text }) => text).join('; ')
  return { status: problems.length > 0 ? 'False' : 'True', reason: first.reason, message }
}

/** What is no pool's is not ours to take back. */
function hasAddresses(service: Service, { addresses }: AddressGrant, pools: readonly AddressPool[]): boolean {
  const { loadBalancerFamilies, statusIps } = service
  if (loadBalancerFamilies.length === 0 && !statusIps.some((ip) => isPoolAddress(pools, ip))) return true
  return addresses.length === statusIps.length && addresses.every((ip) => statusIps.includes(ip))
}

/**
 * A strategic merge patch: conditions of others stay.
 * @returns undefined: nothing is to be written
 */
export function statusPatch(
  service: Service,
  grant: AddressGrant,
  pools: readonly AddressPool[],
  nowMs: number,
): object | undefined {
  const condition = conditionOf(service, grant)
  const isServed = hasAddresses(service, grant, pools)
  const isTold = isSameCondition(service.addressCondition, condition)
  if (isServed && isTold) return undefined
  const ingress = grant.addresses.map((ip) => ({ ip, ipMode: 'VIP' }))
  return {
    status: {
      ...(isServed ? {} : { loadBalancer: { ingress: ingress.length > 0 ? ingress : null } }),
      ...(isTold
        ? {}
        : { conditions: [conditionPatch(ADDRESS_CONDITION, service.addressCondition, condition, nowMs)] }),
    },
  }
}
