// What gobgpd 3.10 gets wrong, shown on a real one beside a real BIRD, and what the client does about it. Where the client refuses to
// send, the call is made without it, so that a gobgpd that does better shows up here.

import t from 'tap'
import { openDialect } from '../../../bgp/client/calls.ts'
import { openTransport } from '../../../bgp/client/transport.ts'
import type { Policy } from '../../../bgp/client/types.ts'
import { VERSION_3 } from '../../../bgp/client/version-3.ts'
import { GobgpApi } from '../../../bgp/proto/gobgp-v3.gen.ts'
import { link, NODE, oneSession, peer, RouterBed, until, untilEstablished } from './bed.ts'

const VIP = '203.0.113.7/32'
const VIP6 = '2001:db8:113::7/128'

const both = (index: number) => peer(index, 'ipv4', { families: ['ipv4', 'ipv6'] })

const acceptAll = (name: string, conditions: Policy['statements'][number]['conditions']): Policy => ({
  name,
  statements: [{ name, conditions, action: 'accept' }],
})

t.test('gobgpd without a router', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  const transport = openTransport(bed.target)
  t.teardown(() => transport.close())
  const unchecked = openDialect(transport, VERSION_3)
  const prefixes = async () => (await client.listOwnPaths('ipv4')).map(({ prefix }) => prefix)
  const restart = async () => {
    await bed.startGobgpd(client)
    await client.startIfIdle(NODE)
  }

  await t.test(
    'a second StartBgp empties the table and opens the policy; startIfIdle asks first',
    async (t) => {
      await restart()
      await client.setAssignment({ direction: 'export', policies: [], defaultAction: 'reject' })
      await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
      t.match(await client.startIfIdle(NODE), { asn: NODE.asn })
      t.same(await prefixes(), [VIP])
      t.equal((await client.getAssignment('export')).defaultAction, 'reject')
      await unchecked.startDaemon(NODE)
      t.same(await prefixes(), [])
      t.equal((await client.getAssignment('export')).defaultAction, 'accept')
    },
  )

  await t.test('AddPath takes nonsense; the client sends none of it', async (t) => {
    await restart()
    const nlri = (address: string, length: number) => ({
      family: 'ipv4' as const,
      value: 0n,
      length,
      text: `${address}/${length}`,
    })
    const nonsense = [
      nlri('bogus', 32),
      nlri('10.0.0.1', 33),
      nlri('203.0.113.9', 0),
      nlri('203.0.113.77', 24),
    ]
    for (const prefix of nonsense) {
      await unchecked.applyPaths([], [{ path: { prefix: prefix.text }, prefix }])
      await t.rejects(client.applyPaths({ withdraw: [], announce: [{ prefix: prefix.text }] }), {
        code: 'INVALID_PATH',
      })
    }
    const held = await prefixes()
    t.ok(held.includes('0.0.0.0/0'), 'a missing length became the default route')
    t.ok(held.includes('203.0.113.0/24'), 'host bits were masked away')
  })

  await t.test(
    'a rejecting import default swallows own paths, silently, unless a statement lets them in',
    async (t) => {
      await restart()
      await client.setAssignment({ direction: 'import', policies: [], defaultAction: 'reject' })
      await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
      t.same(await prefixes(), [])
      await client.addPolicy(acceptAll('local', { routeType: 'local' }))
      await client.appendAssignment('import', ['local'])
      t.match(await client.getAssignment('import'), { policies: ['local'], defaultAction: 'reject' })
      await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
      t.same(await prefixes(), [VIP])
    },
  )

  await t.test('of a set of prefixes only the longest that covers a path is looked at', async (t) => {
    await restart()
    const members = [
      { prefix: '203.0.112.0/20', lengthMin: 32, lengthMax: 32 },
      { prefix: '203.0.113.0/24', lengthMin: 24, lengthMax: 24 },
    ]
    await client.addSetMembers({ kind: 'prefix', name: 'nested', members })
    await client.addPolicy(acceptAll('nested', { prefixSet: 'nested' }))
    await client.setAssignment({ direction: 'import', policies: ['nested'], defaultAction: 'reject' })
    const announce = ['203.0.114.7/32', '203.0.113.0/24', '203.0.113.7/32'].map((prefix) => ({ prefix }))
    await client.applyPaths({ withdraw: [], announce })
    t.same((await prefixes()).sort(), ['203.0.113.0/24', '203.0.114.7/32'], 'the /20 covers all three')
  })

  await t.test('nobody can call EnableZebra, which crashes gobgpd 3.10 with FRR 8.4', async (t) => {
    t.notOk(Object.keys(GobgpApi.method).some((name) => /zebra/i.test(name)))
  })

  await t.test('the password of a peer can be read by everybody who may ask', async (t) => {
    await restart()
    await client.addPeer(peer(1, 'ipv4', { password: 's3cret', localAddress: '127.0.0.1' }))
    t.match(await client.listPeers(), [{ settings: { password: 's3cret' } }])
  })
})

t.test('gobgpd between two routers', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  const transport = openTransport(bed.target)
  t.teardown(() => transport.close())
  const unchecked = openDialect(transport, VERSION_3)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179 })
  for (const index of [1, 2]) await bed.addRouter(index, oneSession(index))
  for (const index of [1, 2]) await client.addPeer(both(index))
  await untilEstablished(client, 2)
  const announce = (prefix: string, nextHop?: string) =>
    client.applyPaths({ withdraw: [], announce: [{ prefix, ...(nextHop ? { nextHop } : {}) }] })
  const has = (index: number, prefix: string) => () => bed.birdRoute(index, prefix) !== ''

  await t.test('without a policy the node is a transit between its routers', async (t) => {
    await until('router 2 has what router 1 says', () =>
      bed.birdRoute(2, '192.0.2.0/24').includes('65101 65001'),
    )
    await client.addPolicy(acceptAll('local', { routeType: 'local' }))
    await client.setAssignment({ direction: 'import', policies: ['local'], defaultAction: 'reject' })
    await client.setAssignment({ direction: 'export', policies: ['local'], defaultAction: 'reject' })
    t.match(await client.getAssignment('export'), { policies: ['local'], defaultAction: 'reject' })
  })

  await t.test(
    "each session's own address is the next hop; a fixed one serves one router alone",
    async (t) => {
      await announce(VIP)
      for (const index of [1, 2]) {
        await until(`router ${index}`, () => bed.kernelRoute(index, VIP) !== '')
        t.match(bed.kernelRoute(index, VIP), `via ${link(index).node4}`)
      }
      await announce('203.0.113.8/32', link(1).node4)
      await until('router 1 installs it', () => bed.kernelRoute(1, '203.0.113.8/32') !== '')
      await until('router 2 refuses it', () => bed.read('bird2.messages').includes('Invalid NEXT_HOP'))
      t.equal(bed.birdRoute(2, '203.0.113.8/32'), '')
    },
  )

  await t.test(
    'an IPv6 path in an IPv4 session has a mapped next hop, until a policy gives a true one',
    async (t) => {
      await announce(VIP6)
      await until('it is refused', () => /Invalid NEXT_HOP|NEXT_HOP/i.test(bed.read('bird1.messages')))
      t.equal(bed.birdRoute(1, VIP6), '')
    },
  )

  await t.test(
    'a narrower export policy does not take back what was sent, and adj-out says it did',
    async (t) => {
      await client.setAssignment({ direction: 'export', policies: [], defaultAction: 'reject' })
      await client.resetPeer(undefined, { kind: 'soft', direction: 'out' })
      const out = await client.listRoutes(
        { kind: 'adj-out', peer: { kind: 'address', address: link(1).router4 } },
        'ipv4',
      )
      t.same(out, [], 'gobgpd says that nothing is out')
      t.ok(has(1, VIP)(), 'the router still has it')
      await client.applyPaths({ withdraw: [VIP], announce: [] })
      await until('withdrawing the path takes it back', () => !has(1, VIP)())
      t.ok(has(1, '203.0.113.8/32')())
      await client.resetPeer(
        { kind: 'address', address: link(1).router4 },
        { kind: 'hard', reason: 'narrowed' },
      )
      await until('so does ending the session', () => !has(1, '203.0.113.8/32')())
      // It now stays away for half a minute, whatever idle-hold time it was given; a peer added anew comes back at once.
      await client.deletePeer({ kind: 'address', address: link(1).router4 })
      await client.addPeer(both(1))
    },
  )

  await t.test(
    'an empty neighbor set matches every peer: neither a statement over one is sent nor one emptied',
    async (t) => {
      const routers = [1, 2].map((index) => link(index).router4)
      await client.addSetMembers({ kind: 'neighbor', name: 'tor2', members: routers.slice(1) })
      await client.addPolicy(acceptAll('to-tor2', { neighborSet: 'tor2', routeType: 'local' }))
      await client.setAssignment({ direction: 'export', policies: ['to-tor2'], defaultAction: 'reject' })
      await untilEstablished(client, 2)
      await announce('203.0.113.9/32')
      await until('router 2 has it', has(2, '203.0.113.9/32'))
      t.equal(bed.birdRoute(1, '203.0.113.9/32'), '')

      const refused = { code: 'INVALID_POLICY', message: /match every peer/ }
      const tor2 = { kind: 'neighbor', name: 'tor2', members: routers.slice(1) } as const
      await t.rejects(client.deleteSetMembers(tor2), refused)
      await t.rejects(client.addSetMembers({ kind: 'neighbor', name: 'none', members: [] }), refused)
      await unchecked.addSetMembers({ kind: 'neighbor', name: 'none', members: [] })
      await t.rejects(client.addPolicy(acceptAll('to-none', { neighborSet: 'none' })), refused)
      await t.rejects(client.addPolicy(acceptAll('to-what', { neighborSet: 'missing' })), { code: 'REFUSED' })

      await unchecked.deleteSetMembers(tor2)
      t.same(await client.listSets('neighbor'), [
        { kind: 'neighbor', name: 'none', members: [] },
        { kind: 'neighbor', name: 'tor2', members: [] },
      ])
      await announce('203.0.113.10/32')
      await until('router 1, which no statement names, has it', has(1, '203.0.113.10/32'))
    },
  )
})
