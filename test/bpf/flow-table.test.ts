// The flow table's promises: what yields to what in a full set, and that two CPUs never read each other's half-written entries.
//
// Full sets are made by loading the programs with a table of two sets (a load-time constant), so that every flow meets others.

import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { stretchHashKey } from '../../src/datapath/hash-key.ts'
import { address, addressToBytes } from '../../src/model/address.ts'
import { type LoadedObject, openObject } from '../../src/sys/libbpf-ts/index.ts'
import { frame, TCP, type TcpFlag } from './packet.ts'
import type { RaceOrder } from './race-worker.ts'
import { XDP } from './world.ts'

const buildPath = (name: string) => fileURLToPath(new URL(`../../build/bpf/${name}`, import.meta.url))
const VIP = address('203.0.113.10')
const CLIENT = address('198.51.100.7')
const R = abi.VerdictReason
const { FLOW_HALF_OPEN, FLOW_ESTABLISHED, FLOW_CLOSING } = abi.FlowState
const WORD_TICK_BITS = BigInt(abi.AbiConstant.FLOW_TICK_BITS)
const STATE_SHIFT = BigInt(abi.AbiConstant.FLOW_STATE_SHIFT)

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const SECRET = [0x0123456789abcdefn, 0xfedcba9876543210n]

function nodeConfig(sets: number): Buffer {
  return abi.encodeNodeConfig({
    tunnelIpv4: addressToBytes(address('10.255.0.1')),
    tunnelIpv6: new Uint8Array(16),
    hostNetnsCookie: 0n,
    flowSecret: SECRET,
    flowKeys: SECRET.map(stretchHashKey),
    nodeId: 0,
    tickShift: 0,
    flowSetMask: sets - 1,
    redirectsOnly: 0,
    snatPortFirst: 0,
    snatPortLast: 0,
    masqueradePortFirst: 0,
    masqueradePortLast: 0,
    mssIpv4: 0,
    mssIpv6: 0,
    tunnelKind: 0,
    perPacket: 0,
    enforcesPolicy: 0,
    kernelSocketBit: 0,
  })
}

/** One Service with one backend, on another node. */
function loadBalancer(sets: number): LoadedObject {
  const spec = openObject(buildPath('weir_xdp.bpf.o'))
  spec.setConstant('node_config', nodeConfig(sets))
  const object = spec.load()
  writeFrontend(object, DSR)
  writeNexthops(object)
  writeBackend(object, 1)
  return object
}

const DSR =
  abi.FrontendFlags.FRONTEND_EXTERNAL |
  abi.FrontendFlags.FRONTEND_DSR |
  abi.FrontendFlags.FRONTEND_ANY_ENDPOINT

function writeFrontend(object: LoadedObject, flags: number): void {
  const key = { address: addressToBytes(VIP), port: 80, protocol: TCP }
  const none = { base: 0, size: 0 }
  const frontend = {
    frontendId: 1,
    serviceId: 1,
    flags,
    affinityTicks: 0,
    portId: 0,
    cluster: { base: 0, size: 1 },
    clusterBefore: none,
    local: none,
    localBefore: none,
  }
  object.map('frontends').update(abi.encodeFrontendKey(key), abi.encodeFrontend(frontend))
}

function writeNexthops(object: LoadedObject): void {
  const member = { ifindex: 1, destination: Buffer.alloc(6, 2), source: Buffer.alloc(6, 4) }
  const members = [member, member, member, member]
  const blank = {
    flags: 0,
    memberCount: 1,
    membersDown: 0,
    via: 0,
    mtu: 0,
    remote: Buffer.alloc(16),
    members,
  }
  const { NEXTHOP_KIND_GROUP, NEXTHOP_KIND_TUNNEL } = abi.NexthopKind
  const nexthops = object.map('nexthops')
  nexthops.update(u32(1), abi.encodeNexthop({ ...blank, kind: NEXTHOP_KIND_GROUP }))
  nexthops.update(u32(16), abi.encodeNexthop({ ...blank, kind: NEXTHOP_KIND_TUNNEL, via: 1 }))
}

function writeBackend(object: LoadedObject, id: number): void {
  const backend = {
    address: addressToBytes(address(`10.244.2.${id}`)),
    port: 8080,
    protocol: TCP,
    state: abi.BackendState.BACKEND_ACTIVE,
    flags: 0,
    nexthopId: 16,
    nodeId: 2,
  }
  object.map('backends').update(u32(id), abi.encodeBackend(backend))
  object.map('slots').update(u32(0), abi.encodeSlotPair({ backendId: [id, 0] }))
}

interface Entry {
  readonly port: number
  readonly state: number
}

/** The entries of a table of few sets, as client ports and states. */
function entries(flows: Buffer): Entry[] {
  const found: Entry[] = []
  for (let at = 0; at < 2 * abi.FLOW_SET_BYTES; at += abi.FLOW_BYTES) {
    const { word, key } = abi.decodeFlow(flows, at)
    if (word === 0n) continue
    const port = Buffer.from(u32(key[2] ?? 0)).readUInt16BE(0)
    found.push({ port, state: Number(word >> STATE_SHIFT) & 15 })
  }
  return found
}

t.test('what yields in a full set', async (t) => {
  const object = loadBalancer(2)
  t.teardown(() => object.close())
  const flows = Buffer.from(object.map('flows').mmap())
  const program = object.program('weir_uplink_xdp')
  const blank = frame({ destination: '02:00:00:00:00:01', source: '02:00:00:00:00:fe' }).to(VIP, 80)
  const send = (port: number, ...flags: TcpFlag[]) => {
    const sent = blank.from(CLIENT, port).tcp(...flags)
    return program.testRun({ data: sent.bytes() }).returnValue
  }
  const ports = () => entries(flows).map(({ port }) => port)
  const full = () => {
    const metric = object.map('metrics')
    const rows = metric.splitPerCpu(metric.lookup(u32(R.REASON_FLOW_SET_FULL)) ?? Buffer.alloc(0))
    return rows.reduce((sum, row) => sum + Number(abi.decodeMetric(row).packets), 0)
  }
  /** Establishes flows until both sets hold nothing else. */
  const fill = () => {
    flows.fill(0)
    for (let port = 1000; entries(flows).length < 8; port++) {
      send(port, 'syn')
      send(port, 'ack')
    }
  }

  /** Makes the entries below `end` older by ticks. */
  const age = (ticks: number, end = 2 * abi.FLOW_SET_BYTES) => {
    const tickMask = (1n << WORD_TICK_BITS) - 1n
    for (let at = 0; at < end; at += abi.FLOW_BYTES) {
      const word = flows.readBigUInt64LE(at)
      flows.writeBigUInt64LE((word & ~tickMask) | ((word - BigInt(ticks)) & tickMask), at)
    }
  }

  t.test('half-open flows yield to each other', async (t) => {
    flows.fill(0)
    for (let port = 2000; port < 2100; port++) t.equal(send(port, 'syn'), 3)
    t.equal(entries(flows).length, 8)
    t.ok(ports().includes(2099))
    t.ok(entries(flows).every(({ state }) => state === FLOW_HALF_OPEN))
    t.equal(full(), 0)
  })

  t.test('established flows do not yield: the new one is forwarded untracked, and counted', async (t) => {
    fill()
    const before = ports()
    const refusedBefore = full()
    for (let port = 3000; port < 3100; port++) t.equal(send(port, 'syn'), 3)
    t.same(ports(), before)
    t.ok(entries(flows).every(({ state }) => state === FLOW_ESTABLISHED))
    t.equal(full() - refusedBefore, 100)
  })

  t.test('a flow whose packets would each be drawn anew is not forwarded untracked', async (t) => {
    fill()
    writeFrontend(object, DSR | abi.FrontendFlags.FRONTEND_RANDOM)
    t.equal(send(3500, 'syn'), XDP.DROP)
    writeFrontend(object, DSR)
    t.equal(send(3500, 'syn'), XDP.TX)
  })

  t.test('a closing flow yields', async (t) => {
    fill()
    const [closed] = ports()
    send(closed ?? 0, 'rst')
    t.equal(entries(flows).filter(({ state }) => state === FLOW_CLOSING).length, 1)
    for (let port = 4000; port < 4020; port++) send(port, 'syn')
    t.notOk(ports().includes(closed ?? 0))
    t.equal(entries(flows).filter(({ state }) => state === FLOW_ESTABLISHED).length, 7)
  })

  t.test('an established flow idle for too long yields', async (t) => {
    fill()
    const [idle] = ports()
    age(abi.AbiConstant.FLOW_IDLE_ONE_SIDED_TCP + 1, abi.FLOW_BYTES)
    for (let port = 5000; port < 5020; port++) send(port, 'syn')
    t.notOk(ports().includes(idle ?? 0))
  })

  t.test('UDP that has been silent for a while yields where nothing else does', async (t) => {
    fill()
    for (let at = 0; at < 2 * abi.FLOW_SET_BYTES; at += abi.FLOW_BYTES)
      abi.encodeFlow({ ...abi.decodeFlow(flows, at), flags: abi.FlowFlags.FLOW_IS_UDP }, flows, at)
    const before = ports()
    for (let port = 5100; port < 5120; port++) send(port, 'syn')
    t.same(ports(), before, 'not while it speaks')
    age(abi.AbiConstant.FLOW_SILENT_UDP + 1)
    for (let port = 5120; port < 5140; port++) send(port, 'syn')
    t.equal(before.filter((port) => ports().includes(port)).length, 6, 'one of each set')
  })

  t.test('the same flow again takes its own entry', async (t) => {
    flows.fill(0)
    for (let round = 0; round < 5; round++) send(6000, 'syn')
    t.same(ports(), [6000])
  })
})

/** 256 places for 512 flows. */
const RACE_SETS = 64
const RACE_RUNS = 15_000_000

t.test('two CPUs fighting over the same places never accept a torn entry', async (t) => {
  const spec = openObject(buildPath('flow_race.bpf.o'))
  spec.setConstant('node_config', nodeConfig(RACE_SETS))
  const object = spec.load()
  t.teardown(() => object.close())
  const { fd } = object.program('race')
  await Promise.all([race({ fd, runs: RACE_RUNS }), race({ fd, runs: RACE_RUNS })])
  const map = object.map('tallies')
  const tallies = map.splitPerCpu(map.lookup(u32(0)) ?? Buffer.alloc(0)).map(readTally)
  t.ok(
    tallies.filter(({ hits }) => hits > 100_000).length >= 2,
    `both CPUs took part: ${JSON.stringify(tallies)}`,
  )
  t.ok(tallies.every(({ records }) => records > 100_000))
  t.same(
    tallies.map(({ wrong }) => wrong),
    tallies.map(() => 0),
  )
})

/** 8 places for 16 keys: claims meet in every way of a set. */
const CLAIM_SETS = 2
const CLAIM_RUNS = 10_000_000

t.test('two CPUs that claim the same keys never both have one', async (t) => {
  const spec = openObject(buildPath('claim_race.bpf.o'))
  spec.setConstant('node_config', nodeConfig(CLAIM_SETS))
  const object = spec.load()
  t.teardown(() => object.close())
  const { fd } = object.program('race')
  await Promise.all([race({ fd, runs: CLAIM_RUNS }), race({ fd, runs: CLAIM_RUNS })])
  const map = object.map('tallies')
  const rows = map.splitPerCpu(map.lookup(u32(0)) ?? Buffer.alloc(0))
  const tallies = rows.map((row) => ({
    claims: Number(row.readBigUInt64LE(0)),
    refusals: Number(row.readBigUInt64LE(8)),
    wrong: Number(row.readBigUInt64LE(16)),
  }))
  t.ok(tallies.filter(({ claims }) => claims > 100_000).length >= 2, JSON.stringify(tallies))
  t.ok(
    tallies.some(({ refusals }) => refusals > 0),
    'they met',
  )
  t.same(
    tallies.map(({ wrong }) => wrong),
    tallies.map(() => 0),
  )
})

function readTally(row: Buffer) {
  const at = (word: number) => Number(row.readBigUInt64LE(word * 8))
  return { records: at(0), hits: at(1), wrong: at(2) }
}

function race(order: RaceOrder): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./race-worker.ts', import.meta.url), { workerData: order })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}
