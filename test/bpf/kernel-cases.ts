// Records packet cases for kernels that cannot run these tests themselves: the maps of a World, packets in their order, and what
// this machine's kernel answered (the packet tests check that byte by byte). kernel_runner.c repeats them on another kernel.
//
//   node test/bpf/kernel-cases.ts FILE plain|enforced
//
// `enforced`: with policy on the pods, which lets what the cases are about through, and not the rest.
//
// FILE is a sequence of records: a kind byte, then fields, each a little-endian u32 length and its bytes.
//   K name, value                          load-time constant of every object that has it
//   M map, key, value                      a row to write before the first packet
//   X, T, P, U, E   name, packet, context, verdict, packet out
//     a run of weir_uplink_xdp, weir_pod_tc, weir_pod_egress_tc, weir_uplink_ingress, weir_uplink_egress; a dropped packet has no out

import { writeFileSync } from 'node:fs'
import * as abi from '../../src/datapath/abi.gen.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { address, addressToBytes, type Family } from '../../src/model/address.ts'
import type { ClassRow, PortInterval } from '../../src/policy/compile/rows.ts'
import type { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'
import { type Control, encodeControl } from './bfd-control.ts'
import { type Frame, frame, SCTP, TCP, TRANSPORT_NAMES, UDP } from './packet.ts'
import { EVERYBODY, movePodsToLoopback, said } from './policy-rows.ts'
import { arriving } from './tunnel.ts'
import { ARRIVING, BACKEND, FROM_POD, TARGET_PORT, TC, TO_POD, UPLINK, World, XDP } from './world.ts'

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
  'bfd_sessions',
  'bfd_states',
  'identities',
  'identity_prefixes',
  'policy_subjects',
  'policy_sets',
  'policy_peers',
  'policy_cells',
  'policy_classes',
  'policy_ports',
  'policy_generations',
  'policy_host',
] as const
/** Jiffies of a tick as a power of two: longer than any run. */
const LONGEST_TICK = 40
/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

function record(kind: string, ...fields: (string | Uint8Array)[]): Buffer {
  const parts = fields.map((field) =>
    typeof field === 'string' ? Buffer.from(`${field}\0`) : Buffer.from(field),
  )
  return Buffer.concat([Buffer.from(kind), ...parts.flatMap((part) => [u32(part.length), part])])
}

interface Runner {
  readonly kind: string
  readonly program: (world: World) => Pick<BpfProgram, 'testRun'>
  readonly dropped: number
  readonly context: Uint8Array | undefined
}

const CONTEXT = Buffer.alloc(SKB_BYTES)
const AT_XDP: Runner = {
  kind: 'X',
  program: (world) => world.datapath.uplink.xdp,
  dropped: XDP.DROP,
  context: undefined,
}
const AT_POD: Runner = {
  kind: 'T',
  program: (world) => world.datapath.podTc,
  dropped: TC.DROP,
  context: CONTEXT,
}
const TO_A_POD: Runner = { ...AT_POD, kind: 'P', program: (world) => world.datapath.podEgressTc }
const AT_INGRESS: Runner = { ...AT_POD, kind: 'U', program: (world) => world.datapath.uplink.ingress }
const AT_EGRESS: Runner = { ...AT_POD, kind: 'E', program: (world) => world.datapath.uplink.egress }

function run(world: World, { kind, program, dropped, context }: Runner, name: string, sent: Frame): Buffer {
  const data = sent.bytes()
  const options = context === undefined ? { data } : { data, context: Buffer.from(context) }
  const { returnValue, dataOut } = program(world).testRun({ ...options, dataOutBytes: 12_000 })
  const out = returnValue === dropped ? Buffer.alloc(0) : dataOut
  return record(kind, name, data, context ?? Buffer.alloc(0), u32(returnValue), out)
}

function titleOf(family: Family, protocol: number): string {
  return `${family} ${TRANSPORT_NAMES[protocol]}`
}

function packetsOf(world: World, family: Family, protocol: number): Record<string, Frame> {
  const { client, vip, stranger, remotePod } = world.cast(family)
  const to = (port: number) => world.request(family, protocol, port)
  const further = (port: number) => {
    if (protocol === SCTP) return to(port).sctp(0)
    return protocol === TCP ? to(port).tcp('ack') : to(port)
  }
  const echo = family === 'ipv4' ? 8 : 128
  const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
  const answered = (port: number) => further(port).from(vip, port).to(client, 40_000)
  const error = (port: number) =>
    answered(port)
      .icmpError(type ?? 0, code ?? 0, 1400)
      .link(ARRIVING)
  const [first, later] = further(81).id(9).payload(1001).pieces(400)
  const second = { second: addressToBytes(remotePod), secondPort: TARGET_PORT + 1 }
  return {
    'not ours': to(80).to(stranger),
    'to a pod, first': to(81),
    'to a pod, further': further(81),
    'to another node, first': to(80),
    'to another node, further': further(80),
    'to another node, unknown': further(80).from(client, 40_001),
    'to another node, masqueraded': to(84),
    'left to the stack': to(82),
    'no endpoint': to(90),
    'no endpoint here': to(91),
    'no such port': to(7777),
    'last hop': to(81).ttl(1),
    'too big': to(81).payload(1500),
    ...(first && later && { 'the first fragment': first, 'a later one': later, 'a lone one': later.id(10) }),
    ping: to(0).icmp(echo, 0, Buffer.alloc(64)),
    'an error, to a pod': error(81),
    'an error, to another node': error(80),
    'an error, about nothing': error(7777),
    'from the tunnel': arriving(world, to(80), family),
    'an error from the tunnel': arriving(world, error(80), family),
    'passed on': arriving(world, further(80).from(client, 40_002), family, second),
    'from an unknown tunnel': arriving(world, to(80), family).from(stranger),
  }
}

/** What test runs of socket buffers do not take. */
function framesOf(world: World, family: Family, protocol: number): Record<string, Frame> {
  const known =
    protocol === TCP ? world.request(family, TCP, 81).tcp('ack') : world.request(family, protocol, 81)
  return { 'to a pod, tagged': known.tagged(7), 'jumbo, too big': known.payload(8900) }
}

function* answersOf(world: World, family: Family, protocol: number): Generator<Buffer> {
  const { client, pod, stranger } = world.cast(family)
  const title = titleOf(family, protocol)
  const blank = frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40_000).payload(77)
  const finish = (frame: Frame) => (protocol === SCTP ? frame.sctp(2) : frame.udp())
  const answer = protocol === TCP ? blank.tcp('syn', 'ack') : finish(blank)
  const request = answer.from(client, 40_000).to(pod, TARGET_PORT)
  const [type, code] = family === 'ipv4' ? [3, 3] : [1, 4]
  yield run(world, AT_POD, `${title}: the answer`, answer)
  yield run(world, AT_POD, `${title}: another's`, answer.to(stranger))
  yield run(world, AT_POD, `${title}: a pod's error`, request.icmpError(type ?? 0, code ?? 0, 0))
  if (protocol !== SCTP)
    for (const [index, piece] of answer.id(11).payload(1001).pieces(400).entries())
      yield run(world, AT_POD, `${title}: the answer, fragment ${index}`, piece)
  yield run(world, AT_EGRESS, `${title}: the answer by the stack`, answer.from(pod, TARGET_PORT + 1))
}

function* casesOf(world: World, family: Family, protocol: number): Generator<Buffer> {
  const title = titleOf(family, protocol)
  const packets = Object.entries(packetsOf(world, family, protocol))
  for (const [name, sent] of packets) yield run(world, AT_XDP, `${title}: ${name}`, sent)
  for (const [name, sent] of Object.entries(framesOf(world, family, protocol)))
    yield run(world, AT_XDP, `${title}: ${name}`, sent)
  yield* answersOf(world, family, protocol)
  for (const [name, sent] of packets) yield run(world, AT_INGRESS, `${title} at tc: ${name}`, sent)
}

/** Both pods' devices are loopback; the pod admits its Services' ports and pings, and begins nothing but to port 80. The node shuts port 79. */
function enforcePolicy(world: World): void {
  const classOf = (id: number, ports: readonly PortInterval[], pings = [said(true)]): ClassRow => ({
    class: id,
    protocols: [ports, ports, ports, pings, pings, [said(false)]],
    uniform: undefined,
  })
  const admits = classOf(1, [said(false), said(true, TARGET_PORT), said(false, TARGET_PORT + 2)])
  const begins = classOf(2, [said(false), said(true, 80), said(false, 81)], [said(false)])
  const shuts = classOf(3, [said(true), said(false, 79), said(true, 80)])
  const direction = (id: number) => ({ defaults: [id, id, id] as const, isOpen: false })
  const pods = (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const { pod, localClient } = world.cast(family)
    return [pod, localClient]
  })
  movePodsToLoopback(world)
  new PolicyMaps(
    policyTables((name) => world.map(name)),
    () => 0,
  ).apply([
    { table: 'classes', put: [admits, begins, shuts] },
    {
      table: 'sets',
      put: [
        { set: 1, epoch: 1, ingress: direction(1), egress: direction(2) },
        { set: 2, epoch: 2, ingress: direction(3), egress: direction(3) },
      ],
    },
    EVERYBODY,
    {
      table: 'subjects',
      put: pods.map((address) => ({
        ...{ kind: 'pod', address, set: 1, pod: 'a/b' },
        hairpin: { ingress: 1, egress: 1 },
      })),
    },
    { table: 'subjects', put: [{ kind: 'node', set: 2 }] },
  ])
}

function* policyCasesOf(world: World, family: Family, protocol: number): Generator<Buffer> {
  const title = `${titleOf(family, protocol)}, policy`
  const { client, pod, remotePod } = world.cast(family)
  const spoken = (blank: Frame) =>
    protocol === TCP ? blank.tcp('syn') : protocol === UDP ? blank.udp() : blank.sctp(1)
  const out = (port: number) => spoken(frame(FROM_POD).from(pod, 50_000).to(remotePod, port).payload(20))
  const into = (port: number) => spoken(frame(TO_POD).from(client, 50_000).to(pod, port).payload(20))
  const echo = family === 'ipv4' ? 8 : 128
  const ping = frame(TO_POD).from(client).to(pod).icmp(echo, 0, Buffer.alloc(8))
  yield run(world, AT_POD, `${title}: allowed out`, out(80))
  yield run(world, TO_A_POD, `${title}: its answer`, out(80).from(remotePod, 80).to(pod, 50_000))
  yield run(world, AT_POD, `${title}: denied out`, out(81))
  yield run(world, AT_POD, `${title}: another's address`, out(80).from(client))
  yield run(world, TO_A_POD, `${title}: allowed in`, into(TARGET_PORT))
  yield run(world, TO_A_POD, `${title}: denied in`, into(79))
  yield run(world, TO_A_POD, `${title}: a ping`, ping)
  yield run(
    world,
    AT_POD,
    `${title}: its answer`,
    ping
      .from(pod)
      .to(client)
      .icmp(family === 'ipv4' ? 0 : 129, 0, Buffer.alloc(8)),
  )
  yield run(world, TO_A_POD, `${title}: an error`, out(80).icmpError(family === 'ipv4' ? 3 : 1, 3, 0))
  yield run(world, AT_POD, `${title}: a ping out`, ping.from(pod).to(client))
  yield* nodesCasesOf(world, family, protocol)
}

/** Whatever is forwarded there, these addresses are the node's own. */
const LOOPBACKS = { ipv4: address('127.0.0.1'), ipv6: address('::1') } as const

function* nodesCasesOf(world: World, family: Family, protocol: number): Generator<Buffer> {
  const title = `${titleOf(family, protocol)}, policy of the node`
  const { client, pod } = world.cast(family)
  const own = LOOPBACKS[family]
  const spoken = (blank: Frame, ...flags: Parameters<Frame['tcp']>) =>
    protocol === TCP ? blank.tcp(...flags) : protocol === UDP ? blank.udp() : blank.sctp(1)
  const out = (port: number, ...flags: Parameters<Frame['tcp']>) =>
    spoken(frame(UPLINK).from(own, 50_001).to(client, port).payload(20), ...flags)
  const into = (port: number, ...flags: Parameters<Frame['tcp']>) =>
    spoken(frame(ARRIVING).from(client, 50_001).to(own, port).payload(20), ...flags)
  yield run(world, AT_EGRESS, `${title}: allowed out`, out(80, 'syn'))
  yield run(world, AT_INGRESS, `${title}: its answer`, into(50_001, 'syn', 'ack').from(client, 80))
  yield run(world, AT_EGRESS, `${title}: denied out`, out(79, 'syn'))
  yield run(world, AT_INGRESS, `${title}: allowed in`, into(80, 'syn'))
  yield run(world, AT_EGRESS, `${title}: what it answers`, out(50_001, 'syn', 'ack').from(own, 80))
  yield run(world, AT_INGRESS, `${title}: denied in`, into(79, 'syn'))
  yield run(world, AT_INGRESS, `${title}: in the middle`, into(81, 'ack'))
  const fromPod = spoken(frame(FROM_POD).from(pod, 50_002).to(own, 80).payload(20), 'syn')
  yield run(world, AT_POD, `${title}: from its own pod`, fromPod)
}

const BFD_FAMILIES = ['ipv4', 'ipv6'] as const
const BFD_NUMBER = 77

/** A session with the other node, which is down. */
function makeBfdSession(world: World, family: Family): void {
  const row = BFD_FAMILIES.indexOf(family)
  const { node, otherNode } = world.cast(family)
  const state = {
    ...abi.decodeBfdState(Buffer.alloc(abi.BFD_STATE_BYTES)),
    state: abi.BfdSessionState.BFD_DOWN,
  }
  world.map('bfd_states').update(u32(row), abi.encodeBfdState(state))
  world.map('bfd_sessions').update(
    abi.encodeBfdKey({ peer: addressToBytes(otherNode), ifindex: 1 }),
    abi.encodeBfdSession({
      row,
      discriminator: BFD_NUMBER,
      intervalUs: 300_000,
      multiplier: 3,
      isAdminDown: 0,
      governs: 0,
      local: addressToBytes(node),
    }),
  )
}

function* bfdCasesOf(world: World, family: Family): Generator<Buffer> {
  const { node, otherNode } = world.cast(family)
  const blank: Control = {
    version: 1,
    diagnostic: 0,
    state: 'down',
    flags: '',
    multiplier: 3,
    length: 24,
    mine: 99,
    yours: 0,
    desiredUs: 1_000_000,
    requiredUs: 300_000,
  }
  const said = (change: Partial<Control>) =>
    frame(ARRIVING)
      .from(otherNode, 50_000)
      .to(node, abi.AbiConstant.BFD_PORT)
      .ttl(255)
      .udp()
      .payload(encodeControl({ ...blank, ...change }))
  // Polls, for they are answered whatever the time.
  const up = said({ state: 'up', yours: BFD_NUMBER, flags: 'P' })
  yield run(world, AT_XDP, `${family} BFD: the neighbour is down`, said({}))
  yield run(world, AT_XDP, `${family} BFD: it is up`, up)
  yield run(world, AT_XDP, `${family} BFD: from afar`, up.ttl(254))
  yield run(world, AT_INGRESS, `${family} BFD at tc: it is up`, up)
  yield run(world, AT_INGRESS, `${family} BFD at tc: it is down`, said({ yours: BFD_NUMBER }))
}

const [file, variant = 'plain'] = process.argv.slice(2)
if (file === undefined) throw new Error('usage: node test/bpf/kernel-cases.ts FILE plain|enforced')
const enforcesPolicy = variant === 'enforced'
// One port, for a random one would not be the same there.
const world = new World('kernel-cases', false, { snatPorts: { first: 62_001, last: 62_001 }, enforcesPolicy })
try {
  if (enforcesPolicy) enforcePolicy(world)
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const protocol of [TCP, UDP, SCTP])
      world.changeFrontend(family, protocol, 80, {
        clusterBefore: world.writeTable(family, protocol, 1000 + world.backendId(family, protocol, 0), [
          BACKEND.second,
        ]),
      })
  for (const family of BFD_FAMILIES) makeBfdSession(world, family)
  // Under emulation a tick may begin between any two packets, and entries be renewed that were not here.
  const config = abi.encodeNodeConfig({ ...abi.decodeNodeConfig(world.config), tickShift: LONGEST_TICK })
  const records = [record('K', 'node_config', config), record('K', 'uses_frontend_filter', Buffer.from([1]))]
  for (const name of MAPS)
    for (const { key, value } of world.map(name).entries())
      if (value.some((byte) => byte !== 0)) records.push(record('M', name, key, value))
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const protocol of [TCP, UDP, SCTP]) {
      records.push(...casesOf(world, family, protocol))
      if (enforcesPolicy) records.push(...policyCasesOf(world, family, protocol))
    }
  for (const family of BFD_FAMILIES) records.push(...bfdCasesOf(world, family))
  writeFileSync(file, Buffer.concat(records))
} finally {
  world.close()
}
