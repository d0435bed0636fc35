// Policy as upstream tests it, by name: every pair of pods, every port and protocol, both families, straight and by a Service. And what
// pairs of pods do not show: who speaks from a node, connections that were there before, errors that belong to a connection.

import t from 'tap'
import { EVERYTHING, egress, ingress, networkPolicy, podLabel } from '../../policy/cases/cluster.ts'
import { NETPOL_PEER_CASES } from '../../policy/cases/netpol-peers.ts'
import { NETPOL_PORT_CASES } from '../../policy/cases/netpol-ports.ts'
import { Bed } from './bed.ts'
import { expectConnect } from './expect.ts'
import { Pairs } from './pairs.ts'

t.setTimeout(420_000)
const bed = await Bed.up({ name: 'confpol', nodes: 2, agent: { policy: { enforce: true } } })
t.teardown(() => bed.down())
const pairs = await Pairs.up(bed)
t.teardown(() => pairs.close())

t.test('without policies everybody reaches everybody', async (t) => await pairs.open(t))

for (const one of [...NETPOL_PEER_CASES, ...NETPOL_PORT_CASES])
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
