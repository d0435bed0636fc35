// Who has an address and port after its owner has changed, and what is left of Services whose writes the kernel refused in between.

import fc from 'fast-check'
import t from 'tap'
import { ServiceMaps } from '../../../src/datapath/service-maps.ts'
import { address } from '../../../src/model/address.ts'
import { type ObjectKey, objectKey } from '../../../src/model/service.ts'
import { type DesiredPort, makeFrontend } from '../../../src/services/desired.ts'
import { backend, desiredPort } from './desired-port.ts'
import { type MemoryTables, memoryTables } from './memory-tables.ts'

const MINUTE_MS = 60_000
const VIP = makeFrontend(address('203.0.113.1'), 80, 'TCP', 'load-balancer')
const CLUSTER_IP = makeFrontend(address('10.96.0.10'), 80, 'TCP', 'cluster-ip')

const port = (service: ObjectKey, lasts: readonly number[], more: Partial<DesiredPort> = {}): DesiredPort =>
  desiredPort(
    service,
    [VIP],
    lasts.map((last) => backend(last)),
    { id: `${service} 80`, portName: `${service} 80`, ...more },
  )

function setUp(tables: MemoryTables = memoryTables(1 << 10, 1 << 6)) {
  let nowMs = 0
  const place = () => ({ isLocal: true, nexthopId: 16, nodeId: 0 })
  const maps = new ServiceMaps({ tables, nowMs: () => nowMs, place })
  const pass = (ms: number) => {
    nowMs += ms
    maps.retire()
  }
  /** The endpoints behind an address; throws where a slot leads nowhere. */
  const reached = (key = VIP) => {
    const { base, size } = tables.frontends.get(key)?.cluster ?? { base: 0, size: 0 }
    return [...tables.slots.subarray(base, base + size)].map((id) => {
      const row = tables.backends.rows.get(id)
      if (!row) throw new Error(`${key.name} leads to number ${id}, which is nobody's`)
      return row.address
    })
  }
  return { tables, maps, pass, reached }
}

const one = objectKey('shop', 'one')
const two = objectKey('shop', 'two')

t.test('an owner that is made anew is the younger one: the other has the address at once', async (t) => {
  const { maps, pass, reached } = setUp()
  maps.apply(one, [port(one, [1, 2], { createdMs: 1 })])
  maps.apply(two, [port(two, [3, 4], { createdMs: 2 })])
  t.strictSame(reached(), ['10.244.1.1', '10.244.1.2'])
  const { heirs, held, problems } = maps.apply(one, [port(one, [5], { createdMs: 3 })])
  t.strictSame(reached(), ['10.244.1.3', '10.244.1.4'])
  t.strictSame([...heirs], [two])
  t.strictSame(held, [])
  t.equal(problems.length, 1, 'the younger one is told')
  for (let minute = 0; minute < 3; minute += 1) pass(MINUTE_MS)
  t.strictSame(reached(), ['10.244.1.3', '10.244.1.4'], 'and the rows it had are nobody’s by now')
})

t.test('an owner that is made anew with the very same plan is the younger one too', async (t) => {
  const { maps, reached } = setUp()
  maps.apply(one, [port(one, [1], { createdMs: 1 })])
  maps.apply(two, [port(two, [2], { createdMs: 2 })])
  maps.apply(one, [port(one, [1], { createdMs: 3 })])
  t.strictSame(reached(), ['10.244.1.2'], 'as on a node that started a moment ago')
})

t.test('who loses an address to an older Service is to be applied again', async (t) => {
  const { maps } = setUp()
  maps.apply(two, [port(two, [2], { createdMs: 2 })])
  const { heirs } = maps.apply(one, [port(one, [1], { createdMs: 1 })])
  t.strictSame([...heirs], [two])
  const { held, problems } = maps.apply(two, [port(two, [2], { createdMs: 2 })])
  t.strictSame(held, [])
  t.equal(problems.length, 1)
})

/** Refuses the n-th write of a frontend from now on. */
function refuse(tables: MemoryTables, nth: number): void {
  const { frontends } = tables
  const set = frontends.set.bind(frontends)
  let left = nth
  frontends.set = (key, value) => {
    left -= 1
    if (left === 0) throw new Error('ENOMEM')
    set(key, value)
  }
}

t.test('a Service that goes before its refused writes are repeated leaves nothing', async (t) => {
  for (const nth of [1, 2]) {
    const { tables, maps, pass } = setUp()
    refuse(tables, nth)
    t.throws(() => maps.apply(one, [port(one, [1], { frontends: [CLUSTER_IP, VIP] })]), /ENOMEM/)
    maps.apply(one, [])
    t.equal(tables.frontends.rows.size, 0)
    for (let minute = 0; minute < 3; minute += 1) pass(MINUTE_MS)
    t.equal(tables.backends.rows.size, 0)
    t.strictSame(maps.usage, { frontends: 0, backends: 0, slots: 0, sourceRanges: 0 })
  }
})

t.test('a refused change gives back what was there before it, when the Service goes', async (t) => {
  const { tables, maps, pass } = setUp()
  maps.apply(one, [port(one, [1], { frontends: [CLUSTER_IP] })])
  refuse(tables, 1)
  t.throws(() => maps.apply(one, [port(one, [2])]), /ENOMEM/)
  maps.apply(one, [])
  t.equal(tables.frontends.rows.size, 0)
  for (let minute = 0; minute < 3; minute += 1) pass(MINUTE_MS)
  t.equal(tables.backends.rows.size, 0)
})

t.test(
  'the heir of an address has it also where the kernel refuses at first, and is told of then',
  async (t) => {
    const { tables, maps, reached } = setUp()
    maps.apply(one, [port(one, [1], { createdMs: 1 })])
    maps.apply(two, [port(two, [2], { createdMs: 2 })])
    refuse(tables, 1)
    t.throws(() => maps.apply(one, []), /ENOMEM/)
    t.strictSame(reached(), ['10.244.1.1'])
    t.strictSame([...maps.apply(one, []).heirs], [two])
    t.strictSame(reached(), ['10.244.1.2'])
  },
)

t.test('a table of before is free only once no frontend names it', async (t) => {
  const { tables, maps, pass } = setUp()
  maps.apply(one, [port(one, [1])])
  maps.apply(one, [port(one, [2])])
  const before = tables.frontends.get(VIP)?.clusterBefore
  refuse(tables, 1)
  t.throws(() => pass(MINUTE_MS), /ENOMEM/)
  t.strictSame(tables.frontends.get(VIP)?.clusterBefore, before)
  pass(1000)
  t.equal(tables.frontends.get(VIP)?.clusterBefore.size, 0, 'it stayed due')
})

t.test(
  'Services that quarrel, in any order: what one process did step by step, a fresh one does at once',
  async (t) => {
    const plan = fc.record({
      lasts: fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1 }),
      frontends: fc.subarray([VIP, CLUSTER_IP, makeFrontend(CLUSTER_IP.address, 80, 'TCP', 'external-ip')], {
        minLength: 1,
      }),
      createdMs: fc.integer({ min: 1, max: 2 }),
    })
    const step = fc.record({ service: fc.constantFrom(one, two), plan: fc.option(plan) })
    const meaning = ({ tables, reached }: ReturnType<typeof setUp>) =>
      [...tables.frontends.entries()]
        .map(([key, { flags }]) => JSON.stringify([key, flags, reached({ ...VIP, ...key })]))
        .sort()
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const old = setUp()
        const last = new Map<ObjectKey, readonly DesiredPort[]>()
        for (const { service, plan } of steps) {
          const frontends = plan?.frontends.filter(
            ({ name }, index) => plan.frontends.findIndex((other) => other.name === name) === index,
          )
          const desired = plan && frontends ? [port(service, plan.lasts, { ...plan, frontends })] : []
          last.set(service, desired)
          old.maps.apply(service, desired)
          old.pass(MINUTE_MS / 2)
          const fresh = setUp()
          for (const [key, ports] of last) fresh.maps.apply(key, ports)
          const [got, wanted] = [meaning(old), meaning(fresh)]
          if (String(got) !== String(wanted)) throw new Error(`${got} is not ${wanted}`)
        }
      }),
      { numRuns: 100 },
    )
    t.pass('100 histories')
  },
)
