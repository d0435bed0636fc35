// The pure parts of the family of single packets: its cluster, its cases, and the figures that samples become.

import t from 'tap'
import {
  casesAtSize,
  FLOWS,
  hookOf,
  knownFlows,
  newFlows,
  statelessPackets,
} from '../../../bench/packet/cases.ts'
import {
  addressIn,
  clusterServices,
  type Kind,
  MEASURED,
  numberOf,
  othersOf,
  serviceIndex,
} from '../../../bench/packet/cluster.ts'
import { accessFigures, costFigures, familyFigures, sizeFigures } from '../../../bench/packet/figures.ts'
import { FAMILIES } from '../../../src/model/address.ts'

const KINDS: readonly Kind[] = ['local', 'dsr', 'snat', 'ranged']

t.test('a cluster of N Services has N besides the measured, each kind in turn', async (t) => {
  for (const services of [10, 11, 12, 100]) {
    const others = KINDS.reduce((sum, kind) => sum + othersOf(kind, services), 0)
    t.equal(others, services)
  }
  const made = [...clusterServices(10)]
  t.equal(made.length, 10 + KINDS.length * MEASURED)
})

t.test('no two Services share an address, no two endpoints an address and port', async (t) => {
  const addresses = new Set<string>()
  const endpoints = new Set<string>()
  let [addressCount, endpointCount] = [0, 0]
  for (const { service, slices } of clusterServices(3000)) {
    for (const address of [...service.clusterIps, ...service.loadBalancerIps]) {
      addresses.add(address)
      addressCount += 1
    }
    for (const slice of slices)
      for (const { address } of slice.endpoints) {
        endpoints.add(`${address} ${slice.ports[0]?.port}`)
        endpointCount += 1
      }
  }
  t.equal(addresses.size, addressCount)
  t.equal(endpoints.size, endpointCount)
})

t.test('an end of a flow is the same 32 bits in both families', async (t) => {
  const index = serviceIndex('snat', true, 5)
  const [ipv4 = 0, ipv6 = 1] = FAMILIES.map((family) => numberOf(addressIn(family, 'vip', index)))
  t.equal(ipv4, ipv6)
})

t.test('cases are told apart by their ids, and have a title each', async (t) => {
  const cases = [
    ...knownFlows('TCP', [FLOWS.one, FLOWS.few]),
    ...knownFlows('UDP', [FLOWS.few]),
    ...newFlows('TCP', 'room', FLOWS.many),
    ...newFlows('TCP', 'full', FLOWS.many),
    ...statelessPackets(),
    ...casesAtSize('spread'),
  ]
  t.equal(new Set(cases.map(({ id }) => id)).size, cases.length)
  for (const of of cases) t.match(of.title, /^(established|new|reply|not ours|dropped)/, of.id)
  const atPods = cases.filter((of) => hookOf(of) === 'tc').map(({ title }) => title)
  t.ok(
    atPods.length > 0 &&
      atPods.every((title) => title.endsWith("at a pod's device") || title.startsWith('reply of a pod')),
  )
})

const sampled = (services: number, factor: number) =>
  casesAtSize('fixed').map((of) => ({ of, services, samples: [100 * factor, 110 * factor] }))

t.test('IPv6 is divided by IPv4 of the same case, and held for known flows', async (t) => {
  const cases = knownFlows('TCP', [FLOWS.few, FLOWS.many])
  const samples = cases.map((of) => ({
    of,
    services: 10,
    samples: of.family === 'ipv4' ? [100, 200] : [110, 220],
  }))
  const figures = familyFigures(samples)
  t.equal(figures.length, cases.length / 2)
  for (const { samples, column, bound } of figures) {
    t.same(
      samples.map((value) => value.toFixed(3)),
      ['1.100', '1.100'],
    )
    t.equal(bound?.must, column === '4 096 flows' ? 1.15 : undefined)
  }
})

t.test('the largest cluster is divided by the smallest', async (t) => {
  const figures = sizeFigures([...sampled(10, 1), ...sampled(1000, 1.02), ...sampled(100_000, 1.05)])
  const ratios = figures.filter(({ unit }) => unit === '×')
  t.equal(ratios.length, casesAtSize('fixed').length)
  for (const { samples, table } of ratios) {
    t.equal(table, '100 000 Services against 10')
    t.equal(samples[0]?.toFixed(3), '1.050')
  }
  t.ok(ratios.some(({ bound }) => bound?.must === 1.1))
  t.same(
    sizeFigures(sampled(10, 1)).filter(({ unit }) => unit === '×'),
    [],
    'one size has no ratio',
  )
})

t.test(
  'every kind of packet that has a bar is held against it at every number of flows it is for',
  async (t) => {
    const cases = [
      ...knownFlows('TCP', [FLOWS.few, FLOWS.many, FLOWS.huge]),
      ...newFlows('TCP', 'room', FLOWS.many),
      ...newFlows('TCP', 'full', FLOWS.many),
      ...statelessPackets(),
    ]
    const figures = costFigures(cases.map((of) => ({ of, services: 10, samples: [1] })))
    const held = figures.flatMap(({ row, column, bound }) =>
      bound ? [[row, column, bound.must, bound.aim]] : [],
    )
    t.strictSame(held.map((cells) => cells.join(' | ').replace(', TCP, IPv4', '')).sort(), [
      'established, DSR to another node | 4 096 flows | 150 | 100',
      'established, DSR to another node | 65 536 flows | 260 | 190',
      'established, SNAT to another node | 4 096 flows | 300 | 220',
      'established, SNAT to another node | 65 536 flows | 300 | 220',
      'established, to a pod here | 4 096 flows | 200 | 130',
      'established, to a pod here | 65 536 flows | 260 | 190',
      'new, DSR to another node | table full | 600 | 350',
      'new, DSR to another node | table with room | 475 | 300',
      'new, DSR, admitted by source range | table with room | 475 | 300',
      'new, SNAT to another node | table full | 1000 | 600',
      'new, SNAT to another node | table with room | 1000 | 600',
      'new, to a pod here | table full | 600 | 350',
      'new, to a pod here | table with room | 475 | 300',
      'not ours, at the uplink | each | 70 | 50',
      'reply to SNAT, at the uplink | 4 096 flows | 250 | 200',
      'reply to SNAT, at the uplink | 65 536 flows | 250 | 200',
    ])
  },
)

t.test('bars are for IPv4; what a packet looks up has none', async (t) => {
  const figures = costFigures(sampled(10, 1))
  const held = figures.filter(({ bound }) => bound)
  t.ok(held.length > 0 && held.every(({ row }) => row.endsWith('IPv4')))
  const [of] = casesAtSize('fixed')
  if (!of) throw new Error('no case')
  const counted = accessFigures(new Map([[of, { arrays: 8, calls: 0, writes: 0, frontends: 0 }]]), 10)
  t.same(
    counted.map(({ samples }) => samples[0]),
    [8, 0, 0],
  )
})
