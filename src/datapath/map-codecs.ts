// Rows of the kernel's tables: our own types to the bytes of the generated codecs and back.

import { ADDRESS_BYTES, type Address, addressToBytes, formatAddress, type Prefix } from '../model/address.ts'
import type { Protocol } from '../model/service.ts'
import * as abi from './abi.gen.ts'
import type {
  BackendKey,
  BackendValue,
  EndpointValue,
  FrontendAddressValue,
  FrontendKey,
  FrontendValue,
  NetnsEndpointValue,
  NexthopValue,
  NodeValue,
  NotedNetnsValue,
} from './kernel-tables.ts'
import type { PlannedNexthop } from './nexthop-plan.ts'
import type { SourceRangeKey } from './source-ranges.ts'

const PROTOCOL_NUMBERS = { ANY: 0, TCP: 6, UDP: 17, SCTP: 132 } as const
type ProtocolName = keyof typeof PROTOCOL_NUMBERS

const PROTOCOL_NAMES: ReadonlyMap<number, ProtocolName> = new Map(
  Object.entries(PROTOCOL_NUMBERS).map(([name, number]) => [number, name as ProtocolName]),
)

function protocolName(number: number): ProtocolName {
  return PROTOCOL_NAMES.get(number) ?? 'ANY'
}

/** Our type to the map's bytes and back. */
export interface Codec<T> {
  /** @param into where to, from `offset` on; fresh memory when absent */
  readonly encode: (value: T, into?: Buffer, offset?: number) => Buffer
  readonly decode: (bytes: Buffer) => T
}

/** The bytes of one address, for an encoder that copies them at once: they stand until the next call. */
function bytesOf(value: Address): Uint8Array {
  return addressToBytes(value, scratch)
}

const scratch = new Uint8Array(ADDRESS_BYTES)

export const indexCodec: Codec<number> = {
  encode: (value, into = Buffer.allocUnsafe(4), offset = 0) => {
    into.writeUInt32LE(value, offset)
    return into
  },
  decode: (bytes) => bytes.readUInt32LE(),
}

export const addressCodec: Codec<Address> = {
  encode: (value, into = Buffer.alloc(ADDRESS_BYTES), offset = 0) => {
    into.set(bytesOf(value), offset)
    return into
  },
  decode: (bytes) => formatAddress(bytes),
}

export const frontendKeyCodec: Codec<FrontendKey> = {
  encode: ({ address, port, protocol }, into, offset) => {
    const key = { address: bytesOf(address), port, protocol: PROTOCOL_NUMBERS[protocol] }
    return abi.encodeFrontendKey(key, into, offset)
  },
  decode: (bytes) => {
    const { address, port, protocol } = abi.decodeFrontendKey(bytes)
    return { address: formatAddress(address), port, protocol: protocolName(protocol) }
  },
}

export const frontendCodec: Codec<FrontendValue> = {
  encode: (value, into, offset) => abi.encodeFrontend(value, into, offset),
  decode: (bytes) => abi.decodeFrontend(bytes),
}

export const frontendAddressCodec: Codec<FrontendAddressValue> = {
  encode: ({ address, port, protocol, serviceId }, into, offset) => {
    const row = { address: bytesOf(address), port, protocol: PROTOCOL_NUMBERS[protocol], serviceId }
    return abi.encodeFrontendAddress(row, into, offset)
  },
  decode: (bytes) => {
    const { address, port, protocol, serviceId } = abi.decodeFrontendAddress(bytes)
    return { address: formatAddress(address), port, protocol: protocolName(protocol), serviceId }
  },
}

export const backendKeyCodec: Codec<BackendKey> = {
  encode: ({ address, port, protocol }, into, offset) => {
    const key = { address: bytesOf(address), port, protocol: PROTOCOL_NUMBERS[protocol] }
    return abi.encodeBackendKey(key, into, offset)
  },
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

export const backendCodec: Codec<BackendValue> = {
  encode: ({ address, port, protocol, state, isLocal, nexthopId, nodeId }, into, offset) => {
    const row = {
      address: bytesOf(address),
      port,
      protocol: PROTOCOL_NUMBERS[protocol],
      state: BACKEND_STATES[state],
      flags: isLocal ? abi.BackendFlags.BACKEND_LOCAL : 0,
      nexthopId,
      nodeId,
    }
    return abi.encodeBackend(row, into, offset)
  },
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

export const nodeCodec: Codec<NodeValue> = {
  encode: (value, into, offset) => abi.encodeNode(value, into, offset),
  decode: (bytes) => abi.decodeNode(bytes),
}

export const endpointCodec: Codec<EndpointValue> = {
  encode: ({ ifindex, nexthopId, podMac, hostMac }, into, offset) =>
    abi.encodeEndpoint({ ifindex, nexthopId, pod: podMac, host: hostMac }, into, offset),
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

export const sourceRangeCodec: Codec<SourceRangeKey> = {
  encode: ({ serviceId, range }, into, offset) => {
    const { bits, bytes } = trieKey(range)
    return abi.encodeSourceRangeKey(
      { prefixBits: SERVICE_BITS + bits, serviceId, source: bytes },
      into,
      offset,
    )
  },
  decode: (bytes) => {
    const { prefixBits, serviceId, source } = abi.decodeSourceRangeKey(bytes)
    return { serviceId, range: triePrefix(prefixBits - SERVICE_BITS, source) }
  },
}

export const cidrCodec: Codec<Prefix> = {
  encode: (prefix, into, offset) => {
    const { bits, bytes } = trieKey(prefix)
    return abi.encodeCidrKey({ prefixBits: bits, address: bytes }, into, offset)
  },
  decode: (bytes) => {
    const { prefixBits, address } = abi.decodeCidrKey(bytes)
    return triePrefix(prefixBits, address)
  },
}

export const cookieCodec: Codec<bigint> = {
  encode: (value, into = Buffer.allocUnsafe(8), offset = 0) => {
    into.writeBigUInt64LE(value, offset)
    return into
  },
  decode: (bytes) => bytes.readBigUInt64LE(),
}

export const netnsEndpointCodec: Codec<NetnsEndpointValue> = {
  encode: ({ ipv4, ipv6 }, into, offset) => {
    const row = {
      ipv4: ipv4 === undefined ? NO_ADDRESS : addressToBytes(ipv4),
      ipv6: ipv6 === undefined ? NO_ADDRESS : addressToBytes(ipv6),
    }
    return abi.encodeNetnsEndpoint(row, into, offset)
  },
  decode: (bytes) => {
    const { ipv4, ipv6 } = abi.decodeNetnsEndpoint(bytes)
    const known = (part: Uint8Array) => (part.every((byte) => byte === 0) ? undefined : formatAddress(part))
    return { ipv4: known(ipv4), ipv6: known(ipv6) }
  },
}

export const notedNetnsCodec: Codec<NotedNetnsValue> = {
  encode: ([belowRoot = 0n, belowThat = 0n], into, offset) =>
    abi.encodeNotedNetns({ belowRoot, belowThat }, into, offset),
  decode: (bytes) => {
    const { belowRoot, belowThat } = abi.decodeNotedNetns(bytes)
    return [belowRoot, belowThat].filter((id) => id !== 0n)
  },
}

const NO_ADDRESS = new Uint8Array(16)
const NO_MEMBER = { ifindex: 0, destination: new Uint8Array(6), source: new Uint8Array(6) }

export const nexthopCodec: Codec<NexthopValue> = {
  encode: ({ planned, via }, into, offset) => {
    const members = membersOf(planned)
    const remote = planned.kind === 'tunnel' ? addressToBytes(planned.remote) : NO_ADDRESS
    const isIpv6 = planned.kind === 'tunnel' && planned.remote.includes(':')
    const device = planned.kind === 'device' ? planned : undefined
    const row = {
      kind: NEXTHOP_KINDS[planned.kind],
      flags:
        (isIpv6 ? abi.NexthopFlags.NEXTHOP_TUNNEL_IPV6 : 0) |
        (device?.redirect ? abi.NexthopFlags.NEXTHOP_REDIRECT : 0) |
        (device?.bypass ? abi.NexthopFlags.NEXTHOP_BYPASS : 0),
      memberCount: members.length,
      membersDown: 0,
      via,
      mtu: planned.mtu,
      remote,
      members: Array.from(
        { length: abi.AbiConstant.NEXTHOP_MEMBERS },
        (_, index) => members[index] ?? NO_MEMBER,
      ),
    }
    return abi.encodeNexthop(row, into, offset)
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
  const bypass = (row.flags & abi.NexthopFlags.NEXTHOP_BYPASS) !== 0
  return { kind: 'device', member: members[0], redirect, bypass, mtu: row.mtu }
}
