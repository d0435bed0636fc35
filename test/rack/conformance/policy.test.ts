// Policy as upstream tests it, by name: every pair of pods, every port and protocol, both families, straight and by a Service. And what
// pairs of pods do not show: who speaks from a node, connections that were there before, errors that belong to a connection.

import t from 'tap'
import { POLICY_CRDS } from '../../../bench/control/open-crds.ts'
import {
  EVERYTHING,
  egress,
  ingress,
  namespaceNamed,
  networkPolicy,
  podLabel,
} from '../../policy/cases/cluster.ts'
import { CLUSTER_POLICY_CASES } from '../../policy/cases/cluster-policies.ts'
import { NETPOL_PEER_CASES } from '../../policy/cases/netpol-peers.ts'
import { NETPOL_PORT_CASES } from '../../policy/cases/netpol-ports.ts'
import { Bed } from './bed.ts'
import { expectConnect } from './expect.ts'
import { service } from './manifests.ts'
import { Pairs } from './pairs.ts'

t.setTimeout(420_000)
const bed = await Bed.up({ name: 'confpol', nodes: 2, agent: { policy: { enforce: true } } })
t.teardown(() => bed.down())
await bed.apply(...POLICY_CRDS)
const pairs = await Pairs.up(bed)
t.teardown(() => pairs.close())

t.test('without policies everybody reaches everybody', async (t) => await pairs.open(t))

for (const one of [...NETPOL_PEER_CASES, ...NETPOL_PORT_CASES, ...CLUSTER_POLICY_CASES])
  t.test(one.name, async (t) => await pairs.show(t, one))

t.test(
  'NP-012 its own node reaches a pod that nobody may reach, no other node does, and it reaches itself',
  async (t) => {
    await pairs.clear(t)
    await pairs.step(t, {
      what: 'x closed, itself excepted',
      objects: () => [networkPolicy('closed', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })],
      isBlocked: (from, to) => from.namespace === 'x' || to.namespace === 'x',
    })
    for (const protocol of ['tcp', 'udp'] as const) {
      const asked = { port: 80, protocol }
      const isOpen = protocol === 'tcp' ? 'open' : 'answered'
      await Promise.all([
        expectConnect(bed, t, 'node1', pairs.addressOf('x/a'), isOpen, asked),
        expectConnect(bed, t, 'node2', pairs.addressOf('x/b'), isOpen, asked),
        expectConnect(bed, t, 'node2', pairs.addressOf('x/a'), 'silent', asked),
        expectConnect(bed, t, 'node1', pairs.addressOf('x/b'), 'silent', asked),
      ])
    }
  },
)

t.test(
  'NP-017 a connection that a new policy does not allow is cut, or kept where the policy says so',
  async (t) => {
    const KEPT = { kind: 'open', key: 'kept', protocol: 'tcp', port: 8090, timeoutMs: 3000 } as const
    const closed = networkPolicy('closed', ingress(podLabel('a')))
    const keeping = {
      ...closed,
      metadata: { ...closed.metadata, annotations: { 'weir.network/existing-connections': 'keep' } },
    }
    const ask = async () =>
      (await bed.order('y/b', { kind: 'ask', key: 'kept', text: '/', timeoutMs: 700 })).outcome
    await bed.order('x/a', { kind: 'listen', port: KEPT.port })
    for (const [what, policy, wanted] of [
      ['cut', closed, 'silent'],
      ['kept', keeping, 'answered'],
    ] as const) {
      await pairs.clear(t)
      t.equal((await bed.order('y/b', { ...KEPT, address: pairs.addressOf('x/a')[0] })).outcome, 'open')
      t.equal(await ask(), 'answered', 'before')
      await pairs.step(t, { what, objects: () => [policy], isBlocked: (_, to) => to.key === 'x/a' })
      t.equal(await ask(), wanted, what)
    }
  },
)

t.test(
  'NP-021 an error about a connection that is allowed arrives, though its sender may send nothing',
  async (t) => {
    const CLOSED_PORT = 90
    const ports = [{ port: CLOSED_PORT, protocol: 'UDP' }]
    await pairs.clear(t)
    await pairs.step(t, {
      what: 'x closed but for one port',
      objects: () => [
        networkPolicy('closed', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
        networkPolicy('out', egress(podLabel('a'), { to: [{ podSelector: EVERYTHING }], ports })),
        networkPolicy('in', ingress(podLabel('b'), { from: [{ podSelector: podLabel('a') }], ports })),
      ],
      isBlocked: (from, to) => from.namespace === 'x' || to.namespace === 'x',
    })
    const asked = { port: CLOSED_PORT, protocol: 'udp' } as const
    await expectConnect(bed, t, 'x/a', pairs.addressOf('x/b'), 'refused', asked)
    await expectConnect(bed, t, 'x/a', pairs.addressOf('x/c'), 'silent', asked)
  },
)

t.test('CNP-005 networks are denied whatever the protocol: no ping either', async (t) => {
  const ping = async (from: string, address: string) =>
    (await bed.run(from, ['ping', '-n', '-c', '1', '-W', '1', address])).status === 0
  await pairs.clear(t)
  for (const address of pairs.addressOf('y/a')) t.ok(await ping('x/a', address), `${address} before`)
  await pairs.step(t, {
    what: 'x denied all networks',
    objects: () => [
      {
        apiVersion: 'policy.networking.k8s.io/v1beta1',
        kind: 'ClusterNetworkPolicy',
        metadata: { name: 'no-networks' },
        spec: {
          tier: 'Baseline',
          priority: 1,
          subject: { namespaces: namespaceNamed('x') },
          egress: [{ action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] }],
        },
      },
    ],
    isBlocked: (from) => from.namespace === 'x',
    isHairpinBlocked: (pod) => pod.namespace === 'x',
  })
  for (const address of pairs.addressOf('y/a')) t.notOk(await ping('x/a', address), address)
})

t.test(
  'CNP-014 a policy with a field that is not supported says so, and closes what it would have denied',
  async (t) => {
    const policy = (name: string, peer: object) => ({
      apiVersion: 'policy.networking.k8s.io/v1beta1',
      kind: 'ClusterNetworkPolicy',
      metadata: { name },
      spec: {
        tier: 'Admin',
        priority: 1,
        subject: { namespaces: namespaceNamed('x') },
        egress: [
          { action: 'Accept', to: [peer] },
          { action: 'Deny', to: [{ namespaces: namespaceNamed('y') }] },
        ],
      },
    })
    const accepted = (name: string) =>
      bed.kubectl(
        'get',
        'clusternetworkpolicies',
        name,
        '-o',
        'jsonpath={.status.conditions[?(@.type=="Accepted")].status}',
      )
    await pairs.clear(t)
    await pairs.step(t, {
      what: 'an Accept for names matches nobody, the Deny below it holds',
      objects: () => [
        policy('names', { domainNames: ['example.org'] }),
        policy('plain', { namespaces: namespaceNamed('z') }),
      ],
      isBlocked: (from, to) => from.namespace === 'x' && to.namespace === 'y',
    })
    await bed.until('conditions', async () => (await accepted('names')) === 'False')
    await bed.until('conditions', async () => (await accepted('plain')) === 'True')
  },
)

t.test("Cilium's toServices: a Service without ClusterIP is its pods, by name and by label", async (t) => {
  await bed.apply(
    service(
      'quiet',
      { clusterIP: 'None', selector: { pod: 'a' } },
      { namespace: 'y', labels: { part: 'quiet' } },
    ),
  )
  await pairs.clear(t)
  for (const [what, pod, toServices] of [
    ['by name', 'x/a', { k8sService: { serviceName: 'quiet', namespace: 'y' } }],
    [
      'by label',
      'x/b',
      { k8sServiceSelector: { selector: { matchLabels: { part: 'quiet' } }, namespace: 'y' } },
    ],
  ] as const)
    await pairs.step(t, {
      what,
      objects: () => [
        {
          apiVersion: 'cilium.io/v2',
          kind: 'CiliumNetworkPolicy',
          metadata: { name: 'to-quiet', namespace: 'x' },
          spec: { endpointSelector: podLabel(pod.slice(-1)), egress: [{ toServices: [toServices] }] },
        },
      ],
      isBlocked: (from, to) => from.key === pod && to.key !== 'y/a',
    })
})
