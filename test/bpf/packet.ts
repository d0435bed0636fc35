// Packets for the tests of the kernel half: built from a description, and read back.
//
// A Frame is immutable; each method gives a changed copy, so an expected packet reads as the sent one with what must differ:
//   request.to(pod, 8080).ttl(63).link(podLink)
// The builder computes every checksum from nothing, by another way than the programs (whole sums, not differences): comparing
// all bytes with what came out therefore checks the programs' checksums too.

import { type Address, familyOf, formatAddress } from '../../src/model/address.ts'
import { checksum, crc32c, pseudoHeader, sumWords, wireAddress } from './checksums.ts'

export interface Link {
  readonly destination: string
  readonly source: string
}

export const TCP = 6
export const UDP = 17
export const SCTP = 132
/** What tests of every transport loop over. */
export const TRANSPORT_NAMES: Readonly<Record<number, string>> = {
  [TCP]: 'TCP',
  [UDP]: 'UDP',
  [SCTP]: 'SCTP',
}
export const ICMP = { ipv4: 1, ipv6: 58 } as const
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const
export const VLAN_ETHERTYPE = 0x8100
const FLAG_BITS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const
export type TcpFlag = keyof typeof FLAG_BITS

interface Fields {
  readonly link: Link
  readonly tags: readonly number[]
  readonly source: Address
  readonly sourcePort: number
  readonly destination: Address
  readonly destinationPort: number
  readonly protocol: number
  readonly flags: readonly TcpFlag[]
  readonly sequence: number
  readonly acknowledged: number
  readonly window: number
  readonly tcpOptions: Uint8Array
  readonly hops: number
  readonly trafficClass: number
  readonly identification: number
  readonly fragment: number
  readonly options: Uint8Array
  readonly hasChecksum: boolean
  /** The type of SCTP's first chunk. */
  readonly chunk: number
  readonly payload: Uint8Array
  /** Replaces everything behind the IP header. */
  readonly body: Uint8Array | undefined
}

export class Frame {
  readonly fields: Fields

  constructor(fields: Fields) {
    this.fields = fields
  }

  #with(change: Partial<Fields>): Frame {
    return new Frame({ ...this.fields, ...change })
  }

  link(link: Link): Frame {
    return this.#with({ link })
  }

  tagged(...tags: number[]): Frame {
    return this.#with({ tags })
  }

  from(source: Address, sourcePort = this.fields.sourcePort): Frame {
    return this.#with({ source, sourcePort })
  }

  to(destination: Address, destinationPort = this.fields.destinationPort): Frame {
    return this.#with({ destination, destinationPort })
  }

  tcp(...flags: TcpFlag[]): Frame {
    return this.#with({ protocol: TCP, flags })
  }

  udp(): Frame {
    return this.#with({ protocol: UDP })
  }

  /** @param chunk type of the first chunk, whose body is the payload */
  sctp(chunk: number): Frame {
    return this.#with({ protocol: SCTP, chunk })
  }

  numbers(sequence: number, acknowledged: number, window = 0): Frame {
    return this.#with({ sequence, acknowledged, window })
  }

  /** Whole words. */
  tcpOptions(tcpOptions: Uint8Array): Frame {
    return this.#with({ tcpOptions })
  }

  ttl(hops: number): Frame {
    return this.#with({ hops })
  }

  trafficClass(trafficClass: number): Frame {
    return this.#with({ trafficClass })
  }

  id(identification: number): Frame {
    return this.#with({ identification })
  }

  /** This packet in fragments, the first ones with so many bytes behind the IP header (multiples of 8). */
  pieces(...bytes: number[]): Frame[] {
    const body = this.fields.body ?? transport(this.fields)
    let at = 0
    return [...bytes, body.length].map((length) => {
      const more = at + length < body.length ? MORE_FRAGMENTS : 0
      const piece = body.subarray(at, at + length)
      const frame = this.#with({ body: piece, fragment: (at / 8) | more })
      at += piece.length
      return frame
    })
  }

  /** The flags and offset word of an IPv4 header; IPv6 carries a fragment header with the same, unless it is "don't fragment". */
  fragment(fragment: number): Frame {
    return this.#with({ fragment })
  }

  ipOptions(options: Uint8Array): Frame {
    return this.#with({ options })
  }

  /** The checksum left to the device: the field holds the sum of the pseudo-header alone. */
  unfinished(): Frame {
    const { source, destination, protocol } = this.fields
    const segment = transport(this.fields)
    const sum = sumWords(pseudoHeader(source, destination, protocol, segment.length))
    segment.writeUInt16BE(sum, protocol === TCP ? 16 : 6)
    return this.body(protocol, segment)
  }

  /** A UDP or SCTP checksum of zero: not computed. */
  withoutChecksum(): Frame {
    return this.#with({ hasChecksum: false })
  }

  payload(payload: Uint8Array | number): Frame {
    return this.#with({ payload: typeof payload === 'number' ? pattern(payload) : payload })
  }

  body(protocol: number, body: Uint8Array): Frame {
    return this.#with({ protocol, body })
  }

  /** An ICMP error of the destination about this packet, quoting its header and 8 bytes more (SCTP: 20). */
  icmpError(type: number, code: number, value: number): Frame {
    const { source, destination } = this.fields
    const word = Buffer.alloc(4)
    word.writeUInt32BE(value)
    const quoted = this.packet().subarray(0, this.#headerBytes() + this.#quotedBytes())
    const { link } = this.fields
    return this.#with({
      link: { destination: link.source, source: link.destination },
      source: destination,
      destination: source,
      hops: 64,
      trafficClass: 0,
      identification: 0,
      fragment: DONT_FRAGMENT,
      options: new Uint8Array(),
    }).icmp(type, code, Buffer.concat([word, quoted]))
  }

  /** An ICMP message; bytes 2 and 3 of the body become its checksum. */
  icmp(type: number, code: number, rest: Uint8Array): Frame {
    const { source, destination } = this.fields
    const family = familyOf(source)
    const body = Buffer.concat([Buffer.from([type, code, 0, 0]), rest])
    const pseudo = pseudoHeader(source, destination, ICMP.ipv6, body.length)
    body.writeUInt16BE(checksum(family === 'ipv4' ? body : Buffer.concat([pseudo, body])), 2)
    return this.body(ICMP[family], body)
  }

  #headerBytes(): number {
    if (familyOf(this.fields.source) === 'ipv4') return 20 + this.fields.options.length
    return this.fields.fragment === DONT_FRAGMENT ? 40 : 48
  }

  /** As far as SCTP's initiate tag, else ports and what is beside them. */
  #quotedBytes(): number {
    return this.fields.protocol === SCTP && (this.fields.body?.length ?? 20) >= 20 ? 20 : 8
  }

  /** From the IP header on. */
  packet(): Buffer {
    const body = this.fields.body ?? transport(this.fields)
    return familyOf(this.fields.source) === 'ipv4' ? ipv4(this.fields, body) : ipv6(this.fields, body)
  }

  bytes(): Buffer {
    const { link, tags, source } = this.fields
    const types = [...tags.map(() => VLAN_ETHERTYPE), ETHERTYPE[familyOf(source)]]
    const words = types.flatMap((type, index) => (index < tags.length ? [type, tags[index] ?? 0] : [type]))
    const tail = Buffer.alloc(words.length * 2)
    words.forEach((word, index) => {
      tail.writeUInt16BE(word, index * 2)
    })
    return Buffer.concat([mac(link.destination), mac(link.source), tail, this.packet()])
  }
}

/** Frames of TCP or UDP; the flags are TCP's. */
export function speaking(protocol: number) {
  const spoken = (blank: Frame, ...flags: readonly TcpFlag[]): Frame =>
    protocol === TCP ? blank.tcp(...flags) : blank.udp()
  /** The other way round. */
  const swapped = (sent: Frame, ...flags: readonly TcpFlag[]): Frame => {
    const { source, sourcePort, destination, destinationPort } = sent.fields
    return spoken(sent.from(destination, destinationPort).to(source, sourcePort), ...flags)
  }
  return { spoken, swapped }
}

const DONT_FRAGMENT = 0x4000
const MORE_FRAGMENTS = 0x2000

export function frame(link: Link): Frame {
  const none = formatAddress(new Uint8Array(16))
  return new Frame({
    link,
    tags: [],
    source: none,
    sourcePort: 0,
    destination: none,
    destinationPort: 0,
    protocol: TCP,
    flags: [],
    sequence: 0x11223344,
    acknowledged: 0x55667788,
    window: 0x2000,
    tcpOptions: new Uint8Array(),
    hops: 64,
    trafficClass: 0,
    identification: 0x1234,
    fragment: DONT_FRAGMENT,
    options: new Uint8Array(),
    hasChecksum: true,
    chunk: 0,
    payload: new Uint8Array(),
    body: undefined,
  })
}

/** Bytes that differ from their neighbours, so that a shift by one shows. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 3) & 0xff)
}

export function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex')
}

function transport(fields: Fields): Buffer {
  const { protocol, source, destination, payload } = fields
  if (protocol === SCTP) return sctpPacket(fields)
  const header = protocol === TCP ? tcpHeader(fields) : udpHeader(fields)
  const segment = Buffer.concat([header, payload])
  const sum = checksum(Buffer.concat([pseudoHeader(source, destination, protocol, segment.length), segment]))
  if (protocol === TCP) segment.writeUInt16BE(sum, 16)
  else if (fields.hasChecksum) segment.writeUInt16BE(sum === 0 ? 0xffff : sum, 6)
  return segment
}

function tcpHeader(fields: Fields): Buffer {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(fields.sourcePort, 0)
  header.writeUInt16BE(fields.destinationPort, 2)
  header.writeUInt32BE(fields.sequence, 4)
  header.writeUInt32BE(fields.acknowledged, 8)
  header[12] = (5 + fields.tcpOptions.length / 4) << 4
  header[13] = fields.flags.reduce((bits, flag) => bits | FLAG_BITS[flag], 0)
  header.writeUInt16BE(fields.window, 14)
  return Buffer.concat([header, fields.tcpOptions])
}

/** The common header and one chunk, padded to whole words. */
function sctpPacket(fields: Fields): Buffer {
  const { payload } = fields
  const packet = Buffer.alloc(16 + Math.ceil(payload.length / 4) * 4)
  packet.writeUInt16BE(fields.sourcePort, 0)
  packet.writeUInt16BE(fields.destinationPort, 2)
  packet.writeUInt32BE(fields.sequence, 4)
  packet[12] = fields.chunk
  packet.writeUInt16BE(4 + payload.length, 14)
  packet.set(payload, 16)
  if (fields.hasChecksum) packet.writeUInt32LE(crc32c(packet), 8)
  return packet
}

function udpHeader(fields: Fields): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt16BE(fields.sourcePort, 0)
  header.writeUInt16BE(fields.destinationPort, 2)
  header.writeUInt16BE(8 + fields.payload.length, 4)
  return header
}

function ipv4(fields: Fields, body: Uint8Array): Buffer {
  const header = Buffer.alloc(20 + fields.options.length)
  header[0] = (4 << 4) | (header.length / 4)
  header[1] = fields.trafficClass
  header.writeUInt16BE(header.length + body.length, 2)
  header.writeUInt16BE(fields.identification, 4)
  header.writeUInt16BE(fields.fragment, 6)
  header[8] = fields.hops
  header[9] = fields.protocol
  header.set(wireAddress(fields.source), 12)
  header.set(wireAddress(fields.destination), 16)
  header.set(fields.options, 20)
  header.writeUInt16BE(checksum(header), 10)
  return Buffer.concat([header, body])
}

const FRAGMENT_HEADER = 44

function ipv6(fields: Fields, body: Uint8Array): Buffer {
  const isFragment = fields.fragment !== DONT_FRAGMENT
  const extension = Buffer.alloc(isFragment ? 8 : 0)
  if (isFragment) {
    extension[0] = fields.protocol
    const more = fields.fragment & MORE_FRAGMENTS ? 1 : 0
    extension.writeUInt16BE(((fields.fragment & 0x1fff) << 3) | more, 2)
    extension.writeUInt32BE(0xabcd0000 + fields.identification, 4)
  }
  const header = Buffer.alloc(40)
  header.writeUInt32BE(6 * 2 ** 28 + fields.trafficClass * 2 ** 20, 0)
  header.writeUInt16BE(extension.length + body.length, 4)
  header[6] = isFragment ? FRAGMENT_HEADER : fields.protocol
  header[7] = fields.hops
  header.set(wireAddress(fields.source), 8)
  header.set(wireAddress(fields.destination), 24)
  return Buffer.concat([header, extension, body])
}

/** The error of either family, as its type and code there. */
export function icmpOf(family: 'ipv4' | 'ipv6') {
  return (
    sent: Frame,
    v4: readonly [type: number, code: number],
    v6: readonly [type: number, code: number],
    value: number,
  ): Frame => sent.icmpError(...(family === 'ipv4' ? v4 : v6), value)
}
