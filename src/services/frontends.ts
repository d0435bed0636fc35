// The addresses and ports by which clients reach a Service: ClusterIPs, node ports, externalIPs and load-balancer addresses.

import { type Address, type Family, familyOf, type Prefix, prefixContains } from '../model/address.ts'
import type { Service, ServicePort } from '../model/service.ts'
import { type DesiredFrontend, type FrontendKind, makeFrontend } from './desired.ts'

/** What the frontends of a node depend on, besides the Service. */
export interface FrontendContext {
  /** Where this node's node ports are served; loopback addresses among them, for sockets of the node alone. */
  readonly nodePortAddresses: () => readonly Address[]
  /** Every address of this node. */
  readonly nodeAddresses: () => readonly Address[]
  /** Whether the operator lets a Service take this address for itself by externalIPs. */
  readonly mayBeExternal: (address: Address) => boolean
}

/** The addresses of a Service in one family. */
export interface ServiceAddresses {
  readonly cluster: readonly Address[]
  readonly external: readonly Address[]
  readonly loadBalancer: readonly Address[]
  readonly node: readonly Address[]
}

/** undefined: the Service has no ClusterIP of this family, so nothing of it is served there. */
export function addressesOf(
  service: Service,
  family: Family,
  context: FrontendContext,
): ServiceAddresses | undefined {
  const inFamily = (address: Address) => familyOf(address) === family
  const cluster = service.clusterIps.filter(inFamily)
  if (cluster.length === 0) return undefined
  const loadBalancer = unique(service.loadBalancerIps.filter(inFamily))
  const taken = new Set([...cluster, ...loadBalancer])
  return {
    cluster,
    loadBalancer,
    external: unique(
      service.externalIps.filter(
        (address) => inFamily(address) && !taken.has(address) && context.mayBeExternal(address),
      ),
    ),
    node: service.ports.some((port) => port.nodePort !== 0)
      ? context.nodePortAddresses().filter(inFamily)
      : [],
  }
}

function unique(addresses: readonly Address[]): readonly Address[] {
  return addresses.length < 2 ? addresses : [...new Set(addresses)]
}

/** The frontends for clients inside the cluster, and those that clients outside may use. */
export function frontendsOf(
  { port, nodePort, protocol }: ServicePort,
  addresses: ServiceAddresses,
): { inside: DesiredFrontend[]; outside: DesiredFrontend[] } {
  const outside: DesiredFrontend[] = []
  const add = (kind: FrontendKind, list: readonly Address[], number: number) => {
    for (const address of list) outside.push(makeFrontend(address, number, protocol, kind))
  }
  add('external-ip', addresses.external, port)
  add('load-balancer', addresses.loadBalancer, port)
  if (nodePort !== 0) {
    for (const address of addresses.node)
      add(isLoopback(address) ? 'loopback' : 'node-port', [address], nodePort)
  }
  return {
    inside: addresses.cluster.map((address) => makeFrontend(address, port, protocol, 'cluster-ip')),
    outside,
  }
}

export function isLoopback(address: Address): boolean {
  return address === '::1' || address.startsWith('127.')
}

const NO_RANGES: readonly Prefix[] = []

/**
 * Who may use the load-balancer addresses of one family. A node that may also reaches its own VIP with the VIP as its source,
 * so the VIP is allowed with it.
 */
export function sourceRangesOf(
  service: Service,
  family: Family,
  { loadBalancer }: ServiceAddresses,
  { nodeAddresses }: FrontendContext,
): readonly Prefix[] {
  if (loadBalancer.length === 0 || service.sourceRanges.length === 0) return NO_RANGES
  const ranges = service.sourceRanges.filter((range) => familyOf(range) === family)
  const allowsThisNode = nodeAddresses().some((address) =>
    ranges.some((range) => prefixContains(range, address)),
  )
  if (!allowsThisNode) return ranges
  const bits = family === 'ipv4' ? 32 : 128
  return [...new Set([...ranges, ...loadBalancer.map((vip) => `${vip}/${bits}` as Prefix)])]
}
