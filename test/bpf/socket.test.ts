// The cgroup hooks, by real sockets of a process in a cgroup of its own. Backends are servers of this test on loopback; the
// Service addresses exist nowhere, so whatever answers was reached by translation.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import { DEFAULT_SETTINGS, loadDatapath } from '../../src/datapath/load.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { ServiceCidrs } from '../../src/datapath/service-cidrs.ts'
import { StaleSockets } from '../../src/datapath/stale-sockets.ts'
import {
  type Address,
  address,
  addressBits,
  addressToBytes,
  type Family,
  formatAddress,
  type Prefix,
} from '../../src/model/address.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { attachCgroup } from '../../src/sys/libbpf-ts/index.ts'
import { networkNamespaceCookie } from '../../src/sys/libc/sockets.ts'
import { TCP, UDP } from './packet.ts'
import type { SocketOrder, SocketReport } from './socket-client.ts'

const VIP = { ipv4: '203.0.113.20', ipv6: '2001:db8:113::20' } as const
const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' } as const
const BACKENDS = 3
const { FRONTEND_EXTERNAL, FRONTEND_INTERNAL_LOCAL, FRONTEND_EXTERNAL_LOCAL, FRONTEND_ANY_ENDPOINT } =
  abi.FrontendFlags
const { FRONTEND_SOURCE_RANGES, FRONTEND_SOCKET_ONLY } = abi.FrontendFlags
/** Where the node itself and the client process, which shares its namespace, speak from. */
const NODE = { ipv4: '192.0.2.1', ipv6: '2001:db8:1::1' } as const
/** Inside a ServiceCIDR, and no Service's. */
const UNALLOCATED = { ipv4: '203.0.113.99', ipv6: '2001:db8:113::99' } as const
const AFFINITY_SECONDS = 2

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const cgroup = `${cgroupMount()}/weir-test-socket-${process.pid}`
const bpffs = `/sys/fs/bpf/weir-test-socket-${process.pid}`

mkdirSync(cgroup)
const datapath = loadDatapath({
  bpffs,
  objects: undefined,
  redirectsOnly: false,
  settings: DEFAULT_SETTINGS,
  tunnelAddresses: { ipv4: undefined, ipv6: undefined },
})
const links = datapath.socket.map((program) => attachCgroup(program, cgroup))
const filter = new FrontendFilter(new Uint32Array(datapath.map('frontend_filter').mmap()))
const client = startClient()
const servers: (Server | Socket)[] = []

t.teardown(async () => {
  client.kill()
  if (client.exitCode === null && client.signalCode === null) await once(client, 'exit')
  for (const server of servers) server.close()
  for (const link of links) link.close()
  datapath.close()
  rmSync(bpffs, { recursive: true, force: true })
  rmdirSync(cgroup)
})

/** The shell enters the cgroup before Node is there: its sockets are all made inside. */
function startClient(): ChildProcess {
  const program = fileURLToPath(new URL('./socket-client.ts', import.meta.url))
  const script = 'echo $$ > "$1/cgroup.procs" && exec "$2" "$3"'
  return spawn('sh', ['-c', script, 'sh', cgroup, process.execPath, program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}

async function tell(order: SocketOrder): Promise<SocketReport> {
  client.send(order)
  const [report] = (await once(client, 'message')) as [SocketReport]
  return report
}

async function serveTcp(host: string, name: string): Promise<number> {
  const server = createServer((socket) => socket.end(name))
  servers.push(server)
  await once(server.listen(0, host), 'listening')
  const bound = server.address()
  return typeof bound === 'object' && bound ? bound.port : 0
}

async function serveUdp(host: string, name: string): Promise<number> {
  const server = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  servers.push(server)
  server.on('message', (_, sender) => server.send(name, sender.port, sender.address))
  server.bind(0, host)
  await once(server, 'listening')
  return server.address().port
}

interface ServiceRow {
  readonly family: Family
  readonly protocol: number
  readonly port: number
  readonly flags: number
  readonly cluster?: abi.SlotRange
  readonly local?: abi.SlotRange
  readonly host?: string
  readonly affinityTicks?: number
  readonly portId?: number
}

const SERVICE = 1
const NONE: abi.SlotRange = { base: 0, size: 0 }

function writeFrontend(row: ServiceRow): void {
  const { family, protocol, port, flags, cluster = NONE, local = NONE, affinityTicks = 0, portId = 0 } = row
  const host = row.host ?? VIP[family]
  const key = { address: addressToBytes(address(host)), port, protocol }
  const ids = { frontendId: 1, serviceId: SERVICE, affinityTicks, portId, flags }
  const value = { ...ids, cluster, clusterBefore: NONE, local, localBefore: NONE }
  filter.hold(address(host))
  datapath.map('frontends').update(abi.encodeFrontendKey(key), abi.encodeFrontend(value))
}

function writeBackend(family: Family, protocol: number, id: number, port: number): void {
  const backend = {
    address: addressToBytes(address(LOOPBACK[family])),
    port,
    protocol,
    state: abi.BackendState.BACKEND_ACTIVE,
    flags: 0,
    nexthopId: 0,
    nodeId: 0,
  }
  datapath.map('backends').update(u32(id), abi.encodeBackend(backend))
  const pair = datapath.map('slots').lookup(u32(id >> 1)) ?? Buffer.alloc(8)
  pair.writeUInt32LE(id, (id % 2) * 4)
  datapath.map('slots').update(u32(id >> 1), pair)
}

/**
 * Port 80: three backends. 81: the same with affinity, and 82 of one Service port with it. 83: source ranges. 90: none anywhere.
 * 91: none here. 92: none here, but an external address. 0: the other ports. 30080 on loopback: a node port.
 */
async function writeServices(family: Family, protocol: number, firstId: number): Promise<void> {
  const serve = protocol === TCP ? serveTcp : serveUdp
  for (let number = 0; number < BACKENDS; number++)
    writeBackend(family, protocol, firstId + number, await serve(LOOPBACK[family], `backend ${number}`))
  const cluster = { base: firstId, size: BACKENDS }
  const any = FRONTEND_ANY_ENDPOINT
  writeFrontend({ family, protocol, port: 80, flags: any, cluster })
  writeFrontend({ family, protocol, port: 90, flags: 0 })
  writeFrontend({ family, protocol, port: 91, flags: any | FRONTEND_INTERNAL_LOCAL, cluster })
  const external = FRONTEND_EXTERNAL | FRONTEND_EXTERNAL_LOCAL | FRONTEND_INTERNAL_LOCAL
  writeFrontend({ family, protocol, port: 92, flags: any | external, cluster })
  writeFrontend({ family, protocol: 0, port: 0, flags: 0 })
  const sticky = { flags: any, cluster, affinityTicks: AFFINITY_SECONDS, portId: firstId }
  writeFrontend({ family, protocol, port: 81, ...sticky })
  writeFrontend({ family, protocol, port: 82, ...sticky })
  const limited = FRONTEND_EXTERNAL | FRONTEND_SOURCE_RANGES
  writeFrontend({ family, protocol, port: 83, flags: any | limited, cluster })
  const loopback = { host: LOOPBACK[family], flags: any | FRONTEND_EXTERNAL | FRONTEND_SOCKET_ONLY }
  writeFrontend({ family, protocol, port: 30080, cluster, ...loopback })
}

const RANGE_KEY_BITS = 160

function admitSource(source: string, isAdmitted: boolean): void {
  const key = abi.encodeSourceRangeKey({
    prefixBits: RANGE_KEY_BITS,
    serviceId: SERVICE,
    source: addressToBytes(address(source)),
  })
  if (isAdmitted) datapath.map('source_ranges').update(key, u32(1))
  else datapath.map('source_ranges').delete(key)
}

function writeNetns(cookie: bigint, isKnown: boolean): void {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(cookie)
  const [ipv4, ipv6] = [addressToBytes(address(NODE.ipv4)), addressToBytes(address(NODE.ipv6))]
  if (isKnown) datapath.map('netns_endpoints').update(key, abi.encodeNetnsEndpoint({ ipv4, ipv6 }))
  else datapath.map('netns_endpoints').delete(key)
}

function affinityRows(): abi.Affinity[] {
  return [...datapath.map('affinity').entries()].map(({ value }) => abi.decodeAffinity(value))
}

function forgetAffinity(): void {
  for (const { key } of [...datapath.map('affinity').entries()]) datapath.map('affinity').delete(key)
}

async function waitFor(isDone: () => Promise<boolean>): Promise<void> {
  for (let round = 0; round < 40; round++) if (await isDone()) return
  throw new Error('it did not come about in 40 attempts')
}

const families = [
  ['ipv4', 4],
  ['ipv6', 6],
] as const

t.before(async () => {
  const nobodys = families.map(([family]) => `${UNALLOCATED[family]}/${addressBits(family)}` as Prefix)
  new ServiceCidrs(datapathTables(datapath.map).serviceCidrs, filter).set(new Set(nobodys))
  await writeServices('ipv4', TCP, 4)
  await writeServices('ipv4', UDP, 8)
  await writeServices('ipv6', TCP, 12)
  await writeServices('ipv6', UDP, 16)
})

for (const [family, number] of families) {
  const host = VIP[family]
  for (const kind of ['tcp', 'udp', 'udp-connected'] as const) {
    const order = (port: number, count = 1): SocketOrder => ({ kind, family: number, host, port, count })

    t.test(`${family} ${kind}: reaches all backends and sees only the Service`, async (t) => {
      const seen = new Set<string>()
      for (let round = 0; round < 60 && seen.size < BACKENDS; round++) {
        const { error, peer, answers } = await tell(order(80))
        t.equal(error, undefined)
        if (kind !== 'udp') t.equal(peer, `${host} 80`, 'getpeername')
        t.equal(answers[0]?.from, `${host} 80`, 'the sender')
        seen.add(answers[0]?.text ?? '')
      }
      t.equal(seen.size, BACKENDS)
    })

    t.test(`${family} ${kind}: refusals`, async (t) => {
      t.equal((await tell(order(90))).error, 'ECONNREFUSED', 'no endpoint anywhere')
      if (kind === 'tcp')
        t.equal((await tell(order(7777))).error, 'ECONNREFUSED', 'a port that no Service has')
      if (kind === 'udp') t.equal((await tell(order(7777))).error, 'ECONNREFUSED', 'nor for a datagram')
      if (kind === 'udp-connected')
        t.equal((await tell(order(7777, 0))).error, undefined, 'UDP connects there, as ping does')
      t.equal((await tell(order(91))).error, 'EHOSTUNREACH', 'internal policy Local, endpoints elsewhere')
      t.equal((await tell(order(92))).error, undefined, 'an external address, from inside: the whole cluster')
      if (kind !== 'udp-connected')
        t.equal((await tell({ ...order(80), host: UNALLOCATED[family] })).error, 'EHOSTUNREACH', "nobody's")
    })

    t.test(`${family} ${kind}: affinity by the address of the caller's namespace`, async (t) => {
      for (const isKnown of [true, false]) {
        forgetAffinity()
        writeNetns(networkNamespaceCookie(), isKnown)
        const seen = new Set<string>()
        for (let round = 0; round < 12; round++)
          seen.add((await tell(order(round % 2 ? 81 : 82))).answers[0]?.text ?? '')
        t.equal(seen.size, 1, 'both frontends of one Service port, one backend')
        const key = [...datapath.map('affinity').entries()][0]?.key ?? Buffer.alloc(20)
        const { client } = abi.decodeAffinityKey(key)
        if (isKnown) t.equal(formatAddress(client), NODE[family], 'the key that packets have too')
        else t.equal(Buffer.from(client).readBigUInt64LE(8), networkNamespaceCookie(), 'the cookie stands in')
      }
      const gone = affinityRows()[0]?.backendId ?? 0
      const row = datapath.map('backends').lookup(u32(gone)) ?? Buffer.alloc(0)
      const backend = abi.decodeBackend(row)
      const state = abi.BackendState.BACKEND_GONE
      datapath.map('backends').update(u32(gone), abi.encodeBackend({ ...backend, state }))
      t.teardown(() => datapath.map('backends').update(u32(gone), row))
      await waitFor(async () => (await tell(order(81))).error === undefined)
      t.not(affinityRows()[0]?.backendId, gone, 'a backend that is gone loses its clients')
    })

    t.test(`${family} ${kind}: load-balancer source ranges`, async (t) => {
      writeNetns(networkNamespaceCookie(), true)
      admitSource(NODE[family], false)
      t.equal((await tell(order(83))).error, 'EHOSTUNREACH', 'outside the ranges')
      admitSource(NODE[family], true)
      t.equal((await tell(order(83))).error, undefined, 'inside')
      writeNetns(networkNamespaceCookie(), false)
      t.equal((await tell(order(83))).error, 'EHOSTUNREACH', 'a namespace that nobody knows')
    })

    t.test(`${family} ${kind}: a node port on loopback, for the node alone`, async (t) => {
      const report = await tell({ ...order(30080), host: LOOPBACK[family] })
      t.equal(report.error, undefined)
      t.match(report.answers[0]?.text, /^backend/)
    })
  }

  t.test(`${family}: datagrams of one socket stay with one backend`, async (t) => {
    const { answers } = await tell({ kind: 'udp', family: number, host, port: 80, count: 20 })
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.ok(answers.every(({ from }) => from === `${host} 80`))
  })

  t.test(`${family}: one socket, two Services, one backend: each answer names whom it asked`, async (t) => {
    const order = { kind: 'udp', family: number, host, port: 81, otherPort: 82, count: 6 } as const
    const { answers } = await tell(order)
    t.equal(new Set(answers.map(({ text }) => text)).size, 1, 'one backend')
    t.same(
      answers.map(({ from }) => from),
      [81, 82, 81, 82, 81, 82].map((port) => `${host} ${port}`),
    )
  })
}

for (const [family, number] of families)
  t.test(
    `CT-001 ${family}: an unconnected socket leaves a backend that serves only others now`,
    async (t) => {
      const first = { ipv4: 8, ipv6: 16 }[family]
      const second = { ipv4: 24, ipv6: 32 }[family]
      const serve = (base: number) => {
        const cluster = { base, size: 1 }
        writeFrontend({ family, protocol: UDP, port: 85, flags: FRONTEND_ANY_ENDPOINT, cluster })
      }
      const order = {
        kind: 'udp',
        family: number,
        host: VIP[family],
        port: 85,
        count: 2,
        pauses: true,
      } as const
      const ask = async (change: () => void) => {
        client.send(order)
        await once(client, 'message')
        change()
        client.send('enough')
        const [report] = (await once(client, 'message')) as [SocketReport]
        return report.answers.map(({ text }) => text)
      }
      const point = (slot: number, backend: number) => {
        const pair = Buffer.alloc(8)
        pair.writeUInt32LE(backend, (slot % 2) * 4)
        datapath.map('slots').update(u32(slot >> 1), pair)
      }
      serve(first)
      point(second, first + 1)
      t.same(await ask(() => serve(second)), ['backend 0', 'backend 1'], 'the table has it no more')
      serve(first)
      point(second, first)
      t.same(await ask(() => serve(second)), ['backend 0', 'backend 0'], 'another table that has it too')
      point(second, first + 1)
      serve(first)
      const row = datapath.map('backends').lookup(u32(first)) ?? Buffer.alloc(0)
      const leave = () => {
        const state = abi.BackendState.BACKEND_TERMINATING
        datapath.map('backends').update(u32(first), abi.encodeBackend({ ...abi.decodeBackend(row), state }))
        serve(second)
      }
      t.same(await ask(leave), ['backend 0', 'backend 0'], 'CT-003: one that terminates keeps what it has')
      datapath.map('backends').update(u32(first), row)
    },
  )

t.test('an IPv4 Service through an IPv6 socket', async (t) => {
  for (const kind of ['tcp', 'udp', 'udp-connected'] as const) {
    const report = await tell({ kind, family: 6, host: `::ffff:${VIP.ipv4}`, port: 80 })
    t.equal(report.error, undefined, kind)
    t.equal(report.answers[0]?.from, `::ffff:${VIP.ipv4} 80`, kind)
  }
})

/** The cookie of each entry of `sock_peers`: a cache line has eight words, and it is the first. */
const entries = new BigUint64Array(datapath.map('sock_peers').mmap())
const ENTRY_WORDS = abi.SOCK_ENTRY_BYTES / BigUint64Array.BYTES_PER_ELEMENT
const takenEntries = () => entries.filter((cookie, word) => word % ENTRY_WORDS === 0 && cookie !== 0n).length

t.test('a socket has an entry from connect() to close()', async (t) => {
  t.equal(takenEntries(), 0, 'of all that went before')
  const order = { kind: 'udp-connected', family: 4, host: VIP.ipv4, port: 80 } as const
  await outlast(order, async () => t.equal(takenEntries(), 1))
  await waitFor(async () => {
    await tell({ kind: 'udp', family: 6, host: VIP.ipv6, port: 80 })
    return takenEntries() === 0
  })
})

/** MPTCP's subflows, which the kernel connects, and whose end no hook tells. */
t.test("a connection of the kernel's own sockets takes no entry", async (t) => {
  if (!existsSync('/proc/sys/net/mptcp/enabled')) return t.comment('this kernel has no MPTCP')
  for (const [family, number] of families) {
    const before = takenEntries()
    const { answers } = await tell({ kind: 'mptcp', family: number, host: VIP[family], port: 80 })
    t.match(answers[0]?.text, /^backend/, `${family}: it is translated`)
    t.equal(takenEntries(), before)
  }
})

t.test('a socket that finds all entries taken is remembered all the same', async (t) => {
  const nobody = 2n ** 63n
  for (let word = 0; word < entries.length; word += ENTRY_WORDS) entries[word] = nobody
  t.teardown(() => entries.fill(0n))
  for (const [family, number] of families)
    for (const kind of ['tcp', 'udp', 'udp-connected'] as const) {
      const { answers, peer } = await tell({ kind, family: number, host: VIP[family], port: 80 })
      t.equal(answers[0]?.from, `${VIP[family]} 80`, `${family} ${kind}`)
      if (kind !== 'udp') t.equal(peer, `${VIP[family]} 80`, 'getpeername')
    }
  t.ok(
    entries.every((cookie, word) => word % ENTRY_WORDS !== 0 || cookie === nobody),
    'nobody lost an entry',
  )
})

t.test('what is no Service is left alone', async (t) => {
  const port = await serveTcp(LOOPBACK.ipv4, 'plain')
  const report = await tell({ kind: 'tcp', family: 4, host: LOOPBACK.ipv4, port })
  t.equal(report.peer, `${LOOPBACK.ipv4} ${port}`)
})

/** The kernel's rows as user space would look at them: gone is what a test marked so. */
async function endStale(
  isServing: (backendPort: number) => boolean,
  endsTcp: boolean,
  listed: readonly Address[] = [],
): Promise<StaleSockets> {
  const stale = new StaleSockets({
    lists: datapath.socketLists,
    problem: datapath.noSocketLists,
    endsTcp,
    namespaces: () => [],
    isServing: (_, backend) => isServing(backend.port),
    listedAddresses: () => new Set(listed),
    onProblem: (action, error) => t.fail(`${action}: ${error}`),
  })
  await stale.look()
  await stale.close()
  return stale
}

/** What a socket that outlives its first answers was told, while `act` ran. */
async function outlast(order: SocketOrder, act: () => Promise<unknown>): Promise<SocketReport> {
  client.send({ ...order, stays: true })
  await once(client, 'message')
  const told = once(client, 'message') as Promise<[SocketReport]>
  await act()
  client.send('enough')
  return (await told)[0]
}

for (const [family, number] of families) {
  const order = { kind: 'udp-connected', family: number, host: VIP[family], port: 80 } as const
  const tcp = { ...order, kind: 'tcp', port: 84 } as const

  t.test(`CT-007 ${family}: connected UDP sockets of a backend that is gone are ended`, async (t) => {
    const ended = await outlast(order, async () => {
      const { status } = await endStale(() => false, false)
      t.match(status, { problem: undefined, ended: { udp: 1, tcp: 0 } })
    })
    t.equal(ended.answers[0]?.text.slice(0, 7), 'backend')
    t.equal(ended.broken, 'ECONNABORTED')
    const kept = await outlast(order, () => endStale(() => true, true))
    t.equal(kept.broken, undefined, 'a backend that still serves')
  })

  t.test(`CT-007 ${family}: a socket that somebody connected to a pod's own address stays`, async (t) => {
    const port = await serveUdp(LOOPBACK[family], 'plain')
    const report = await outlast({ ...order, host: LOOPBACK[family], port }, () =>
      endStale(() => false, true),
    )
    t.equal(report.answers[0]?.text, 'plain')
    t.equal(report.broken, undefined)
  })

  t.test(
    `${family}: TCP connections are ended when the operator wants it, once their backend is gone`,
    async (t) => {
      const id = family === 'ipv4' ? 21 : 23
      const server = createServer((socket) => socket.on('error', () => {}).write('backend'))
      servers.push(server)
      await once(server.listen(0, LOOPBACK[family]), 'listening')
      const bound = server.address()
      writeBackend(family, TCP, id, typeof bound === 'object' && bound ? bound.port : 0)
      const flags = FRONTEND_ANY_ENDPOINT
      writeFrontend({ family, protocol: TCP, port: 84, flags, cluster: { base: id, size: 1 } })
      const living = await outlast(tcp, () => endStale(() => false, true))
      t.equal(living.broken, undefined, 'the kernel knows that the backend lives')
      const row = datapath.map('backends').lookup(u32(id)) ?? Buffer.alloc(0)
      const gone = { ...abi.decodeBackend(row), state: abi.BackendState.BACKEND_GONE }
      const unready = await outlast(tcp, async () => {
        datapath.map('backends').update(u32(id), abi.encodeBackend(gone))
        t.match((await endStale(() => false, true, [address(LOOPBACK[family])])).status.ended, { tcp: 0 })
      })
      t.equal(unready.broken, undefined, 'a pod that still exists')
      datapath.map('backends').update(u32(id), row)
      const ended = await outlast(tcp, async () => {
        datapath.map('backends').update(u32(id), abi.encodeBackend(gone))
        t.match((await endStale(() => false, true)).status.ended, { tcp: 1 })
      })
      t.equal(ended.broken, 'ECONNABORTED')
      datapath.map('backends').update(u32(id), row)
      const unasked = await outlast(tcp, async () => {
        datapath.map('backends').update(u32(id), abi.encodeBackend(gone))
        await endStale(() => false, false)
      })
      t.equal(unasked.broken, undefined, 'not without being told to')
    },
  )
}
