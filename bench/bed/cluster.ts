// The cluster that a node is measured in, as a function of its number of Services: the same for Weir and for what it is held against. Pure.
//
//   10.244.0.0/16   pods; 10.244.0.2–251 on the node itself, 10.244.N.2–251 on node N (1–100)
//   172.20.0.0/16   nodes
//   10.96.0.0/12    ClusterIPs      192.0.2.0/24   load-balancer addresses      198.18.0.0/15   clients outside
//
// Up to 64 Services have a load-balancer address, evenly spread among all, as in clusters in which most Services are for the inside;
// half of these have their ten endpoints on this node and externalTrafficPolicy Local (so kube-proxy need not masquerade), half have
// them on other nodes. Endpoints share the pods of a node, each with a port of its own.

import type { Address, Prefix } from '../../src/model/address.ts'
import { type EndpointSlice, type Node, objectKey, type Service } from '../../src/model/service.ts'
import type { ProxiedNode, ProxiedService } from '../rivals/service.ts'
import { ipv4, ipv4Text } from './ipv4.ts'
import { serviceRow } from './service-row.ts'

export const ENDPOINTS = 10
export const EXTERNAL_MAX = 64
export const SERVICE_PORT = 80
/** Endpoints of Services with a load-balancer address listen at the first few from here. */
export const FIRST_TARGET_PORT = 8000
export const PODS_HERE = 250
export const OTHER_NODES = 100
export const POD_NETWORK = '10.244.0.0/16'
const NAMESPACES = 100

export const NODE_ADDRESS = '172.20.0.1'
export const NODE_NAME = 'node-0'
export const PROXIED_NODE: ProxiedNode = {
  address: NODE_ADDRESS,
  clusterCidr: POD_NETWORK,
  serviceCidr: '10.96.0.0/12',
}

const CLUSTER_IP_FIRST = ipv4(10, 96, 0, 10)
const VIP_FIRST = ipv4(192, 0, 2, 1)
const POD_FIRST = ipv4(10, 244, 0, 2)
const NODE_FIRST = ipv4(172, 20, 0, 1)

export const nodeAddress = (node: number): Address => ipv4Text(NODE_FIRST + node)
export const podAddress = (node: number, pod: number): Address => ipv4Text(POD_FIRST + (node << 8) + pod)

export interface BenchService extends ProxiedService {
  /** Of each endpoint, in the same order: 0 is the node itself. */
  readonly nodes: readonly number[]
  readonly isLocal: boolean
}

/** Where the Services with a load-balancer address are in the list. */
export function externalPlaces(size: number): number[] {
  const count = Math.min(size, EXTERNAL_MAX)
  return Array.from({ length: count }, (_, index) => Math.floor((index * size) / count))
}

/** All Services, one at a time: a hundred thousand need not be in memory together. */
export function* benchServices(size: number, protocol: 'tcp' | 'udp'): Generator<BenchService> {
  const places = new Map(externalPlaces(size).map((place, index) => [place, index]))
  // Endpoints of external Services come first, so that their ports are few.
  const ordinals = { local: places.size, remote: places.size }
  for (let place = 0; place < size; place += 1) {
    const external = places.get(place)
    const isLocal = (external ?? place) % 2 === 0
    const side = isLocal ? 'local' : 'remote'
    const ordinal = external === undefined ? ordinals[side]++ : Math.floor(external / 2)
    yield benchService(place, external, isLocal, ordinal, protocol)
  }
}

function benchService(
  place: number,
  external: number | undefined,
  isLocal: boolean,
  ordinal: number,
  protocol: 'tcp' | 'udp',
): BenchService {
  const spread = isLocal ? 1 : OTHER_NODES
  const members = Array.from({ length: ENDPOINTS }, (_, member) => {
    const number = ordinal * ENDPOINTS + member
    const node = isLocal ? 0 : 1 + (number % OTHER_NODES)
    const onNode = Math.floor(number / spread)
    const port = FIRST_TARGET_PORT + Math.floor(onNode / PODS_HERE)
    return { node, endpoint: { address: podAddress(node, onNode % PODS_HERE), port, isLocal } }
  })
  return {
    namespace: `team-${String(place % NAMESPACES).padStart(3, '0')}`,
    name: `service-${String(place).padStart(6, '0')}`,
    portName: 'http',
    protocol,
    clusterIp: ipv4Text(CLUSTER_IP_FIRST + place),
    port: SERVICE_PORT,
    loadBalancerIp: external === undefined ? undefined : ipv4Text(VIP_FIRST + external),
    externalLocal: external !== undefined && isLocal,
    healthCheckNodePort: external !== undefined && isLocal ? 30_000 + external : undefined,
    endpoints: members.map(({ endpoint }) => endpoint),
    nodes: members.map(({ node }) => node),
    isLocal,
  }
}

export const otherNodeName = (node: number): string => `node-${node}`

export function benchNode(node: number): Node {
  const address = nodeAddress(node)
  return {
    name: otherNodeName(node),
    uid: otherNodeName(node),
    labels: {},
    annotations: {},
    internalIps: { ipv4: address },
    addresses: [address],
    podCidrs: [`10.244.${node}.0/24` as Prefix],
    zone: undefined,
    isLeaving: false,
    isCordoned: false,
    asksToDrain: false,
  }
}

/** As Weir's agent has them from the API. */
export function modelOf(bench: BenchService): { service: Service; slices: EndpointSlice[] } {
  const key = objectKey(bench.namespace, bench.name)
  const protocol = bench.protocol === 'tcp' ? 'TCP' : 'UDP'
  const vips = bench.loadBalancerIp === undefined ? [] : [bench.loadBalancerIp as Address]
  const service = serviceRow(key, {
    clusterIps: [bench.clusterIp as Address],
    loadBalancerIps: vips,
    statusIps: vips,
    ports: [{ name: bench.portName, protocol, port: bench.port, nodePort: 0 }],
    externalTrafficPolicy: bench.externalLocal ? 'Local' : 'Cluster',
    healthCheckNodePort: bench.healthCheckNodePort ?? 0,
  })
  return { service, slices: slicesOf(bench, key) }
}

/** One slice a port: endpoints whose ports differ cannot share one. */
function slicesOf(bench: BenchService, service: Service['key']): EndpointSlice[] {
  const protocol = bench.protocol === 'tcp' ? 'TCP' : 'UDP'
  const ports = [...new Set(bench.endpoints.map(({ port }) => port))]
  return ports.map((port) => ({
    key: objectKey(bench.namespace, `${bench.name}-${port}`),
    uid: `${service}-${port}`,
    service,
    family: 'ipv4' as const,
    ports: [{ name: bench.portName, protocol, port }],
    endpoints: bench.endpoints.flatMap((endpoint, index) =>
      endpoint.port !== port
        ? []
        : [
            {
              address: endpoint.address as Address,
              nodeName: otherNodeName(bench.nodes[index] ?? 0),
              ready: true,
              serving: true,
              terminating: false,
              forZones: [],
              forNodes: [],
            },
          ],
    ),
    weight: 1,
    triggeredAtMs: undefined,
    problems: [],
  }))
}
