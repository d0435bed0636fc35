// Packets that differ in their ends alone, as the driver takes them: a template, and a row of ends and checksums a packet.
//
// Checksums are right in every packet, so a program that looks at them meets what a wire would bring, and what comes out can be
// compared byte by byte with a packet built from nothing.

import type { Family } from '../../src/model/address.ts'
import type { Frame } from '../../test/bpf/packet.ts'

/** What the driver puts back before each packet; no header that a program changes reaches further. */
export const TEMPLATE_BYTES = 96
/** struct ends of driver.bpf.c. */
export const ROW_BYTES = 16
export const ROWS_MAX = 1 << 20

/** Addresses by their last 32 bits: what is before them is the template's. */
export interface Ends {
  readonly source: number
  readonly destination: number
  readonly sourcePort: number
  readonly destinationPort: number
}

export interface PacketList {
  readonly family: Family
  readonly protocol: 'TCP' | 'UDP'
  readonly template: Buffer
  readonly rows: Uint8Array
  readonly count: number
}

const LAYOUT = {
  ipv4: { check: 24, source: 26, destination: 30, ports: 34 },
  ipv6: { check: undefined, source: 34, destination: 50, ports: 54 },
} as const
const CHECK_IN_TRANSPORT = { TCP: 16, UDP: 6 } as const

/** @param like a packet of the list but for its ends */
export function packetList(
  family: Family,
  protocol: 'TCP' | 'UDP',
  like: Frame,
  ends: readonly Ends[],
): PacketList {
  if (ends.length > ROWS_MAX)
    throw new Error(`the driver's list holds ${ROWS_MAX} packets, not ${ends.length}`)
  const at = LAYOUT[family]
  const template = like.bytes()
  if (template.length < TEMPLATE_BYTES)
    throw new Error(`a packet of ${template.length} bytes is shorter than the driver's template`)
  const checkAt = at.ports + CHECK_IN_TRANSPORT[protocol]
  const present = readEnds(template, at)
  // The sum without the template's own ends: each row adds its own.
  const transport = without(template.readUInt16BE(checkAt), present, true)
  const ip = at.check === undefined ? 0 : without(template.readUInt16BE(at.check), present, false)
  const rows = Buffer.alloc(ends.length * ROW_BYTES)
  for (const [index, row] of ends.entries()) {
    const byte = index * ROW_BYTES
    rows.writeUInt32BE(row.source, byte)
    rows.writeUInt32BE(row.destination, byte + 4)
    rows.writeUInt16BE(row.sourcePort, byte + 8)
    rows.writeUInt16BE(row.destinationPort, byte + 10)
    rows.writeUInt16BE(finish(transport + sumOf(row, true), protocol), byte + 12)
    rows.writeUInt16BE(finish(ip + sumOf(row, false), 'TCP'), byte + 14)
  }
  return { family, protocol, template, rows, count: ends.length }
}

/**
 * Pings, whose ports are not where others have them: the driver writes type, code and checksum there. They differ in their addresses
 * alone.
 */
export function pingList(
  family: Family,
  like: Frame,
  ends: readonly Pick<Ends, 'source' | 'destination'>[],
): PacketList {
  const at = LAYOUT[family]
  const template = like.bytes()
  const present = readEnds(template, at)
  const none = { sourcePort: 0, destinationPort: 0 }
  const word = template.readUInt16BE(at.ports)
  // IPv4's message has a checksum of itself alone, IPv6's of the addresses too.
  const message =
    at.check === undefined ? without(template.readUInt16BE(at.ports + 2), { ...present, ...none }, false) : 0
  const same = ends.map(({ source, destination }) => {
    const sum = message + sumOf({ source, destination, ...none }, false)
    const check = at.check === undefined ? ~fold(sum) & 0xffff : template.readUInt16BE(at.ports + 2)
    return { source, destination, sourcePort: word, destinationPort: check }
  })
  const list = packetList(family, 'UDP', like, same)
  // Where the driver writes UDP's checksum a ping has its number: zero, as the template has it.
  for (let row = 0; row < list.count; row += 1) list.rows.fill(0, row * ROW_BYTES + 12, row * ROW_BYTES + 14)
  return list
}

/** The same packets in this order. */
export function reordered(list: PacketList, order: Uint32Array): PacketList {
  const rows = new Uint8Array(order.length * ROW_BYTES)
  for (let place = 0; place < order.length; place += 1) {
    const from = (order[place] as number) * ROW_BYTES
    rows.set(list.rows.subarray(from, from + ROW_BYTES), place * ROW_BYTES)
  }
  return { ...list, rows, count: order.length }
}

/** Packet `index` alone. */
export function single(list: PacketList, index: number): PacketList {
  return reordered(list, Uint32Array.of(index))
}

/** The numbers below `count`, shuffled alike whenever asked with the same seed (xorshift32, Fisher-Yates). */
export function scrambled(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  let state = seed | 1
  for (let left = count - 1; left > 0; left -= 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    const other = (state >>> 0) % (left + 1)
    const kept = order[left] as number
    order[left] = order[other] as number
    order[other] = kept
  }
  return order
}

function readEnds(packet: Buffer, at: (typeof LAYOUT)[Family]): Ends {
  return {
    source: packet.readUInt32BE(at.source),
    destination: packet.readUInt32BE(at.destination),
    sourcePort: packet.readUInt16BE(at.ports),
    destinationPort: packet.readUInt16BE(at.ports + 2),
  }
}

function sumOf({ source, destination, sourcePort, destinationPort }: Ends, hasPorts: boolean): number {
  const addresses = (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff)
  return hasPorts ? addresses + sourcePort + destinationPort : addresses
}

/** One's complement sum behind a checksum, less the ends' share (RFC 1624: adding the complement takes away). */
function without(check: number, present: Ends, hasPorts: boolean): number {
  return (~check & 0xffff) + (~fold(sumOf(present, hasPorts)) & 0xffff)
}

function fold(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000)
  return folded
}

/** A UDP checksum that comes out as zero is sent as all ones: zero says that there is none. */
function finish(sum: number, protocol: 'TCP' | 'UDP'): number {
  const check = ~fold(sum) & 0xffff
  return check === 0 && protocol === 'UDP' ? 0xffff : check
}
