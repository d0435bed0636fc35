// Services, endpoints, nodes and pods as the planners see them: parsed, defaulted, and free of Kubernetes types.

import type { Address, Family, Prefix } from './address.ts'
import type { AnnounceKind, RouteAttributes, RoutingGates } from './routing.ts'

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

/** `namespace/name`. */
export type ObjectKey = string & { readonly __brand: 'ObjectKey' }

export function objectKey(namespace: string, name: string): ObjectKey {
  return `${namespace}/${name}` as ObjectKey
}

export type TrafficPolicy = 'Cluster' | 'Local'

/** How backends on other nodes are reached: by tunnel, answering the client directly, or masqueraded as this node. */
export type Forwarding = 'dsr' | 'snat'

/** A part of an object that cannot be used and was skipped; the rest of the object counts. */
export interface Problem {
  /** The reason of the Event that tells of it. */
  readonly reason: 'InvalidValue' | 'KubeProxyIncorrectIPVersion'
  /** Field and value: `spec.externalIPs[1] '10.0.0'`. */
  readonly what: string
  /** What is wrong with it, and the mend. */
  readonly why: string
}

export interface ServicePort {
  /** Empty for a Service with one unnamed port. */
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
  /** 0: none. */
  readonly nodePort: number
}

/** What a Service's annotations say about its announcements, beside the rules. */
export interface ServiceAnnouncing {
  /** Joined with those of the rules; its numbers win. */
  readonly attributes: RouteAttributes
  /** Names of peers: only these, of those that the rules allow; undefined: all of them. */
  readonly peers: readonly string[] | undefined
  /** kube-router's service.advertise.*: to every external peer whatever the rules say, or to none. Absent: as the rules say. */
  readonly advertise: Readonly<Partial<Record<AnnounceKind, boolean>>>
  /** undefined: as the node does it. */
  readonly withoutEndpoints: RoutingGates['withoutEndpoints'] | undefined
  /** What of the attributes cannot be read. Nothing of the Service is announced by them: others might be told than are meant to. */
  readonly unreadable?: string | undefined
  /** What cannot be read now; all the rest is what was said before that. */
  readonly overruled?: string | undefined
}

/** With whom a Service may have its load-balancer address in common. */
export interface SharingWish {
  readonly key: string
  /** Of other Services, beside its own. */
  readonly namespaces: 'all' | readonly string[]
  /** Its selector as canonical text: Services of a Local policy share only when they select the same pods. */
  readonly pods: string
}

/** What a Service's spec and annotations ask of its load-balancer addresses. */
export interface AddressWish {
  /** At most one of each family: this and no other. */
  readonly addresses: readonly Address[]
  /** The name of a pool: from this and no other. */
  readonly pool: string | undefined
  readonly sharing: SharingWish | undefined
  /** What of the wish cannot be read; it gets no address then, for it would not be the one that was meant. */
  readonly invalid: string | undefined
}

/** A condition on a Service's status that is ours. */
export interface AddressCondition {
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

/** One that is not ours to serve: headless, or another proxy's. Policies may speak of it all the same. */
export interface UnservedService {
  readonly key: ObjectKey
  readonly labels: Readonly<Record<string, string>>
}

/** Of such a Service. */
export interface UnservedSlice {
  readonly key: ObjectKey
  readonly service: ObjectKey
  readonly addresses: readonly Address[]
}

export interface Service {
  readonly key: ObjectKey
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  readonly clusterIps: readonly Address[]
  readonly externalIps: readonly Address[]
  /** What the datapath serves: from status, entries with ipMode Proxy left out, only while the type is LoadBalancer. */
  readonly loadBalancerIps: readonly Address[]
  /** Every address in status, so that the allocator sees what to keep and what to take back. */
  readonly statusIps: readonly Address[]
  readonly ports: readonly ServicePort[]
  /** Who may use the load-balancer addresses; a family without any is open to everybody. */
  readonly sourceRanges: readonly Prefix[]
  readonly externalTrafficPolicy: TrafficPolicy
  readonly internalTrafficPolicy: TrafficPolicy
  /** 0: none. Only with type LoadBalancer and externalTrafficPolicy Local. */
  readonly healthCheckNodePort: number
  /** 0: no session affinity. */
  readonly affinitySeconds: number
  /** undefined: as the cluster does it. */
  readonly forwarding: Forwarding | undefined
  /** How a new flow finds its slot: by its hash, which is what routers may spread, or at random. */
  readonly balancing: 'maglev' | 'random'
  /** Topology hints narrow what clients outside get, too. */
  readonly topologyForExternal: boolean
  /** undefined: it says nothing. */
  readonly announcing: ServiceAnnouncing | undefined
  /** Set when this Service asks for a load-balancer address from us, with the families it wants one in. */
  readonly loadBalancerFamilies: readonly Family[]
  /** Another implementation's class: its status is never ours to write. */
  readonly isForeignBalancer: boolean
  /** undefined: any address will do. */
  readonly addressWish: AddressWish | undefined
  /** As it stands in status; undefined: it does not. */
  readonly addressCondition: AddressCondition | undefined
  /** That an address of it may not be announced, as it stands in status; undefined: it does not. */
  readonly refusalCondition: AddressCondition | undefined
  /** Milliseconds since the epoch: the older Service keeps an address that two claim. */
  readonly createdMs: number
  readonly problems: readonly Problem[]
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
  /** Zones and nodes whose clients this endpoint is meant for; empty: no hint. */
  readonly forZones: readonly string[]
  readonly forNodes: readonly string[]
}

export interface EndpointSlice {
  readonly key: ObjectKey
  readonly uid: string
  readonly service: ObjectKey
  readonly family: Family
  readonly ports: readonly SlicePort[]
  readonly endpoints: readonly Endpoint[]
  /** Share of its endpoints beside those of other slices: 1 is normal. */
  readonly weight: number
  /** When the change that led to this slice happened, as its writer says; undefined: it does not say. */
  readonly triggeredAtMs: number | undefined
  readonly problems: readonly Problem[]
}

export interface Node {
  readonly name: string
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  /** Those of kube-router and our own: others may be long and change often. */
  readonly annotations: Readonly<Record<string, string>>
  /** First InternalIP of each family: where its tunnels end. */
  readonly internalIps: Readonly<Partial<Record<Family, Address>>>
  /** Every InternalIP and ExternalIP. */
  readonly addresses: readonly Address[]
  readonly podCidrs: readonly Prefix[]
  /** undefined: the node does not say. */
  readonly zone: string | undefined
  /** It is being deleted, or the cluster autoscaler is about to: load balancers should stop sending new connections. */
  readonly isLeaving: boolean
  /** `spec.unschedulable`: somebody cordoned it. */
  readonly isCordoned: boolean
  /** It has the label or the taint `weir.network/drain`; together with a cordon that is the wish that its traffic goes elsewhere. */
  readonly asksToDrain: boolean
}

export interface HostPort {
  readonly protocol: Protocol
  readonly hostPort: number
  /** undefined: every address of the node; `0.0.0.0` or `::`: every one of that family. */
  readonly hostIp: Address | undefined
  readonly containerPort: number
}

/** A pod of this node. */
export interface LocalPod {
  readonly key: ObjectKey
  readonly uid: string
  readonly addresses: readonly Address[]
  /** Shares the node's network: its ports are the node's own. */
  readonly isHostNetwork: boolean
  readonly hostPorts: readonly HostPort[]
  /** Neither finished nor being deleted. */
  readonly isRunning: boolean
  /** The older pod keeps a host port that two claim. */
  readonly createdMs: number
}

/** A network that ClusterIPs come from. */
export interface ServiceCidr {
  readonly name: string
  readonly prefixes: readonly Prefix[]
}
