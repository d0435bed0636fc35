// From a node's routing to what its routers should be told: which sessions are one router, and every setting turned to the other side.

import t from 'tap'
import type { RouterSideFacts } from '../../../src/agent/router-side-view.ts'
import { PASSWORD_PLACEHOLDER, routerSide, routersOf } from '../../../src/cli/bgp-router-side.ts'
import type { Address } from '../../../src/model/address.ts'
import type { BgpPeer, NodeRouting } from '../../../src/model/routing.ts'
import { allowed, cidr, peerOf, routingOf } from '../speaker/bed.ts'

const NOTHING = { peers: [], listenRanges: [], accept: [] }
const own = { localAddress: '10.0.0.1' as Address }

function facts(peers: readonly BgpPeer[], change: Partial<NodeRouting> = {}): RouterSideFacts {
  const routing = routingOf(peers, { limits: { announcementsMax: 1000, changesPerSecond: 10 }, ...change })
  return { node: 'node1', routing, allowed, reachedFrom: {}, lacks: [] }
}

function side(peer: BgpPeer, change: Partial<NodeRouting> = {}, options = {}) {
  return routerSide(facts([peer], change), [peer], { ...NOTHING, ...options })
}

t.test('sessions of one router are told together where that is certain', async (t) => {
  const names = (peers: readonly BgpPeer[]) =>
    routersOf(peers).map((router) => router.map(({ name }) => name))
  const v4 = (name: string, asn: number) => peerOf(name, `10.0.0.${name.length}`, { asn })
  const v6 = (name: string, asn: number) => peerOf(name, `fd00::${name.length}`, { asn })
  t.strictSame(names([v4('a', 1), v6('a6', 1), v4('b', 2)]), [['a', 'a6'], ['b']])
  t.strictSame(names([v4('a', 1), v6('a6', 1), v4('b', 1)]), [['a'], ['a6'], ['b']], 'two routers of one AS')
})

t.test('a session seen from the other end', async (t) => {
  const router = side(
    peerOf('tor1', '10.0.0.0', {
      ...own,
      ttlSecurityMin: 254,
      bfd: { intervalMs: 100, multiplier: 5 },
      password: { kind: 'inline', text: 'secret' },
      localAsn: 65200,
      imports: {
        prefixes: [{ prefix: cidr('0.0.0.0/0'), family: 'ipv4', lengthMin: 0, lengthMax: 0 }],
        maxPrefixes: 1,
      },
    }),
  )
  t.match(router, { asn: 65001, ecmpPathsMax: 64 })
  const [group] = router.groups
  t.match(group, {
    ttlSecurityHops: 2,
    password: PASSWORD_PLACEHOLDER,
    bfd: { intervalMs: 100, multiplier: 5 },
    prefixesMax: 1250,
    passive: true,
    peers: [{ name: 'node1', asn: 65200, address: '10.0.0.1', localAddress: '10.0.0.0' }],
    announce: [{ prefix: '0.0.0.0/0', lengthMin: 0, lengthMax: 0 }],
  })
  t.equal(group?.carries, undefined)
  t.notMatch(JSON.stringify(router), /secret/)
  t.strictSame(
    group?.accept.map(({ prefix, lengthMin }) => `${prefix} ${lengthMin}`),
    ['10.255.0.1/32 32', '10.244.1.0/24 24', '203.0.113.0/24 32'],
    "the guard's list, of what the session carries",
  )
})

t.test('both families in one session; sessions that differ are groups of their own', async (t) => {
  const one = peerOf('a', '10.0.0.0', { ...own, families: ['ipv4', 'ipv6'] })
  t.strictSame(side(one).groups[0]?.carries, ['ipv4', 'ipv6'])
  const six = peerOf('a6', 'fd00::', { localAddress: 'fd00::1' as Address, multihopTtl: 3 })
  const { groups } = routerSide(facts([one, six]), [one, six], NOTHING)
  t.strictSame(
    groups.map(({ name, multihopTtl }) => [name, multihopTtl]),
    [
      ['nodes-node1', undefined],
      ['nodes-2-node1', 3],
    ],
  )
})

t.test('what is printed for one node takes nothing from what another printed', async (t) => {
  const peer = peerOf('a', '10.0.0.0', own)
  const nameFor = (node: string) =>
    routerSide({ ...facts([peer]), node }, [peer], NOTHING).groups.map(({ name }) => name)
  t.strictSame(nameFor('node1'), ['nodes-node1'])
  t.strictSame(nameFor('10.rack.example'), ['nodes-node-10-rack-example'])
})

t.test('the node listens, so the router may call too', async (t) => {
  const router = side(peerOf('a', '10.0.0.0', own), { listen: { port: 179, addresses: [] } })
  t.equal(router.groups[0]?.passive, false)
})

t.test('all nodes by a range', async (t) => {
  const peer = peerOf('a', '10.0.0.0')
  const options = {
    listenRanges: ['10.0.0.0/16', 'fd00::/64'],
    accept: [{ prefix: '10.244.0.0/16', lengthMin: 24, lengthMax: 24 }],
  }
  const [group] = side(peer, {}, options).groups
  t.match(group, { name: 'nodes', peers: [], listen: { ranges: ['10.0.0.0/16'], asn: 'external' } })
  t.ok(group?.accept.some(({ prefix }) => prefix === '10.244.0.0/16'))
  const [internal] = side({ ...peer, asn: 'internal' }, {}, options).groups
  t.equal(internal?.listen?.asn, 65101)
})

t.test('what is missing is asked for', async (t) => {
  const refused = (peer: BgpPeer, pattern: RegExp, options = {}) =>
    t.throws(() => side(peer, {}, options), { code: 'bad-usage', message: pattern })
  refused(peerOf('a', '10.0.0.0'), /--node-address/)
  refused(peerOf('a', '10.0.0.0', { ...own, asn: 'external' }), /--asn/)
  refused(peerOf('a', '10.0.0.0', own), /must be of AS 65001, not 7/, { asn: 7 })
  refused(peerOf('a', 'fe80::1', { remote: { kind: 'interface', interface: 'eth1' } }), /--interface/)
  const two = [peerOf('a', '10.0.0.0', own), peerOf('b', '10.0.0.2', { ...own, asn: 7 })]
  t.throws(() => routerSide(facts(two), two, NOTHING), /different AS numbers/)
  t.equal(side(peerOf('a', '10.0.0.0', { ...own, asn: 'external' }), {}, { asn: 7 }).asn, 7)
})
