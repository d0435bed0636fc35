// What `weir bgp peers|routes|advertised|received` print.

import t from 'tap'
import { choosePeers, formatPeerDetails, formatPeers, formatWidePeers } from '../../../src/cli/bgp-peers.ts'
import { chooseRoutes, formatAdvertised, formatReceived, formatRoutes } from '../../../src/cli/bgp-routes.ts'
import { formatWhy } from '../../../src/cli/bgp-why.ts'
import type { Prefix } from '../../../src/model/address.ts'
import { attributes } from '../speaker/bed.ts'
import { NOW, PEERS, peer, route } from './answers.ts'

const HEAD =
  "Node node1, AS 65101, router id 10.255.0.1; gobgpd's interface version 3; 1 of 2 sessions established"

t.test('peers: a line each, and why one is down below, as wide as a page', async (t) => {
  t.equal(
    formatPeers(PEERS, NOW),
    `${HEAD}

PEER  ADDRESS   ASN    STATE        UP/DOWN  IPV4 IN/ACC/OUT  IPV6 IN/ACC/OUT  BFD
tor1  10.0.0.0  65001  established  5m       1/0/4            0/0/2 of 3       up
tor2  10.0.0.2  65001  active       never    1/0/4            -                down

BMP COLLECTOR  PORT   STATE
192.0.2.1      11019  down

peer tor2: the router has another password: the kernel dropped 8 segments with a wrong signature
peer tor2: BFD: nothing was heard for the detection time
`,
  )
})

t.test('peers: nothing is wider than its page, however long names and causes are', async (t) => {
  const address = 'fe80::a8bb:ccff:fe00:1234%uplink-to-tor1'
  const lastError =
    'ended at 2026-01-02T03:04:05Z: hold timer expired, and then the router did not answer. '.repeat(4)
  const long = peer('a-router-with-a-name-as-long-as-the-source-allows-it-to-be-written', {
    address,
    state: 'active',
    asn: 4_200_000_000,
    families: PEERS.peers[0]?.families ?? [],
    lastError,
  })
  const problems = [{ code: 'told-too-much' as const, object: 'routing.peers[1]', text: lastError }]
  const view = { ...PEERS, peers: [...PEERS.peers, long], problems }
  for (const width of [120, 110])
    for (const text of [formatPeers(view, NOW, width), formatPeerDetails(view, NOW, width)])
      t.strictSame(
        text.split('\n').filter((line) => line.length > width),
        [],
      )
})

t.test('peers: what several have in common is said once, and what a problem says not again', async (t) => {
  const down = { state: 'missing' as const, bfd: undefined, lastError: 'gobgpd has not been told of it yet' }
  const text = formatPeers({ ...PEERS, peers: [peer('tor1', down), peer('tor2', down)] }, NOW)
  t.match(text, /\n\npeer tor1, tor2: gobgpd has not been told of it yet\n$/)
  const lastError = 'the router has another password'
  const problems = [
    {
      code: 'authentication-failing' as const,
      object: 'routing.peers[0]',
      text: `tor1: ${lastError}. Mend: give both sides the same password`,
    },
  ]
  const wrong = formatPeers({ ...PEERS, problems, peers: [peer('tor1', { ...down, lastError })] }, NOW)
  t.equal(wrong.split(lastError).length, 2, wrong)
  t.match(wrong, /\npeer tor1: the router has another password. Mend: give both sides the same password\n$/)
})

t.test('peers: the nearest cause stands for the last error', async (t) => {
  const lastError = 'ended at 2026-01-01T00:00:00Z: hold timer expired'
  const cause = 'no carrier on to-tor1. Mend: look'
  const bfd = { state: 'down', detail: 'nothing was heard for the detection time' }
  const peers = [peer('tor1', { state: 'idle', cause, lastError, bfd })]
  const view = { ...PEERS, peers, collectors: [] }
  t.match(formatPeers(view, NOW), /\n\npeer tor1: no carrier on to-tor1\. Mend: look\n$/)
  t.match(formatWidePeers(view, NOW), / no carrier on to-tor1\. Mend: look\n/)
  t.match(formatPeerDetails(view, NOW), /What is wrong +no carrier .*\n +Last error +ended at/)
  const counted = 'the router has another password: the kernel dropped 8 segments'
  const problems = [
    {
      code: 'authentication-failing' as const,
      object: 'routing.peers[0]',
      text: 'tor1: the router has another',
    },
  ]
  const text = formatPeers(
    { ...view, problems, peers: [peer('tor1', { state: 'idle', lastError: counted })] },
    NOW,
  )
  t.match(text, /\n\npeer tor1: the router has another\n$/, 'once, as the problem says it')
})

t.test('peers: an IPv6 name keeps its colons, and what the first line says is not said again', async (t) => {
  const error = 'no gobgpd answers'
  const problems = [{ code: 'no-gobgpd' as never, object: 'routing.gobgp', text: error }]
  const gobgpd = { isConnected: false, apiVersion: undefined, error }
  const silent = peer('fd00::', {
    state: 'missing',
    bfd: { state: 'down', detail: 'silence' },
    lastError: error,
  })
  const text = formatPeers({ ...PEERS, collectors: [], gobgpd, problems, peers: [silent] }, NOW)
  t.match(text, /\npeer fd00:: : BFD: silence\n$/)
  t.equal(text.split(error).length, 2, text)
})

t.test('peers: without any, what to look at; named by their addresses, one column', async (t) => {
  t.match(
    formatPeers({ ...PEERS, peers: [], collectors: [] }, NOW),
    /\nNo sessions configured: .*weir status/s,
  )
  const text = formatPeers({ ...PEERS, peers: [peer('10.0.0.0')] }, NOW)
  t.match(text, /\nPEER +ASN +STATE/)
  t.match(text, /\n10\.0\.0\.0 +65001 +established/)
})

t.test('peers, wide: every column, a row for each family', async (t) => {
  const [, header = '', first = '', second = ''] = formatWidePeers(PEERS, NOW)
    .split('\n')
    .filter((line) => line !== '')
  t.match(
    header,
    /^PEER\s+ADDRESS\s+ASN\s+STATE\s+UP\/DOWN\s+FAMILY\s+RECEIVED\s+ACCEPTED\s+ADVERTISED\s+BFD/,
  )
  t.match(
    header,
    /ROUTER ID\s+FLAPS\s+INSTALLED\s+TIMERS\s+MD5\s+TTL\s+GR\s+CAPABILITIES\s+CONFIGURED BY\s+LAST ERROR$/,
  )
  t.match(
    first,
    /10\.0\.0\.9\s+1\s+0\s+9\/3\/5\s+yes\s+GTSM >=255\s+60s\s+multi-protocol:ipv4,graceful-restart\s+routing\.peers\[0\]/,
  )
  t.match(second, /^ +ipv6 +0 +0 +2 of 3$/)
})

t.test('a peer in a paragraph', async (t) => {
  const sent = { open: 1, update: 3, keepalive: 9, notification: 0, refresh: 0, total: 13 }
  const shown = peer('tor1', {
    capabilities: {
      local: ['extended-nexthop', 'graceful-restart', 'multi-protocol ipv4'],
      remote: ['graceful-restart', 'multi-protocol ipv4', 'role'],
    },
    messages: { sent, received: { ...sent, total: 14, notification: 1 } },
    lastError: 'hold timer expired',
  })
  t.equal(
    formatPeerDetails({ ...PEERS, peers: [shown] }, NOW),
    `Node node1, AS 65101, router id 10.255.0.1; gobgpd's interface version 3; 1 of 1 sessions established

Peer tor1 (10.0.0.0), AS 65001, local AS 65101, external
  State                 established for 5m, since 1970-01-12T13:41:40Z; it fell once
  Router id             10.0.0.9
  Configured by         routing.peers[0]
  ipv4 unicast          1 received, 0 accepted, 4 advertised
  Installed             0 of its routes are in the kernel
  Timers                hold 9 s, keepalive 3 s, connect retry 5 s; agreed on: hold 9 s
  Transport             port 179, GTSM: TTL 255 and above, MD5 password
  Graceful restart      routes are kept for 60 s
  Capabilities          graceful-restart, multi-protocol ipv4
    ours alone          extended-nexthop
    the router's alone  role
  Messages sent         13: 1 open, 3 update, 9 keepalive, 0 notification, 0 route refresh
  Messages received     14: 1 open, 3 update, 9 keepalive, 1 notification, 0 route refresh
  BFD                   up
  Last error            hold timer expired (before the session of now, which is up since 1970-01-12T13:41:40Z)
`,
  )
  const down = formatPeerDetails(choosePeers(PEERS, ['tor2']), NOW)
  t.match(down, /State +active; it was never established; it fell once\n/)
  t.match(down, /BFD +down: nothing was heard for the detection time\n +Last error +the router has another/)
  const stranger = peer('10.9.9.9', { source: undefined, settings: undefined, bfd: undefined, flaps: 0 })
  const text = formatPeerDetails({ ...PEERS, peers: [stranger] }, NOW)
  t.match(text, /Configured by +not this agent/)
  t.notMatch(text, /Timers|Transport/)
})

t.test('a drain, and a gobgpd that is away, are said first', async (t) => {
  const drain = { phase: 'waiting', message: 'traffic goes on' }
  const gobgpd = { isConnected: false, apiVersion: undefined, error: 'ECONNREFUSED' }
  const text = formatPeers({ ...PEERS, drain, gobgpd }, NOW)
  t.match(text, /^Node node1, .*; gobgpd does not answer: ECONNREFUSED; .*\nDrain waiting: traffic goes on\n/)
})

t.test('by name or address; a mistake is met with what was meant', async (t) => {
  t.strictSame(
    choosePeers(PEERS, ['10.0.0.2']).peers.map(({ name }) => name),
    ['tor2'],
  )
  const problems = [
    { code: 'told-too-much' as const, object: 'routing.peers[0]', text: 'tor1: tells too much' },
    { code: 'told-too-much' as const, object: 'gobgpd', text: 'is slow' },
  ]
  t.strictSame(
    choosePeers({ ...PEERS, problems }, ['tor2']).problems.map(({ text }) => text),
    ['is slow'],
    'what is wrong with others is not asked for',
  )
  t.throws(() => choosePeers(PEERS, ['tro1']), {
    code: 'bad-usage',
    message: /no such peer 'tro1'. Mend: did you mean tor1/,
  })
})

t.test('routes', async (t) => {
  const refused = route({
    prefix: '8.8.8.8/32',
    status: 'refused',
    sinceMs: undefined,
    exports: [],
    problem: 'outside every pool',
    mend: 'add its network to a pool',
  })
  const view = { routes: [refused, route()], draining: undefined }
  t.equal(
    formatRoutes(view, NOW),
    `PREFIX          STATUS     AGE  SOURCE   PEERS             ATTRIBUTES            WHY
8.8.8.8/32      refused         service  nobody                                  Service shop/web has 2 usable endpoints
203.0.113.7/32  announced  60s  service  tor1; tor2, tor3  med 5; no attributes  Service shop/web has 2 usable endpoints

8.8.8.8/32: outside every pool. Mend: add its network to a pool
`,
  )
  const many = Array.from({ length: 9 }, (_, index) =>
    route({ prefix: `fd00::${index}`, problem: 'its turn' }),
  )
  t.match(
    formatRoutes({ routes: many, draining: undefined }, NOW),
    /\n\nfd00::0, fd00::1, fd00::2, fd00::3, fd00::4 and 4 more: its turn\n$/,
    'what many have in common is said once',
  )
  const layout = { isWide: true, width: Number.POSITIVE_INFINITY }
  const wide = formatRoutes({ routes: [route()], draining: undefined }, NOW, layout).split('\n')
  t.match(wide[1], /tor1\s+med 5\s+Service shop\/web has 2 usable endpoints$/)
  t.match(wide[2], /^\s+tor2, tor3\s+no attributes$/)
  t.match(
    formatRoutes({ routes: [], draining: 'Drain waiting' }, NOW),
    /^Drain waiting\n\nNothing is announced/,
  )
})

t.test('routes by prefix and by status; a mistake is met with what was meant', async (t) => {
  const routes = [route(), route({ prefix: '2001:db8::7/128', status: 'refused' })]
  const prefixes = (...filters: string[]) => chooseRoutes(routes, filters).map(({ prefix }) => prefix)
  t.strictSame(prefixes('203.0.'), ['203.0.113.7/32'])
  t.strictSame(prefixes('203.0.', 'refused'), ['203.0.113.7/32', '2001:db8::7/128'])
  t.strictSame(prefixes('error'), [], 'that there is none is an answer')
  t.throws(() => prefixes('refsed'), {
    code: 'bad-usage',
    message: /neither a status .* did you mean refused/,
  })
  t.throws(() => prefixes('8.8.8.8'), { code: 'bad-usage', message: /'weir bgp why 8.8.8.8' tells why/ })
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
  t.match(text, /tor1\s+203\.0\.113\.7\/32\s+10\.0\.0\.1\s+65101 65101\s+graceful-shutdown\s+ok\n/)
  t.match(text, /192\.0\.2\.0\/24.*nobody here asks for it/)
  t.match(text, /keeps no record of what it sent/)
  t.notMatch(formatAdvertised({ routes, isReckoned: false }), /keeps no record/)
  t.match(formatAdvertised({ routes, isReckoned: false }, { isWide: true }), /WHY\n.*because\n/)
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

OPEN  CHECK             WHY
yes   asked for         Service shop/web (load-balancer-ip)
NO    gate of shop/web  no usable endpoint
                        Mend: a ready pod

PEER  TOLD  ATTRIBUTES  WHY
tor1  no    med 5       to be told
tor2  no                no rule gives it to this peer
`,
  )
})
