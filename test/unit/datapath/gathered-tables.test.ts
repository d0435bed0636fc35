// Writes that wait for each other: the order in which the kernel sees them, and what a refusal leaves behind.

import t from 'tap'
import { GatheredTables } from '../../../src/datapath/gathered-tables.ts'
import { ServiceMaps } from '../../../src/datapath/service-maps.ts'
import { type Address, address } from '../../../src/model/address.ts'
import { type ObjectKey, objectKey } from '../../../src/model/service.ts'
import { type DesiredPort, makeFrontend } from '../../../src/services/desired.ts'
import { backend, desiredPort } from './desired-port.ts'
import { memoryTables } from './memory-tables.ts'

const port = (service: ObjectKey, vip: Address, lasts: readonly number[]): DesiredPort =>
  desiredPort(
    service,
    [makeFrontend(vip, 80, 'TCP', 'cluster-ip')],
    lasts.map((last) => backend(last)),
  )

const [web, dns] = [objectKey('shop', 'web'), objectKey('shop', 'dns')]
const [webIp, dnsIp] = [address('10.96.0.1'), address('10.96.0.2')]

function setUp() {
  const memory = memoryTables()
  const tables = new GatheredTables(memory)
  const place = () => ({ isLocal: true, nexthopId: 16, nodeId: 0 })
  const maps = new ServiceMaps({ tables, nowMs: () => 0, tickSeconds: 1, place })
  return { memory, tables, maps }
}

t.test('rows that wait are written by table, frontends last', async (t) => {
  const { memory, tables, maps } = setUp()
  tables.gather()
  maps.apply(web, [port(web, webIp, [1])])
  maps.apply(dns, [port(dns, dnsIp, [2])])
  t.same(memory.journal, [], 'nothing yet')
  tables.finish()
  t.same(memory.journal, [
    ...['backends set', 'backends set', 'backend_ids set', 'backend_ids set'],
    ...['frontend_addresses set', 'frontend_addresses set', 'frontends set', 'frontends set'],
  ])
  maps.apply(dns, [port(dns, dnsIp, [2, 3])])
  t.equal(memory.journal.at(-1), 'frontends set', 'and at once when nothing is gathered')
})

t.test('a backend goes only after the frontends that no longer lead there', async (t) => {
  const { memory, tables, maps } = setUp()
  // Of TCP it would linger.
  const overUdp = (desired: ReturnType<typeof port>) => ({
    ...desired,
    backends: desired.backends.map((backend) => ({ ...backend, protocol: 'UDP' as const })),
  })
  maps.apply(web, [overUdp(port(web, webIp, [1, 2]))])
  memory.journal.length = 0
  tables.gather()
  maps.apply(web, [overUdp(port(web, webIp, [1]))])
  t.same(memory.journal.slice(-3), ['frontends set', 'backends set', 'backend_ids delete'])
  tables.finish()
})

t.test(
  'what the kernel refuses waits, with what comes after it, and is written by the next write',
  async (t) => {
    const { memory, tables, maps } = setUp()
    const setMany = memory.backendIds.setMany.bind(memory.backendIds)
    memory.backendIds.setMany = () => {
      throw new Error('no memory')
    }
    tables.gather()
    maps.apply(web, [port(web, webIp, [1])])
    t.throws(() => tables.finish(), /no memory/)
    t.same(memory.journal, ['backends set'], 'no frontend leads to what is not there')
    t.throws(() => maps.apply(dns, [port(dns, dnsIp, [2])]), /no memory/, 'nothing overtakes it')
    memory.backendIds.setMany = setMany
    maps.apply(dns, [port(dns, dnsIp, [2])])
    t.ok(memory.frontends.get({ address: webIp, port: 80, protocol: 'TCP' }))
    t.ok(memory.frontends.get({ address: dnsIp, port: 80, protocol: 'TCP' }))
  },
)
