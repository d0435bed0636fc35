// Services, endpoints and nodes as the planners see them: parsed, defaulted, and free of Kubernetes types.

import type { Address, Family, Prefix } from './address.ts'

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

/** `namespace/name`. */
export type ObjectKey = string & { readonly __brand: 'ObjectKey' }

export function objectKey(namespace: string, name: string): ObjectKey {
  return `${namespace}/${name}` as ObjectKey
}

export type TrafficPolicy = 'Cluster' | 'Local'

export interface ServicePort {
  /** Empty for a Service with one unnamed port. */
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
}

export interface Service {
  readonly key: ObjectKey
  readonly clusterIps: readonly Address[]
  readonly externalIps: readonly Address[]
  /** What the datapath serves: from status, entries with ipMode Proxy left out, only while the type is LoadBalancer. */
  readonly loadBalancerIps: readonly Address[]
  /** Every address in status, so that the allocator sees what to keep and what to take back. */
  readonly statusIps: readonly Address[]
  readonly ports: readonly ServicePort[]
  readonly externalTrafficPolicy: TrafficPolicy
  readonly internalTrafficPolicy: TrafficPolicy
  /** 0: no session affinity. */
  readonly affinitySeconds: number
  /** Set when this Service asks for a load-balancer address from us, with the families it wants one in. */
  readonly loadBalancerFamilies: readonly Family[]
  /** Another implementation's class: its status is never ours to write. */
  readonly isForeignBalancer: boolean
  /** Milliseconds since the epoch: the older Service keeps an address that two claim. */
  readonly createdMs: number
}

export interface SlicePort {
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
}

export interface Endpoint {
  readonly address: Address
  readonly nodeName: string | undefined
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
}

export interface EndpointSlice {
  readonly key: ObjectKey
  readonly service: ObjectKey
  readonly family: Family
  readonly ports: readonly SlicePort[]
  readonly endpoints: readonly Endpoint[]
}

export interface Node {
  readonly name: string
  /** First InternalIP of each family: where its tunnels end. */
  readonly internalIps: Readonly<Partial<Record<Family, Address>>>
  readonly podCidrs: readonly Prefix[]
}
