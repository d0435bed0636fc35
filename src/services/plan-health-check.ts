// The health check of a Service with externalTrafficPolicy Local: which port should answer on this node, and how many endpoints
// it should tell of. Pure.
//
// A load balancer asks this port on every node and sends only where the answer is not zero. So what counts is what the Local
// set holds before its fall-back: ready endpoints of this node. The terminating ones that the fall-back would use are never
// ready, except where publishNotReadyAddresses asks for them.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { EndpointSlice, Service } from '../model/service.ts'

export interface HealthCheck {
  readonly port: number
  /** Ready endpoints of this node; a family that the Service does not have is not answered in. */
  readonly localEndpoints: Readonly<Partial<Record<Family, number>>>
}

/** @returns undefined when the Service has no such port */
export function planHealthCheck(
  service: Service,
  slices: readonly EndpointSlice[],
  { nodeName, nodeOf }: { nodeName: string; nodeOf: (address: Address) => string | undefined },
): HealthCheck | undefined {
  if (service.healthCheckNodePort === 0) return undefined
  const families = FAMILIES.filter((family) => service.clusterIps.some((ip) => familyOf(ip) === family))
  const localEndpoints: Partial<Record<Family, number>> = {}
  for (const family of families) {
    // An endpoint may stand in several slices, and behind several ports.
    const ready = new Set<Address>()
    for (const slice of slices) {
      if (slice.family !== family || slice.ports.length === 0) continue
      for (const { address, ready: isReady, nodeName: named } of slice.endpoints)
        if (isReady && (named ?? nodeOf(address)) === nodeName) ready.add(address)
    }
    localEndpoints[family] = ready.size
  }
  return { port: service.healthCheckNodePort, localEndpoints }
}
