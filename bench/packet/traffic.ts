// Packets of flows by what they are: a client's to a Service of a kind, a backend's answer, somebody else's.

import type { FlowEntry } from '../../src/datapath/flow-table.ts'
import type { FlowNames } from '../../src/datapath/maps.ts'
import { type Address, addressFromNumber, type Family } from '../../src/model/address.ts'
import { type Frame, frame } from '../../test/bpf/packet.ts'
import { FROM_ROUTER, toPod } from './bed.ts'
import {
  addressIn,
  type Kind,
  MEASURED,
  numberIn,
  numberOf,
  othersOf,
  PODS_HERE,
  SERVICE_PORT,
  serviceIndex,
} from './cluster.ts'
import { type Ends, type PacketList, packetList } from './packet-list.ts'

export type Protocol = 'TCP' | 'UDP'
/** Where the flows go: to the measured Services, the same at every size of the cluster, or to all of that kind. */
export type Layout = 'fixed' | 'spread'

const PAYLOAD_BYTES = 64
const FROM_POD = { destination: toPod(0).source, source: toPod(0).destination }
const CLIENT_PORT_FIRST = 32_768
const CLIENT_PORTS = 28_000
/** Flows of earlier traffic have clients of their own. */
export const EARLIER_FLOWS_AT = 1 << 21

export interface Traffic {
  readonly kind: Kind
  readonly family: Family
  readonly protocol: Protocol
  readonly layout: Layout
  /** Services of the cluster besides the measured. */
  readonly services: number
}

/** The Service of a flow, by its index in the blocks of addresses. */
function serviceOfFlow({ kind, layout, services }: Traffic, flow: number): number {
  if (layout === 'fixed') return serviceIndex(kind, true, flow % MEASURED)
  return serviceIndex(kind, false, flow % othersOf(kind, services))
}

/** Every flow has a client of its own: nobody runs out of ports. */
function clientPort(flow: number): number {
  return CLIENT_PORT_FIRST + (flow % CLIENT_PORTS)
}

function segment(blank: Frame, protocol: Protocol, flags: readonly ('syn' | 'ack')[]): Frame {
  return (protocol === 'TCP' ? blank.tcp(...flags) : blank.udp()).payload(PAYLOAD_BYTES)
}

/** What clients send: the first packets of their flows, or further ones. @param from of the first flow; their clients follow */
export function requests(
  traffic: Traffic,
  isFirst: boolean,
  count: number,
  { from = 0, block = 'client' as 'client' | 'stranger' } = {},
): PacketList {
  const { family, protocol } = traffic
  const ends = Array.from({ length: count }, (_, index): Ends => {
    const flow = from + index
    return {
      source: numberIn(block, flow),
      sourcePort: clientPort(flow),
      destination: numberIn('vip', serviceOfFlow(traffic, flow)),
      destinationPort: SERVICE_PORT,
    }
  })
  const blank = frame(FROM_ROUTER)
    .from(addressIn(family, block, 0), CLIENT_PORT_FIRST)
    .to(addressIn(family, 'vip', 0), SERVICE_PORT)
  return packetList(family, protocol, segment(blank, protocol, [isFirst ? 'syn' : 'ack']), ends)
}

/** The flow of a client's packet, by its entry in the flow table. */
export function flowOf({ client }: Pick<FlowEntry, 'client'>): number {
  return numberOf(client) - numberIn('client', 0)
}

/** The entries of the clients' halves of flows, by flow. */
export function entriesByFlow(entries: Iterable<FlowEntry>, count: number): (FlowEntry | undefined)[] {
  const found: (FlowEntry | undefined)[] = Array.from({ length: count })
  for (const entry of entries)
    if (entry.backendId !== undefined && flowOf(entry) < count) found[flowOf(entry)] = entry
  return found
}

/** What the backends of these flows answer: at the pods' devices, or come back to this node, which masqueraded the flow. */
export function replies(
  { family, protocol, kind }: Traffic,
  entries: readonly FlowEntry[],
  names: FlowNames,
): PacketList {
  const backends = new Map<number, Pick<Ends, 'source' | 'sourcePort'>>()
  const backendOf = (id: number) => {
    const known = backends.get(id)
    if (known) return known
    const row = names.backend(id)
    if (!row) throw new Error(`a flow leads to backend ${id}, which there is not`)
    const ends = { source: numberOf(row.address), sourcePort: row.port }
    backends.set(id, ends)
    return ends
  }
  const toNode = { destination: numberIn('node', 0) }
  const ends = entries.map((entry): Ends => {
    const back =
      kind === 'snat'
        ? { ...toNode, destinationPort: entry.snatPort }
        : { destination: numberOf(entry.client), destinationPort: entry.clientPort }
    return { ...backendOf(entry.backendId ?? 0), ...back }
  })
  const blank =
    kind === 'snat'
      ? frame(FROM_ROUTER)
          .from(addressIn(family, 'podElsewhere', 0), 1)
          .to(addressIn(family, 'node', 0), 1)
      : frame(FROM_POD)
          .from(addressIn(family, 'podHere', 0), 1)
          .to(addressIn(family, 'client', 0), 1)
  return packetList(family, protocol, segment(blank, protocol, ['ack']), ends)
}

/** Packets that are nobody's: from outside to what is behind this node, or from its pods to elsewhere. */
export function foreign(family: Family, protocol: Protocol, isFromPod: boolean, count: number): PacketList {
  const ends = Array.from(
    { length: count },
    (_, index): Ends => ({
      source: isFromPod ? numberIn('podHere', index % PODS_HERE) : numberIn('client', index),
      sourcePort: clientPort(index),
      destination: numberIn('elsewhere', index),
      destinationPort: 443,
    }),
  )
  const blank = frame(isFromPod ? FROM_POD : FROM_ROUTER)
    .from(addressIn(family, isFromPod ? 'podHere' : 'client', 0), 1)
    .to(addressIn(family, 'elsewhere', 0), 443)
  return packetList(family, protocol, segment(blank, protocol, ['ack']), ends)
}

/** The one packet of a list as a frame, to be changed into what is expected of it. */
export function packetOf({ family, protocol, template, rows }: PacketList): Frame {
  const row = Buffer.from(rows)
  const prefix = family === 'ipv4' ? undefined : template
  const end = (at: number, addressAt: number): Address => {
    const low = BigInt(row.readUInt32BE(at))
    if (!prefix) return addressFromNumber(family, low)
    const above =
      (prefix.readBigUInt64BE(addressAt) << 64n) | (BigInt(prefix.readUInt32BE(addressAt + 8)) << 32n)
    return addressFromNumber(family, above | low)
  }
  const blank = frame({ destination: macText(template, 0), source: macText(template, 6) })
    .from(end(0, 22), row.readUInt16BE(8))
    .to(end(4, 38), row.readUInt16BE(10))
  const flags = (template[family === 'ipv4' ? 47 : 67] ?? 0) === 2 ? (['syn'] as const) : (['ack'] as const)
  return segment(blank, protocol, flags)
}

function macText(packet: Buffer, at: number): string {
  return [...packet.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
