// SCTP packets by hand (RFC 9260), for kernels without SCTP sockets: a common header, one chunk, and the CRC32c over both.

const HEADER_BYTES = 12
const CHECKSUM_AT = 8
export const SCTP = 132
/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78

export interface SctpPacket {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly chunkType: number
  readonly isChecksumRight: boolean
}

const INIT = 1
export const INIT_ACK = 2
const CHUNK_BYTES = 20

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  }
  return ~crc >>> 0
}

/** INIT, or another chunk of its shape. */
export function sctpPacket(sourcePort: number, destinationPort: number, chunkType = INIT): string {
  const packet = Buffer.alloc(HEADER_BYTES + CHUNK_BYTES)
  packet.writeUInt16BE(sourcePort, 0)
  packet.writeUInt16BE(destinationPort, 2)
  // INIT goes with verification tag 0, its answer with the tag that INIT named.
  packet.writeUInt32BE(chunkType === INIT ? 0 : 1, 4)
  packet.writeUInt8(chunkType, HEADER_BYTES)
  packet.writeUInt16BE(CHUNK_BYTES, HEADER_BYTES + 2)
  packet.writeUInt32BE(1, HEADER_BYTES + 4)
  packet.writeUInt32BE(65_536, HEADER_BYTES + 8)
  packet.writeUInt16BE(1, HEADER_BYTES + 12)
  packet.writeUInt16BE(1, HEADER_BYTES + 14)
  packet.writeUInt32LE(crc32c(packet), CHECKSUM_AT)
  return packet.toString('hex')
}

/** Reads what a raw socket gave, with an IPv4 header in front of it or not. */
export function readSctp(hex: string, hasIpv4Header: boolean): SctpPacket {
  const bytes = Buffer.from(hex, 'hex')
  const packet = Buffer.from(hasIpv4Header ? bytes.subarray((bytes.readUInt8(0) & 0xf) * 4) : bytes)
  const checksum = packet.readUInt32LE(CHECKSUM_AT)
  packet.writeUInt32LE(0, CHECKSUM_AT)
  return {
    sourcePort: packet.readUInt16BE(0),
    destinationPort: packet.readUInt16BE(2),
    chunkType: packet.readUInt8(HEADER_BYTES),
    isChecksumRight: crc32c(packet) === checksum,
  }
}
