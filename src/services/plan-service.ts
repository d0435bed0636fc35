// The service planner: one Service and its EndpointSlices → the ports the kernel should hold. Pure.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { Endpoint, EndpointSlice, Service, ServicePort } from '../model/service.ts'
import type { DesiredBackend, DesiredFrontend, DesiredPort } from './desired.ts'
import { backendName } from './desired.ts'
import { type Candidate, selectEndpoints } from './select-endpoints.ts'

export interface PlanContext {
  /** This node: decides the Local sets. */
  readonly nodeName: string
  /**
   * Whether an address is nobody's but Services': inside a declared pool. Only there are the ports that no Service defines
   * refused; an external address may as well be a node's own, with SSH and BGP behind other ports.
   */
  readonly isVip: (address: Address) => boolean
  /** The node an endpoint of a hand-written slice without nodeName lives on; undefined when no node claims the address. */
  readonly nodeOf: (address: Address) => string | undefined
  /** Addresses that no externalIP may take: nodes' and routers' own, pods', API servers'. */
  readonly isForbidden: (address: Address) => boolean
}

/**
 * Plans every port of a Service, per family it has an address in.
 * @param slices all slices of the Service, in any order; the same endpoint may stand in several
 */
export function planService(
  service: Service,
  slices: readonly EndpointSlice[],
  context: PlanContext,
): DesiredPort[] {
  const planned: DesiredPort[] = []
  for (const family of FAMILIES) {
    const addresses = frontendAddresses(service, family, context)
    if (addresses.internal.length + addresses.external.length === 0) continue
    for (const port of service.ports) {
      const candidates = placeCandidates(gatherCandidates(slices, family, port), addresses, context)
      planned.push(planPort(service, port, family, addresses, candidates, context.nodeName))
    }
    if (service.ports.length > 0)
      planned.push(...planUndefinedPorts(service, family, addresses.external.filter(context.isVip)))
  }
  return planned
}

interface FrontendAddresses {
  readonly internal: readonly Address[]
  readonly external: readonly Address[]
}

function frontendAddresses(
  service: Service,
  family: Family,
  { isForbidden }: PlanContext,
): FrontendAddresses {
  const inFamily = (address: Address) => familyOf(address) === family
  return {
    internal: service.clusterIps.filter(inFamily),
    external: [
      ...new Set(
        [
          ...service.externalIps.filter((address) => !isForbidden(address)),
          ...service.loadBalancerIps,
        ].filter(inFamily),
      ),
    ],
  }
}

/** The port's endpoints, once each: of two copies the one of this cluster's own view with a node name wins. */
function gatherCandidates(slices: readonly EndpointSlice[], family: Family, port: ServicePort): Candidate[] {
  const byName = new Map<string, Candidate>()
  for (const slice of slices) {
    if (slice.family !== family) continue
    for (const slicePort of slice.ports) {
      if (slicePort.name !== port.name || slicePort.protocol !== port.protocol) continue
      for (const endpoint of slice.endpoints) addCandidate(byName, endpoint, slicePort.port)
    }
  }
  return [...byName.values()].sort((a, b) => compareText(candidateName(a), candidateName(b)))
}

/**
 * Endpoints without a node name get the one that claims their address. What stays without one can be reached from a socket,
 * but no tunnel leads there: a port with external addresses leaves it out, so that it is neither announced nor chosen.
 */
function placeCandidates(
  candidates: readonly Candidate[],
  addresses: FrontendAddresses,
  { nodeOf }: PlanContext,
): Candidate[] {
  return candidates
    .map((candidate) => ({ ...candidate, nodeName: candidate.nodeName ?? nodeOf(candidate.address) }))
    .filter((candidate) => candidate.nodeName !== undefined || addresses.external.length === 0)
}

function addCandidate(byName: Map<string, Candidate>, endpoint: Endpoint, port: number): void {
  const candidate: Candidate = { ...endpoint, port }
  const name = candidateName(candidate)
  const known = byName.get(name)
  // While an endpoint moves between slices both hold it; the copy that is still ready must not lose to a stale one.
  if (known && (known.ready || !candidate.ready)) return
  byName.set(name, candidate)
}

function candidateName(candidate: { address: Address; port: number }): string {
  return `${candidate.address} ${candidate.port}`
}

function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function planPort(
  service: Service,
  port: ServicePort,
  family: Family,
  addresses: FrontendAddresses,
  candidates: readonly Candidate[],
  nodeName: string,
): DesiredPort {
  const selection = selectEndpoints(candidates, nodeName)
  const backends = candidates.map(
    (candidate): DesiredBackend => ({
      address: candidate.address,
      port: candidate.port,
      protocol: port.protocol,
      nodeName: candidate.nodeName,
      state: candidate.terminating || !candidate.ready ? 'terminating' : 'active',
      weight: 1,
    }),
  )
  const indexOf = new Map(backends.map((backend, index) => [backendName(backend), index]))
  const indexes = (chosen: readonly Candidate[]) =>
    chosen.map((candidate) => indexOf.get(backendName({ ...candidate, protocol: port.protocol })) ?? -1)
  const frontend =
    (external: boolean) =>
    (address: Address): DesiredFrontend => ({
      address,
      port: port.port,
      protocol: port.protocol,
      external,
      kind: external ? 'load-balancer' : 'cluster-ip',
    })
  return {
    id: `${service.key} ${port.port}/${port.protocol} ${family}`,
    portName: `${service.key} ${port.port}/${port.protocol}`,
    service: service.key,
    family,
    balancing: addresses.external.length > 0 ? 'maglev' : 'list',
    isRandom: false,
    forwarding: 'dsr',
    sourceRanges: [],
    frontends: [...addresses.internal.map(frontend(false)), ...addresses.external.map(frontend(true))],
    backends,
    cluster: indexes(selection.cluster),
    local: indexes(selection.local),
    anyEndpoint: selection.any,
    externalLocal: service.externalTrafficPolicy === 'Local',
    internalLocal: service.internalTrafficPolicy === 'Local',
    affinitySeconds: service.affinitySeconds,
    createdMs: service.createdMs,
  }
}

/** A VIP refuses the ports nobody defined, as a host would. */
function planUndefinedPorts(service: Service, family: Family, addresses: readonly Address[]): DesiredPort[] {
  return addresses.map((address) => ({
    id: `${service.key} undefined-ports ${address}`,
    portName: `${service.key} undefined-ports ${address}`,
    service: service.key,
    family,
    balancing: 'list',
    isRandom: false,
    forwarding: 'dsr',
    sourceRanges: [],
    frontends: [{ address, port: 0, protocol: 'ANY', external: true, kind: 'load-balancer' }],
    backends: [],
    cluster: [],
    local: [],
    anyEndpoint: false,
    externalLocal: false,
    internalLocal: false,
    affinitySeconds: 0,
    createdMs: service.createdMs,
  }))
}
