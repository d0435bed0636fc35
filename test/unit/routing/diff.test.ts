// What a change of configuration would change for each router.

import t from 'tap'
import type { Prefix } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import { type BgpPeer, NO_ATTRIBUTES, type PeerExport } from '../../../src/model/routing.ts'
import { type AnnouncedState, diffAnnounced } from '../../../src/routing/diff.ts'

function peer(name: string, overrides: Partial<BgpPeer> = {}): BgpPeer {
  return {
    name,
    source: 'routing.peers[0]',
    remote: { kind: 'address', address: '10.0.0.1' as never },
    asn: 65_001,
    port: 179,
    families: ['ipv4'],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    ...overrides,
  }
}

function state(
  peers: readonly BgpPeer[],
  rows: Record<string, readonly PeerExport[] | undefined>,
): AnnouncedState {
  const announcements = Object.entries(rows).map(([prefix, exports]): [Prefix, Announcement] => [
    prefix as Prefix,
    {
      prefix: prefix as Prefix,
      family: 'ipv4',
      source: 'service',
      why: 'a Service',
      ...(exports ? { exports } : {}),
    },
  ])
  return { peers, announcements: new Map(announcements) }
}

const to = (peers: string[], med?: number): PeerExport[] => [
  { peers, attributes: med === undefined ? NO_ATTRIBUTES : { ...NO_ATTRIBUTES, med } },
]

t.test('prefixes and attributes, per peer, in the order of numbers', async (t) => {
  const peers = [peer('tor1'), peer('tor2')]
  const before = state(peers, {
    '10.0.10.0/24': to(['tor1', 'tor2']),
    '10.0.9.0/24': to(['tor1'], 5),
    '10.0.8.0/24': to(['tor2']),
  })
  const after = state(peers, {
    '10.0.10.0/24': to(['tor2']),
    '10.0.9.0/24': to(['tor1'], 6),
    '10.0.8.0/24': to(['tor2']),
    '10.0.11.0/24': undefined,
  })
  t.match(diffAnnounced(before, after), [
    {
      peer: 'tor1',
      session: 'same',
      routes: [
        { prefix: '10.0.9.0/24', change: 'change', before: { med: 5 }, after: { med: 6 } },
        { prefix: '10.0.10.0/24', change: 'withdraw' },
        { prefix: '10.0.11.0/24', change: 'add' },
      ],
    },
    { peer: 'tor2', session: 'same', routes: [{ prefix: '10.0.11.0/24', change: 'add' }] },
  ])
})

t.test('sessions that come, go, or change', async (t) => {
  const rows = { '10.0.9.0/24': to(['new', 'old', 'other', 'same']) }
  const before = state(
    [peer('old', { remote: { kind: 'address', address: '10.0.0.7' as never } }), peer('other'), peer('same')],
    rows,
  )
  const after = state(
    [peer('new'), peer('other', { port: 1179 }), peer('same', { source: 'routing.peers[3]' })],
    rows,
  )
  t.match(diffAnnounced(before, after), [
    { peer: 'new', session: 'new', routes: [{ change: 'add' }] },
    { peer: 'old', session: 'removed', routes: [{ change: 'withdraw' }] },
    { peer: 'other', session: 'changed', keys: ['port'], routes: [] },
  ])
})

t.test('nothing differs', async (t) => {
  const one = state([peer('tor1')], { '10.0.9.0/24': to(['tor1'], 5) })
  t.strictSame(diffAnnounced(one, one), [])
})

t.test('a peer that is only called otherwise keeps its session and its routes', async (t) => {
  const before = state([peer('10.0.0.1')], { '10.0.10.0/24': to(['10.0.0.1']) })
  const after = state([peer('tor1')], { '10.0.10.0/24': to(['tor1']) })
  t.match(diffAnnounced(before, after), [{ peer: 'tor1', session: 'same', keys: ['name'], routes: [] }])
  const other = peer('tor1', { remote: { kind: 'address', address: '10.0.0.9' as never } })
  t.match(
    diffAnnounced(before, state([other], { '10.0.10.0/24': to(['tor1']) })).map(({ session }) => session),
    ['removed', 'new'],
  )
})
