// What `weir bgp peers|routes|advertised|received` print.

import t from 'tap'
import type { PeersView, PeerView } from '../../../src/agent/bgp-peers-view.ts'
import { choosePeers, formatPeers } from '../../../src/cli/bgp-peers.ts'
import { formatAdvertised, formatReceived, formatRoutes } from '../../../src/cli/bgp-routes.ts'
import { formatWhy } from '../../../src/cli/bgp-why.ts'
import type { Prefix } from '../../../src/model/address.ts'
import { attributes } from '../speaker/bed.ts'

const NOW = 1_000_000_000

const peer = (name: string, change: Partial<PeerView> = {}): PeerView => ({
  name,
  source: `routing.peers[0]`,
  address: '10.0.0.0',
  asn: 65001,
  localAsn: 65101,
  state: 'established',
  isAdminDown: false,
  sinceMs: NOW - 300_000,
  flaps: 1,
  families: [{ family: 'ipv4', received: 1, accepted: 0, advertised: 4, wanted: 4 }],
  taken: 0,
  bfd: { state: 'up', detail: undefined },
  lastError: undefined,
  routerId: '10.0.0.9',
  negotiatedHoldSeconds: 9,
  capabilities: { local: [], remote: ['multi-protocol ipv4', 'graceful-restart'] },
  messages: undefined,
  settings: {
    port: 179,
    families: ['ipv4'],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    hasPassword: true,
    ttlSecurityMin: 255,
    gracefulRestart: { restartSeconds: 60 },
    bfd: undefined,
  },
  ...change,
})

const VIEW: PeersView = {
  node: 'node1',
  asn: 65101,
  routerId: '10.255.0.1',
  gobgpd: { isConnected: true, apiVersion: 3, error: undefined },
  drain: undefined,
  peers: [
    peer('tor1', {
      families: [
        { family: 'ipv4', received: 1, accepted: 0, advertised: 4, wanted: 4 },
        { family: 'ipv6', received: 0, accepted: 0, advertised: 2, wanted: 3 },
      ],
    }),
    peer('tor2', {
      address: '10.0.0.2',
      state: 'active',
      sinceMs: undefined,
      bfd: { state: 'down', detail: 'nothing was heard for the detection time' },
      lastError: 'the router has another password: the kernel dropped 8 segments with a wrong signature',
    }),
  ],
  collectors: [{ address: '192.0.2.1', port: 11019, upSinceMs: undefined }],
  problems: [],
}

t.test('peers', async (t) => {
  t.equal(
    formatPeers(VIEW, NOW),
    `Node node1, AS 65101, router id 10.255.0.1; gobgpd's interface version 3; 1 of 2 sessions established

NEIGHBOR  ADDRESS   ASN    STATE        UP/DOWN  FAMILY  RECEIVED  ACCEPTED  ADVERTISED  BFD   LAST ERROR
tor1      10.0.0.0  65001  established  5m       ipv4    1         0         4           up
                                                 ipv6    0         0         2 of 3
tor2      10.0.0.2  65001  active       never    ipv4    1         0         4           down  the router has another password: the kernel dropped 8 segments with a wrong signature

BMP COLLECTOR  PORT   STATE
192.0.2.1      11019  down
`,
  )
})

t.test('peers, wide', async (t) => {
  const [, header = '', first = ''] = formatPeers(VIEW, NOW, true)
    .split('\n')
    .filter((line) => line !== '')
  t.match(
    header,
    /ROUTER ID\s+FLAPS\s+INSTALLED\s+TIMERS\s+MD5\s+TTL\s+GR\s+CAPABILITIES\s+SOURCE\s+LAST ERROR$/,
  )
  t.match(
    first,
    /10\.0\.0\.9\s+1\s+0\s+9\/3\/5\s+yes\s+GTSM >=255\s+60s\s+multi-protocol:ipv4,graceful-restart\s+routing\.peers\[0\]/,
  )
})

t.test('a drain, and a gobgpd that is away, are said first', async (t) => {
  const drain = { phase: 'waiting', message: 'traffic goes on' }
  const gobgpd = { isConnected: false, apiVersion: undefined, error: 'ECONNREFUSED' }
  const text = formatPeers({ ...VIEW, drain, gobgpd }, NOW)
  t.match(text, /^Node node1, .*; gobgpd does not answer: ECONNREFUSED; .*\nDrain waiting: traffic goes on\n/)
})

t.test('by name or address; a mistake is met with what was meant', async (t) => {
  t.strictSame(
    choosePeers(VIEW, ['10.0.0.2']).peers.map(({ name }) => name),
    ['tor2'],
  )
  t.throws(() => choosePeers(VIEW, ['tro1']), {
    code: 'bad-usage',
    message: /no such peer 'tro1'. Mend: did you mean tor1/,
  })
})

const route = (change = {}) => ({
  prefix: '203.0.113.7/32',
  family: 'ipv4' as const,
  source: 'service' as const,
  status: 'announced' as const,
  sinceMs: NOW - 60_000,
  exports: [
    { peers: ['tor1'], attributes: attributes({ med: 5 }) },
    { peers: ['tor2', 'tor3'], attributes: attributes() },
  ],
  why: 'Service shop/web has 2 usable endpoints',
  problem: undefined,
  ...change,
})

t.test('routes', async (t) => {
  const refused = route({
    prefix: '8.8.8.8/32',
    status: 'refused',
    sinceMs: undefined,
    exports: [],
    problem: 'outside every pool',
  })
  const view = { routes: [refused, route()], draining: undefined }
  t.equal(
    formatRoutes(view, NOW),
    `PREFIX          STATUS     SINCE  SOURCE   TO               ATTRIBUTES            WHY
8.8.8.8/32      refused           service  nobody                                 outside every pool (Service shop/web has 2 usable endpoints)
203.0.113.7/32  announced  60s    service  tor1; tor2,tor3  med 5; no attributes  Service shop/web has 2 usable endpoints
`,
  )
  const wide = formatRoutes({ routes: [route()], draining: undefined }, NOW, true).split('\n')
  t.match(wide[1], /tor1\s+med 5\s+Service/)
  t.match(wide[2], /^\s+tor2,tor3\s+no attributes$/)
  t.match(
    formatRoutes({ routes: [], draining: 'Drain waiting' }, NOW),
    /^Drain waiting\n\nNothing is announced/,
  )
})

const seen = {
  peer: 'tor1',
  prefix: '203.0.113.7/32',
  family: 'ipv4' as const,
  nextHop: '10.0.0.1',
  attributes: attributes({ communities: ['65535:0'] }),
  asPath: [65101, 65101],
}

t.test('advertised says what version 3 of gobgpd does not know', async (t) => {
  const routes = [
    { ...seen, status: 'advertised' as const, why: 'because' },
    { ...seen, prefix: '192.0.2.0/24', status: 'extra' as const, why: '' },
  ]
  const text = formatAdvertised({ routes, isReckoned: true })
  t.match(text, /tor1\s+203\.0\.113\.7\/32\s+10\.0\.0\.1\s+65101 65101\s+65535:0\s+ok\n/)
  t.match(text, /192\.0\.2\.0\/24.*nobody here asks for it/)
  t.match(text, /keeps no record of what it sent/)
  t.notMatch(formatAdvertised({ routes, isReckoned: false }), /keeps no record/)
  t.match(formatAdvertised({ routes, isReckoned: false }, true), /WHY\n.*because\n/)
})

t.test('received says what becomes of it', async (t) => {
  const rows = (['taken', 'no-rules', 'ours', 'not-named', 'over-limit'] as const).map((verdict) => ({
    ...seen,
    verdict,
    isStale: verdict === 'taken',
    sinceMs: NOW - 5_000,
  }))
  const lines = formatReceived(rows, NOW).split('\n')
  t.match(lines[1], /5s\s+installed \(stale: the router restarts\)$/)
  t.match(lines[2], /refused: the peer has no imports$/)
  t.match(lines[3], /refused: it is this node's own, or its pools'$/)
  t.match(lines[4], /refused: the peer's imports do not name it$/)
  t.match(lines[5], /left out: imports.maxPrefixes is reached$/)
})

t.test('why, gate by gate, with what would open those that are shut', async (t) => {
  const why = {
    prefix: '203.0.113.7/32' as Prefix,
    isAnnounced: false,
    summary: '203.0.113.7/32 is not announced: Service shop/web has no usable endpoint',
    checks: [
      { check: 'asked for', isOpen: true, detail: 'Service shop/web (load-balancer-ip)' },
      { check: 'gate of shop/web', isOpen: false, detail: 'no usable endpoint', mend: 'a ready pod' },
    ],
    peers: [
      { peer: 'tor1', isTold: false, attributes: attributes({ med: 5 }), detail: 'to be told' },
      { peer: 'tor2', isTold: false, attributes: undefined, detail: 'no rule gives it to this peer' },
    ],
  }
  t.equal(
    formatWhy(why),
    `203.0.113.7/32 is not announced: Service shop/web has no usable endpoint

OPEN  CHECK             BECAUSE
yes   asked for         Service shop/web (load-balancer-ip)
NO    gate of shop/web  no usable endpoint
                        Mend: a ready pod

PEER  TOLD  ATTRIBUTES  BECAUSE
tor1  no    med 5       to be told
tor2  no                no rule gives it to this peer
`,
  )
})
