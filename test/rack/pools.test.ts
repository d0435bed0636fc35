// Address pools as clients and routers meet them: what the file's pool and Cilium's give is announced and answers, what no pool holds any more
// is withdrawn, who gets none is told why, a shared address leads to each Service's own pods, and a leader's death changes nothing. Routes are
// read from both ToRs' kernels, conditions and Events from the API server.

import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { ciliumCrd } from '../../bench/control/open-crds.ts'
import { startAgent } from '../../src/sandbox/nodes.ts'
import { findProcess } from '../../src/sandbox/process.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { Bed } from './conformance/bed.ts'
import { HTTP_PORT, pod, service } from './conformance/manifests.ts'

t.setTimeout(300_000)
const NODES = 2
const TORS = ['tor1', 'tor2'] as const
const RESOURCE = 'ciliumloadbalancerippools.cilium.io'
const SINGLE = { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] } as const

const bed = await Bed.up({
  name: 'pools',
  nodes: NODES,
  agent: { pools: [{ name: 'default', ranges: ['203.0.113.10-203.0.113.19'] }] },
})
t.teardown(() => bed.down())

await bed.apply(ciliumCrd('CiliumLoadBalancerIPPool'))

// The kind is there before agents are told to follow it; that they notice one which comes later, live-routing.test.ts shows.
for (const { name } of bed.rack.plan.nodes) {
  const file = `${bed.rack.host(name).directory}/agent.yaml`
  const config = parse(readFileSync(file, 'utf8')) as { routing: object }
  const routing = { ...config.routing, sources: { cilium: { enabled: true } } }
  writeFileSync(file, stringify({ ...config, routing }))
}

const pool = (name: string, spec: Record<string, unknown>) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumLoadBalancerIPPool',
  metadata: { name },
  spec,
})

/** Next hops of an address in both kernels. */
async function hops(vip: string): Promise<string> {
  return (await Promise.all(TORS.map((tor) => kernelNextHops(bed, tor, vip)))).join()
}

async function expectHops(t: Test, vip: string, expected: number, what: string): Promise<void> {
  const wanted = TORS.map(() => expected).join()
  await bed.until(what, async () => (await hops(vip)) === wanted).catch(() => {})
  t.equal(await hops(vip), wanted, what)
}

interface Shown {
  readonly metadata: { readonly resourceVersion: string }
  readonly status: {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip: string }[] }
    readonly conditions?: readonly {
      readonly type: string
      readonly status: string
      readonly reason: string
    }[]
  }
}

async function addresses(name: string): Promise<string> {
  const { status } = await bed.get<Shown>('service', name)
  const condition = status.conditions?.find(({ type }) => type === 'weir.network/AddressAllocated')
  const ips = (status.loadBalancer?.ingress ?? []).map(({ ip }) => ip)
  return [...ips, condition?.reason ?? '-'].join(' ')
}

async function expectAddresses(t: Test, name: string, expected: string): Promise<void> {
  await bed
    .until(`${name} to have ${expected}`, async () => (await addresses(name)) === expected)
    .catch(() => {})
  t.equal(await addresses(name), expected, name)
}

await bed.apply(
  pod('web1', { node: 'node1', labels: { app: 'web' } }),
  pod('web2', { node: 'node2', labels: { app: 'web' } }),
  pod('mail1', { node: 'node1', labels: { app: 'mail' } }),
)
await bed.waitForPods('app in (web,mail)')

const web = { type: 'LoadBalancer', selector: { app: 'web' }, ...SINGLE }

t.test('a range of the file: asked for, announced by every node, answered', async (t) => {
  await bed.apply(service('web', web, { annotations: { 'weir.network/load-balancer-ips': '203.0.113.15' } }))
  await expectAddresses(t, 'web', '203.0.113.15 Allocated')
  await expectHops(t, '203.0.113.15', NODES, 'both ToRs lead to both nodes')
  t.match(await bed.http('client1', '203.0.113.15'), /^web/)
})

t.test("a pool of Cilium's: from the moment it is there, and until it goes", async (t) => {
  await bed.apply(
    service('gold', web, { labels: { tier: 'gold' }, annotations: { 'weir.network/address-pool': 'gold' } }),
  )
  await expectAddresses(t, 'gold', 'UnknownPool')
  await bed.apply(
    pool('gold', {
      blocks: [{ cidr: '203.0.113.64/30' }],
      allowFirstLastIPs: 'No',
      serviceSelector: { matchLabels: { tier: 'gold' } },
    }),
  )
  await expectAddresses(t, 'gold', '203.0.113.65 Allocated')
  await expectHops(t, '203.0.113.65', NODES, 'the guard lets it out')
  t.match(await bed.http('client1', '203.0.113.65'), /^web/)
  await bed.until("the pool's status", async () => {
    const { status } = await bed.get<Shown>(RESOURCE, 'gold')
    return status?.conditions?.some(({ type }) => type === 'cilium.io/IPsUsed') ?? false
  })
  await bed.apply(pool('rival', { blocks: [{ start: '203.0.113.65', stop: '203.0.113.70' }] }))
  await bed.until('the conflict to be told', async () => {
    const { status } = await bed.get<Shown>(RESOURCE, 'rival')
    return (
      status?.conditions?.some(
        ({ type, status: is }) => type === 'cilium.io/PoolConflict' && is === 'True',
      ) ?? false
    )
  })
  await bed.kubectl('delete', RESOURCE, 'rival')
})

/** An Event of this reason on the Service, whose message says so. */
async function expectEvent(t: Test, name: string, reason: string, message: RegExp): Promise<void> {
  const selector = `involvedObject.kind=Service,involvedObject.name=${name},reason=${reason}`
  let told: string[] = []
  await bed
    .until(`an Event ${reason} on ${name}`, async () => {
      const { items } = await bed.get<{ items: { message: string }[] }>(
        'events',
        '--field-selector',
        selector,
      )
      told = items.map((one) => one.message)
      return told.some((text) => message.test(text))
    })
    .catch(() => {})
  t.ok(
    told.some((text) => message.test(text)),
    `${name} is told ${reason}: ${told.join('; ')}`,
  )
}

t.test(
  'a pool that is used up, and an address that another has: said, and served when there is room',
  async (t) => {
    const gold = { labels: { tier: 'gold' }, annotations: { 'weir.network/address-pool': 'gold' } }
    await bed.apply(service('gold2', web, gold))
    await expectAddresses(t, 'gold2', '203.0.113.66 Allocated')
    await bed.apply(
      service('gold3', web, gold),
      service('taker', web, { annotations: { 'weir.network/load-balancer-ips': '203.0.113.15' } }),
    )
    await expectAddresses(t, 'gold3', 'PoolExhausted')
    await expectEvent(t, 'gold3', 'PoolExhausted', /no free IPv4 address in gold; add a prefix/)
    await expectAddresses(t, 'taker', 'AddressInUse')
    await expectEvent(t, 'taker', 'AddressInUse', /203\.0\.113\.15.*default\/web/)
    await expectHops(t, '203.0.113.15', NODES, 'whoever has it keeps it')
    await bed.kubectl('delete', 'service', 'gold2', 'taker')
    await expectAddresses(t, 'gold3', '203.0.113.66 Allocated')
    await expectHops(t, '203.0.113.66', NODES, 'what was given back is the next one’s, and announced')
    await bed.kubectl('delete', 'service', 'gold3')
    await expectHops(t, '203.0.113.66', 0, 'and gone with it')
  },
)

t.test(
  'two Services on one address: each port leads to its own pods, until the last of them goes',
  async (t) => {
    const annotations = { 'metallb.io/allow-shared-ip': 'front' }
    const mail = { ...web, selector: { app: 'mail' }, ports: [{ port: 81, targetPort: HTTP_PORT }] }
    await bed.apply(service('front', web, { annotations }), service('mail', mail, { annotations }))
    await expectAddresses(t, 'front', '203.0.113.10 Allocated')
    await expectAddresses(t, 'mail', '203.0.113.10 Allocated')
    await expectHops(t, '203.0.113.10', NODES, 'both ToRs lead to both nodes')
    t.match(await bed.http('client1', '203.0.113.10'), /^web/)
    t.equal(await bed.http('client1', '203.0.113.10', '/hostname', 81), 'mail1')
    await bed.kubectl('delete', 'service', 'front')
    await expectHops(t, '203.0.113.10', NODES, 'one of them is left')
    t.equal(await bed.http('client1', '203.0.113.10', '/hostname', 81), 'mail1')
    await bed.kubectl('delete', 'service', 'mail')
    await expectHops(t, '203.0.113.10', 0, 'none is left')
  },
)

t.test('agents die and come back: no address and no route changes', async (t) => {
  const version = async () =>
    (await Promise.all(['web', 'gold'].map((name) => bed.get<Shown>('service', name)))).map(
      ({ metadata }) => metadata.resourceVersion,
    )
  const before = await version()
  const seen = new Set<string>()
  for (const node of bed.rack.plan.nodes) {
    const { directory } = bed.rack.host(node.name)
    const agent = findProcess(`${directory}/agent.pid`)
    if (agent) process.kill(agent.pid, 'SIGKILL')
    await bed.until('the agent to be gone', async () => findProcess(`${directory}/agent.pid`) === undefined)
    await startAgent(bed.rack, node)
    const isBack = async () => {
      for (const vip of ['203.0.113.15', '203.0.113.65']) seen.add(await hops(vip))
      return (await bed.agent<{ synced: boolean }>(node.name, '/v1/status')).synced
    }
    await bed.until('it to have synced', isBack)
  }
  // Longer than a Lease of a dead leader lasts.
  await bed.apply(service('next', web))
  await expectAddresses(t, 'next', '203.0.113.10 Allocated')
  for (const vip of ['203.0.113.15', '203.0.113.65']) seen.add(await hops(vip))
  t.same([...seen], [TORS.map(() => NODES).join()])
  t.same(await version(), before)
})

t.test("what a pool held is withdrawn when the pool goes, and others' is not", async (t) => {
  await bed.kubectl('delete', RESOURCE, 'gold')
  await expectAddresses(t, 'gold', 'UnknownPool')
  await expectHops(t, '203.0.113.65', 0, 'no ToR leads there')
  await expectHops(t, '203.0.113.15', NODES, 'the other is as it was')
})
