// The service planner: one Service and its EndpointSlices → the ports the kernel should hold. Pure.

import { type Address, FAMILIES, type Family } from '../model/address.ts'
import { fitted } from '../model/fitted.ts'
import type { EndpointSlice, Forwarding, Protocol, Service, ServicePort } from '../model/service.ts'
import { type Candidate, gatherCandidates, slicesOf } from './candidates.ts'
import {
  type BackendStateName,
  type Balancing,
  type DesiredBackend,
  type DesiredFrontend,
  type DesiredPort,
  makeFrontend,
} from './desired.ts'
import {
  addressesOf,
  type FrontendContext,
  frontendsOf,
  type ServiceAddresses,
  sourceRangesOf,
} from './frontends.ts'
import { type Selection, selectEndpoints } from './select-endpoints.ts'

export interface PlanContext extends FrontendContext {
  /** This node: decides the Local sets. */
  readonly nodeName: string
  /** Its zone, for topology hints. */
  readonly zone: () => string | undefined
  /** How a Service that does not choose reaches backends on other nodes. */
  readonly forwarding: Forwarding
  /**
   * Whether an address is nobody's but Services': inside a declared pool. Only there are the ports that no Service defines
   * refused; an external address may as well be a node's own, with SSH and BGP behind other ports.
   */
  readonly isVip: (address: Address) => boolean
  /**
   * Whether the API knows a node of this name. To one that it does not know no tunnel leads, so clients outside get none of its
   * endpoints; a socket's packets are routed, and reach them as long as they live.
   */
  readonly isNode: (name: string) => boolean
  /** The node an endpoint of a hand-written slice without nodeName lives on; undefined when no node claims the address. */
  readonly nodeOf: (address: Address) => string | undefined
}

/**
 * Plans every port of a Service, per family it has a ClusterIP in.
 * @param slices all slices of the Service, in any order; the same endpoint may stand in several
 */
export function planService(
  service: Service,
  slices: readonly EndpointSlice[],
  context: PlanContext,
): DesiredPort[] {
  const planned: DesiredPort[] = []
  for (const family of FAMILIES) {
    const addresses = addressesOf(service, family, context)
    if (!addresses || service.ports.length === 0) continue
    const familySlices = slicesOf(slices, family)
    for (const port of service.ports) {
      const candidates = gatherCandidates(familySlices, port, context.nodeName, context.nodeOf)
      planPort({ service, port, family, addresses, candidates, context }, planned)
    }
    planUndefinedPorts(service, family, addresses, context, planned)
  }
  return fitted(planned)
}

interface PortInputs {
  readonly service: Service
  readonly port: ServicePort
  readonly family: Family
  readonly addresses: ServiceAddresses
  readonly candidates: readonly Candidate[]
  readonly context: PlanContext
}

/**
 * One table serves all frontends of a port, unless what clients inside the cluster get differs from what those outside get:
 *   inside    what hints leave over; any endpoint, for a socket reaches whatever the node routes to
 *   outside   every endpoint, for all nodes must choose alike; only those on known nodes, for only there a tunnel leads
 */
function planPort(inputs: PortInputs, into: DesiredPort[]): void {
  const { service, port, addresses, candidates, context } = inputs
  const frontends = frontendsOf(port, addresses)
  const place = { nodeName: context.nodeName, zone: context.zone() }
  const selection = selectEndpoints(candidates, place)
  const base = describePort(inputs)
  const { inside, outside } = frontends
  if (outside.length === 0) {
    // Nobody asks for more than the endpoints of this node.
    const cluster = service.internalTrafficPolicy === 'Local' ? [] : selection.nearby
    into.push({
      ...base,
      ...choose(selection, cluster),
      balancing: tableFor(inside, base),
      frontends: inside,
    })
    return
  }
  const isPlaced = ({ nodeName }: Candidate) =>
    nodeName !== undefined && (nodeName === context.nodeName || context.isNode(nodeName))
  const reachable = candidates.every(isPlaced) ? selection : selectEndpoints(candidates, place, isPlaced)
  const cluster = service.topologyForExternal ? reachable.nearby : reachable.cluster
  if (isSame(cluster, selection.nearby)) {
    const all = [...inside, ...outside]
    into.push({ ...base, ...choose(selection, cluster), balancing: tableFor(all, base), frontends: all })
    return
  }
  into.push(
    {
      ...base,
      ...choose(selection, selection.nearby),
      id: `${base.id} inside`,
      balancing: tableFor(inside, base),
      frontends: inside,
    },
    {
      ...base,
      ...choose(reachable, cluster),
      id: `${base.id} outside`,
      balancing: tableFor(outside, base),
      frontends: outside,
    },
  )
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((value, index) => value === b[index]))
}

function choose(
  selection: Selection,
  cluster: readonly number[],
): Pick<DesiredPort, 'cluster' | 'local' | 'anyEndpoint'> {
  const anyEndpoint = selection.cluster.length > 0 || selection.local.length > 0
  return { cluster, local: selection.local, anyEndpoint }
}

/** Routers spread what they announce; a node's own address leads to that node alone, so its table is nobody else's. */
function tableFor(
  frontends: readonly DesiredFrontend[],
  { backends }: { readonly backends: readonly DesiredBackend[] },
): Balancing {
  const isSpread = frontends.some(({ kind }) => kind === 'load-balancer' || kind === 'external-ip')
  const isWeighted = backends.some(({ weight }) => weight !== backends[0]?.weight)
  return isSpread || isWeighted ? 'maglev' : 'list'
}

function describePort({
  service,
  port,
  family,
  addresses,
  candidates,
  context,
}: PortInputs): Omit<DesiredPort, 'frontends' | 'cluster' | 'local' | 'anyEndpoint' | 'balancing'> {
  const portName = `${service.key} ${port.port}/${port.protocol}`
  return {
    id: `${portName} ${family}`,
    portName,
    service: service.key,
    family,
    isRandom: service.balancing === 'random',
    forwarding: service.forwarding ?? context.forwarding,
    sourceRanges: sourceRangesOf(service, family, addresses, context),
    backends: candidates.map((candidate) => toBackend(candidate, port.protocol)),
    externalLocal: service.externalTrafficPolicy === 'Local',
    internalLocal: service.internalTrafficPolicy === 'Local',
    affinitySeconds: service.affinitySeconds,
    createdMs: service.createdMs,
  }
}

function toBackend(candidate: Candidate, protocol: Protocol): DesiredBackend {
  const { name, address, port, nodeName, weight } = candidate
  return { name, address, port, protocol, nodeName, state: stateOf(candidate, protocol), weight }
}

/**
 * A TCP connection lives on for as long as its ends want, whatever became of the endpoint. What has no connections stays while
 * the endpoint serves, and must leave one that does not: its client would send into nothing for ever.
 */
function stateOf({ ready, serving }: Candidate, protocol: Protocol): BackendStateName {
  if (ready) return 'active'
  return serving || protocol === 'TCP' ? 'terminating' : 'gone'
}

/**
 * A Service's own address refuses the ports nobody defined, as a host would. A node's address is not the Service's own, and an
 * external address only inside a pool.
 */
function planUndefinedPorts(
  service: Service,
  family: Family,
  { cluster, external, loadBalancer }: ServiceAddresses,
  { isVip }: PlanContext,
  into: DesiredPort[],
): void {
  const add = (address: Address, kind: DesiredFrontend['kind']) => {
    const id = `${service.key} undefined-ports ${address}`
    const frontend = makeFrontend(address, 0, 'ANY', kind)
    into.push({
      ...REFUSING,
      id,
      portName: id,
      service: service.key,
      family,
      frontends: [frontend],
      createdMs: service.createdMs,
    })
  }
  for (const address of cluster) add(address, 'cluster-ip')
  for (const address of external) if (isVip(address)) add(address, 'external-ip')
  for (const address of loadBalancer) if (isVip(address)) add(address, 'load-balancer')
}

/** A port without endpoints: whoever comes is refused. */
const REFUSING = {
  balancing: 'list',
  isRandom: false,
  forwarding: 'dsr',
  sourceRanges: [],
  backends: [],
  cluster: [],
  local: [],
  anyEndpoint: false,
  externalLocal: false,
  internalLocal: false,
  affinitySeconds: 0,
} as const
