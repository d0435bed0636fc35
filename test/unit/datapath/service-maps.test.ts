// The writer of the Service maps: whole states at any moment, work in proportion to change, and adoption of what an earlier
// process left.

import fc from 'fast-check'
import t from 'tap'
import { FrontendFlags } from '../../../src/datapath/abi.gen.ts'
import { FrontendFilter, filterAdmits } from '../../../src/datapath/frontend-filter.ts'
import { ServiceMaps } from '../../../src/datapath/service-maps.ts'
import { type Address, address, type Prefix, parsePrefix } from '../../../src/model/address.ts'
import { type ObjectKey, objectKey } from '../../../src/model/service.ts'
import {
  type DesiredBackend,
  type DesiredPort,
  makeBackend,
  makeFrontend,
} from '../../../src/services/desired.ts'
import { tableSizeFor } from '../../../src/services/maglev.ts'
import { backend as backendOf, desiredPort } from './desired-port.ts'
import { type MemoryTables, memoryTables } from './memory-tables.ts'

const VIP = address('203.0.113.1')
const VIP6 = address('2001:db8:113::1')
const CLUSTER_IP = address('10.96.0.10')

const backend = (last: number, state: DesiredBackend['state'] = 'active'): DesiredBackend =>
  backendOf(last, { nodeName: last % 2 === 0 ? 'a' : 'b', state })

const port = (
  service: ObjectKey,
  lasts: readonly number[],
  overrides: Partial<DesiredPort> = {},
): DesiredPort =>
  desiredPort(
    service,
    [makeFrontend(CLUSTER_IP, 80, 'TCP', 'cluster-ip'), makeFrontend(VIP, 80, 'TCP', 'load-balancer')],
    lasts.map((last) => backend(last)),
    { balancing: 'maglev', ...overrides },
  )

function setUp(tables: MemoryTables = memoryTables()) {
  let nowMs = 0
  const maps = new ServiceMaps({
    tables,
    nowMs: () => nowMs,
    place: (wanted) => ({ isLocal: wanted.nodeName === 'a', nexthopId: 16, nodeId: 1 }),
  })
  const advance = (ms: number) => {
    nowMs += ms
    return maps.retire()
  }
  return { tables, maps, advance }
}

const web = objectKey('shop', 'web')
const vipKey = { address: VIP, port: 80, protocol: 'TCP' } as const

/** Addresses a frontend's current table leads to; throws on a slot whose backend is not there. */
function reached(
  tables: MemoryTables,
  key: { address: Address; port: number; protocol: 'TCP' | 'UDP' },
): string[] {
  const value = tables.frontends.get(key)
  if (!value) return []
  const found = new Set<string>()
  for (let slot = 0; slot < value.cluster.size; slot += 1) {
    const row = tables.backends.rows.get(tables.slots[value.cluster.base + slot] ?? 0)
    if (!row || row.state === 'gone') throw new Error(`slot ${slot} leads nowhere`)
    found.add(row.address)
  }
  return [...found].sort()
}

t.test('a Service is written backends first, then slots, then frontends', async (t) => {
  const { tables, maps } = setUp()
  const status = maps.apply(web, [port(web, [2, 3])])
  t.strictSame(status.held, [CLUSTER_IP, VIP])
  t.strictSame(status.problems, [])
  t.strictSame(reached(tables, vipKey), ['10.244.1.2', '10.244.1.3'])
  t.equal(tables.frontends.get(vipKey)?.cluster.size, tableSizeFor(2))
  const firstFrontend = tables.journal.indexOf('frontends set')
  t.ok(tables.journal.lastIndexOf('backends set') < firstFrontend)
  t.ok(tables.journal.indexOf('frontend_addresses set') < firstFrontend)
  t.equal(tables.backendIds.get(backend(2)), 1)
})

t.test('applying the same again writes nothing', async (t) => {
  const { tables, maps } = setUp()
  maps.apply(web, [port(web, [2, 3])])
  tables.journal.length = 0
  maps.apply(web, [port(web, [2, 3])])
  t.strictSame(tables.journal, [])
})

t.test(
  'a changed set is a new table beside the old, which stays the second choice for a minute',
  async (t) => {
    const { tables, maps, advance } = setUp()
    maps.apply(web, [port(web, [2, 3])])
    const before = tables.frontends.get(vipKey)?.cluster
    maps.apply(web, [port(web, [2, 3, 4])])
    const value = tables.frontends.get(vipKey)
    t.not(value?.cluster.base, before?.base)
    t.strictSame(value?.clusterBefore, before)
    t.strictSame(reached(tables, vipKey), ['10.244.1.2', '10.244.1.3', '10.244.1.4'])
    maps.apply(web, [port(web, [2, 3, 4, 5])])
    t.strictSame(
      tables.frontends.get(vipKey)?.clusterBefore,
      before,
      'within a burst the table before it stays',
    )
    const dueMs = advance(1000)
    t.equal(dueMs, 60_000)
    advance(59_000)
    t.equal(tables.frontends.get(vipKey)?.clusterBefore.size, 0)
  },
)

t.test(
  'CT-004 a removed endpoint keeps its connections, its number rests, and comes back with it',
  async (t) => {
    const { tables, maps, advance } = setUp()
    maps.apply(web, [port(web, [2, 3])])
    const id = tables.backendIds.get(backend(3)) ?? -1
    maps.apply(web, [port(web, [2])])
    t.equal(tables.backends.rows.get(id)?.state, 'terminating')
    t.equal(tables.backendIds.get(backend(3)), id, 'for packets of connections that now come by another node')
    maps.apply(web, [port(web, [2, 3])])
    t.equal(tables.backendIds.get(backend(3)), id, 'the same number within the grace period')
    t.equal(tables.backends.rows.get(id)?.state, 'active')
    maps.apply(web, [port(web, [2])])
    advance(60_000)
    t.equal(tables.backends.rows.get(id), undefined, 'cleared after it')
    t.equal(tables.backendIds.get(backend(3)), undefined)
  },
)

t.test('CT-004 numbers that flows still carry are nobody else’s', async (t) => {
  const tables = memoryTables()
  const carried = new Set<number>()
  let nowMs = 0
  const maps = new ServiceMaps({
    tables,
    nowMs: () => nowMs,
    place: () => ({ isLocal: true, nexthopId: 16, nodeId: 0 }),
    flows: { namesBackend: (id) => carried.has(id), namesFrontend: (id) => carried.has(id) },
  })
  maps.apply(web, [port(web, [2, 3])])
  const id = tables.backendIds.get(backend(3)) ?? -1
  const frontendId = tables.frontends.get(vipKey)?.frontendId ?? -1
  carried.add(id).add(frontendId)
  maps.apply(web, [])
  for (let hours = 0; hours < 30; hours += 1) {
    nowMs += 3_600_000
    maps.retire()
  }
  t.equal(tables.backends.rows.get(id)?.state, 'terminating', 'a day later too')
  t.ok(tables.frontendAddresses.rows.get(frontendId))
  carried.clear()
  nowMs += 60_000
  maps.retire()
  t.equal(tables.backends.rows.get(id), undefined)
  t.equal(tables.frontendAddresses.rows.get(frontendId), undefined)
})

t.test('a removed endpoint of UDP, or to which there is no way any more, is gone', async (t) => {
  const tables = memoryTables()
  let hasWay = true
  const maps = new ServiceMaps({
    tables,
    nowMs: () => 0,
    place: () => ({ isLocal: true, nexthopId: 16, nodeId: 0 }),
    placeAgain: () => ({ isLocal: true, nexthopId: hasWay ? 16 : 0, nodeId: 0 }),
  })
  maps.apply(web, [port(web, [2, 3])])
  const id = tables.backendIds.get(backend(3)) ?? -1
  maps.apply(web, [port(web, [2])])
  t.equal(tables.backends.rows.get(id)?.state, 'terminating')
  hasWay = false
  maps.refreshPlacement(() => false)
  t.equal(tables.backends.rows.get(id)?.state, 'gone', 'its pod is gone')
  const udp = makeBackend({ ...backend(4), protocol: 'UDP' })
  maps.apply(web, [{ ...port(web, [2]), backends: [udp], cluster: [0] }])
  const udpId = tables.backendIds.get(udp) ?? -1
  maps.apply(web, [port(web, [2])])
  t.equal(tables.backends.rows.get(udpId)?.state, 'gone', 'UDP')
  t.equal(tables.backendIds.get(udp), undefined)
})

t.test('no endpoint: the frontend stays, with an empty range', async (t) => {
  const { tables, maps } = setUp()
  maps.apply(web, [port(web, [2])])
  maps.apply(web, [port(web, [])])
  t.equal(tables.frontends.get(vipKey)?.cluster.size, 0)
})

t.test('a deleted Service leaves nothing, after the grace period', async (t) => {
  const { tables, maps, advance } = setUp()
  maps.apply(web, [port(web, [2, 3])])
  maps.apply(web, [])
  t.equal(tables.frontends.rows.size, 0)
  t.equal(tables.frontendAddresses.rows.size, 2, 'replies of old flows still name their rows')
  advance(60_000)
  t.equal(tables.frontendAddresses.rows.size, 0)
  t.equal(tables.backends.rows.size, 0)
  t.equal(maps.retire(), undefined, 'nothing waits')
  t.strictSame(maps.usage, { frontends: 0, backends: 0, slots: 0, sourceRanges: 0 })
})

t.test('tables that thousands of changes left behind go a part at a time', async (t) => {
  const { tables, maps, advance } = setUp()
  const services = Array.from({ length: 150 }, (_, index) => objectKey('shop', `s${index}`))
  const planned = (service: ObjectKey, index: number, lasts: readonly number[]) => {
    const own = makeFrontend(address(`203.0.114.${index}`), 80, 'TCP', 'load-balancer')
    return port(service, lasts, { frontends: [own], balancing: 'list' })
  }
  for (const lasts of [[2, 3], [2]])
    for (const [index, service] of services.entries()) maps.apply(service, [planned(service, index, lasts)])
  const withBefore = () =>
    [...tables.frontends.rows.values()].filter(([, { clusterBefore }]) => clusterBefore.size > 0).length
  t.equal(withBefore(), 150)
  const due = advance(60_000)
  t.ok(withBefore() > 0 && withBefore() < 150, 'some')
  t.ok(due !== undefined && due <= 60_000, 'the others are due')
  for (let rounds = 0; rounds < 4; rounds += 1) maps.retire()
  t.equal(withBefore(), 0)
})

t.test('two Services that claim one address and port: the older has it, the other inherits it', async (t) => {
  const { tables, maps } = setUp()
  const other = objectKey('shop', 'other')
  const claim = [makeFrontend(VIP, 80, 'TCP', 'load-balancer')]
  const younger = maps.apply(other, [port(other, [5], { frontends: claim, createdMs: 9 })])
  t.strictSame(younger.held, [VIP])
  maps.apply(web, [port(web, [2])])
  t.strictSame(reached(tables, vipKey), ['10.244.1.2'], 'the older takes over')
  const again = maps.apply(other, [port(other, [5], { frontends: claim, createdMs: 9 })])
  t.strictSame(again.held, [])
  t.match(again.problems, [/203\.0\.113\.1 port 80\/TCP belongs to the older Service shop\/web/])
  const { heirs } = maps.apply(web, [])
  t.strictSame([...heirs], [other])
  t.strictSame(reached(tables, vipKey), ['10.244.1.5'])
})

t.test(
  'a new process adopts: the same plan changes nothing, and what nobody wants goes at prune',
  async (t) => {
    const first = setUp()
    const old = objectKey('shop', 'old')
    first.maps.apply(web, [port(web, [2, 3])])
    first.maps.apply(old, [
      port(old, [7], {
        frontends: [makeFrontend(address('10.96.0.99'), 80, 'TCP', 'cluster-ip')],
      }),
    ])
    const { tables } = first
    const before = JSON.stringify([...tables.frontends.entries()])
    tables.journal.length = 0

    const second = setUp(tables)
    t.strictSame(tables.journal, [], 'reading only')
    second.maps.apply(web, [port(web, [2, 3])])
    t.strictSame(tables.journal, [], 'the same plan writes nothing')
    t.equal(JSON.stringify([...tables.frontends.entries()]), before, 'and what is not yet planned stays')
    second.maps.prune()
    t.equal(tables.frontends.rows.size, 2)
    t.equal(tables.backends.rows.get(tables.backendIds.get(backend(7)) ?? -1)?.state, 'terminating')
    t.strictSame(reached(tables, vipKey), ['10.244.1.2', '10.244.1.3'])
  },
)

t.test('the filter: set while a frontend or its rest lasts, across restarts too', async (t) => {
  const admits = (tables: MemoryTables, of: Address) => filterAdmits(tables.filter, of)
  const first = setUp()
  t.notOk(admits(first.tables, VIP))
  first.maps.apply(web, [port(web, [2])])
  t.ok(admits(first.tables, VIP))
  t.ok(admits(first.tables, CLUSTER_IP))
  first.maps.apply(web, [])
  t.ok(admits(first.tables, VIP), 'flows go on for a while')

  const second = setUp(first.tables)
  t.equal(second.tables.frontendAddresses.rows.size, 2, 'resting rows are adopted')
  t.ok(admits(second.tables, VIP))
  const other = objectKey('shop', 'other')
  const elsewhere = { address: address('203.0.113.9'), port: 80, protocol: 'TCP' } as const
  const resting = [...second.tables.frontendAddresses.rows.keys()]
  second.maps.apply(other, [
    port(other, [5], { frontends: [makeFrontend(elsewhere.address, 80, 'TCP', 'load-balancer')] }),
  ])
  const id = second.tables.frontends.get(elsewhere)?.frontendId ?? 0
  t.notOk(resting.includes(id), 'a number that replies still name goes to nobody else')
  second.advance(60_000)
  t.notOk(admits(second.tables, VIP))
  t.equal(second.tables.frontendAddresses.rows.size, 1)
})

t.test(
  'SVC-021 a new process means each address as its Service does: node ports, source ranges, loopbacks',
  async (t) => {
    const kinds = [
      'cluster-ip',
      'node-port',
      'external-ip',
      'load-balancer',
      'host-port',
      'loopback',
    ] as const
    const desired = port(web, [2, 3], {
      sourceRanges: ['198.51.100.0/24' as Prefix],
      frontends: kinds.map((kind, index) =>
        makeFrontend(address(`203.0.113.${10 + index}`), 80, 'TCP', kind),
      ),
    })
    const first = setUp()
    first.maps.apply(web, [desired])
    const flags = () => desired.frontends.map((key) => first.tables.frontends.get(key)?.flags)
    const before = flags()
    t.equal(new Set(before).size, 5, 'an external and a cluster address differ, and so do the others')
    const second = setUp(first.tables)
    // Changed, so that every frontend is written.
    second.maps.apply(web, [{ ...desired, affinitySeconds: 60 }])
    second.maps.prune()
    t.strictSame(flags(), before)
  },
)

t.test('a full slot array is said, and the old table goes on serving', async (t) => {
  const { tables, maps } = setUp(memoryTables(300))
  maps.apply(web, [port(web, [2])])
  const status = maps.apply(web, [port(web, [2, 3, 4])])
  t.match(status.problems, [/the slot array of this node is full/])
  t.strictSame(reached(tables, vipKey), ['10.244.1.2'])
})

t.test('one of two tables that does not fit gives nothing away', async (t) => {
  // Room for one Maglev table of 251 and its rounding, and lists; not for two tables at once.
  const { tables, maps, advance } = setUp(memoryTables(800))
  const both = (lasts: readonly number[]) =>
    port(web, lasts, { externalLocal: true, local: lasts.map((_, index) => index) })
  maps.apply(web, [both([2])])
  const before = reached(tables, vipKey)
  const status = maps.apply(web, [both([2, 3])])
  t.equal(status.foundRoom, false)
  t.match(status.problems, [/the slot array of this node is full/])
  t.strictSame(reached(tables, vipKey).length > 0, true)
  t.ok(before.length > 0)
  advance(61_000)
  const other = objectKey('shop', 'other')
  maps.apply(other, [
    port(other, [7], {
      frontends: [makeFrontend(address('203.0.113.9'), 80, 'TCP', 'load-balancer')],
    }),
  ])
  const again = maps.apply(web, [both([2, 3])])
  const value = tables.frontends.get(vipKey)
  for (const range of [value?.cluster, value?.local]) {
    for (let slot = 0; slot < (range?.size ?? 0); slot += 1) {
      const row = tables.backends.rows.get(tables.slots[(range?.base ?? 0) + slot] ?? 0)
      t.not(row?.address, '10.244.1.7', "never another Service's pod") || t.bailout('a table was given away')
    }
  }
  t.ok(again.held.includes(VIP))
})

t.test('backends that do not fit are not half written', async (t) => {
  const { maps } = setUp(memoryTables(1 << 16, 4))
  const status = maps.apply(web, [port(web, [2, 3, 4, 5, 6])])
  t.equal(status.foundRoom, false)
  t.match(status.problems, [/the table of backends of this node is full/])
  t.equal(maps.apply(web, [port(web, [2])]).foundRoom, true, 'and nothing was leaked')
})

t.test('OPS-013 a frontend that found no room is said, and written once there is some', async (t) => {
  // Row 0 is never used: two frontends fit.
  const { tables, maps, advance } = setUp(memoryTables(1 << 16, 16, 3))
  maps.apply(web, [port(web, [2])])
  const other = objectKey('shop', 'other')
  const key = { address: address('203.0.113.9'), port: 80, protocol: 'TCP' } as const
  const desired = [port(other, [7], { frontends: [makeFrontend(key.address, 80, 'TCP', 'load-balancer')] })]
  const status = maps.apply(other, desired)
  t.equal(status.foundRoom, false)
  t.match(status.problems, [
    /the table of frontends of this node is full; raise datapath.capacities.frontends/,
  ])
  t.equal(tables.frontends.get(key), undefined)
  maps.apply(web, [])
  advance(61_000)
  t.equal(maps.apply(other, desired).foundRoom, true, 'the same plan, applied again')
  t.ok(tables.frontends.get(key))
})

t.test('a ClusterIP cannot be taken by an older Service that names it as an external address', async (t) => {
  const { tables, maps } = setUp()
  const thief = objectKey('shop', 'thief')
  const claim = [makeFrontend(CLUSTER_IP, 80, 'TCP', 'load-balancer')]
  maps.apply(thief, [port(thief, [5], { frontends: claim, createdMs: 0 })])
  maps.apply(web, [port(web, [2], { createdMs: 9 })])
  t.strictSame(reached(tables, { address: CLUSTER_IP, port: 80, protocol: 'TCP' }), ['10.244.1.2'])
})

t.test('any sequence of changes ends where a fresh start would, and every moment is whole', async (t) => {
  const steps = fc.array(
    fc.record({
      service: fc.nat(2),
      lasts: fc.subarray([2, 3, 4, 5, 6]),
      waitMs: fc.constantFrom(0, 1000, 61_000),
      restart: fc.boolean(),
    }),
    { maxLength: 12 },
  )
  fc.assert(
    fc.property(steps, (list) => {
      let state = setUp()
      const last = new Map<ObjectKey, readonly number[]>()
      for (const step of list) {
        const key = objectKey('shop', `s${step.service}`)
        const vip = address(`203.0.113.${10 + step.service}`)
        const planOf = (service: ObjectKey, lasts: readonly number[], at: Address) =>
          port(service, lasts, {
            frontends: [makeFrontend(at, 80, 'TCP', 'load-balancer')],
          })
        if (step.restart) {
          state = setUp(state.tables)
          for (const [service, lasts] of last) {
            const at = address(`203.0.113.${10 + Number(service.slice(-1))}`)
            state.maps.apply(service, [planOf(service, lasts, at)])
          }
          state.maps.prune()
        }
        state.maps.apply(key, [planOf(key, step.lasts, vip)])
        last.set(key, step.lasts)
        state.advance(step.waitMs)
        for (const [service, lasts] of last) {
          const at = address(`203.0.113.${10 + Number(service.slice(-1))}`)
          const got = reached(state.tables, { address: at, port: 80, protocol: 'TCP' })
          if (JSON.stringify(got) !== JSON.stringify(lasts.map((n) => `10.244.1.${n}`).sort())) return false
        }
      }
      return true
    }),
    { numRuns: 60 },
  )
  t.pass('60 random histories, restarts included')
})

t.test('a port that becomes two, and one again, is never without its frontends', async (t) => {
  const { tables, maps } = setUp()
  const whole = port(web, [2, 3])
  const [clusterIp, vip] = whole.frontends
  if (!clusterIp || !vip) throw new TypeError('the port has two frontends')
  const parts = [
    { ...port(web, [2], { id: `${whole.id} inside`, balancing: 'list', frontends: [clusterIp] }) },
    { ...port(web, [2, 3], { id: `${whole.id} outside`, frontends: [vip] }) },
  ] as const
  maps.apply(web, [whole])
  tables.journal.length = 0
  const split = maps.apply(web, parts)
  t.strictSame(split.problems, [], 'a Service is in nobody’s way but its own')
  t.strictSame(split.held, [CLUSTER_IP, VIP])
  t.strictSame(reached(tables, { ...clusterIp, protocol: 'TCP' }), ['10.244.1.2'])
  t.strictSame(reached(tables, vipKey), ['10.244.1.2', '10.244.1.3'])
  const joined = maps.apply(web, [whole])
  t.strictSame(joined.problems, [])
  t.strictSame(reached(tables, { ...clusterIp, protocol: 'TCP' }), ['10.244.1.2', '10.244.1.3'])
  t.notOk(tables.journal.includes('frontends delete'), 'no frontend was ever away')
})

t.test('Services that differ about an endpoint: its row says the best of them', async (t) => {
  const { tables, maps } = setUp()
  const careful = objectKey('shop', 'careful')
  const eager = objectKey('shop', 'eager')
  const state = () => tables.backends.rows.get(tables.backendIds.get(backend(2)) ?? 0)?.state
  const say = (service: ObjectKey, address4: string, said: DesiredBackend['state'] | undefined) =>
    maps.apply(service, [
      port(service, [], {
        frontends: [makeFrontend(address(address4), 80, 'TCP', 'cluster-ip')],
        backends: said === undefined ? [] : [backend(2, said)],
      }),
    ])
  const steps: [ObjectKey, string, DesiredBackend['state'] | undefined, string | undefined][] = [
    [careful, '10.96.0.11', 'gone', 'gone'],
    [eager, '10.96.0.12', 'active', 'active'],
    [careful, '10.96.0.11', 'terminating', 'active'],
    [careful, '10.96.0.11', 'gone', 'active'],
    [eager, '10.96.0.12', 'terminating', 'terminating'],
    [eager, '10.96.0.12', undefined, 'gone'],
    [careful, '10.96.0.11', 'active', 'active'],
  ]
  for (const [service, ip, said, expected] of steps) {
    say(service, ip, said)
    t.equal(state(), expected, `${service} says ${said}`)
  }
})

t.test('EXT-012 a node’s own address is never answered for by another node', async (t) => {
  const { tables, maps } = setUp()
  const kinds = ['cluster-ip', 'external-ip', 'load-balancer', 'node-port', 'host-port', 'loopback'] as const
  const frontends = kinds.map((kind, index) => makeFrontend(address(`10.0.0.${index + 1}`), 80, 'TCP', kind))
  const answered = (forwarding: DesiredPort['forwarding']) => {
    maps.apply(web, [port(web, [2, 3], { frontends, forwarding })])
    return frontends
      .filter((key) => ((tables.frontends.get(key)?.flags ?? 0) & FrontendFlags.FRONTEND_DSR) !== 0)
      .map(({ kind }) => kind)
  }
  t.strictSame(answered('dsr'), ['cluster-ip', 'external-ip', 'load-balancer'])
  t.strictSame(answered('snat'), [])
})

t.test('what a Service let go before the first prune rests once', async (t) => {
  const { maps } = setUp()
  maps.apply(web, [port(web, [1, 2])])
  maps.apply(web, [port(web, [1])])
  t.doesNotThrow(() => maps.prune())
})

t.test(
  'source ranges are there before the frontend asks for them, and go after it has stopped',
  async (t) => {
    const { tables, maps } = setUp()
    const ranges = () => [...tables.sourceRanges.entries()].map(([{ range }]) => range).sort()
    const flags = () => tables.frontends.get(vipKey)?.flags ?? 0
    const wanted = (...prefixes: string[]) => [
      port(web, [1], {
        sourceRanges: prefixes.map((text) => parsePrefix(text)).filter((one) => one !== undefined),
      }),
    ]
    maps.apply(web, wanted('198.51.100.0/24', '192.0.2.0/24'))
    t.same(ranges(), ['192.0.2.0/24', '198.51.100.0/24'])
    t.ok(flags() & FrontendFlags.FRONTEND_SOURCE_RANGES)
    const writes = tables.journal.filter((line) => /^(source_ranges|frontends) set/.test(line))
    t.same(writes.slice(0, 3), ['source_ranges set', 'source_ranges set', 'frontends set'])
    t.notOk(
      (tables.frontends.get({ ...vipKey, address: CLUSTER_IP })?.flags ?? 0) &
        FrontendFlags.FRONTEND_SOURCE_RANGES,
    )
    maps.apply(web, wanted('192.0.2.0/24'))
    t.same(ranges(), ['192.0.2.0/24'])
    const restarted = setUp(tables)
    restarted.maps.apply(web, wanted('203.0.113.0/24'))
    restarted.maps.prune()
    t.same(ranges(), ['203.0.113.0/24'], 'rows of an earlier process are known')
    tables.journal.length = 0
    restarted.maps.apply(web, wanted())
    t.same(ranges(), [])
    t.notOk(flags() & FrontendFlags.FRONTEND_SOURCE_RANGES)
    t.ok(tables.journal.indexOf('frontends set') < tables.journal.indexOf('source_ranges delete'))
  },
)

t.test('a process that finds source ranges of Services that are gone removes them', async (t) => {
  const { tables, maps } = setUp()
  maps.apply(web, [port(web, [1], { sourceRanges: ['192.0.2.0/24' as Prefix] })])
  setUp(tables).maps.prune()
  t.same([...tables.sourceRanges.entries()], [])
})

t.test('all frontends of a Service port share one number for affinity, also after a restart', async (t) => {
  const { tables, maps } = setUp()
  const other = objectKey('shop', 'other')
  const both = (seconds: number) => {
    const ipv4 = port(web, [1], { affinitySeconds: seconds })
    const ipv6 = {
      ...ipv4,
      id: `${web} 80/TCP ipv6`,
      family: 'ipv6',
      frontends: [makeFrontend(VIP6, 80, 'TCP', 'load-balancer')],
    } as const
    return [ipv4, ipv6]
  }
  const ids = () =>
    [VIP, CLUSTER_IP, VIP6].map((address) => tables.frontends.get({ ...vipKey, address })?.portId ?? 0)
  maps.apply(web, both(10_800))
  const [id = 0] = ids()
  t.not(id, 0)
  t.same(ids(), [id, id, id])
  t.equal(tables.frontends.get(vipKey)?.affinityTicks, 10_800)
  const second = port(other, [2], {
    frontends: [makeFrontend(VIP, 81, 'TCP', 'load-balancer')],
  })
  maps.apply(other, [second])
  t.not(tables.frontends.get({ ...vipKey, port: 81 })?.portId, id)
  const restarted = setUp(tables)
  restarted.maps.apply(other, [second])
  restarted.maps.apply(web, both(60))
  t.same(ids(), [id, id, id])
})

t.test('idle times are counted in ticks of the flow table', async (t) => {
  const tables = memoryTables()
  const maps = new ServiceMaps({
    tables,
    nowMs: () => 0,
    tickSeconds: 1.024,
    place: () => ({ isLocal: true, nexthopId: 16, nodeId: 1 }),
  })
  maps.apply(web, [port(web, [1], { affinitySeconds: 10_800 })])
  t.equal(tables.frontends.get(vipKey)?.affinityTicks, 10_547)
})

t.test('CT-003 a backend serves a Service as long as it lists it, if only for its old flows', async (t) => {
  const { maps } = setUp()
  const other = objectKey('shop', 'other')
  const serves = (last: number) => maps.isServing(vipKey, backend(last))
  maps.apply(web, [port(web, [1, 2, 3])])
  const before = maps.departures
  const terminating = {
    ...port(web, [1, 2]),
    backends: [backend(1), backend(2, 'terminating')],
    cluster: [0],
  }
  maps.apply(web, [terminating])
  t.ok(maps.departures > before)
  t.same([1, 2, 3].map(serves), [true, true, false])
  const elsewhere = { address: address('203.0.113.2'), port: 80, protocol: 'TCP' } as const
  const frontends = [makeFrontend(elsewhere.address, 80, 'TCP', 'load-balancer')]
  maps.apply(other, [port(other, [3], { frontends })])
  t.notOk(serves(3), 'another Service has it, but not this one')
  t.ok(maps.isServing(elsewhere, backend(3)))
  t.same(serves(1), true)
  maps.apply(web, [])
  t.notOk(serves(1), 'nobody lists it')
  t.ok(serves(3), 'an address that is no Service any more cuts no flow to who serves')
})

t.test(
  'the addresses of backends that the host’s stack delivers to are looked up on their way out',
  async (t) => {
    const tables = memoryTables()
    let nowMs = 0
    const rows = new Map([
      [1, 0],
      [2, 16],
    ])
    const maps = () =>
      new ServiceMaps({
        tables,
        nowMs: () => nowMs,
        place: ({ address: one }) => ({
          isLocal: true,
          nexthopId: rows.get(Number(one.split('.').at(-1))) ?? 0,
          nodeId: 0,
        }),
      })
    const admits = (last: number) => filterAdmits(tables.filter, backend(last).address)
    const first = maps()
    first.apply(web, [port(web, [1, 2])])
    t.same([admits(1), admits(2)], [true, false])
    rows.set(1, 17)
    first.refreshPlacement(() => true)
    t.notOk(admits(1), 'it has a device of its own by now')
    rows.set(1, 0)
    first.refreshPlacement(() => true)
    const second = maps()
    second.apply(web, [port(web, [1, 2])])
    second.prune()
    t.same([admits(1), admits(2)], [true, false], 'after a restart')
    second.apply(web, [])
    t.ok(admits(1), 'flows may still be answered')
    nowMs += 60_001
    second.retire()
    t.notOk(admits(1))
  },
)

t.test('pods that the programs hold in the filter stay there when another process takes over', async (t) => {
  const tables = memoryTables(1 << 10, 1 << 8)
  const [asking, silent, gone] = [address('10.244.1.5'), address('10.244.1.6'), address('10.244.1.7')]
  const byPrograms = new FrontendFilter(tables.filter)
  for (const held of [asking, gone]) byPrograms.hold(held)
  const adopt = (areAnswered: boolean) =>
    new ServiceMaps({
      tables,
      nowMs: () => 0,
      place: () => ({ isLocal: false, nexthopId: 0, nodeId: 0 }),
      pods: { addresses: [asking, silent], areAnswered },
    })
  const admitted = () => [asking, silent, gone].map((of) => filterAdmits(tables.filter, of))
  adopt(false)
  t.same(admitted(), [true, false, false], 'an answer on its way finds its flow')
  // An upgrade with another filter begins with an empty one.
  tables.filter.fill(0)
  adopt(true)
  t.same(admitted(), [true, true, false])
})
