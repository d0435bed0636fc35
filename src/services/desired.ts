// The planner's output: what the kernel should hold for one Service, before any number (backend id, slot range) is chosen.

import type { Address, Family, Prefix } from '../model/address.ts'
import type { Forwarding, ObjectKey, Protocol } from '../model/service.ts'

/** `gone`: listed but of no use any more; flows that point at it are judged afresh. */
export type BackendStateName = 'active' | 'terminating' | 'gone'

export interface DesiredBackend {
  /** Its `backendName`, made once. */
  readonly name: string
  readonly address: Address
  readonly port: number
  readonly protocol: Protocol
  readonly nodeName: string | undefined
  readonly state: BackendStateName
  /** 1 is normal; its share of a slot table is in proportion. */
  readonly weight: number
}

/** Text identity of a backend: the same on every node, and the order slot tables are built in. */
export function backendName(backend: { address: Address; port: number; protocol: Protocol }): string {
  return `${backend.address} ${backend.port} ${backend.protocol}`
}

export function makeBackend(named: Omit<DesiredBackend, 'name'>): DesiredBackend {
  return { ...named, name: backendName(named) }
}

/** Where the address comes from. `loopback` (a node port on 127.0.0.1 or ::1) is for sockets of the node alone. */
export type FrontendKind =
  | 'cluster-ip'
  | 'node-port'
  | 'external-ip'
  | 'load-balancer'
  | 'host-port'
  | 'loopback'

export interface DesiredFrontend {
  /** Its `frontendName`, made once. */
  readonly name: string
  readonly address: Address
  /** 0 catches the ports that no Service defines on this address. */
  readonly port: number
  readonly protocol: Protocol | 'ANY'
  /** Reachable from outside: externalTrafficPolicy counts, and hints do not. */
  readonly external: boolean
  readonly kind: FrontendKind
}

export function frontendName(frontend: Pick<DesiredFrontend, 'address' | 'port' | 'protocol'>): string {
  return `${frontend.address} ${frontend.port} ${frontend.protocol}`
}

export function makeFrontend(
  address: Address,
  port: number,
  protocol: DesiredFrontend['protocol'],
  kind: FrontendKind,
): DesiredFrontend {
  const name = frontendName({ address, port, protocol })
  return { name, address, port, protocol, external: kind !== 'cluster-ip', kind }
}

/**
 * `maglev`: a table indexed by the flow's hash, for what routers may spread over several nodes.
 * `list`: the backends one after another, for what only sockets choose from.
 */
export type Balancing = 'maglev' | 'list'

/** One Service port in one family: its frontends share two slot ranges. */
export interface DesiredPort {
  /** `namespace/name port/protocol family`; with ` inside` or ` outside` behind where hints make two tables of one port. */
  readonly id: string
  /** `namespace/name port/protocol`: what session affinity belongs to, whichever family and address the client uses. */
  readonly portName: string
  readonly service: ObjectKey
  readonly family: Family
  readonly balancing: Balancing
  /** Any slot for a new flow, instead of the one of its hash. */
  readonly isRandom: boolean
  readonly forwarding: Forwarding
  /** Who may use the load-balancer addresses among the frontends; empty: everybody. */
  readonly sourceRanges: readonly Prefix[]
  readonly frontends: readonly DesiredFrontend[]
  /** Every endpoint that is still listed, usable or not: their flows live on. Sorted by name. */
  readonly backends: readonly DesiredBackend[]
  /** Indexes into `backends`. */
  readonly cluster: readonly number[]
  readonly local: readonly number[]
  readonly anyEndpoint: boolean
  readonly externalLocal: boolean
  readonly internalLocal: boolean
  /** 0: none. */
  readonly affinitySeconds: number
  /** The older Service keeps an address and port that two claim. */
  readonly createdMs: number
}
