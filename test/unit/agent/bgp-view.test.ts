// What the local API tells of sessions and routes: the configuration's peers and gobgpd's joined, nothing lost on either side.

import t from 'tap'
import { describePeers, type PeersFacts } from '../../../src/agent/bgp-peers-view.ts'
import { describeAdvertised, describeReceived, routeRows } from '../../../src/agent/bgp-routes-view.ts'
import type { Address } from '../../../src/model/address.ts'
import type { AnnouncementRow } from '../../../src/model/announcement.ts'
import { inPrefixOrder } from '../../../src/model/prefix-order.ts'
import { announcement, attributes, exported, peerOf, routingOf } from '../speaker/bed.ts'
import { sessionOf } from './bgp-session.ts'

function facts(change: Partial<PeersFacts> = {}): PeersFacts {
  return {
    node: 'node1',
    routing: routingOf([
      peerOf('tor1', '10.0.0.0', {
        password: { kind: 'inline', text: 'a-secret' },
        bfd: { intervalMs: 300, multiplier: 3 },
      }),
    ]),
    status: { connected: true, sessions: [sessionOf('tor1', '10.0.0.0')], problems: [], error: undefined },
    daemon: { apiVersion: 3, collectors: [] },
    bfd: [],
    links: new Map(),
    drain: undefined,
    nowMs: 2_000,
    ...change,
  }
}

t.test('a session, with what the configuration says of it and what it should be told', async (t) => {
  const view = describePeers(facts())
  t.match(view, { node: 'node1', asn: 65101, gobgpd: { isConnected: true, apiVersion: 3 } })
  t.match(view.peers, [
    {
      name: 'tor1',
      state: 'established',
      sinceMs: 1_000,
      flaps: 2,
      taken: 1,
      localAsn: 65101,
      families: [{ family: 'ipv4', received: 3, accepted: 2, advertised: 5, wanted: 6 }],
      bfd: { state: 'missing' },
      settings: { hasPassword: true, timers: { holdSeconds: 9 } },
    },
  ])
  t.notMatch(JSON.stringify(view), /a-secret/)
})

t.test('a peer that is not in gobgpd is shown with the reason', async (t) => {
  const routing = routingOf([
    peerOf('tor1', '10.0.0.0'),
    peerOf('tor2', '10.0.0.2'),
    peerOf('tor3', '10.0.0.4'),
  ])
  const problems = [{ code: 'password-unreadable' as const, object: 'routing.peers tor2', text: 'no file' }]
  const sessions = [sessionOf('tor1', '10.0.0.0')]
  const view = describePeers(
    facts({ routing, status: { connected: true, sessions, problems, error: undefined } }),
  )
  t.match(
    view.peers.map(({ name, state, lastError }) => [name, state, lastError]),
    [
      ['tor1', 'established', undefined],
      ['tor2', 'missing', 'no file'],
      ['tor3', 'missing', /has not been told/],
    ],
  )
  const away = describePeers(
    facts({ status: { connected: false, sessions: [], problems: [], error: 'ECONNREFUSED' } }),
  )
  t.match(away.peers, [{ name: 'tor1', state: 'missing', lastError: 'ECONNREFUSED' }])
})

t.test(
  'what is wrong with a family, or with a count, is a problem and no error of the session',
  async (t) => {
    const object = 'routing.peers tor1'
    const codes = ['no-next-hop', 'advertised-differs', 'told-too-much', 'imports-limit'] as const
    const problems = codes.map((code) => ({ code, object, text: `tor1: ${code}` }))
    const of = (session: 'established' | 'active', more: typeof problems | object[]) =>
      describePeers(
        facts({
          status: {
            connected: true,
            sessions: [sessionOf('tor1', '10.0.0.0', { session })],
            problems: [...problems, ...(more as typeof problems)],
            error: undefined,
          },
        }),
      )
    for (const session of ['established', 'active'] as const)
      t.equal(of(session, []).peers[0]?.lastError, undefined)
    t.strictSame(of('established', []).problems, problems, 'they are told below')
    const differ = { code: 'authentication-failing', object, text: 'tor1: another password' }
    t.equal(of('active', [differ]).peers[0]?.lastError, 'tor1: another password')
    const missing = describePeers(
      facts({ status: { connected: true, sessions: [], problems, error: undefined } }),
    )
    t.match(missing.peers, [{ state: 'missing', lastError: 'tor1: no-next-hop' }], 'it is why there is none')
  },
)

t.test('a router whose session is down is told nothing, whatever gobgpd reckons', async (t) => {
  const sessions = [sessionOf('tor1', '10.0.0.0', { session: 'active' })]
  const status = { connected: true, sessions, problems: [], error: undefined }
  t.match(describePeers(facts({ status })).peers, [{ families: [{ advertised: 0, wanted: 6 }] }])
})

t.test('a cut cable is nearer than the hold timer that ran out', async (t) => {
  const lastError = 'ended at 1970-01-01T00:00:01Z: hold timer expired'
  const sessions = [sessionOf('tor1', '10.0.0.0', { session: 'active', lastError })]
  const status = { connected: true, sessions, problems: [], error: undefined }
  const links = new Map([['tor1', { device: 'to-tor1', state: 'no-carrier' as const }]])
  t.match(describePeers(facts({ status, links })).peers, [{ cause: /^no carrier on to-tor1/, lastError }])
  t.equal(describePeers(facts({ status })).peers[0]?.cause, undefined)
  const nobody = { ...status, sessions: [] }
  t.match(describePeers(facts({ status: nobody, links })).peers, [{ state: 'missing', cause: /^no carrier/ }])
})

t.test('a session that nobody here asked for is shown, too', async (t) => {
  const sessions = [sessionOf('10.9.9.9', '10.9.9.9'), sessionOf('tor1', '10.0.0.0')]
  const view = describePeers(facts({ status: { connected: true, sessions, problems: [], error: undefined } }))
  t.match(view.peers, [{ name: '10.9.9.9', source: undefined, settings: undefined }, { name: 'tor1' }])
})

t.test('collectors', async (t) => {
  const bmp = [
    { address: '192.0.2.1' as Address, port: 11019 },
    { address: '192.0.2.2' as Address, port: 11019 },
  ]
  const daemon = { apiVersion: 3 as const, collectors: [{ address: '192.0.2.2', port: 11019, upSinceMs: 5 }] }
  const view = describePeers(facts({ routing: routingOf([], { bmp }), daemon }))
  t.strictSame(
    view.collectors.map(({ upSinceMs }) => upSinceMs),
    [undefined, 5],
  )
})

const row = (text: string, status: AnnouncementRow['status'], change = {}): AnnouncementRow => ({
  ...announcement(text),
  status,
  ...change,
})

t.test('routes: as they stand, in the order of their numbers', async (t) => {
  const announced = { kind: 'announced', sinceMs: 7 } as const
  const status = {
    announcements: [
      row('203.0.113.10/32', announced),
      row('203.0.113.9/32', { kind: 'pending' }),
      row('203.0.113.8/32', announced),
      row('2001:db8::1/128', { kind: 'error', reason: 'no next hop' }),
    ],
    refused: [
      { announcement: announcement('8.8.8.8/32'), code: 'outside-allowed' as const, reason: 'outside' },
    ],
    waiting: [
      { prefix: '203.0.113.8/32', change: 'withdraw', reason: 'its turn' },
      { prefix: '203.0.113.9/32', change: 'announce', reason: 'its turn' },
    ],
  }
  const routes = inPrefixOrder(routeRows({ status, routing: routingOf([peerOf('tor1', '10.0.0.0')]) }))
  t.strictSame(
    routes.map((one) => [one.prefix, one.status, one.problem]),
    [
      ['8.8.8.8/32', 'refused', 'outside'],
      ['203.0.113.8/32', 'withdrawing', 'its turn'],
      ['203.0.113.9/32', 'pending', 'its turn'],
      ['203.0.113.10/32', 'announced', undefined],
      ['2001:db8::1/128', 'error', 'no next hop'],
    ],
  )
  t.match(routes[0]?.mend, /add its network to a pool/)
  t.strictSame(
    routes[3]?.exports,
    [{ peers: ['tor1'], attributes: attributes() }],
    'without rules: to every peer',
  )
})

const routeOf = (prefix: string, change = {}) => ({
  prefix,
  family: 'ipv4' as const,
  sourceAsn: 0,
  sourceId: '',
  isBest: true,
  isStale: false,
  isFiltered: false,
  isNextHopInvalid: false,
  sinceMs: 3,
  ...change,
})

t.test('advertised: the table against what was asked for', async (t) => {
  const med = attributes({ med: 5 })
  const status = { kind: 'announced', sinceMs: 1 } as const
  const rows: AnnouncementRow[] = [
    { ...exported('203.0.113.7/32', [{ peers: ['tor1'], attributes: med }]), status },
    { ...exported('203.0.113.8/32', [{ peers: ['tor2'], attributes: med }]), status },
    { ...exported('203.0.113.9/32', [{ peers: ['tor1', 'tor2'], attributes: med }]), status },
  ]
  const table = [
    routeOf('203.0.113.7/32', { med: 5, asPath: [65101], nextHop: '10.0.0.1' }),
    routeOf('192.0.2.0/24'),
  ]
  t.match(inPrefixOrder(describeAdvertised('tor1', table, rows, true)), [
    { prefix: '192.0.2.0/24', status: 'extra' },
    {
      prefix: '203.0.113.7/32',
      status: 'advertised',
      nextHop: '10.0.0.1',
      asPath: [65101],
      attributes: { med: 5 },
    },
    { prefix: '203.0.113.9/32', status: 'absent', attributes: { med: 5 } },
  ])
  t.strictSame(describeAdvertised('tor1', [], rows, false), [], 'a router that is not there is told nothing')
})

t.test('received', async (t) => {
  const told = {
    ...routeOf('10.200.0.0/24', { communities: ['1:2'], isStale: true }),
    verdict: 'taken' as const,
  }
  t.match(describeReceived('tor1', [told]), [
    {
      peer: 'tor1',
      prefix: '10.200.0.0/24',
      verdict: 'taken',
      isStale: true,
      attributes: { communities: ['1:2'] },
    },
  ])
})
