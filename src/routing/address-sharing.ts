// When several Services may have one load-balancer address. The terms are those of Cilium's LB-IPAM and MetalLB, which agree: the same
// key on both, no port of one protocol in both, the same externalTrafficPolicy and, where that is Local, the same pods; for a node
// announces the address for all of them or for none.

import type { ObjectKey, ServicePort, SharingWish, TrafficPolicy } from '../model/service.ts'

export interface SharingClaim {
  readonly service: ObjectKey
  readonly sharing: SharingWish | undefined
  readonly ports: readonly Pick<ServicePort, 'protocol' | 'port'>[]
  readonly trafficPolicy: TrafficPolicy
}

/** Why `mine` may not have an address that `theirs` has; undefined: it may. */
export function whyNotShared(mine: SharingClaim, theirs: SharingClaim): string | undefined {
  if (mine.sharing === undefined)
    return 'this Service has no sharing key; give both the same weir.network/sharing-key'
  if (theirs.sharing === undefined)
    return 'that Service has no sharing key; give both the same weir.network/sharing-key'
  if (mine.sharing.key !== theirs.sharing.key) return `that Service's sharing key is '${theirs.sharing.key}'`
  const isAllowed = allows(mine.sharing, mine, theirs) && allows(theirs.sharing, theirs, mine)
  if (!isAllowed) return 'they are of different namespaces, and not both allow that'
  const port = mine.ports.find((one) =>
    theirs.ports.some(({ protocol, port: number }) => protocol === one.protocol && number === one.port),
  )
  if (port !== undefined) return `both have port ${port.port}/${port.protocol}`
  if (mine.trafficPolicy !== theirs.trafficPolicy) return 'their externalTrafficPolicy differs'
  if (mine.trafficPolicy === 'Local' && mine.sharing.pods !== theirs.sharing.pods)
    return 'their externalTrafficPolicy is Local and their selectors differ'
  return undefined
}

function allows(sharing: SharingWish, { service }: SharingClaim, other: SharingClaim): boolean {
  const namespace = namespaceOf(other.service)
  if (namespace === namespaceOf(service)) return true
  return sharing.namespaces === 'all' || sharing.namespaces.includes(namespace)
}

function namespaceOf(service: ObjectKey): string {
  return service.slice(0, service.indexOf('/'))
}
