// The cluster that packets are measured in: its Services, endpoints, nodes and pods, as the product's planners take them. Pure.
//
// Two sorts of Services. MEASURED of each kind, with ten endpoints, carry the fixed flows at every size of the cluster. The N others are
// what makes it large: one port, two endpoints, a kind each in turn; flows spread over all Services go to them.
//
// An end of a flow is told by 32 bits, which are the IPv4 address and the last bits of the IPv6 one.

import {
  type Address,
  address,
  addressFromNumber,
  addressToNumber,
  type Family,
  type Prefix,
  parsePrefix,
} from '../../src/model/address.ts'
import {
  type Endpoint,
  type EndpointSlice,
  type Node,
  objectKey,
  type Protocol,
  type Service,
} from '../../src/model/service.ts'
import { serviceRow } from '../bed/service-row.ts'

/** How a Service's packets leave: to a pod of this node, by tunnel, masqueraded; `ranged`: by tunnel, for some sources alone. */
export type Kind = 'local' | 'dsr' | 'snat' | 'ranged'
export const KINDS: readonly Kind[] = ['local', 'dsr', 'snat', 'ranged']
/** Nobody asks for a hundred thousand Services with source ranges. */
const OTHER_KINDS: readonly Kind[] = ['local', 'dsr', 'snat']

export const MEASURED = 64
const MEASURED_ENDPOINTS = 10
const OTHER_ENDPOINTS = 2
export const SERVICE_PORT = 80
export const TARGET_PORT = 8080
export const NODES = 100
export const PODS_HERE = 100
export const SELF = 'node-0'

/** Blocks of 32-bit numbers; a block's IPv6 addresses have a prefix of their own. */
const BLOCKS = {
  client: { first: 0x64400000, prefix: '2001:db8:c::' }, // 100.64.0.0/10
  stranger: { first: 0xc6120000, prefix: '2001:db8:bad::' }, // 198.18.0.0/15
  vip: { first: 0x14000000, prefix: '2001:db8:113::' }, // 20.0.0.0/8
  clusterIp: { first: 0x15000000, prefix: 'fd00:10:96::' }, // 21.0.0.0/8
  podHere: { first: 0x0af40001, prefix: 'fd00:244::' }, // 10.244.0.1
  podElsewhere: { first: 0x0a400000, prefix: 'fd00:244:1::' }, // 10.64.0.0/10
  node: { first: 0x0aff0000, prefix: 'fd00:255::' }, // 10.255.0.0
  elsewhere: { first: 0xac100000, prefix: 'fd00:dead::' }, // 172.16.0.0/12
} as const
export type Block = keyof typeof BLOCKS

/** The 32 bits of an address of a block. */
export function numberIn(block: Block, index: number): number {
  return BLOCKS[block].first + index
}

const PREFIX_NUMBERS = new Map(
  Object.values(BLOCKS).map(({ prefix }) => [prefix, addressToNumber(address(prefix))] as const),
)

export function addressIn(family: Family, block: Block, index: number): Address {
  const low = BigInt(numberIn(block, index))
  const above = family === 'ipv4' ? 0n : (PREFIX_NUMBERS.get(BLOCKS[block].prefix) ?? 0n)
  return addressFromNumber(family, above | low)
}

/** The last 32 bits of an address. */
export function numberOf(value: Address): number {
  return Number(addressToNumber(value) & 0xffff_ffffn)
}

/** Services of a kind lie in a row: measured ones behind the others. */
const KIND_BLOCK = 1 << 20
const MEASURED_AT = 1 << 19

/** Index in the blocks `vip` and `clusterIp` of a kind's measured Service, or of its other one. */
export function serviceIndex(kind: Kind, isMeasured: boolean, number: number): number {
  return KINDS.indexOf(kind) * KIND_BLOCK + (isMeasured ? MEASURED_AT : 0) + number
}

export interface PlannedService {
  readonly service: Service
  readonly slices: readonly EndpointSlice[]
}

/** How many of the N others are of a kind. */
export function othersOf(kind: Kind, services: number): number {
  const place = OTHER_KINDS.indexOf(kind)
  return place < 0 ? 0 : Math.floor((services + OTHER_KINDS.length - 1 - place) / OTHER_KINDS.length)
}

/** All Services, made one at a time: a hundred thousand of them are never all in memory. */
export function* clusterServices(services: number): Generator<PlannedService> {
  for (const kind of KINDS)
    for (let number = 0; number < MEASURED; number += 1)
      yield makeService(kind, true, number, MEASURED_ENDPOINTS, ['TCP', 'UDP'])
  for (const kind of OTHER_KINDS)
    for (let number = 0; number < othersOf(kind, services); number += 1)
      yield makeService(kind, false, number, OTHER_ENDPOINTS, ['TCP'])
}

function makeService(
  kind: Kind,
  isMeasured: boolean,
  number: number,
  endpoints: number,
  protocols: readonly Protocol[],
): PlannedService {
  const index = serviceIndex(kind, isMeasured, number)
  const key = objectKey('bench', `${kind}-${isMeasured ? 'measured' : 'other'}-${number}`)
  const families: readonly Family[] = ['ipv4', 'ipv6']
  const service = serviceRow(key, {
    clusterIps: families.map((family) => addressIn(family, 'clusterIp', index)),
    loadBalancerIps: families.map((family) => addressIn(family, 'vip', index)),
    ports: protocols.map((protocol) => ({ name: protocol, protocol, port: SERVICE_PORT, nodePort: 0 })),
    sourceRanges: kind === 'ranged' ? ADMITTED : [],
    forwarding: kind === 'snat' ? 'snat' : 'dsr',
  })
  const slices = families.map(
    (family): EndpointSlice => ({
      key: objectKey('bench', `${key}-${family}`),
      uid: `${key}-${family}`,
      service: key,
      family,
      ports: protocols.map((protocol) => ({ name: protocol, protocol, port: targetPort(kind, index) })),
      endpoints: Array.from({ length: endpoints }, (_, member) => makeEndpoint(kind, family, index, member)),
      weight: 1,
      triggeredAtMs: undefined,
      problems: [],
    }),
  )
  return { service, slices }
}

/** A node has a hundred pods, so Services that all have endpoints here share them, each with a port of its own. */
function targetPort(kind: Kind, index: number): number {
  return kind === 'local' ? 1024 + (index % 60_000) : TARGET_PORT
}

function makeEndpoint(kind: Kind, family: Family, index: number, member: number): Endpoint {
  const isHere = kind === 'local'
  const place = index * MEASURED_ENDPOINTS + member
  return {
    address: isHere
      ? addressIn(family, 'podHere', (index * 7 + member) % PODS_HERE)
      : addressIn(family, 'podElsewhere', remotePlace(index, member)),
    nodeName: isHere ? SELF : `node-${1 + (place % NODES)}`,
    ready: true,
    serving: true,
    terminating: false,
    forZones: [],
    forNodes: [],
  }
}

/** Dense numbers for endpoints elsewhere: 22 bits have room for sixteen a Service. */
function remotePlace(index: number, member: number): number {
  const kind = Math.floor(index / KIND_BLOCK)
  const isMeasured = index % KIND_BLOCK >= MEASURED_AT
  const number = index % MEASURED_AT
  return isMeasured
    ? 0x3f0000 + kind * MEASURED * 16 + number * 16 + member
    : kind * 0x40000 + number * OTHER_ENDPOINTS + member
}

/** Clients are among them, strangers not; a handful beside, as people write them. */
const ADMITTED: readonly Prefix[] = [
  '100.64.0.0/10',
  '192.0.2.0/24',
  '198.51.100.0/25',
  '203.0.113.64/26',
  '10.20.0.0/16',
  '2001:db8:c::/48',
  '2001:db8:200::/48',
  'fd00:1::/32',
].flatMap((text) => parsePrefix(text) ?? [])

export function clusterNode(number: number): Node {
  const internalIps = { ipv4: addressIn('ipv4', 'node', number), ipv6: addressIn('ipv6', 'node', number) }
  return {
    name: `node-${number}`,
    uid: `node-${number}`,
    labels: {},
    annotations: {},
    internalIps,
    addresses: Object.values(internalIps),
    podCidrs: [],
    zone: undefined,
    isLeaving: false,
    isCordoned: false,
    asksToDrain: false,
  }
}
