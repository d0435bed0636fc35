// The kernel's tables as the writers see them: our own types in, our own types out. maps.ts implements them on BPF maps;
// tests may implement them on plain Maps.

import type { Address, Prefix } from '../model/address.ts'
import type { Protocol } from '../model/service.ts'
import type { Extent } from './extents.ts'
import type { PlannedNexthop } from './nexthop-plan.ts'
import type { SourceRangeKey } from './source-ranges.ts'

/** A hash map. Setting is idempotent; deleting what is not there is fine. */
export interface KernelHash<Key, Value> {
  entries(): Iterable<readonly [Key, Value]>
  set(key: Key, value: Value): void
  delete(key: Key): void
}

/** An array map: every row exists, a zeroed row means nothing. */
export interface KernelArray<Value> {
  readonly length: number
  /** Rows that are not zeroed. */
  entries(): Iterable<readonly [number, Value]>
  set(index: number, value: Value | undefined): void
}

/** A table that takes many rows at once. */
export interface TakesMany<Key, Value> {
  batch(): RowBatch<Key, Value>
}

/** A table that loses many rows at once; those that are not there are passed over. */
export interface LosesMany<Key> {
  deleteMany(keys: readonly Key[]): void
}

/** Rows that wait to be written together. What is added is taken as it is now. */
export interface RowBatch<Key, Value> {
  add(key: Key, value: Value): void
  /** In order; afterwards nothing waits. When the kernel refuses, what came before is written, and all of it waits still. */
  write(): void
}

/** Looks at one row; undefined: none, or a zeroed one. */
export interface CanGet<Key, Value> {
  get(key: Key): Value | undefined
}

/** `ANY` with port 0 catches the ports that no Service defines. */
export interface FrontendKey {
  readonly address: Address
  readonly port: number
  readonly protocol: Protocol | 'ANY'
}

export interface FrontendValue {
  readonly frontendId: number
  readonly serviceId: number
  /** FrontendFlags of the ABI. */
  readonly flags: number
  /** In flow ticks; 0: none. */
  readonly affinityTicks: number
  /** The Service port, shared by all its frontends. */
  readonly portId: number
  readonly cluster: Extent
  readonly clusterBefore: Extent
  readonly local: Extent
  readonly localBefore: Extent
}

export interface FrontendAddressValue {
  readonly address: Address
  readonly port: number
  readonly protocol: Protocol | 'ANY'
  readonly serviceId: number
}

export interface BackendKey {
  readonly address: Address
  readonly port: number
  readonly protocol: Protocol
}

export interface BackendValue extends BackendKey {
  readonly state: 'active' | 'terminating' | 'gone'
  readonly isLocal: boolean
  readonly nexthopId: number
  readonly nodeId: number
}

export interface NodeValue {
  readonly nodeId: number
  readonly nexthopId: number
}

export interface EndpointValue {
  readonly ifindex: number
  readonly nexthopId: number
  readonly podMac: Uint8Array
  readonly hostMac: Uint8Array
}

/** By which addresses the sockets of a network namespace speak; undefined: by none of the family. */
export interface NetnsEndpointValue {
  readonly ipv4: Address | undefined
  readonly ipv6: Address | undefined
}

/** Ids of cgroups on the way from the root of pods to a socket that met a closed default; one of them is its pod's. */
export type NotedNetnsValue = readonly bigint[]

/** A nexthop row; a tunnel's `via` names the group that leads to it, a pod's device's the bridge whose port it is. */
export interface NexthopValue {
  readonly planned: PlannedNexthop
  readonly via: number
}

export interface ServiceTables {
  readonly frontends: KernelHash<FrontendKey, FrontendValue>
  readonly frontendAddresses: KernelArray<FrontendAddressValue>
  /** The bits of frontend_filter, in kernel memory. */
  readonly filter: Uint32Array
  /** Backend ids, written straight into kernel memory. */
  readonly slots: Uint32Array
  readonly backends: KernelArray<BackendValue>
  readonly backendIds: KernelHash<BackendKey, number>
  readonly sourceRanges: KernelHash<SourceRangeKey, number>
  readonly serviceCidrs: KernelHash<Prefix, number>
}

/** The tables that a Service's change writes rows of by the thousand. */
export interface BatchTables extends ServiceTables {
  readonly frontends: ServiceTables['frontends'] & TakesMany<FrontendKey, FrontendValue>
  readonly frontendAddresses: ServiceTables['frontendAddresses'] & TakesMany<number, FrontendAddressValue>
  readonly backends: ServiceTables['backends'] & TakesMany<number, BackendValue>
  readonly backendIds: ServiceTables['backendIds'] & TakesMany<BackendKey, number>
}

export interface NexthopTables {
  readonly nexthops: KernelArray<NexthopValue>
  readonly nodes: KernelHash<Address, NodeValue>
  readonly endpoints: KernelHash<Address, EndpointValue>
}
