// The pure parts of the family of policy: its clusters, its cases, and the figures that samples become.

import t from 'tap'
import { FLOWS } from '../../../bench/packet/cases.ts'
import { addressIn, numberIn, SELF } from '../../../bench/packet/cluster.ts'
import { pingList } from '../../../bench/packet/packet-list.ts'
import { changeKinds } from '../../../bench/policy/agent-changes.ts'
import { changeFigures } from '../../../bench/policy/agent-figures.ts'
import { BENCH_NODE, benchWorld } from '../../../bench/policy/cluster.ts'
import { CLUSTER_POLICIES, isOfPods, type PolicyClusterSize } from '../../../bench/policy/objects.ts'
import { casesWithout, fixedCases, kindCases, spreadCases } from '../../../bench/policy/packet-cases.ts'
import { deviceFigures, type Ground, sizeFigures } from '../../../bench/policy/packet-figures.ts'
import { flowOf } from '../../../bench/policy/packet-flows.ts'
import { PODS, packetWorld } from '../../../bench/policy/packet-world.ts'
import { FAMILIES } from '../../../src/model/address.ts'
import { selectorMatches } from '../../../src/model/label-selector.ts'
import { frame } from '../../bpf/packet.ts'

const SIZE: PolicyClusterSize = { identities: 300, policies: 105, podsPerNode: 60 }

t.test(
  'the world of single packets has so many policies and identities besides the fixed ones',
  async (t) => {
    const one = packetWorld(1)
    const many = packetWorld(1000)
    t.equal(packetWorld(undefined).policies.length, 0)
    t.equal(many.policies.length - one.policies.length, 999)
    t.equal(many.pods.length - one.pods.length, 999)
    t.equal(many.pods.filter(({ node }) => node === SELF).length, PODS)
    const addresses = many.pods.flatMap((pod) => pod.addresses)
    t.equal(new Set(addresses).size, addresses.length)
  },
)

t.test('cases have an id each, and no two of their flows the same ends', async (t) => {
  const cases = [...kindCases(false), ...spreadCases()]
  t.equal(new Set(cases.map(({ id }) => id)).size, cases.length)
  for (const of of cases.filter(({ family }) => family === 'ipv4')) {
    const flows = Array.from({ length: of.flows }, (_, flow) => flowOf(of, flow, 100))
    // Pings have no ports.
    const ends = flows.map(({ here, elsewhere, callersPort, port }) =>
      of.protocol === 'ping' ? `${here} ${elsewhere}` : `${here} ${elsewhere} ${callersPort} ${port}`,
    )
    t.equal(new Set(ends).size, of.flows, of.id)
    t.ok(
      flows.every(({ callersPort, port }) => callersPort < 65_536 && port < 65_536),
      of.id,
    )
  }
})

t.test('where nothing is denied no denial is measured, and a node without policy has one hook', async (t) => {
  const all = fixedCases()
  t.notOk(casesWithout(all, true).some(({ phase }) => phase === 'denied'))
  t.ok(casesWithout(all, false).every(({ phase, way }) => phase === 'established' && way === 'egress'))
})

t.test('the rows of pings make the packets that are written from nothing', async (t) => {
  for (const family of FAMILIES) {
    const ping = (place: number) =>
      frame({ destination: '0a:00:00:00:00:01', source: '0a:00:00:00:00:02' })
        .from(addressIn(family, 'podHere', place), 1)
        .to(addressIn(family, 'podElsewhere', place), 1)
        .icmp(family === 'ipv4' ? 8 : 128, 0, Buffer.alloc(72))
        .bytes()
    const ends = { source: numberIn('podHere', 7), destination: numberIn('podElsewhere', 7) }
    const { template, rows } = pingList(
      family,
      frame({ destination: '0a:00:00:00:00:01', source: '0a:00:00:00:00:02' })
        .from(addressIn(family, 'podHere', 0), 1)
        .to(addressIn(family, 'podElsewhere', 0), 1)
        .icmp(family === 'ipv4' ? 8 : 128, 0, Buffer.alloc(72)),
      [ends],
    )
    // As write_ends() of driver.bpf.c does with UDP.
    const written = Buffer.from(template)
    const row = Buffer.from(rows)
    const [source, destination, ports] = family === 'ipv4' ? [26, 30, 34] : [34, 50, 54]
    row.copy(written, source, 0, 4)
    row.copy(written, destination, 4, 8)
    row.copy(written, ports, 8, 12)
    row.copy(written, ports + 6, 12, 14)
    if (family === 'ipv4') row.copy(written, 24, 14, 16)
    t.equal(written.toString('hex'), ping(7).toString('hex'), family)
  }
})

t.test(
  'the cluster that an agent follows is read without a fault, and its policies select pods here',
  async (t) => {
    const world = benchWorld(SIZE)
    t.equal(world.policies.length, SIZE.policies)
    t.equal(world.pods.length, SIZE.identities)
    const here = world.pods.filter(({ node }) => node === BENCH_NODE)
    t.equal(here.length, SIZE.podsPerNode)
    for (const [index, { subject, key }] of world.policies.slice(CLUSTER_POLICIES).entries()) {
      if (subject.kind !== 'pods') continue
      const selected = here.filter(
        ({ namespace, labels }) => key.startsWith(`${namespace}/`) && selectorMatches(subject.pods, labels),
      )
      if (isOfPods(index, SIZE.podsPerNode)) t.ok(selected.length > 0, key)
    }
  },
)

t.test('a change asks for something else than the one before it of the same object', async (t) => {
  for (const kind of changeKinds(SIZE, 10)) {
    const bodies = new Map<string, string>()
    for (let index = 0; index < 400; index += 1) {
      const { request } = kind.make(index)
      if (request.method !== 'PATCH') continue
      const body = JSON.stringify(request.body)
      t.not(bodies.get(request.path), body, `${kind.name} ${index}`)
      bodies.set(request.path, body)
    }
  }
})

t.test('figures: by size with the most against the least, bars for what is enforced', async (t) => {
  const grounds: readonly Ground[] = ['not enforced', 'none', 1, 100]
  const sampled = grounds.flatMap((ground, index) =>
    fixedCases().map((of) => ({ of, ground, samples: [100 + index, 110 + index] })),
  )
  const figures = sizeFigures(sampled)
  t.ok(figures.every(({ column, bound }) => (column === 'not enforced') === (bound === undefined)))
  const ratios = figures.filter(({ unit }) => unit === '×')
  t.equal(ratios.length, fixedCases().length)
  t.equal(ratios[0]?.samples[0]?.toFixed(4), (103 / 102).toFixed(4))
  const device = deviceFigures(kindCases(false).map((of) => ({ of, ground: 100 as const, samples: [1] })))
  const flows = device.flatMap(({ x }) => x ?? [])
  t.same([...new Set(flows)], [FLOWS.one, FLOWS.few, FLOWS.many], 'columns in the order of their numbers')
})

t.test('figures of changes: a row each, the 99th percentile held against its bar', async (t) => {
  const change = { toKernel: { p50: 1, p99: 2, max: 3 }, busyMs: 4, cpuMs: 5 }
  const round = {
    syncMs: 1,
    syncBusyMs: 1,
    rssBytes: 1,
    rssAfterBytes: 1,
    changes: new Map([['one', change]]),
  }
  const figures = changeFigures([round, round])
  t.same(
    figures.map(({ column, samples, bound }) => [column, samples, bound?.must]),
    [
      ['p50', [1, 1], undefined],
      ['p99', [2, 2], 20],
      ['longest stretch without giving way', [4, 4], undefined],
      ['processor time of the agent', [5, 5], undefined],
    ],
  )
})
