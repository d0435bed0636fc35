// What a frame says, as data: drawn, printed, sent again when a case is made small. `frameOf` makes the bytes of it.

import { type Address, addressToBytes, familyOf } from '../../src/model/address.ts'
import { type Frame, frame, ICMP, type Link, SCTP, TCP, type TcpFlag, UDP } from '../bpf/packet.ts'
import { dsrOption, outer } from '../bpf/tunnel.ts'

/** Of a connection: what TCP's flags and SCTP's first chunk say. Nothing else has them. */
export type Act = 'begin' | 'answer' | 'go-on' | 'reset' | 'close'

export interface Place {
  readonly address: Address
  readonly port: number
}

export interface Said {
  readonly source: Address
  /** Of a ping its identifier. */
  readonly sourcePort: number
  readonly destination: Address
  /** Of ICMP the type. */
  readonly destinationPort: number
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'icmp' | 'other'
  readonly act: Act
  /** Of an ICMP error: the packet that it is about. */
  readonly quotes?: Said
  /** IPv6 alone: the transport lies behind a header of options. Or the frame ends inside its transport header. */
  readonly hides?: 'extension' | 'truncated'
  /** A piece of a datagram: the one with the ports, or what comes after. */
  readonly piece?: { readonly datagram: number; readonly which: 'first' | 'later' }
  /** IPv6: a fragment header around all of it. IPv4: options. */
  readonly isAdorned?: true
  /** A VLAN tag. */
  readonly tag?: number
  readonly hops?: number
  /** Inside Geneve from this node, which chose the backend. */
  readonly tunnel?: { readonly from: Address; readonly chosen: Place }
}

export interface Step {
  /** `wire`: by the uplink; `node`: its own stack; else a pod's device. */
  readonly from: string
  readonly said: Said
  /** Before it the policies become those that were not in force, and what was in force is no more. */
  readonly turns?: true
}

const FLAGS: Readonly<Record<Act, readonly TcpFlag[]>> = {
  begin: ['syn'],
  answer: ['syn', 'ack'],
  'go-on': ['ack', 'psh'],
  reset: ['rst', 'ack'],
  close: ['fin', 'ack'],
}
/** INIT, INIT ACK, DATA, ABORT, SHUTDOWN. */
const CHUNKS: Readonly<Record<Act, number>> = { begin: 1, answer: 2, 'go-on': 0, reset: 6, close: 7 }
const GRE = 47
export const NUMBERS = { tcp: TCP, udp: UDP, sctp: SCTP, other: GRE } as const
const DESTINATION_OPTIONS = 60
/** What is behind a UDP or TCP header, so that a datagram has two pieces. */
const PAYLOAD_BYTES = 40
const FIRST_PIECE_BYTES = 24
/** As routers quote: the header, and ports at least. */
const QUOTED_BYTES = 20
/** An IPv4 header with one option that says nothing. */
const NO_OPERATIONS = Buffer.alloc(4, 1)
const TRANSPORT_LEFT_BYTES = 6
const ETHERNET_BYTES = 14

export const PINGS = { ipv4: { ask: 8, answer: 0 }, ipv6: { ask: 128, answer: 129 } } as const
export const ERRORS: Readonly<Record<'ipv4' | 'ipv6', readonly number[]>> = {
  ipv4: [3, 11, 12],
  ipv6: [1, 2, 3, 4],
}

export const hasPorts = ({ protocol }: Pick<Said, 'protocol'>): boolean =>
  protocol !== 'icmp' && protocol !== 'other'

const headerBytes = (packet: Buffer): number => {
  const first = packet[0] ?? 0
  if (first >> 4 === 4) return (first & 15) * 4
  return packet[6] === 44 ? 48 : 40
}

function quotation(quoted: Said): Buffer {
  const packet = plainFrame(quoted).packet()
  return packet.subarray(0, headerBytes(packet) + QUOTED_BYTES)
}

/** Without what hides it. */
function plainFrame(said: Said, link: Link = NO_LINK): Frame {
  const { source, destination, protocol, act, hops = 64 } = said
  const blank = frame(link)
    .from(source, said.sourcePort)
    .to(destination, said.destinationPort)
    .ttl(hops)
    .payload(PAYLOAD_BYTES)
  if (protocol === 'tcp') return blank.tcp(...FLAGS[act])
  if (protocol === 'udp') return blank.udp()
  if (protocol === 'sctp') return blank.sctp(CHUNKS[act])
  if (protocol === 'other') return blank.body(GRE, Buffer.alloc(PAYLOAD_BYTES))
  const word = Buffer.from([said.sourcePort >> 8, said.sourcePort & 255, 0, 1])
  const rest = said.quotes ? quotation(said.quotes) : Buffer.alloc(PAYLOAD_BYTES)
  return blank.icmp(said.destinationPort, 0, Buffer.concat([said.quotes ? Buffer.alloc(4) : word, rest]))
}

const NO_LINK: Link = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:fe' }

const numberOf = ({ protocol, source }: Said): number =>
  protocol === 'icmp' ? ICMP[familyOf(source)] : NUMBERS[protocol]

/** Behind an eight bytes' header of destination options, which pads. */
function behindOptions(plain: Frame, said: Said): Frame {
  const transport = plain.packet().subarray(headerBytes(plain.packet()))
  const header = Buffer.from([numberOf(said), 0, 1, 4, 0, 0, 0, 0])
  return plain.body(DESTINATION_OPTIONS, Buffer.concat([header, transport]))
}

/** IPv6: offset 0 and no more, and yet a header that could tell. */
const ATOMIC = 0

export function frameOf(said: Said, link: Link): Frame {
  const isIpv6 = familyOf(said.source) === 'ipv6'
  let made = plainFrame(said, link)
  if (said.hides === 'extension' && isIpv6) made = behindOptions(made, said)
  if (said.isAdorned) made = isIpv6 ? made.fragment(ATOMIC) : made.ipOptions(NO_OPERATIONS)
  if (said.piece) {
    const [first, later] = made.id(said.piece.datagram).pieces(FIRST_PIECE_BYTES)
    made = (said.piece.which === 'first' ? first : later) ?? made
  }
  if (said.tag !== undefined) made = made.tagged(said.tag)
  return made
}

export interface Around {
  readonly link: Link
  /** Where tunnels end. */
  readonly own: Readonly<Record<'ipv4' | 'ipv6', Address>>
}

export function bytesOf(said: Said, { link, own }: Around): Buffer {
  const made = frameOf(said, link)
  if (said.tunnel) {
    const { from, chosen } = said.tunnel
    const option = dsrOption(addressToBytes(chosen.address), { backendPort: chosen.port })
    return outer(made, familyOf(said.source), option)
      .link(link)
      .from(from, 50_000)
      .to(own[familyOf(from)], 6081)
      .bytes()
  }
  const bytes = made.bytes()
  if (said.hides !== 'truncated') return bytes
  const l3 = ETHERNET_BYTES + (said.tag === undefined ? 0 : 4)
  return bytes.subarray(0, l3 + headerBytes(bytes.subarray(l3)) + TRANSPORT_LEFT_BYTES)
}
