// To whom a path goes, as classes: equal differences share one, the content decides the marker, nothing is lost on the way.

import t from 'tap'
import { DEFAULT_RULES, type PeerExport } from '../../../src/model/routing.ts'
import { exportsOf } from '../../../src/routing/exports.ts'
import { ExportClassifier, isMarker } from '../../../src/speaker/export-classes.ts'
import { announcement, attributes, exported } from './bed.ts'

const ADDRESSES = new Map([
  ['a', '10.0.0.1'],
  ['b', '10.0.0.2'],
  ['c', 'fd00::3'],
])
const VIP = '203.0.113.7/32'
const to = (peers: string, change: Parameters<typeof attributes>[0] = {}): PeerExport => ({
  peers: peers.split(' '),
  attributes: attributes(change),
})
const classify = (exports: readonly PeerExport[], vip = VIP, addresses = ADDRESSES, mayNameAll = true) =>
  new ExportClassifier(addresses, mayNameAll).classify(exported(vip, exports))

t.test(
  'one export for all peers: its attributes are the path, the class says nothing but "all"',
  async (t) => {
    const found = classify([
      to('a b c', { communities: ['65101:1'], largeCommunities: ['65101:1:2'], med: 5, localPref: 200 }),
    ])
    t.match(found?.path, { prefix: VIP, communities: ['65101:1'], med: 5, localPref: 200 })
    t.equal(found?.path.largeCommunities?.[0], '65101:1:2')
    t.ok(isMarker(found?.path.largeCommunities?.[1] ?? ''))
    t.same(found?.class.exports, [{ peers: 'all', changes: { addCommunities: [], prepend: 0 } }])
  },
)

t.test('without exports: every peer, with the communities alone', async (t) => {
  const classifier = new ExportClassifier(ADDRESSES, true)
  const plain = classifier.classify(announcement(VIP, ['65101:1']))
  t.same(plain?.class.exports, classify([to('a b c')])?.class.exports)
  t.equal(
    plain?.class.marker,
    classify([to('a b c', { med: 3 })])?.class.marker,
    'attributes of all make no class',
  )
})

t.test(
  'exports of a configuration without peers are for all of a host, and for none of our own',
  async (t) => {
    const routing = { asn: 65101, peers: [], rules: DEFAULT_RULES }
    const subject = {
      kinds: ['load-balancer-ip' as const],
      family: 'ipv4' as const,
      pool: 'default',
      service: undefined,
    }
    const exports = exportsOf(routing, [subject])
    t.equal(exports.length, 1)
    t.same(
      classify(exports, VIP, ADDRESSES, false)?.class.exports.map(({ peers }) => peers),
      [['10.0.0.1', '10.0.0.2', 'fd00::3']],
    )
    t.equal(classify(exports), undefined)
  },
)

t.test('what differs from peer to peer is the class, what is common is on the path', async (t) => {
  const found = classify([
    to('a', { communities: ['65101:1', '65101:2'], med: 5 }),
    to('b c', { communities: ['65101:1'], largeCommunities: ['65101:9:9'], med: 5, prepend: 2 }),
  ])
  t.match(found?.path, { communities: ['65101:1'], med: 5 })
  t.same(found?.class.exports, [
    { peers: ['10.0.0.1'], changes: { addCommunities: ['65101:2'], prepend: 0 } },
    {
      peers: ['10.0.0.2', 'fd00::3'],
      changes: { addCommunities: [], largeCommunities: ['65101:9:9'], prepend: 2 },
    },
  ])
})

t.test('a number that only some have is set by policy, for policy cannot take one away', async (t) => {
  const found = classify([to('a', { med: 5, localPref: 90 }), to('b')])
  t.same([found?.path.med, found?.path.localPref], [undefined, undefined])
  t.match(found?.class.exports[0]?.changes, { med: 5, localPref: 90 })
})

t.test(
  'ten thousand prefixes with the same differences are one class; content decides its name',
  async (t) => {
    const markers = new Set<string | undefined>()
    const classifier = new ExportClassifier(ADDRESSES, true)
    for (let index = 0; index < 10_000; index += 1) {
      const base = { communities: [`65101:${index}`] }
      const exports = [to('a', base), to('b', { ...base, prepend: 1 })]
      markers.add(
        classifier.classify(exported(`10.9.${index >> 8}.${index & 255}/32`, exports))?.class.marker,
      )
    }
    t.equal(markers.size, 1)
    t.equal(
      classify([to('a'), to('b', { prepend: 1 })])?.class.marker,
      [...markers][0],
      'whoever computes it',
    )
    t.not(classify([to('a'), to('b', { prepend: 2 })])?.class.marker, [...markers][0])
  },
)

t.test('peers are addresses: a name that moves is another class, an unknown name is nobody', async (t) => {
  t.same(classify([to('a')])?.class.exports[0]?.peers, ['10.0.0.1'])
  t.not(
    classify([to('a')], VIP, new Map([...ADDRESSES, ['a', '10.0.0.9']]))?.class.marker,
    classify([to('a')])?.class.marker,
  )
  t.equal(classify([to('nobody')]), undefined)
  t.equal(classify([]), undefined)
})

t.test('in a gobgpd of somebody else there is no "all"', async (t) => {
  t.same(classify([to('a b c')], VIP, ADDRESSES, false)?.class.exports[0]?.peers, [
    '10.0.0.1',
    '10.0.0.2',
    'fd00::3',
  ])
  const guest = new ExportClassifier(ADDRESSES, false)
  t.same(guest.classify(announcement(VIP))?.class.exports[0]?.peers, ['10.0.0.1', '10.0.0.2', 'fd00::3'])
  t.equal(new ExportClassifier(new Map(), false).classify(announcement(VIP)), undefined)
})

t.test('who is meant is told by sessions, whatever the names are now', async (t) => {
  const of = (sessions: readonly string[]): PeerExport => ({ ...to('a'), sessions })
  const moved = new Map([
    ['a', '10.0.0.9'],
    ['b', '10.0.0.1'],
  ])
  const bySession = new Map([
    ['10.0.0.9', '10.0.0.9'],
    ['%eth1', '10.0.0.1'],
  ])
  const classifier = new ExportClassifier(moved, true, bySession)
  const peersOf = (sessions: readonly string[]) =>
    classifier.classify(exported(VIP, [of(sessions)]))?.class.exports.map(({ peers }) => peers)
  t.same(peersOf(['%eth1']), [['10.0.0.1']])
  t.equal(peersOf(['10.0.0.1']), undefined, 'the session of before is none any more')
  t.same(peersOf(['%eth1', '10.0.0.9']), ['all'])
})
