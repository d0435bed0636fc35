// Addresses from outside: NodePorts, externalIPs, load-balancer addresses and hostPorts, and who may use them.

import t from 'tap'
import { startAgent } from '../../../src/sandbox/nodes.ts'
import { kernelNextHops } from '../../../src/sandbox/proof/routes.ts'
import { Bed } from './bed.ts'
import { expectAnswerers, expectClientAddress, expectConnect } from './expect.ts'
import { HTTP_PORT, pod, service, TCP_AND_UDP, UDP_PORT } from './manifests.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confext' })
t.teardown(() => bed.down())

const PODS = ['p1', 'p2'] as const
const SELECTED = { selector: { app: 'p' }, ports: TCP_AND_UDP }
await bed.apply(
  pod('p1', { node: 'node1', labels: { app: 'p' } }),
  pod('p2', { node: 'node2', labels: { app: 'p' } }),
  pod('caller', { node: 'node3' }),
)
await bed.waitForPods('app in (p, caller)')

const loopbacks = (node: number) => bed.nodeAddresses(node)

t.test(
  'EXT-001, EXT-017 a NodePort answers at every node, in both families and protocols, from everywhere',
  async (t) => {
    await bed.apply(service('nodeport', { type: 'NodePort', ...SELECTED }))
    const { nodePorts } = await bed.serviceAddresses('nodeport')
    const everywhere = ['client1', 'default/caller', 'node1', 'node3']
    for (const protocol of ['tcp', 'udp'] as const) {
      const port = nodePorts[`80/${protocol.toUpperCase()}`] ?? 0
      await expectAnswerers(bed, t, everywhere, [...loopbacks(1), ...loopbacks(3)], PODS, { port, protocol })
    }
    for (const address of loopbacks(3)) {
      const answer = await bed.udp('client2', address, nodePorts['80/UDP'] ?? 0)
      t.equal(answer.from, address, 'the answer comes from the address that was asked')
    }
  },
)

t.test('EXT-003 no socket listens for a NodePort, and after deletion it is closed', async (t) => {
  const { nodePorts } = await bed.serviceAddresses('nodeport')
  const { stdout } = await bed.run('node1', ['ss', '-lntuH'])
  for (const port of Object.values(nodePorts)) t.notMatch(stdout, new RegExp(`:${port}\\b`))
  await bed.kubectl('delete', 'service', 'nodeport')
  await expectConnect(bed, t, 'client1', loopbacks(1), 'refused', { port: nodePorts['80/TCP'] ?? 0 })
})

t.test(
  'EXT-004, EXT-005 addresses come from status: several, changed live, ipMode Proxy and names left out',
  async (t) => {
    await bed.apply(
      service('statuses', { type: 'LoadBalancer', loadBalancerClass: 'example.org/theirs', ...SELECTED }),
    )
    const setStatus = (ingress: readonly unknown[]) =>
      bed.patch('service', 'statuses', { status: { loadBalancer: { ingress } } }, '--subresource=status')
    await setStatus([
      { ip: '203.0.113.201' },
      { ip: '203.0.113.202' },
      { hostname: 'lb.example.org' },
      { ip: '203.0.113.203', ipMode: 'Proxy' },
    ])
    await expectAnswerers(bed, t, 'node3', ['203.0.113.201', '203.0.113.202'], PODS)
    t.not(await bed.connect('node3', '203.0.113.203', 80), 'open', 'ipMode Proxy')
    await setStatus([{ ip: '203.0.113.202' }])
    await bed.until(
      'the first address to be gone',
      async () => (await bed.connect('node3', '203.0.113.201', 80)) !== 'open',
    )
    await expectAnswerers(bed, t, 'node3', ['203.0.113.202'], PODS)
  },
)

t.test('EXT-006 an externalIP is served on nobody’s address', async (t) => {
  await bed.apply(service('extip', { externalIPs: ['203.0.113.210'], ...SELECTED }))
  await expectAnswerers(bed, t, ['default/caller', 'node3', 'client1'], '203.0.113.210', PODS)
})

t.test(
  'EXT-001, EXT-007, EXT-008, SVC-021 source ranges: clients, pods and nodes alike, at the load-balancer address alone; agents replaced, all is as before',
  async (t) => {
    const [client] = bed.rack.plan.clients
    await bed.apply(
      service('ranged', {
        type: 'LoadBalancer',
        loadBalancerSourceRanges: [` ${client?.address.ipv4}/32`, `${client?.address.ipv6}/128`],
        ...SELECTED,
      }),
    )
    const vips = await bed.vips('ranged')
    await expectAnswerers(bed, t, 'client1', vips, PODS)
    await expectConnect(bed, t, 'client2', vips, 'silent')
    await expectConnect(bed, t, ['default/caller', 'node3'], vips, 'unreachable')
    const { clusterIps, nodePorts } = await bed.serviceAddresses('ranged')
    await expectAnswerers(bed, t, 'default/caller', clusterIps, PODS)
    await expectAnswerers(bed, t, 'client2', loopbacks(3), PODS, { port: nodePorts['80/TCP'] ?? 0 })
    for (const node of bed.rack.plan.nodes) await startAgent(bed.rack, node)
    await bed.until('the agents to have synced again', async () => {
      const states = await Promise.all(
        bed.rack.plan.nodes.map(({ name }) => bed.agent<{ synced: boolean }>(name, '/v1/status')),
      )
      return states.every(({ synced }) => synced)
    })
    await expectConnect(bed, t, 'client2', vips, 'silent')
    for (const node of [1, 2, 3])
      await expectAnswerers(bed, t, 'client2', loopbacks(node), PODS, { port: nodePorts['80/TCP'] ?? 0 })
    await bed.patch('service', 'ranged', { spec: { loadBalancerSourceRanges: null } })
    await expectAnswerers(bed, t, 'client2', vips, PODS)
  },
)

t.test('EXT-009 without allocated node ports there are none', async (t) => {
  await bed.apply(
    service('noports', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false, ...SELECTED }),
  )
  const { nodePorts } = await bed.serviceAddresses('noports')
  t.strictSame(Object.values(nodePorts), [0, 0])
  await expectAnswerers(bed, t, 'client1', await bed.vips('noports'), PODS)
})

t.test('EXT-010 another class gets no address from us', async (t) => {
  await bed.apply(
    service('theirs', { type: 'LoadBalancer', loadBalancerClass: 'example.org/theirs', ...SELECTED }),
    service('ours', { type: 'LoadBalancer', ...SELECTED }),
  )
  await bed.vips('ours')
  t.strictSame((await bed.serviceAddresses('theirs')).vips, [])
})

t.test('EXT-011, EXT-012 the pod sees the client’s address, under either policy', async (t) => {
  const client = bed.rack.plan.clients[0]?.address
  await bed.apply(
    service('shown', { type: 'LoadBalancer', ...SELECTED }),
    service('shownlocal', { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ...SELECTED }),
  )
  for (const name of ['shown', 'shownlocal']) {
    const [vip4 = '', vip6 = ''] = await bed.vips(name)
    await expectAnswerers(bed, t, 'client1', [vip4, vip6], PODS)
    await expectClientAddress(bed, t, 'client1', vip4, client?.ipv4 ?? '')
    await expectClientAddress(bed, t, 'client1', vip6, client?.ipv6 ?? '')
  }
})

t.test('SVC-016 externalTrafficPolicy Local at a node without endpoint: silence', async (t) => {
  const { nodePorts } = await bed.serviceAddresses('shownlocal')
  await expectConnect(bed, t, 'client1', loopbacks(3), 'silent', { port: nodePorts['80/TCP'] ?? 0 })
  await expectConnect(bed, t, 'client1', loopbacks(2), 'open', { port: nodePorts['80/TCP'] ?? 0 })
})

t.test('EXT-016 TCP and UDP on one VIP, and two Services on one VIP', async (t) => {
  await bed.apply(service('mixed', { type: 'LoadBalancer', ...SELECTED }))
  const vips = await bed.vips('mixed')
  for (const vip of vips) {
    await expectAnswerers(bed, t, 'client1', [vip], PODS)
    t.match(await bed.udp('client1', vip, 80), { text: /^p[12]$/, from: vip })
  }
  await bed.apply(
    service('guest', {
      externalIPs: [vips[0]],
      selector: { app: 'p' },
      ports: [{ port: 81, targetPort: HTTP_PORT }],
    }),
  )
  await expectAnswerers(bed, t, 'client1', vips.slice(0, 1), PODS, { port: 81 })
  await expectAnswerers(bed, t, 'client1', vips.slice(0, 1), PODS)
})

t.test('EXT-018 a NodePort on loopback is refused fast unless configured', async (t) => {
  await bed.apply(service('loop', { type: 'NodePort', ...SELECTED }))
  const { nodePorts } = await bed.serviceAddresses('loop')
  await expectConnect(bed, t, 'node1', ['127.0.0.1', '::1'], 'refused', { port: nodePorts['80/TCP'] ?? 0 })
  await expectConnect(bed, t, 'node1', loopbacks(1), 'open', { port: nodePorts['80/TCP'] ?? 0 })
})

t.test(
  'EXT-019 a Local VIP is announced by the nodes that have an endpoint, and by nobody when there is none',
  async (t) => {
    await bed.apply(
      pod('lonely', { node: 'node2' }),
      service('lonely', {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        selector: { app: 'lonely' },
        ports: TCP_AND_UDP,
      }),
    )
    await bed.waitForPods('app=lonely')
    const vips = await bed.vips('lonely')
    const hops = async () =>
      (
        await Promise.all(['tor1', 'tor2'].flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))))
      ).join()
    await bed.until('one next hop in each table', async () => (await hops()) === '1,1,1,1')
    await bed.kubectl('delete', 'pod', 'lonely')
    await bed.until('no next hop anywhere', async () => (await hops()) === '0,0,0,0')
    t.pass()
  },
)

t.test('EXT-020 a hostPort and a NodePort side by side', async (t) => {
  await bed.apply(
    pod('hosted', {
      node: 'node1',
      ports: [
        { containerPort: HTTP_PORT, hostPort: 8888 },
        { containerPort: UDP_PORT, hostPort: 8888, protocol: 'UDP' },
      ],
    }),
    service('beside', { type: 'NodePort', selector: { app: 'hosted' }, ports: TCP_AND_UDP }),
  )
  await bed.waitForPods('app=hosted')
  const { nodePorts } = await bed.serviceAddresses('beside')
  const everywhere = ['client1', 'default/caller', 'node1']
  for (const port of [8888, nodePorts['80/TCP'] ?? 0])
    await expectAnswerers(bed, t, everywhere, loopbacks(1), ['hosted'], { port })
  await expectAnswerers(bed, t, everywhere, loopbacks(1), ['hosted'], { port: 8888, protocol: 'udp' })
  t.not(await bed.connect('client1', loopbacks(2)[0] ?? '', 8888), 'open', 'only where the pod runs')
})
