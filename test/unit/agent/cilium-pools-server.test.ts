// CiliumLoadBalancerIPPools as the source of addresses: followed live, conflicts refused, and their status written.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ciliumCrd } from '../../../bench/control/open-crds.ts'
import { LOAD_BALANCER_IP_POOLS, type LoadBalancerIpPool } from '../../../src/kube/cilium.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import type { Resource } from '../../../src/kube/objects.ts'
import type { Prefix } from '../../../src/model/address.ts'
import type { Node } from '../../../src/model/service.ts'
import { Table } from '../../../src/tables/table.ts'
import { startBed } from './address-bed.ts'

const WAIT_MS = 15_000

const bed = await startBed()
t.teardown(() => bed.close())

const crd = ciliumCrd('CiliumLoadBalancerIPPool')
await bed.server.send('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)

const createPool = (name: string, spec: LoadBalancerIpPool['spec']) =>
  bed.client.create(LOAD_BALANCER_IP_POOLS, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumLoadBalancerIPPool',
    metadata: { name },
    ...(spec === undefined ? {} : { spec }),
  })

async function conditions(name: string): Promise<string> {
  const { status } = await bed.client.get(LOAD_BALANCER_IP_POOLS, { name })
  const of = (type: string) => status?.conditions?.find((one) => one.type === `cilium.io/${type}`)
  const counts = ['IPsTotal', 'IPsAvailable', 'IPsUsed'].map((type) => of(type)?.message ?? '-')
  return `${of('PoolConflict')?.status ?? '-'} ${counts.join(' ')}`
}

async function untilConditions(name: string, expected: string): Promise<string> {
  for (const untilMs = Date.now() + WAIT_MS; ; await sleep(50)) {
    const shown = await conditions(name)
    if (shown === expected || Date.now() > untilMs) return shown
  }
}

t.test('pools come and go while the agent runs', async (t) => {
  const agent = await bed.startCiliumAgent('node1', new Table<Node>({ name: 'nodes' }))
  t.teardown(() => agent.close())
  // The older is served first, and of one second the first by name.
  await bed.create('gold', {}, { selector: { app: 'gold' } })
  await bed.create('web')
  await bed.change('gold', { metadata: { labels: { tier: 'gold' } } })
  t.equal(await bed.show('web'), '-', 'no pool yet')
  await createPool('blue', { blocks: [{ cidr: '198.51.100.0/30' }], allowFirstLastIPs: 'No' })
  t.equal(await bed.until('gold', '198.51.100.1 True/Allocated'), '198.51.100.1 True/Allocated')
  t.equal(await bed.until('web', '198.51.100.2 True/Allocated'), '198.51.100.2 True/Allocated')
  t.equal(await untilConditions('blue', 'False 2 0 2'), 'False 2 0 2')

  await bed.create('late')
  t.equal(await bed.until('late', 'False/PoolExhausted'), 'False/PoolExhausted')
  const matchLabels = { 'io.kubernetes.service.name': 'late' }
  await createPool('red', {
    blocks: [{ start: '192.0.2.5', stop: '192.0.2.6' }],
    serviceSelector: { matchLabels },
  })
  t.equal(await bed.until('late', '192.0.2.5 True/Allocated'), '192.0.2.5 True/Allocated')
  t.equal(await untilConditions('red', 'False 2 1 1'), 'False 2 1 1')

  // Overlaps an older one.
  await createPool('zebra', { blocks: [{ cidr: '192.0.2.0/24' }] })
  t.equal(await untilConditions('zebra', 'True 256 256 0'), 'True 256 256 0')
  const { status } = await bed.client.get(LOAD_BALANCER_IP_POOLS, { name: 'zebra' })
  t.match(status?.conditions?.[0]?.message, /192.0.2.0-192.0.2.255 overlaps 192.0.2.5-192.0.2.6 of pool red/)
  await bed.create('more')
  t.equal(await bed.until('more', 'False/PoolExhausted'), 'False/PoolExhausted', 'it gives nothing')

  await bed.client.patch(
    LOAD_BALANCER_IP_POOLS,
    { name: 'red' },
    { spec: { disabled: true } },
    { kind: 'merge' },
  )
  t.equal(await bed.show('late'), '192.0.2.5 True/Allocated', 'what is held of a disabled pool stays')
  await bed.client.delete(LOAD_BALANCER_IP_POOLS, { name: 'red' })
  t.equal(await untilConditions('zebra', 'False 256 254 2'), 'False 256 254 2', 'now that goes on')
  t.equal(await bed.show('late'), '192.0.2.5 True/Allocated')
  t.equal(await bed.until('more', '192.0.2.0 True/Allocated'), '192.0.2.0 True/Allocated')
})

/** A client whose role may not list pools, until it may. */
function restricted(state: { mayRead: boolean }): KubeClient {
  const client = bed.makeClient()
  const isRefused = ({ plural }: Resource) => plural === 'ciliumloadbalancerippools' && !state.mayRead
  return new Proxy(client, {
    get: (target, name: keyof KubeClient) => {
      const method = target[name].bind(target) as (...args: unknown[]) => unknown
      return (...args: unknown[]) => {
        if ((name === 'watch' || name === 'listPage') && isRefused(args[0] as Resource))
          return Promise.reject(new KubeError('forbidden', 'pools: 403', { status: 403 }))
        return method(...args)
      }
    },
  })
}

t.test('pools that may not be read keep every address where it is', async (t) => {
  await createPool('held', { blocks: [{ cidr: '198.18.0.0/29' }] })
  const nodes = () => new Table<Node>({ name: 'nodes' })
  const first = await bed.startCiliumAgent('node1', nodes())
  await bed.create('kept', { 'weir.network/address-pool': 'held' })
  const before = await bed.until('kept', '198.18.0.0 True/Allocated')
  t.equal(before, '198.18.0.0 True/Allocated')
  await first.close()

  const state = { mayRead: false }
  const filePools = [{ name: 'file', prefixes: ['203.0.113.0/29' as Prefix] }]
  // Another node's: it has never read them.
  const agent = await bed.startCiliumAgent('node2', nodes(), { filePools, client: restricted(state) })
  t.teardown(() => agent.close())
  await bed.create('fresh')
  t.equal(await bed.until('fresh', '203.0.113.1 True/Allocated'), '203.0.113.1 True/Allocated')
  t.equal(await bed.show('kept'), before)
  t.match(agent.sources.status().problems, [
    { why: /has no kinds/ },
    {
      why: /may not list ciliumloadbalancerippools.cilium.io.*no address that may be of a pool is given or taken/,
    },
  ])
  state.mayRead = true
  for (const untilMs = Date.now() + WAIT_MS; !agent.sources.areAllPoolsKnown && Date.now() < untilMs; )
    await sleep(20)
  t.ok(agent.sources.areAllPoolsKnown)
  await sleep(300)
  t.equal(await bed.show('kept'), before)
  await bed.client.delete(LOAD_BALANCER_IP_POOLS, { name: 'held' })
  t.equal(
    await bed.until('kept', 'False/UnknownPool'),
    'False/UnknownPool',
    'a pool that is known to have gone',
  )
})
