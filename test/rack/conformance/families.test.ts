// IPv4 and IPv6 beside each other: nodes that speak only one of them, and a family that fails while the other goes on.

import t from 'tap'
import { kernelNextHops } from '../../../src/sandbox/proof/routes.ts'
import { Bed } from './bed.ts'
import { expectAnswerers } from './expect.ts'
import { HTTP_PORT, pod, service } from './manifests.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'conffam', nodes: 4, singleFamily: { node3: 'ipv4', node4: 'ipv6' } })
t.teardown(() => bed.down())

await bed.apply(
  ...[1, 2, 3, 4].map((number) => pod(`p${number}`, { node: `node${number}`, labels: { app: 'p' } })),
  service('web', {
    type: 'LoadBalancer',
    selector: { app: 'p' },
    ports: [{ port: 80, targetPort: HTTP_PORT }],
  }),
)
await bed.waitForPods('app=p')
const vips = await bed.vips('web')
const vipOf = (family: 'ipv4' | 'ipv6') => vips.find((vip) => vip.includes(':') === (family === 'ipv6')) ?? ''
const clusterIps = (await bed.serviceAddresses('web')).clusterIps
const clusterIpOf = (family: 'ipv4' | 'ipv6') =>
  clusterIps.find((address) => address.includes(':') === (family === 'ipv6')) ?? ''
const PODS = { ipv4: ['p1', 'p2', 'p3'], ipv6: ['p1', 'p2', 'p4'] } as const

t.test('OPS-014 nodes of one family serve it, and are no way for the other', async (t) => {
  for (const family of ['ipv4', 'ipv6'] as const) {
    await expectAnswerers(bed, t, ['client1', 'client2', 'default/p1'], vipOf(family), PODS[family])
    await bed.until(
      `three ways to ${vipOf(family)}`,
      async () => (await kernelNextHops(bed, 'tor1', vipOf(family))) === 3,
    )
  }
  await expectAnswerers(bed, t, ['default/p3', 'node3'], clusterIpOf('ipv4'), PODS.ipv4)
  await expectAnswerers(bed, t, ['default/p4', 'node4'], clusterIpOf('ipv6'), PODS.ipv6)
})

t.test('OPS-014 a family that fails on a node leaves the other alone, and comes back', async (t) => {
  for (const family of ['ipv6', 'ipv4'] as const) {
    const other = family === 'ipv4' ? 'ipv6' : 'ipv4'
    const flag = family === 'ipv4' ? '-4' : '-6'
    const { stdout } = await bed.run('node1', ['ip', flag, 'route', 'show', 'default'])
    await bed.run('node1', ['ip', flag, 'route', 'del', 'default'])
    const sent = new Map<string, number>()
    const end = Date.now() + 3000
    while (Date.now() < end)
      for (const [name, count] of await bed.answerers('client1', vipOf(other), 80, 30))
        sent.set(name, (sent.get(name) ?? 0) + count)
    t.strictSame([...sent.keys()].sort(), [...PODS[other]], `${other} goes on while ${family} has no way out`)
    await bed.run('node1', ['ip', flag, 'route', 'replace', ...stdout.trim().split(/\s+/)])
    await expectAnswerers(bed, t, ['client1', 'default/p1'], vipOf(family), PODS[family])
  }
})
