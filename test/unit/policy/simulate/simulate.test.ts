// What would change under other policies: by workload, with the rule.

import t from 'tap'
import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../../../src/model/policy.ts'
import { type Seen, type Simulation, Simulator } from '../../../../src/policy/simulate/simulate.ts'
import { workloadOf } from '../../../../src/policy/simulate/workload.ts'
import { labels, networkPolicy, networks, node, packet, pod, pods, ports, rule, world } from '../rows.ts'

const NOW: PolicyWorld = world({
  pods: [
    pod('shop/web-0', {
      labels: { app: 'web', 'statefulset.kubernetes.io/pod-name': 'web-0' },
      addresses: ['10.0.1.1'],
      node: 'n1',
    }),
    pod('shop/web-1', {
      labels: { app: 'web', 'statefulset.kubernetes.io/pod-name': 'web-1' },
      addresses: ['10.0.1.2'],
      node: 'n1',
    }),
    pod('shop/cart', { labels: { app: 'cart' }, addresses: ['10.0.2.1'], node: 'n2' }),
    pod('shop/spy', { labels: { app: 'spy' }, addresses: ['10.0.2.2'], node: 'n2' }),
  ],
  nodes: [node('n1', { addresses: ['192.0.2.1'] }), node('n2', { addresses: ['192.0.2.2'] })],
})

const FROM_CART = networkPolicy('shop/web', labels({ app: 'web' }), {
  ingress: [rule({ peers: [pods({ pods: labels({ app: 'cart' }) })], ports: [ports('tcp', 80)] })],
})

function seen(
  { source = '', destination = '', ...rest }: Partial<PolicyPacket>,
  as: Seen['as'] = 'flow',
  direction: PolicyDirection = 'ingress',
): Seen {
  return { packet: packet(source, destination, rest), direction, as, count: 1 }
}

function simulate(after: PolicyWorld, all: Iterable<Seen>, before: PolicyWorld = NOW): Simulation {
  const simulator = new Simulator({ before, after, node: 'n1' })
  for (const one of all) simulator.add(one)
  const run = simulator.run()
  for (;;) {
    const { done, value } = run.next()
    if (done) return value
  }
}

const ALL: readonly Seen[] = [
  seen({ source: '10.0.2.1', destination: '10.0.1.1' }),
  seen({ source: '10.0.2.1', destination: '10.0.1.2' }),
  seen({ source: '10.0.2.2', destination: '10.0.1.1' }),
  seen({ source: '10.0.2.2', destination: '10.0.1.2' }),
  seen({ source: '203.0.113.7', destination: '10.0.1.1' }),
  seen({ source: '192.0.2.1', destination: '10.0.1.1' }),
  seen({ source: '192.0.2.1', destination: '10.0.1.1', isMasqueraded: true }),
]

t.test('a new policy: what it would cut, by workload and rule', async (t) => {
  const { changes, workloads, connections, kinds } = simulate({ ...NOW, policies: [FROM_CART] }, ALL)
  t.equal(connections, 7)
  t.ok(kinds <= 7)
  t.strictSame(workloads, ['shop/web'])
  t.match(changes, [
    {
      ...{ source: 'outside', destination: 'shop/web', protocol: 'tcp', port: 80, direction: 'ingress' },
      before: { verdict: 'allow', cause: 'allowed: no policy decides it' },
      after: { verdict: 'deny', cause: /^denied: NetworkPolicy shop\/web isolates ingress/ },
      seen: { flow: 2, drop: 0, audit: 0 },
    },
    { source: 'shop/spy', destination: 'shop/web', seen: { flow: 2 }, example: { source: '10.0.2.2' } },
  ])
  t.equal(changes.length, 2, 'neither the own node nor what a rule allows')
})

t.test('the same policy taken away: what was dropped would pass', async (t) => {
  const dropped = [seen({ source: '10.0.2.2', destination: '10.0.1.1' }, 'drop')]
  const { changes } = simulate(NOW, [...ALL.slice(0, 2), ...dropped], { ...NOW, policies: [FROM_CART] })
  t.match(changes, [
    { source: 'shop/spy', before: { verdict: 'deny' }, after: { verdict: 'allow' }, seen: { drop: 1 } },
  ])
})

t.test('an audited policy changes nothing but what is recorded', async (t) => {
  const { changes } = simulate({ ...NOW, policies: [{ ...FROM_CART, isAudit: true }] }, ALL.slice(2, 4))
  t.match(changes, [
    { source: 'shop/spy', before: { wouldBe: undefined }, after: { verdict: 'allow', wouldBe: 'deny' } },
  ])
})

t.test('nothing that differs: no rows', async (t) => {
  t.strictSame(simulate(NOW, ALL).changes, [])
})

t.test('flows of many clients are a few kinds', async (t) => {
  const cidr = networks('203.0.0.0/16', ['203.0.113.0/24'])
  const after = {
    ...NOW,
    policies: [networkPolicy('shop/web', labels({ app: 'web' }), { ingress: [rule({ peers: [cidr] })] })],
  }
  function* flows(): Generator<Seen> {
    for (let index = 0; index < 50_000; index += 1) {
      const source = `203.0.${(index >> 8) & 255}.${index & 255}`
      yield seen({ source, destination: index % 2 ? '10.0.1.1' : '10.0.1.2' })
    }
  }
  const { changes, connections, kinds } = simulate(after, flows())
  t.equal(connections, 50_000)
  t.equal(kinds, 4)
  t.equal(changes.length, 1)
  t.ok((changes[0]?.seen.flow ?? 0) >= 256)
})

t.test('workloads by what their controllers name', async (t) => {
  const cases = [
    ['shop/web-6d4b75cb6d-x7k2p', { 'pod-template-hash': '6d4b75cb6d' }, 'shop/web'],
    ['shop/web-6d4b75cb6d-x7k2p', {}, 'shop/web-6d4b75cb6d-x7k2p'],
    ['shop/db-12', { 'statefulset.kubernetes.io/pod-name': 'db-12' }, 'shop/db'],
    ['shop/db-12', {}, 'shop/db-12'],
    ['kube-system/proxy-2bnqj', { 'controller-revision-hash': '7c' }, 'kube-system/proxy'],
    ['shop/import-zz9qk', { 'batch.kubernetes.io/job-name': 'import' }, 'shop/import'],
  ] as const
  for (const [key, given, workload] of cases) t.equal(workloadOf({ key, labels: given }), workload)
})
