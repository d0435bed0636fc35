// What a frame says, read back with its checksums.

import { type Address, formatAddress } from '../../src/model/address.ts'
import { crc32c, pseudoHeader, sumWords } from './checksums.ts'
import { ICMP, type Link, SCTP, UDP, VLAN_ETHERTYPE } from './packet.ts'

/** What a frame says, for failure messages and for fields that a test can't foresee. Throws on a wrong checksum. */
export interface Reading {
  readonly link: Link
  readonly source: Address
  readonly destination: Address
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly hops: number
}

export function readFrame(bytes: Buffer): Reading {
  const text = (at: number) => bytes.toString('hex', at, at + 6).replace(/(..)(?=.)/g, '$1:')
  const link = { destination: text(0), source: text(6) }
  let at = 12
  while (bytes.readUInt16BE(at) === VLAN_ETHERTYPE) at += 4
  const packet = bytes.subarray(at + 2)
  return { link, ...((packet[0] ?? 0) >> 4 === 4 ? readIpv4(packet) : readIpv6(packet)) }
}

type IpReading = Omit<Reading, 'link'>

function readIpv4(packet: Buffer): IpReading {
  const header = packet.subarray(0, ((packet[0] ?? 0) & 15) * 4)
  if (sumWords(header) !== 0xffff) throw new Error(`wrong IPv4 header checksum: ${header.toString('hex')}`)
  const mapped = (from: number) => formatAddress(Buffer.concat([MAPPED, packet.subarray(from, from + 4)]))
  const body = packet.subarray(header.length, packet.readUInt16BE(2))
  return readTransport(body, mapped(12), mapped(16), packet[9] ?? 0, packet[8] ?? 0)
}

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

function readIpv6(packet: Buffer): IpReading {
  const body = packet.subarray(40, 40 + packet.readUInt16BE(4))
  const address = (from: number) => formatAddress(packet.subarray(from, from + 16))
  return readTransport(body, address(8), address(24), packet[6] ?? 0, packet[7] ?? 0)
}

function isChecksumRight(body: Buffer, source: Address, destination: Address, protocol: number): boolean {
  if (protocol === SCTP) {
    const blank = Buffer.from(body)
    blank.writeUInt32LE(0, 8)
    return crc32c(blank) === body.readUInt32LE(8)
  }
  if (protocol === UDP && body.readUInt16BE(6) === 0) return true
  if (protocol === ICMP.ipv4) return sumWords(body) === 0xffff
  return sumWords(Buffer.concat([pseudoHeader(source, destination, protocol, body.length), body])) === 0xffff
}

function readTransport(
  body: Buffer,
  source: Address,
  destination: Address,
  protocol: number,
  hops: number,
): IpReading {
  if (!isChecksumRight(body, source, destination, protocol))
    throw new Error(`wrong checksum of protocol ${protocol}: ${body.toString('hex', 0, 40)}`)
  return {
    source,
    destination,
    protocol,
    sourcePort: body.readUInt16BE(0),
    destinationPort: body.readUInt16BE(2),
    hops,
  }
}
