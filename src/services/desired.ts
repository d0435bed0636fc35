// The planner's output: what the kernel should hold for one Service, before any number (backend id, slot range) is chosen.

import type { Address, Family } from '../model/address.ts'
import type { ObjectKey, Protocol } from '../model/service.ts'

export type BackendStateName = 'active' | 'terminating'

export interface DesiredBackend {
  readonly address: Address
  readonly port: number
  readonly protocol: Protocol
  readonly nodeName: string | undefined
  readonly state: BackendStateName
}

/** Text identity of a backend: the same on every node, and the order slot tables are built in. */
export function backendName(backend: { address: Address; port: number; protocol: Protocol }): string {
  return `${backend.address} ${backend.port} ${backend.protocol}`
}

export interface DesiredFrontend {
  readonly address: Address
  /** 0 catches the ports that no Service defines on this address. */
  readonly port: number
  readonly protocol: Protocol | 'ANY'
  readonly external: boolean
}

export function frontendName(frontend: DesiredFrontend): string {
  return `${frontend.address} ${frontend.port} ${frontend.protocol}`
}

/**
 * `maglev`: a table indexed by the flow's hash, for what routers may spread over several nodes.
 * `list`: the backends one after another, for what only sockets choose from.
 */
export type Balancing = 'maglev' | 'list'

/** One Service port in one family: its frontends share two slot ranges. */
export interface DesiredPort {
  /** `namespace/name port/protocol family`. */
  readonly id: string
  readonly service: ObjectKey
  readonly family: Family
  readonly balancing: Balancing
  readonly frontends: readonly DesiredFrontend[]
  /** Every endpoint that is still listed, usable or not: their flows live on. Sorted by name. */
  readonly backends: readonly DesiredBackend[]
  /** Indexes into `backends`. */
  readonly cluster: readonly number[]
  readonly local: readonly number[]
  readonly anyEndpoint: boolean
  readonly externalLocal: boolean
  readonly internalLocal: boolean
  readonly affinitySeconds: number
  /** The older Service keeps an address and port that two claim. */
  readonly createdMs: number
}
