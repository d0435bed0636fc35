// What a Service claims of the address pools. Pure.

import type { Service } from '../model/service.ts'
import type { AddressClaim } from './allocate-addresses.ts'

/** undefined: it neither asks for load-balancer addresses, nor has any, nor says so in its status. */
export function claimOf(service: Service): AddressClaim | undefined {
  const { key, labels, loadBalancerFamilies, statusIps, isForeignBalancer, addressWish, createdMs } = service
  const hasStatus = statusIps.length > 0 || (service.addressCondition !== undefined && !isForeignBalancer)
  if (loadBalancerFamilies.length === 0 && !hasStatus) return undefined
  return {
    service: key,
    labels,
    families: loadBalancerFamilies,
    held: statusIps,
    wish: addressWish,
    sharing: addressWish?.sharing,
    ports: service.ports,
    trafficPolicy: service.externalTrafficPolicy,
    isForeign: isForeignBalancer,
    createdMs,
  }
}
