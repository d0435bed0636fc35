// Flows as the local API lists them: what is asked for, by whose name, and never a large table in one go.

import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { type FlowSource, listFlows, readFlowFilter } from '../../../src/agent/flow-view.ts'
import type { FlowEntry } from '../../../src/datapath/flow-table.ts'
import { address } from '../../../src/model/address.ts'

const FLOW: FlowEntry = {
  kind: 'TO_LOCAL',
  state: 'ESTABLISHED',
  idleTicks: 10,
  client: address('198.51.100.7'),
  clientPort: 40_000,
  protocol: 6,
  frontendId: 1,
  backendId: 2,
  snatPort: 0,
}
const OTHERS: readonly FlowEntry[] = [
  { ...FLOW, client: address('2001:db8::7'), clientPort: 80, protocol: 17, frontendId: 3, backendId: 4 },
  { ...FLOW, kind: 'SNAT_REPLY', clientPort: 40_001, backendId: undefined, snatPort: 61_000 },
]
const NAMES = {
  frontend: (id: number) =>
    id === 1
      ? { address: address('203.0.113.1'), port: 80, protocol: 'TCP' as const, serviceId: 9 }
      : undefined,
  backend: () => ({
    address: address('10.244.1.2'),
    port: 8080,
    protocol: 'TCP' as const,
    state: 'active' as const,
    isLocal: true,
    nexthopId: 1,
    nodeId: 0,
  }),
  service: (id: number) => (id === 9 ? 'default/web' : undefined),
}

function table(flows: readonly FlowEntry[]): FlowSource {
  return { capacity: flows.length, entries: (first, count) => flows.slice(first, first + count) }
}

const list = (query: string, flows: readonly FlowEntry[] = [FLOW, ...OTHERS]) =>
  listFlows(table(flows), NAMES, readFlowFilter(new URLSearchParams(query)), 1.024)

const CASES = [
  ['', ['198.51.100.7:40000', '198.51.100.7:40001', '[2001:db8::7]:80']],
  ['address=198.51.100.7', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['address=203.0.113.1&port=80', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['address=203.0.113.1&port=40000', []],
  ['address=10.244.1.2', ['198.51.100.7:40000', '[2001:db8::7]:80']],
  ['address=2001:DB8:0::7', ['[2001:db8::7]:80']],
  ['protocol=udp', ['[2001:db8::7]:80']],
  ['client=198.51.100.7', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['client=198.51.100.7:40001', ['198.51.100.7:40001']],
  ['client=203.0.113.1', []],
  ['client=[2001:db8::7]:80', ['[2001:db8::7]:80']],
  ['frontend=203.0.113.1:80', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['frontend=203.0.113.1:81', []],
  ['backend=10.244.1.2:8080&protocol=tcp', ['198.51.100.7:40000']],
  ['backend=10.244.1.3', []],
  ['service=default/web', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['service=web', ['198.51.100.7:40000', '198.51.100.7:40001']],
  ['service=shop/web', []],
] as const

for (const [query, clients] of CASES) {
  t.test(`flows of '${query}'`, async (t) => {
    const { flows, more } = await list(query)
    t.same(
      flows.map(({ client }) => client),
      clients,
    )
    t.equal(more, 0)
  })
}

t.test('numbers become names, and what is gone stays without', async (t) => {
  const { flows } = await list('')
  t.match(flows[0], {
    ...{ frontend: '203.0.113.1:80', backend: '10.244.1.2:8080' },
    ...{ service: 'default/web', idleSeconds: 10 },
  })
  t.match(flows[1], { backend: undefined, snatPort: 61_000 })
  t.strictSame([flows[2]?.frontend, flows[2]?.service], [undefined, undefined])
})

t.test('an answer holds those that were seen last, and says how many more there are', async (t) => {
  const flows = [7, 3, 9, 1, 5, 8].map((idleTicks) => ({ ...FLOW, idleTicks, clientPort: idleTicks }))
  const ports = async (query: string) => {
    const { flows: listed, more } = await list(query, flows)
    return [listed.map(({ client }) => Number(client.split(':')[1])), more]
  }
  t.strictSame(await ports('limit=2'), [[1, 3], 4])
  t.strictSame(await ports('limit=6'), [[1, 3, 5, 7, 8, 9], 0])
  t.strictSame(await ports('limit=0'), [[1, 3, 5, 7, 8, 9], 0])
  const many = Array.from({ length: 5000 }, (_, index) => ({ ...FLOW, idleTicks: (index * 7919) % 5000 }))
  const { flows: newest, more } = await list('', many)
  t.strictSame([newest.length, more], [100, 4900])
  t.ok(newest.every(({ idleSeconds }, index) => idleSeconds === Math.round(index * 1.024)))
})

t.test('a question that makes no sense is refused with its mend', async (t) => {
  for (const query of [
    'address=web',
    'port=0',
    'port=x',
    'limit=50001',
    'protocol=icmp',
    'client=web',
    'backend=10.0.0.1:x',
  ])
    t.throws(() => readFlowFilter(new URLSearchParams(query)), { status: 400, message: /; write / }, query)
})

t.test('others get their turn while a large table is read', async (t) => {
  let turns = 0
  let isDone = false
  const listing = list('limit=1', Array(50_000).fill({ ...FLOW, frontendId: 8 }) as FlowEntry[])
  const whole = list('protocol=tcp', Array(50_000).fill({ ...FLOW, protocol: 17 }) as FlowEntry[]).then(
    (answer) => {
      isDone = true
      return answer
    },
  )
  while (!isDone) {
    await setImmediate()
    turns += 1
  }
  t.match(await listing, { more: 49_999 })
  t.same(await whole, { flows: [], more: 0 })
  t.ok(turns > 20, `${turns} turns`)
})
