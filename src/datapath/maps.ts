// The kernel's tables on real BPF maps: generated codecs on one side, our own types on the other. Nothing here decides
// anything; who writes what and when is the business of service-maps.ts and nexthop-maps.ts.

import { type Address, addressToBytes, formatAddress, type Prefix } from '../model/address.ts'
import type { Protocol } from '../model/service.ts'
import type { BpfMap } from '../sys/libbpf-ts/map.ts'
import * as abi from './abi.gen.ts'
import type {
  BackendKey,
  BackendValue,
  BatchTables,
  CanGet,
  EndpointValue,
  FrontendAddressValue,
  FrontendKey,
  FrontendValue,
  KernelArray,
  KernelHash,
  NetnsEndpointValue,
  NexthopTables,
  NexthopValue,
  NodeValue,
  TakesMany,
} from './kernel-tables.ts'
import type { PlannedNexthop } from './nexthop-plan.ts'
import type { SourceRangeKey } from './source-ranges.ts'

const PROTOCOL_NUMBERS = { ANY: 0, TCP: 6, UDP: 17, SCTP: 132 } as const
type ProtocolName = keyof typeof PROTOCOL_NUMBERS

function protocolName(number: number): ProtocolName {
  const found = Object.entries(PROTOCOL_NUMBERS).find(([, value]) => value === number)
  return (found?.[0] ?? 'ANY') as ProtocolName
}

/** Our type to the map's bytes and back. */
interface Codec<T> {
  readonly encode: (value: T) => Buffer
  readonly decode: (bytes: Buffer) => T
}

const indexCodec: Codec<number> = {
  encode: (value) => {
    const bytes = Buffer.allocUnsafe(4)
    bytes.writeUInt32LE(value)
    return bytes
  },
  decode: (bytes) => bytes.readUInt32LE(),
}

const addressCodec: Codec<Address> = {
  encode: (value) => Buffer.from(addressToBytes(value)),
  decode: (bytes) => formatAddress(bytes),
}

const frontendKeyCodec: Codec<FrontendKey> = {
  encode: ({ address, port, protocol }) =>
    abi.encodeFrontendKey({ address: addressToBytes(address), port, protocol: PROTOCOL_NUMBERS[protocol] }),
  decode: (bytes) => {
    const { address, port, protocol } = abi.decodeFrontendKey(bytes)
    return { address: formatAddress(address), port, protocol: protocolName(protocol) }
  },
}

const frontendCodec: Codec<FrontendValue> = {
  encode: (value) => abi.encodeFrontend(value),
  decode: (bytes) => abi.decodeFrontend(bytes),
}

const frontendAddressCodec: Codec<FrontendAddressValue> = {
  encode: ({ address, port, protocol, serviceId }) =>
    abi.encodeFrontendAddress({
      address: addressToBytes(address),
      port,
      protocol: PROTOCOL_NUMBERS[protocol],
      serviceId,
    }),
  decode: (bytes) => {
    const { address, port, protocol, serviceId } = abi.decodeFrontendAddress(bytes)
    return { address: formatAddress(address), port, protocol: protocolName(protocol), serviceId }
  },
}

const backendKeyCodec: Codec<BackendKey> = {
  encode: ({ address, port, protocol }) =>
    abi.encodeBackendKey({ address: addressToBytes(address), port, protocol: PROTOCOL_NUMBERS[protocol] }),
  decode: (bytes) => {
    const { address, port, protocol } = abi.decodeBackendKey(bytes)
    return { address: formatAddress(address), port, protocol: protocolName(protocol) as Protocol }
  },
}

const BACKEND_STATES = {
  active: abi.BackendState.BACKEND_ACTIVE,
  terminating: abi.BackendState.BACKEND_TERMINATING,
  gone: abi.BackendState.BACKEND_GONE,
} as const

function backendState(number: number): BackendValue['state'] {
  if (number === BACKEND_STATES.active) return 'active'
  return number === BACKEND_STATES.terminating ? 'terminating' : 'gone'
}

const backendCodec: Codec<BackendValue> = {
  encode: ({ address, port, protocol, state, isLocal, nexthopId, nodeId }) =>
    abi.encodeBackend({
      address: addressToBytes(address),
      port,
      protocol: PROTOCOL_NUMBERS[protocol],
      state: BACKEND_STATES[state],
      flags: isLocal ? abi.BackendFlags.BACKEND_LOCAL : 0,
      nexthopId,
      nodeId,
    }),
  decode: (bytes) => {
    const row = abi.decodeBackend(bytes)
    return {
      address: formatAddress(row.address),
      port: row.port,
      protocol: protocolName(row.protocol) as Protocol,
      state: backendState(row.state),
      isLocal: (row.flags & abi.BackendFlags.BACKEND_LOCAL) !== 0,
      nexthopId: row.nexthopId,
      nodeId: row.nodeId,
    }
  },
}

const nodeCodec: Codec<NodeValue> = {
  encode: (value) => abi.encodeNode(value),
  decode: (bytes) => abi.decodeNode(bytes),
}

const endpointCodec: Codec<EndpointValue> = {
  encode: ({ ifindex, nexthopId, podMac, hostMac }) =>
    abi.encodeEndpoint({ ifindex, nexthopId, pod: podMac, host: hostMac }),
  decode: (bytes) => {
    const { ifindex, nexthopId, pod, host } = abi.decodeEndpoint(bytes)
    return { ifindex, nexthopId, podMac: pod, hostMac: host }
  },
}

/** Service number, then the address in its 16-byte form. */
const SERVICE_BITS = 32
const MAPPED_BITS = 96

/** A prefix as the kernel's tries have it: IPv4's length counts the bits in front. */
function trieKey(prefix: Prefix): { readonly bits: number; readonly bytes: Uint8Array } {
  const [text = '', length] = prefix.split('/')
  const mapped = text.includes(':') ? 0 : MAPPED_BITS
  return { bits: mapped + Number(length), bytes: addressToBytes(text as Address) }
}

function triePrefix(bits: number, bytes: Uint8Array): Prefix {
  const address = formatAddress(bytes)
  return `${address}/${bits - (address.includes(':') ? 0 : MAPPED_BITS)}` as Prefix
}

const sourceRangeCodec: Codec<SourceRangeKey> = {
  encode: ({ serviceId, range }) => {
    const { bits, bytes } = trieKey(range)
    return abi.encodeSourceRangeKey({ prefixBits: SERVICE_BITS + bits, serviceId, source: bytes })
  },
  decode: (bytes) => {
    const { prefixBits, serviceId, source } = abi.decodeSourceRangeKey(bytes)
    return { serviceId, range: triePrefix(prefixBits - SERVICE_BITS, source) }
  },
}

const cidrCodec: Codec<Prefix> = {
  encode: (prefix) => {
    const { bits, bytes } = trieKey(prefix)
    return abi.encodeCidrKey({ prefixBits: bits, address: bytes })
  },
  decode: (bytes) => {
    const { prefixBits, address } = abi.decodeCidrKey(bytes)
    return triePrefix(prefixBits, address)
  },
}

const cookieCodec: Codec<bigint> = {
  encode: (value) => {
    const bytes = Buffer.allocUnsafe(8)
    bytes.writeBigUInt64LE(value)
    return bytes
  },
  decode: (bytes) => bytes.readBigUInt64LE(),
}

const netnsEndpointCodec: Codec<NetnsEndpointValue> = {
  encode: ({ ipv4, ipv6 }) =>
    abi.encodeNetnsEndpoint({
      ipv4: ipv4 === undefined ? NO_ADDRESS : addressToBytes(ipv4),
      ipv6: ipv6 === undefined ? NO_ADDRESS : addressToBytes(ipv6),
    }),
  decode: (bytes) => {
    const { ipv4, ipv6 } = abi.decodeNetnsEndpoint(bytes)
    const known = (part: Uint8Array) => (part.every((byte) => byte === 0) ? undefined : formatAddress(part))
    return { ipv4: known(ipv4), ipv6: known(ipv6) }
  },
}

const NO_ADDRESS = new Uint8Array(16)
const NO_MEMBER = { ifindex: 0, destination: new Uint8Array(6), source: new Uint8Array(6) }

const nexthopCodec: Codec<NexthopValue> = {
  encode: ({ planned, via }) => {
    const members = membersOf(planned)
    const remote = planned.kind === 'tunnel' ? addressToBytes(planned.remote) : NO_ADDRESS
    const isIpv6 = planned.kind === 'tunnel' && planned.remote.includes(':')
    const takesRedirects = planned.kind === 'device' && planned.redirect
    return abi.encodeNexthop({
      kind: NEXTHOP_KINDS[planned.kind],
      flags:
        (isIpv6 ? abi.NexthopFlags.NEXTHOP_TUNNEL_IPV6 : 0) |
        (takesRedirects ? abi.NexthopFlags.NEXTHOP_REDIRECT : 0),
      memberCount: members.length,
      via,
      mtu: planned.mtu,
      remote,
      members: Array.from(
        { length: abi.AbiConstant.NEXTHOP_MEMBERS },
        (_, index) => members[index] ?? NO_MEMBER,
      ),
    })
  },
  decode: (bytes) => {
    const row = abi.decodeNexthop(bytes)
    return { planned: plannedFrom(row), via: row.via }
  },
}

const NEXTHOP_KINDS = {
  device: abi.NexthopKind.NEXTHOP_KIND_DEVICE,
  group: abi.NexthopKind.NEXTHOP_KIND_GROUP,
  tunnel: abi.NexthopKind.NEXTHOP_KIND_TUNNEL,
} as const

function membersOf(planned: PlannedNexthop) {
  if (planned.kind === 'group') return planned.members
  return planned.kind === 'device' && planned.member ? [planned.member] : []
}

function plannedFrom(row: abi.Nexthop): PlannedNexthop {
  const members = row.members.slice(0, row.memberCount)
  if (row.kind === NEXTHOP_KINDS.tunnel)
    return { kind: 'tunnel', remote: formatAddress(row.remote), mtu: row.mtu }
  if (row.kind === NEXTHOP_KINDS.group) return { kind: 'group', members, mtu: row.mtu }
  const redirect = (row.flags & abi.NexthopFlags.NEXTHOP_REDIRECT) !== 0
  return { kind: 'device', member: members[0], redirect, mtu: row.mtu }
}

/** Entries per system call: bounds the memory a flood takes. */
const BATCH_ENTRIES = 4096

function updateMany<Key, Value>(
  map: BpfMap,
  entries: readonly (readonly [Key, Value])[],
  key: Codec<Key>,
  value: Codec<Value>,
): void {
  const { keySize, valueSize } = map.info
  for (let first = 0; first < entries.length; first += BATCH_ENTRIES) {
    const part = entries.slice(first, first + BATCH_ENTRIES)
    const keys = Buffer.allocUnsafe(part.length * keySize)
    const values = Buffer.allocUnsafe(part.length * valueSize)
    for (let index = 0; index < part.length; index += 1) {
      const entry = part[index] as readonly [Key, Value]
      keys.set(key.encode(entry[0]), index * keySize)
      values.set(value.encode(entry[1]), index * valueSize)
    }
    map.updateBatch(keys, values, part.length)
  }
}

function hashOf<Key, Value>(
  map: BpfMap,
  key: Codec<Key>,
  value: Codec<Value>,
): KernelHash<Key, Value> & TakesMany<Key, Value> & CanGet<Key, Value> {
  return {
    get: (k) => {
      const found = map.lookup(key.encode(k))
      return found && value.decode(found)
    },
    *entries() {
      for (const entry of map.entries()) yield [key.decode(entry.key), value.decode(entry.value)] as const
    },
    set: (k, v) => {
      map.update(key.encode(k), value.encode(v))
    },
    setMany: (entries) => updateMany(map, entries, key, value),
    delete: (k) => {
      map.delete(key.encode(k))
    },
  }
}

const INDEX_BYTES = 4

/** Tells which rows of a batch are not zeroed. Most rows of most arrays are, so they are looked at word by word, in place. */
function rowsUsed(values: Buffer, rowBytes: number, count: number): (index: number) => boolean {
  if (rowBytes % 4 !== 0 || values.byteOffset % 4 !== 0) {
    const zero = Buffer.alloc(rowBytes)
    return (index) => values.compare(zero, 0, rowBytes, index * rowBytes, (index + 1) * rowBytes) !== 0
  }
  const rowWords = rowBytes / 4
  const words = new Uint32Array(values.buffer, values.byteOffset, count * rowWords)
  return (index) => {
    const end = (index + 1) * rowWords
    for (let at = index * rowWords; at < end; at += 1) if (words[at] !== 0) return true
    return false
  }
}

function arrayOf<Value>(
  map: BpfMap,
  value: Codec<Value>,
): KernelArray<Value> & TakesMany<number, Value> & CanGet<number, Value> {
  const zero = Buffer.alloc(map.info.valueSize)
  return {
    get: (index) => {
      const found = map.lookup(indexCodec.encode(index))
      return found?.some((byte) => byte !== 0) ? value.decode(found) : undefined
    },
    length: map.info.maxEntries,
    *entries() {
      const { valueSize } = map.info
      for (const { keys, values, count } of map.batches()) {
        const isUsed = rowsUsed(values, valueSize, count)
        for (let index = 0; index < count; index += 1) {
          if (!isUsed(index)) continue
          const bytes = values.subarray(index * valueSize, (index + 1) * valueSize)
          yield [keys.readUInt32LE(index * INDEX_BYTES), value.decode(bytes)] as const
        }
      }
    },
    set: (index, row) => {
      map.update(indexCodec.encode(index), row === undefined ? zero : value.encode(row))
    },
    setMany: (entries) => updateMany(map, entries, indexCodec, value),
  }
}

/** Every map whose layout both sides share, by its name in bpf/maps.h. */
export const LAYOUTS = {
  frontends: { key: abi.FRONTEND_KEY_LAYOUT, value: abi.FRONTEND_LAYOUT },
  frontend_addresses: { value: abi.FRONTEND_ADDRESS_LAYOUT },
  slots: { value: abi.SLOT_PAIR_LAYOUT },
  backends: { value: abi.BACKEND_LAYOUT },
  backend_ids: { key: abi.BACKEND_KEY_LAYOUT },
  nexthops: { value: abi.NEXTHOP_LAYOUT },
  nodes: { key: abi.ADDRESS_LAYOUT, value: abi.NODE_LAYOUT },
  endpoints: { key: abi.ADDRESS_LAYOUT, value: abi.ENDPOINT_LAYOUT },
  flows: { value: abi.FLOW_SET_LAYOUT },
  flow_details: { value: abi.FLOW_DETAIL_SET_LAYOUT },
  affinity: { key: abi.AFFINITY_KEY_LAYOUT, value: abi.AFFINITY_LAYOUT },
  source_ranges: { key: abi.SOURCE_RANGE_KEY_LAYOUT },
  service_cidrs: { key: abi.CIDR_KEY_LAYOUT },
  fragments: { key: abi.FRAGMENT_KEY_LAYOUT, value: abi.FRAGMENT_PORTS_LAYOUT },
  netns_endpoints: { value: abi.NETNS_ENDPOINT_LAYOUT },
  answers: { value: abi.ANSWER_COUNT_LAYOUT },
  secrets: { value: abi.SECRET_LAYOUT },
  metrics: { value: abi.METRIC_LAYOUT },
} as const

/** Maps by their name in bpf/maps.h; the filter is bits without a layout, and a ring has none. */
export type MapName = keyof typeof LAYOUTS | 'frontend_filter' | 'events'

/** All that hold rows, but the secret of the flow table's hash, which is read once. */
export const MAP_NAMES: readonly MapName[] = [
  ...(Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[]).filter((name) => name !== 'secrets'),
  'frontend_filter',
  'events',
]

export interface DatapathTables extends BatchTables, NexthopTables {
  readonly frontends: BatchTables['frontends'] & CanGet<FrontendKey, FrontendValue>
  readonly backends: BatchTables['backends'] & CanGet<number, BackendValue>
  readonly nexthops: NexthopTables['nexthops'] & CanGet<number, NexthopValue>
  readonly nodes: NexthopTables['nodes'] & CanGet<Address, NodeValue>
  readonly endpoints: NexthopTables['endpoints'] & CanGet<Address, EndpointValue>
  /** By network namespace cookie. */
  readonly netnsEndpoints: KernelHash<bigint, NetnsEndpointValue>
}

/** @param map finds a loaded map by its name in bpf/maps.h */
export function datapathTables(map: (name: MapName) => BpfMap): DatapathTables {
  return {
    frontends: hashOf(map('frontends'), frontendKeyCodec, frontendCodec),
    frontendAddresses: arrayOf(map('frontend_addresses'), frontendAddressCodec),
    filter: new Uint32Array(map('frontend_filter').mmap()),
    // Two slots of 32 bits fill one 8-byte element, so the mapped array is one flat array of slots.
    slots: new Uint32Array(map('slots').mmap(), 0, map('slots').info.maxEntries * 2),
    backends: arrayOf(map('backends'), backendCodec),
    backendIds: hashOf(map('backend_ids'), backendKeyCodec, indexCodec),
    sourceRanges: hashOf(map('source_ranges'), sourceRangeCodec, indexCodec),
    serviceCidrs: hashOf(map('service_cidrs'), cidrCodec, indexCodec),
    nexthops: arrayOf(map('nexthops'), nexthopCodec),
    nodes: hashOf(map('nodes'), addressCodec, nodeCodec),
    endpoints: hashOf(map('endpoints'), addressCodec, endpointCodec),
    netnsEndpoints: hashOf(map('netns_endpoints'), cookieCodec, netnsEndpointCodec),
  }
}

/** Rows that flows name by number, looked up one by one; undefined when they are nobody's any more. */
export interface FlowNames {
  readonly frontend: (id: number) => FrontendAddressValue | undefined
  readonly backend: (id: number) => BackendValue | undefined
}

export function flowNames(map: (name: MapName) => BpfMap): FlowNames {
  return {
    frontend: rowReader(map('frontend_addresses'), frontendAddressCodec),
    backend: rowReader(map('backends'), backendCodec),
  }
}

function rowReader<Value>(map: BpfMap, codec: Codec<Value>): (index: number) => Value | undefined {
  return (index) => {
    const row = map.lookup(indexCodec.encode(index))
    return row === undefined || row.every((byte) => byte === 0) ? undefined : codec.decode(row)
  }
}

export interface ReasonCount {
  readonly packets: number
  readonly bytes: number
}

/** The datapath's counters, summed over CPUs, by the name of their reason (`TO_LOCAL`, `NO_ENDPOINT`, …); zeros left out. */
export function readMetrics(metrics: BpfMap): Record<string, ReasonCount> {
  const counts: Record<string, ReasonCount> = {}
  for (const { key, value } of metrics.entries()) {
    let packets = 0
    let bytes = 0
    for (const part of metrics.splitPerCpu(value)) {
      const row = abi.decodeMetric(part)
      packets += Number(row.packets)
      bytes += Number(row.bytes)
    }
    const name = abi.VERDICT_REASON_NAMES.get(key.readUInt32LE())
    if (packets > 0 && name !== undefined) counts[name.replace('REASON_', '')] = { packets, bytes }
  }
  return counts
}
