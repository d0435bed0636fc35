// Which backend a new flow from outside gets, and who gets none: source ranges, session affinity, random choice, and frontends
// that are for sockets alone.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { type Address, address, addressToBytes, type Prefix } from '../../src/model/address.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, TCP, UDP } from './packet.ts'
import { BACKEND, SERVICE, World, XDP } from './world.ts'

/** Few flows, for each case forgets and reads them all. */
const world = new World('choice', false, { capacities: { flows: 4096 } })
t.teardown(() => world.close())
const { sourceRanges } = datapathTables((name) => world.map(name))
const R = abi.VerdictReason
const F = abi.FrontendFlags
const EXTERNAL = F.FRONTEND_EXTERNAL | F.FRONTEND_DSR | F.FRONTEND_ANY_ENDPOINT
const PORT_ID = 4711
const TIMEOUT_TICKS = 100

function affinityKey(client: Address): Buffer {
  return abi.encodeAffinityKey({ client: addressToBytes(client), portId: PORT_ID })
}

function affinityOf(client: Address): abi.Affinity | undefined {
  const row = world.map('affinity').lookup(affinityKey(client))
  return row && abi.decodeAffinity(row)
}

function setAffinity(client: Address, value: abi.Affinity): void {
  world.map('affinity').update(affinityKey(client), abi.encodeAffinity(value))
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { client, pod } = world.cast(family)
    const to = (port: number) => world.request(family, protocol, port)
    const id = (backend: number) => world.backendId(family, protocol, backend)
    const change = (port: number, row: Partial<abi.Frontend>) =>
      world.changeFrontend(family, protocol, port, row)
    const check = (one: Case) => checkCase(world, t, one)
    const near = address(family === 'ipv4' ? '198.51.100.200' : '2001:db8:c::200')

    /** The backend that this flow has now. */
    const chosen = (sent: Frame) => {
      world.forgetFlows()
      runUplink(world, sent.bytes())
      return world.flows().find(({ kind }) => kind !== abi.FlowKind.FLOW_REPLY)?.index
    }

    t.test(`${name}: source ranges`, async (t) => {
      world.forgetFlows()
      const narrow = (family === 'ipv4' ? `${client}/32` : `${client}/128`) as Prefix
      const wide = (family === 'ipv4' ? '198.51.100.0/24' : '2001:db8:c::/64') as Prefix
      const all = (family === 'ipv4' ? '0.0.0.0/0' : '::/0') as Prefix
      const outcome = (sent: Frame) => {
        world.forgetFlows()
        return runUplink(world, sent.bytes()).returnValue
      }
      t.equal(outcome(to(81)), XDP.REDIRECT, 'not asked for')
      change(81, { flags: EXTERNAL | F.FRONTEND_SOURCE_RANGES })
      t.equal(outcome(to(81)), XDP.DROP, 'none is held')
      check({ name: 'counted', sent: to(81), verdict: XDP.DROP, reason: R.REASON_SOURCE_RANGE })
      sourceRanges.set({ serviceId: SERVICE + 1, range: all }, 1)
      t.equal(outcome(to(81)), XDP.DROP, 'another Service’s')
      sourceRanges.set({ serviceId: SERVICE, range: narrow }, 1)
      t.equal(outcome(to(81)), XDP.REDIRECT, 'itself')
      t.equal(outcome(to(81).from(near)), XDP.DROP, 'its neighbour')
      sourceRanges.set({ serviceId: SERVICE, range: wide }, 1)
      t.equal(outcome(to(81).from(near)), XDP.REDIRECT, 'the network')
      t.same(
        [...sourceRanges.entries()].map(([key]) => `${key.serviceId} ${key.range}`).sort(),
        [`${SERVICE} ${narrow}`, `${SERVICE} ${wide}`, `${SERVICE + 1} ${all}`].sort(),
        'read back',
      )
      if (protocol === TCP) {
        runUplink(world, to(81).bytes())
        for (const range of [narrow, wide]) sourceRanges.delete({ serviceId: SERVICE, range })
        t.equal(runUplink(world, to(81).tcp('ack').bytes()).returnValue, XDP.REDIRECT, 'a known flow goes on')
      }
      for (const range of [narrow, wide]) sourceRanges.delete({ serviceId: SERVICE, range })
      sourceRanges.delete({ serviceId: SERVICE + 1, range: all })
      change(81, { flags: EXTERNAL })
    })

    t.test(`${name}: affinity`, async (t) => {
      const first = 1000
      const both = world.writeTable(family, protocol, first, [BACKEND.remote, BACKEND.second])
      const one = { base: first + 1, size: 1 }
      change(80, { cluster: both, affinityTicks: TIMEOUT_TICKS, portId: PORT_ID })
      const ports = Array.from({ length: 32 }, (_, index) => 41_000 + index)
      const all = () => new Set(ports.map((port) => chosen(to(80).from(client, port))))
      t.equal(all().size, 1, 'one backend for one client')
      const own = affinityOf(client)
      t.ok(own && all().has(own.backendId))
      const clients = Array.from({ length: 32 }, (_, index) =>
        address(family === 'ipv4' ? `198.51.100.${index + 20}` : `2001:db8:c::${index + 20}`),
      )
      t.equal(new Set(clients.map((from) => chosen(to(80).from(from)))).size, 2, 'clients are spread')

      const other = own?.backendId === id(BACKEND.remote) ? id(BACKEND.second) : id(BACKEND.remote)
      const tick = own?.tick ?? 0
      setAffinity(client, { backendId: other, tick: tick - TIMEOUT_TICKS + 5 })
      t.same([...all()], [other], 'kept within the idle time')
      t.ok((affinityOf(client)?.tick ?? 0) >= tick, 'which begins anew with each connection')
      setAffinity(client, { backendId: other, tick: tick - TIMEOUT_TICKS - 5 })
      t.same([...all()], [own?.backendId], 'not behind it')

      setAffinity(client, { backendId: id(BACKEND.remote), tick })
      world.setBackendState(family, protocol, BACKEND.remote, abi.BackendState.BACKEND_GONE)
      change(80, { cluster: one })
      t.same([...all()], [id(BACKEND.second)], 'a backend that is gone is released')
      world.setBackendState(family, protocol, BACKEND.remote, abi.BackendState.BACKEND_ACTIVE)
      setAffinity(client, { backendId: id(BACKEND.remote), tick })
      t.same([...all()], [id(BACKEND.second)], 'and one that the set no longer has')

      const local = world.writeTable(family, protocol, first + 8, [BACKEND.local])
      setAffinity(client, { backendId: id(BACKEND.remote), tick })
      change(80, { cluster: both, local, flags: EXTERNAL | F.FRONTEND_EXTERNAL_LOCAL })
      t.same([...all()], [id(BACKEND.local)], 'a Local policy knows local endpoints alone')

      change(80, { flags: EXTERNAL, affinityTicks: 0 })
      t.equal(all().size, 2, 'switched off')
      world.pointPort(family, protocol, 80, BACKEND.remote)
      change(80, { cluster: { base: world.backendId(family, protocol, 0), size: 1 } })
    })

    t.test(`${name}: affinity in a table of a thousand`, async (t) => {
      const members = Array.from({ length: 16_381 }, (_, index) =>
        index === 12_000 ? BACKEND.local : BACKEND.remote,
      )
      const table = world.writeTable(family, protocol, 2000, members)
      change(80, { cluster: table, affinityTicks: TIMEOUT_TICKS, portId: PORT_ID })
      chosen(to(80))
      const tick = affinityOf(client)?.tick ?? 0
      setAffinity(client, { backendId: id(BACKEND.local), tick })
      t.equal(chosen(to(80)), id(BACKEND.local), 'found in its one slot')
      change(80, { cluster: { base: world.backendId(family, protocol, 0), size: 1 }, affinityTicks: 0 })
    })

    t.test(`${name}: random`, async (t) => {
      const both = world.writeTable(family, protocol, 1000, [BACKEND.remote, BACKEND.second])
      change(80, { cluster: both })
      const again = () => new Set(Array.from({ length: 32 }, () => chosen(to(80))))
      t.equal(again().size, 1, 'the hash is always the same')
      change(80, { flags: EXTERNAL | F.FRONTEND_RANDOM })
      t.equal(again().size, 2)
      change(80, { flags: EXTERNAL, cluster: { base: world.backendId(family, protocol, 0), size: 1 } })
    })

    t.test(`${name}: a frontend for sockets is none for packets`, async () => {
      world.forgetFlows()
      change(81, { flags: EXTERNAL | F.FRONTEND_SOCKET_ONLY })
      t.equal(runUplink(world, to(81).bytes()).returnValue, XDP.TX, 'refused like an undefined port')
      change(81, { flags: EXTERNAL })
      checkCase(world, t, {
        name: 'served again',
        sent: to(81),
        verdict: XDP.REDIRECT,
        reason: R.REASON_TO_LOCAL,
        out: to(81)
          .to(pod, 8080)
          .ttl(63)
          .link({ destination: '0a:00:00:00:00:02', source: '0a:00:00:00:00:01' }),
      })
    })
  }
