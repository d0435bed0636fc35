// The cgroup hooks, by real sockets of a process in a cgroup of its own. Backends are servers of this test on loopback; the
// Service addresses exist nowhere, so whatever answers was reached by translation.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { DEFAULT_SETTINGS, loadDatapath } from '../../src/datapath/load.ts'
import { address, addressToBytes, type Family } from '../../src/model/address.ts'
import { attachCgroup } from '../../src/sys/libbpf-ts/index.ts'
import { TCP, UDP } from './packet.ts'
import type { SocketOrder, SocketReport } from './socket-client.ts'

const VIP = { ipv4: '203.0.113.20', ipv6: '2001:db8:113::20' } as const
const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' } as const
const BACKENDS = 3
const { FRONTEND_EXTERNAL, FRONTEND_INTERNAL_LOCAL, FRONTEND_EXTERNAL_LOCAL, FRONTEND_ANY_ENDPOINT } =
  abi.FrontendFlags

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const cgroupMount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1]
if (cgroupMount === undefined)
  throw new Error('no cgroup v2 is mounted: mount -t cgroup2 none /sys/fs/cgroup')
const cgroup = `${cgroupMount}/weir-test-socket-${process.pid}`
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
}

const NONE: abi.SlotRange = { base: 0, size: 0 }

function writeFrontend({ family, protocol, port, flags, cluster = NONE, local = NONE }: ServiceRow): void {
  const key = { address: addressToBytes(address(VIP[family])), port, protocol }
  const ids = { frontendId: 1, serviceId: 1, affinityTicks: 0, portId: 0, flags }
  const value = { ...ids, cluster, clusterBefore: NONE, local, localBefore: NONE }
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

/** Port 80: three backends. 90: none anywhere. 91: none here. 92: none here, but an external address. 0: the other ports. */
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
}

const families = [
  ['ipv4', 4],
  ['ipv6', 6],
] as const

t.before(async () => {
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
      if (kind === 'udp-connected')
        t.not((await tell(order(7777))).error, 'ECONNREFUSED', 'UDP connects there, as ping does')
      t.equal((await tell(order(91))).error, 'EHOSTUNREACH', 'internal policy Local, endpoints elsewhere')
      t.equal((await tell(order(92))).error, undefined, 'an external address, from inside: the whole cluster')
    })
  }

  t.test(`${family}: datagrams of one socket stay with one backend`, async (t) => {
    const { answers } = await tell({ kind: 'udp', family: number, host, port: 80, count: 20 })
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.ok(answers.every(({ from }) => from === `${host} 80`))
  })
}

t.test('an IPv4 Service through an IPv6 socket', async (t) => {
  for (const kind of ['tcp', 'udp', 'udp-connected'] as const) {
    const report = await tell({ kind, family: 6, host: `::ffff:${VIP.ipv4}`, port: 80 })
    t.equal(report.error, undefined, kind)
    t.equal(report.answers[0]?.from, `::ffff:${VIP.ipv4} 80`, kind)
  }
})

t.test('what is no Service is left alone', async (t) => {
  const port = await serveTcp(LOOPBACK.ipv4, 'plain')
  const report = await tell({ kind: 'tcp', family: 4, host: LOOPBACK.ipv4, port })
  t.equal(report.peer, `${LOOPBACK.ipv4} ${port}`)
})
