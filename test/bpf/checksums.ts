// Checksums computed from nothing, over whole packets.

import { type Address, addressToBytes, familyOf } from '../../src/model/address.ts'

/** Four bytes of an IPv4 address, sixteen of an IPv6 one, as they stand in a header. */
export function wireAddress(address: Address): Uint8Array {
  return familyOf(address) === 'ipv4' ? addressToBytes(address).subarray(12) : addressToBytes(address)
}

export function sumWords(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

export function checksum(bytes: Uint8Array): number {
  return ~sumWords(bytes) & 0xffff
}

export function pseudoHeader(
  source: Address,
  destination: Address,
  protocol: number,
  length: number,
): Buffer {
  const tail = Buffer.alloc(8)
  tail.writeUInt32BE(length, 0)
  tail.writeUInt32BE(protocol, 4)
  return Buffer.concat([wireAddress(source), wireAddress(destination), tail])
}

/** Bit by bit (RFC 9260 appendix A): slow, and nothing like what the programs do. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}
