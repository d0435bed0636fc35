// Addresses as users meet them: Services in an API server, agents that come and go, and what the status and the Events say.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { SERVICES } from '../../../src/kube/objects.ts'
import type { Prefix } from '../../../src/model/address.ts'
import type { AddressPool } from '../../../src/routing/address-pools.ts'
import { startBed } from './address-bed.ts'

const SMALL: readonly AddressPool[] = [{ name: 'default', prefixes: ['203.0.113.0/29' as Prefix] }]

const bed = await startBed()
t.teardown(() => bed.close())

/** Until every round that was asked for has run. */
const settle = () => sleep(300)

t.test(
  'EXT-010 one agent gives addresses, says so on the Service, and leaves what is not its own',
  async (t) => {
    await bed.create('any')
    await bed.create('asks', { 'weir.network/load-balancer-ips': '203.0.113.5' })
    await bed.create('late', { 'metallb.io/loadBalancerIPs': '203.0.113.5' })
    await bed.create('outside', {}, { loadBalancerIP: '198.51.100.1' })
    await bed.create('ours', {}, { loadBalancerClass: 'weir.network/bgp' })
    await bed.create('theirs', {}, { loadBalancerClass: 'example.com/other' })
    const others = [
      {
        type: 'example.com/Seen',
        status: 'True',
        reason: 'Seen',
        message: '',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ]
    const status = { namespace: 'default', name: 'any', subresource: 'status' as const }
    await bed.client.patch(SERVICES, status, { status: { conditions: others } }, { kind: 'strategic' })
    const agent = await bed.startAgent('node1', () => SMALL)
    t.equal(await bed.until('any', '203.0.113.1 True/Allocated'), '203.0.113.1 True/Allocated')
    t.equal(await bed.until('ours', '203.0.113.2 True/Allocated'), '203.0.113.2 True/Allocated')
    t.equal(await bed.show('asks'), '203.0.113.5 True/Allocated')
    t.equal(await bed.until('late', 'False/AddressInUse'), 'False/AddressInUse')
    t.equal(await bed.until('outside', 'False/AddressOutsidePools'), 'False/AddressOutsidePools')
    t.equal(await bed.show('theirs'), '-')
    const { conditions } = (await bed.get('any')).status ?? {}
    t.match(conditions, [
      { type: 'example.com/Seen', status: 'True' },
      { type: 'weir.network/AddressAllocated', lastTransitionTime: /^20/ },
    ])
    t.match(await bed.events('any'), ['Normal AddressAllocated: Load-balancer addresses 203.0.113.1'])
    t.match(await bed.events('late'), [
      /^Warning AddressInUse: 203.0.113.5 is asked for, but default\/asks has it/,
    ])
    t.match(await bed.events('outside'), [
      /^Warning AddressOutsidePools: 198.51.100.1 is asked for, but lies in no pool/,
    ])
    t.match((await bed.get('any')).status?.loadBalancer, { ingress: [{ ip: '203.0.113.1', ipMode: 'VIP' }] })
    await bed.remove('asks')
    t.equal(await bed.until('late', '203.0.113.5 True/Allocated'), '203.0.113.5 True/Allocated')
    await agent.close()
  },
)

t.test('Services of one sharing key have one address, each with its own ports', async (t) => {
  const agent = await bed.startAgent('node1', () => SMALL)
  const key = { 'lbipam.cilium.io/sharing-key': 'mail' }
  await bed.create('smtp', key, { ports: [{ port: 25 }] })
  t.equal(await bed.until('smtp', '203.0.113.3 True/Allocated'), '203.0.113.3 True/Allocated')
  await bed.create('imap', { 'weir.network/sharing-key': 'mail' }, { ports: [{ port: 143 }] })
  t.equal(await bed.until('imap', '203.0.113.3 True/Allocated'), '203.0.113.3 True/Allocated')
  await bed.create('relay', key, { ports: [{ port: 25 }] })
  t.equal(await bed.until('relay', '203.0.113.4 True/NotShared'), '203.0.113.4 True/NotShared')
  const { conditions = [] } = (await bed.get('relay')).status ?? {}
  t.match(conditions[0], {
    message: /smtp of sharing key 'mail' has 203.0.113.3, but both have port 25\/TCP; to share/,
  })
  await agent.close()
})

t.test('another leader, and the same one again, write nothing', async (t) => {
  const versions = async () =>
    (await bed.client.list(SERVICES, {})).items.map(
      ({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`,
    )
  const before = await versions()
  const [one, two] = await Promise.all([
    bed.startAgent('node1', () => SMALL),
    bed.startAgent('node2', () => SMALL),
  ])
  const leads = async () => {
    while (!one.allocator.isLeader && !two.allocator.isLeader) await sleep(20)
    await settle()
    return [one, two].filter(({ allocator }) => allocator.isLeader)
  }
  const [leader, ...more] = await leads()
  t.same(more, [], 'one of them leads')
  t.same(await versions(), before)
  await leader?.close()
  const heir = leader === one ? two : one
  while (!heir.allocator.isLeader) await sleep(20)
  await settle()
  t.same(await versions(), before)
  await heir.close()
})

t.test('exhaustion is said, and other pools are taken live', async (t) => {
  let pools = SMALL
  const agent = await bed.startAgent('node1', () => pools)
  // 203.0.113.1 to .6, of which .6 is free.
  await bed.create('last')
  t.equal(await bed.until('last', '203.0.113.6 True/Allocated'), '203.0.113.6 True/Allocated')
  await bed.create('none')
  t.equal(await bed.until('none', 'False/PoolExhausted'), 'False/PoolExhausted')
  t.match(await bed.events('none'), [/^Warning PoolExhausted: no free IPv4 address in default/])
  pools = [...SMALL, { name: 'more', prefixes: ['198.51.100.8/29' as Prefix] }]
  agent.allocator.poolsChanged()
  t.equal(await bed.until('none', '198.51.100.9 True/Allocated'), '198.51.100.9 True/Allocated')
  t.equal(await bed.show('last'), '203.0.113.6 True/Allocated', 'what is held stays')
  await bed.change('last', { metadata: { annotations: { 'weir.network/address-pool': 'more' } } })
  t.equal(await bed.until('last', '198.51.100.10 True/Allocated'), '198.51.100.10 True/Allocated')
  await bed.change('last', { metadata: { annotations: { 'weir.network/address-pool': 'mroe' } } })
  t.equal(await bed.until('last', 'False/UnknownPool'), 'False/UnknownPool')
  await bed.change('last', { spec: { type: 'ClusterIP' } })
  t.equal(await bed.until('last', '-'), '-', 'who asks for none is told nothing')
  await agent.close()
})

t.test('without any pool nothing is written: another allocator may have that part', async (t) => {
  await bed.create('alone')
  const agent = await bed.startAgent('node1', () => [])
  while (!agent.allocator.isLeader) await sleep(20)
  await settle()
  t.equal(await bed.show('alone'), '-')
  t.equal(await bed.show('any'), '203.0.113.1 True/Allocated')
  await agent.close()
})
