// What a frame says of its way, read back from its bytes however little of it is there.

import { type Address, formatAddress } from '../../src/model/address.ts'
import { SCTP, TCP, UDP } from '../bpf/packet.ts'

export interface Seen {
  readonly source: Address
  readonly destination: Address
  readonly sourcePort: number | undefined
  readonly destinationPort: number | undefined
  readonly isTunnelled: boolean
  /** Where its hop limit is. */
  readonly hopsAt: number
  readonly tag: number | undefined
  /** To whose hardware address it goes. */
  readonly link: string
}

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')
const GENEVE = 6081

/** Undefined: it is not IP, or ends inside its header. */
export function read(bytes: Buffer): Seen | undefined {
  const link = bytes.toString('hex', 0, 6).replace(/(..)(?=.)/g, '$1:')
  const isTagged = bytes.readUInt16BE(12) === 0x8100
  const at = isTagged ? 18 : 14
  const tag = isTagged ? bytes.readUInt16BE(14) & 0xfff : undefined
  const type = bytes.readUInt16BE(at - 2)
  if (type === 0x0800 && bytes.length >= at + 20) return { ...readIpv4(bytes, at), link, tag }
  if (type === 0x86dd && bytes.length >= at + 40) return { ...readIpv6(bytes, at), link, tag }
  return undefined
}

function readPorts(bytes: Buffer, at: number, protocol: number) {
  const has = [TCP, UDP, SCTP].includes(protocol) && bytes.length >= at + 4
  const sourcePort = has ? bytes.readUInt16BE(at) : undefined
  const destinationPort = has ? bytes.readUInt16BE(at + 2) : undefined
  return { sourcePort, destinationPort, isTunnelled: protocol === UDP && destinationPort === GENEVE }
}

function readIpv4(bytes: Buffer, at: number) {
  const address = (from: number) => formatAddress(Buffer.concat([MAPPED, bytes.subarray(from, from + 4)]))
  const isLater = (bytes.readUInt16BE(at + 6) & 0x1fff) !== 0
  const l4 = at + ((bytes[at] ?? 0) & 15) * 4
  return {
    source: address(at + 12),
    destination: address(at + 16),
    hopsAt: at + 8,
    ...readPorts(bytes, l4, isLater ? 0 : (bytes[at + 9] ?? 0)),
  }
}

function readIpv6(bytes: Buffer, at: number) {
  const address = (from: number) => formatAddress(bytes.subarray(from, from + 16))
  const isFragment = bytes[at + 6] === 44 && bytes.length >= at + 48
  const isLater = isFragment && (bytes.readUInt16BE(at + 42) & 0xfff8) !== 0
  const protocol = (isFragment ? bytes[at + 40] : bytes[at + 6]) ?? 0
  return {
    source: address(at + 8),
    destination: address(at + 24),
    hopsAt: at + 7,
    ...readPorts(bytes, at + (isFragment ? 48 : 40), isLater ? 0 : protocol),
  }
}
