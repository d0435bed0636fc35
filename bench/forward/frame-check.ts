// Whether a frame that came out of a node is what it should be. Pure.

import { addressNumber } from '../bed/generator.ts'

const IP_AT = 14
const IP_BYTES = 20
const GENEVE_PORT = 6081
const GENEVE_BYTES = 8
const UDP_BYTES = 8
const UDP = 17

interface Datagram {
  readonly source: number
  readonly destination: number
  readonly destinationPort: number
  readonly payloadAt: number
}

/** What must be true of it; absent: nothing. Addresses as networks, `10.244.0.0/24`. */
export interface Expected {
  readonly mac: string
  readonly source: string
  readonly destination: string
  /** In a Geneve tunnel: of the packet inside. */
  readonly inside?: { readonly source: string; readonly destination: string }
}

/** @returns what is wrong, undefined when nothing is */
export function wrongWith(frame: Buffer, expected: Expected): string | undefined {
  const mac = frame.subarray(0, 6).toString('hex')
  if (mac !== expected.mac.replaceAll(':', '')) return `it goes to the device ${mac}`
  const outer = readDatagram(frame, IP_AT)
  if (typeof outer === 'string') return outer
  const wrong = wrongEnds(outer, expected)
  if (wrong !== undefined || !expected.inside) return wrong
  if (outer.destinationPort !== GENEVE_PORT) return `it is no Geneve but for port ${outer.destinationPort}`
  const optionBytes = ((frame[outer.payloadAt] ?? 0) & 0x3f) * 4
  const inner = readDatagram(frame, outer.payloadAt + GENEVE_BYTES + optionBytes)
  return typeof inner === 'string' ? `inside, ${inner}` : wrongEnds(inner, expected.inside)
}

function wrongEnds(
  { source, destination }: Datagram,
  expected: Pick<Expected, 'source' | 'destination'>,
): string | undefined {
  if (!isIn(source, expected.source)) return `it comes from ${text(source)}, not from ${expected.source}`
  if (!isIn(destination, expected.destination))
    return `it goes to ${text(destination)}, not to ${expected.destination}`
  return undefined
}

/** As far as the frame was kept. */
function readDatagram(frame: Buffer, at: number): Datagram | string {
  if (frame.length < at + IP_BYTES + UDP_BYTES) return 'it is too short'
  if (frame[at] !== 0x45 || frame[at + 9] !== UDP) return 'it is no UDP over IPv4'
  if (onesSum(frame.subarray(at, at + IP_BYTES)) !== 0xffff) return 'its IP checksum is wrong'
  const udpAt = at + IP_BYTES
  const end = udpAt + frame.readUInt16BE(udpAt + 4)
  if (frame.readUInt16BE(udpAt + 6) !== 0 && end <= frame.length) {
    const pseudo = Buffer.concat([
      frame.subarray(at + 12, at + 20),
      Buffer.from([0, UDP]),
      frame.subarray(udpAt + 4, udpAt + 6),
    ])
    if (onesSum(Buffer.concat([pseudo, frame.subarray(udpAt, end)])) !== 0xffff)
      return 'its UDP checksum is wrong'
  }
  return {
    source: frame.readUInt32BE(at + 12),
    destination: frame.readUInt32BE(at + 16),
    destinationPort: frame.readUInt16BE(udpAt + 2),
    payloadAt: udpAt + UDP_BYTES,
  }
}

function onesSum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2)
    sum += at + 1 < bytes.length ? bytes.readUInt16BE(at) : (bytes[at] ?? 0) << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}

function isIn(address: number, network: string): boolean {
  const [first = '', length = '32'] = network.split('/')
  const size = 2 ** (32 - Number(length))
  return Math.floor(address / size) === Math.floor(addressNumber(first) / size)
}

function text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}
