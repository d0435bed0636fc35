// How a connection to a Service's address gets to an endpoint, as the datapath leads it: what policy is asked at either end. Pure.
//
//   from a pod or a node      translated at the socket: to the endpoint, with the sender's own address
//   to another node's port    first to that node, which leads it on as it does what comes from outside
//   from outside              by a node that it enters at. To a pod of that node, and by `dsr` to every other, with the sender's own address;
//                             by `snat`, and by node ports always, to others' with that node's, which policy takes for the world's

import type { Address, Family } from '../model/address.ts'
import type { PolicyPacket } from '../model/policy.ts'
import type { DesiredPort, FrontendKind } from '../services/desired.ts'

/** What one end is asked. */
export type Asked = Pick<PolicyPacket, 'protocol' | 'port'> & {
  readonly source: Address
  readonly destination: Address
  readonly isMasqueraded: boolean
  readonly isHairpin: boolean
}

export interface Way {
  readonly egress: Asked
  readonly ingress: Asked
  /** Where it ends. */
  readonly endpoint: { readonly address: Address; readonly port: number; readonly node: string | undefined }
  /** The node that leads it there with its own address; undefined: it arrives with the sender's. */
  readonly lentBy: string | undefined
  /** The same for several entries and endpoints: how it gets there, in words. */
  readonly how: string
}

/** A Service's address and port, as the nodes have it. */
export interface ReachedService {
  /** `Service shop/web`, `host port of pod shop/web`. */
  readonly name: string
  readonly kind: FrontendKind
  /** Of a node's port: whose it is. */
  readonly owner: string | undefined
  /** As that node would lead what comes to it. */
  readonly planAt: (node: string) => DesiredPort | undefined
}

export interface WayContext {
  /** This node, which answers for any where they are alike. */
  readonly node: string
  readonly nodes: readonly string[]
  /** As what a node masquerades. */
  readonly addressOf: (node: string, family: Family) => Address | undefined
}

/** Nodes with endpoints that clients may enter at, and as many without: more tell nothing new. */
const ENTRIES_MAX = 8
/** Endpoints that are judged. */
export const ENDPOINTS_MAX = 32

export interface Connection extends Pick<PolicyPacket, 'protocol' | 'port'> {
  readonly source: Address
  readonly destination: Address
  readonly family: Family
  /** The node where the sender is; undefined: it is outside. */
  readonly from: string | undefined
}

interface Led extends Connection {
  readonly reached: ReachedService
  readonly context: WayContext
}

/** Empty: no endpoint is to be had. */
export function waysTo(connection: Connection, reached: ReachedService, context: WayContext): readonly Way[] {
  const led = { ...connection, reached, context }
  const { from } = connection
  const { owner } = reached
  if (from !== undefined && (owner === undefined || owner === from)) return fromInside(led, from)
  return owner === undefined ? fromAnywhere(led) : byEntry(led, owner)
}

function fromInside(led: Led, from: string): readonly Way[] {
  const { reached } = led
  const port = reached.planAt(from)
  const isLocal = reached.kind === 'cluster-ip' && port?.internalLocal === true
  const endpoints = port ? endpointsOf(port, isLocal ? port.local : port.cluster) : []
  const how = `translated at the sender's socket, source address kept`
  return endpoints.map((endpoint) => {
    const asked = { ...askedOf(led), ...toEndpoint(endpoint), isHairpin: endpoint.address === led.source }
    return { egress: asked, ingress: asked, endpoint, lentBy: undefined, how }
  })
}

/** Every node answers for the address: routers choose. */
function fromAnywhere(led: Led): readonly Way[] {
  const { reached, context } = led
  const here = reached.planAt(context.node)
  if (here === undefined) return []
  const owners = new Set(here.backends.flatMap(({ nodeName }) => nodeName ?? []))
  // Those with endpoints, and then some without, which lead nowhere where the policy is Local.
  const others = isLocalOnly(here, reached) ? [] : context.nodes
  const entries = [...new Set([...[...owners].slice(0, ENTRIES_MAX), ...others])].slice(0, 2 * ENTRIES_MAX)
  return entries.flatMap((entry) => byEntry(led, entry))
}

function isLocalOnly(port: DesiredPort, { kind }: ReachedService): boolean {
  return kind === 'cluster-ip' ? port.internalLocal : port.externalLocal
}

/** By one node, as what comes to it from elsewhere. */
function byEntry(led: Led, entry: string): readonly Way[] {
  const { reached, context, family, from } = led
  const port = reached.planAt(entry)
  if (port === undefined) return []
  const egress = askedOf(led)
  const lent = context.addressOf(entry, family)
  const isOnlyHere = isLocalOnly(port, reached)
  // Another node cannot answer in the name of a node's own address.
  const isDsr = port.forwarding === 'dsr' && reached.owner === undefined
  return endpointsOf(port, isOnlyHere ? port.local : port.cluster).map((endpoint) => {
    const isLent = endpoint.node !== entry && !isDsr && lent !== undefined
    const asked = { ...egress, ...toEndpoint(endpoint), isHairpin: endpoint.address === led.source }
    const ingress = isLent ? { ...asked, source: lent, isMasqueraded: true, isHairpin: false } : asked
    const snat = `source NAT to the entry node's address: policy sees an external client`
    const enters = endpoint.node === entry ? `enters at the endpoint's node: ` : 'enters at another node: '
    const lead = isDsr || isOnlyHere ? '' : from === undefined ? enters : ''
    const how = `${from === undefined ? '' : `through node ${entry}: `}${lead}${isLent ? snat : 'source address kept'}`
    // Whoever is outside has nothing to be asked about at its end.
    return {
      egress: from === undefined ? asked : egress,
      ...{ ingress, endpoint, lentBy: isLent ? entry : undefined, how },
    }
  })
}

function endpointsOf(port: DesiredPort, indexes: readonly number[]): Way['endpoint'][] {
  return indexes.slice(0, ENDPOINTS_MAX).flatMap((index) => {
    const backend = port.backends[index]
    return backend ? [{ address: backend.address, port: backend.port, node: backend.nodeName }] : []
  })
}

function toEndpoint({ address, port }: Way['endpoint']) {
  return { destination: address, port }
}

function askedOf({ source, destination, protocol, port }: Connection): Asked {
  return { source, destination, protocol, port, isMasqueraded: false, isHairpin: false }
}
