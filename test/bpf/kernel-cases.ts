// Records packet cases for kernels that cannot run these tests themselves: the maps of a World, packets in their order, and what
// this machine's kernel answered (the packet tests check that byte by byte). kernel_runner.c repeats them on another kernel.
//
//   node test/bpf/kernel-cases.ts FILE
//
// FILE is a sequence of records: a kind byte, then fields, each a little-endian u32 length and its bytes.
//   K name, value                          load-time constant of every object that has it
//   M map, key, value                      a row to write before the first packet
//   X / U / T name, packet, context, verdict, packet out   a run of weir_uplink_xdp, weir_uplink_ingress, weir_pod_tc; a dropped
//                                          packet has no out

import { writeFileSync } from 'node:fs'
import type { Family } from '../../src/model/address.ts'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import { arriving } from './tunnel.ts'
import { FROM_POD, TARGET_PORT, TC, World, XDP } from './world.ts'

const MAPS = [
  'frontends',
  'frontend_addresses',
  'frontend_filter',
  'slots',
  'backends',
  'backend_ids',
  'nexthops',
  'nodes',
  'endpoints',
] as const
/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function record(kind: string, ...fields: (string | Uint8Array)[]): Buffer {
  const parts = fields.map((field) =>
    typeof field === 'string' ? Buffer.from(`${field}\0`) : Buffer.from(field),
  )
  return Buffer.concat([Buffer.from(kind), ...parts.flatMap((part) => [u32(part.length), part])])
}

function uplink(world: World, name: string, sent: Frame): Buffer {
  const data = sent.bytes()
  const { returnValue, dataOut } = world.datapath.uplink.xdp.testRun({ data, dataOutBytes: 12_000 })
  const out = returnValue === XDP.DROP ? Buffer.alloc(0) : dataOut
  return record('X', name, data, Buffer.alloc(0), u32(returnValue), out)
}

function atTc(world: World, kind: 'U' | 'T', name: string, sent: Frame): Buffer {
  const data = sent.bytes()
  const context = Buffer.alloc(SKB_BYTES)
  const program = kind === 'T' ? world.datapath.podTc : world.datapath.uplink.ingress
  const { returnValue, dataOut } = program.testRun({ data, context, dataOutBytes: 12_000 })
  const out = returnValue === TC.DROP ? Buffer.alloc(0) : dataOut
  return record(kind, name, data, context, u32(returnValue >>> 0), out)
}

/** A test run's socket buffer has one page. */
const SKB_PACKET_BYTES_MAX = 3000

function* casesOf(world: World, family: Family, protocol: number): Generator<Buffer> {
  const { client, pod: podAddress, stranger } = world.cast(family)
  const title = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
  const to = (port: number) => world.request(family, protocol, port)
  const further = (port: number) => (protocol === TCP ? to(port).tcp('ack') : to(port))
  const echo = family === 'ipv4' ? 8 : 128
  const uplinks: Record<string, Frame> = {
    'not ours': to(80).to(stranger),
    'to a pod, first': to(81),
    'to a pod, further': further(81),
    'to a pod, tagged': further(81).tagged(7),
    'to another node, first': to(80),
    'to another node, further': further(80),
    'left to the stack': to(82),
    'no endpoint': to(90),
    'no endpoint here': to(91),
    'no such port': to(7777),
    'last hop': to(81).ttl(1),
    'too big': to(81).payload(1500),
    'jumbo, too big': to(81).payload(8900),
    'a fragment': to(80).fragment(0x2000),
    ping: to(0).icmp(echo, 0, Buffer.alloc(64)),
    'from the tunnel': arriving(world, to(80), family),
    'from an unknown tunnel': arriving(world, to(80), family).from(stranger),
  }
  for (const [name, sent] of Object.entries(uplinks)) yield uplink(world, `${title}: ${name}`, sent)
  const blank = frame(FROM_POD).from(podAddress, TARGET_PORT).to(client, 40_000).payload(77)
  const answer = protocol === TCP ? blank.tcp('syn', 'ack') : blank.udp()
  yield atTc(world, 'T', `${title}: the answer`, answer)
  yield atTc(world, 'T', `${title}: another's`, answer.to(stranger))
  for (const [name, sent] of Object.entries(uplinks))
    if (sent.fields.tags.length === 0 && sent.bytes().length < SKB_PACKET_BYTES_MAX)
      yield atTc(world, 'U', `${title} at tc: ${name}`, sent)
}

const file = process.argv[2]
if (file === undefined) throw new Error('usage: node test/bpf/kernel-cases.ts FILE')
const world = new World('kernel-cases')
try {
  const records = [
    record('K', 'node_config', world.config),
    record('K', 'uses_frontend_filter', Buffer.from([1])),
  ]
  for (const name of MAPS)
    for (const { key, value } of world.map(name).entries())
      if (value.some((byte) => byte !== 0)) records.push(record('M', name, key, value))
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const protocol of [TCP, UDP]) records.push(...casesOf(world, family, protocol))
  writeFileSync(file, Buffer.concat(records))
} finally {
  world.close()
}
