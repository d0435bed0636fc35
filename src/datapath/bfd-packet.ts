// What user space says in a BFD session: the packets of a session that hears nothing, for the programs only answer. Whole IP packets,
// for a raw socket: the port of a session belongs to no socket, and the number of hops must be 255 (RFC 5881 5). Pure.

import { type Address, addressToBytes, familyOf } from '../model/address.ts'
import { AbiConstant, BfdDiagnostic, BfdFlag, BfdSessionState, type BfdState } from './abi.gen.ts'
import type { BfdSessionValue } from './bfd-tables.ts'

const HOPS = 255
/** Network control (CS6). */
const TRAFFIC_CLASS = 0xc0
const PROTOCOL_UDP = 17
const UDP_BYTES = 8
const IPV4_BYTES = 20
const IPV6_BYTES = 40
const MAPPED_OFFSET = 12

/** @param state as the programs have it */
export function bfdPacket(session: BfdSessionValue, state: BfdState, local: Address, peer: Address): Buffer {
  const udp = Buffer.concat([udpHeader(session.row), controlOf(session, state)])
  const [source, destination] = [wireAddress(local), wireAddress(peer)]
  const pseudo = Buffer.alloc(4)
  pseudo.writeUInt16BE(PROTOCOL_UDP, 0)
  pseudo.writeUInt16BE(udp.length, 2)
  // Zero would say that there is no checksum.
  udp.writeUInt16BE(checksum(Buffer.concat([source, destination, pseudo, udp])) || 0xffff, 6)
  const header = familyOf(peer) === 'ipv4' ? ipv4Header(udp.length) : ipv6Header(udp.length)
  const packet = Buffer.concat([header, source, destination, udp])
  // The kernel fills in the checksum of the IPv4 header.
  return packet
}

function controlOf(session: BfdSessionValue, state: BfdState): Buffer {
  const control = Buffer.alloc(AbiConstant.BFD_CONTROL_BYTES)
  const { BFD_ADMIN_DOWN } = BfdSessionState
  const isUp = !session.isAdminDown && state.state === BfdSessionState.BFD_UP
  const said = session.isAdminDown ? BFD_ADMIN_DOWN : state.state
  control.writeUInt8(
    (1 << 5) | (session.isAdminDown ? BfdDiagnostic.BFD_DIAGNOSTIC_ADMIN : state.diagnostic),
    0,
  )
  control.writeUInt8(
    (said << 6) | BfdFlag.BFD_INDEPENDENT | (isUp && state.isPolling ? BfdFlag.BFD_POLL : 0),
    1,
  )
  control.writeUInt8(session.multiplier, 2)
  control.writeUInt8(control.length, 3)
  control.writeUInt32BE(session.discriminator, 4)
  control.writeUInt32BE(state.remoteDiscriminator, 8)
  control.writeUInt32BE(
    isUp ? state.toldDesiredUs : Math.max(session.intervalUs, AbiConstant.BFD_SLOW_US),
    12,
  )
  control.writeUInt32BE(session.intervalUs, 16)
  return control
}

function udpHeader(row: number): Buffer {
  const header = Buffer.alloc(UDP_BYTES)
  header.writeUInt16BE(AbiConstant.BFD_SOURCE_PORT + row, 0)
  header.writeUInt16BE(AbiConstant.BFD_PORT, 2)
  header.writeUInt16BE(UDP_BYTES + AbiConstant.BFD_CONTROL_BYTES, 4)
  return header
}

/** Up to the addresses. */
function ipv4Header(payloadBytes: number): Buffer {
  const header = Buffer.alloc(MAPPED_OFFSET)
  header.writeUInt8((4 << 4) | (IPV4_BYTES / 4), 0)
  header.writeUInt8(TRAFFIC_CLASS, 1)
  header.writeUInt16BE(IPV4_BYTES + payloadBytes, 2)
  header.writeUInt8(HOPS, 8)
  header.writeUInt8(PROTOCOL_UDP, 9)
  return header
}

function ipv6Header(payloadBytes: number): Buffer {
  const header = Buffer.alloc(IPV6_BYTES - 2 * 16)
  header.writeUInt32BE(6 * 2 ** 28 + TRAFFIC_CLASS * 2 ** 20, 0)
  header.writeUInt16BE(payloadBytes, 4)
  header.writeUInt8(PROTOCOL_UDP, 6)
  header.writeUInt8(HOPS, 7)
  return header
}

function wireAddress(address: Address): Buffer {
  const bytes = Buffer.from(addressToBytes(address))
  return familyOf(address) === 'ipv4' ? bytes.subarray(MAPPED_OFFSET) : bytes
}

function checksum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
