// What the dialects write, read as a network engineer would; and how they read the routers' answers. The routers' own
// parsers judge the text in test/rack/fabric.test.ts.

import t from 'tap'
import { birdConfig, readBirdBfd, readBirdSessions } from '../../../bgp/dialects/bird.ts'
import { frrBfdConfig, frrBgpConfig, readFrrBfd, readFrrSessions } from '../../../bgp/dialects/frr.ts'
import type { Peer, PeerGroup, RouterModel } from '../../../bgp/dialects/model.ts'
import { makeAddressPlan } from '../../../src/sandbox/address-plan.ts'
import { routerModel } from '../../../src/sandbox/routers.ts'

const peer: Peer = { name: 'node1', asn: 65101, address: '10.0.0.1', localAddress: '10.0.0.0' }
const peer6: Peer = { name: 'node1', asn: 65101, address: 'fd00::1', localAddress: 'fd00::' }
const router: RouterModel = {
  name: 'edge',
  asn: 65001,
  routerId: '10.255.0.251',
  ecmpPathsMax: 16,
  ownPrefixes: [{ prefix: '10.0.0.0/16', lengthMin: 31, lengthMax: 31 }],
  groups: [
    {
      name: 'nodes',
      peers: [peer, peer6],
      accept: [
        { prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 },
        { prefix: '10.244.0.0/16', lengthMin: 16, lengthMax: 24 },
        { prefix: '198.51.100.0/24', lengthMin: 24, lengthMax: 24 },
      ],
      announce: [],
      prefixesMax: 1000,
      passive: true,
    },
  ],
}

/** Lines of the text, without indentation. */
function lines(text: string): string[] {
  return text.split('\n').map((line) => line.trim())
}

const backwards = (group: PeerGroup) => ({ ...group, accept: [...group.accept].reverse() })

t.test('FRR: only listed prefixes come in, nothing goes out, each family in its own session', (t) => {
  const written = lines(frrBgpConfig(router))
  const text = written.map((line) => line.replace(/ seq \d+/, ''))
  for (const line of [
    'router bgp 65001',
    'bgp ebgp-requires-policy',
    'bgp bestpath as-path multipath-relax',
    'no bgp default ipv4-unicast',
    'neighbor nodes-ipv4 timers 3 9',
    'neighbor nodes-ipv4 timers connect 5',
    'neighbor nodes-ipv4 passive',
    'neighbor nodes-ipv4 graceful-restart-helper',
    'neighbor 10.0.0.1 remote-as 65101',
    'neighbor fd00::1 peer-group nodes-ipv6',
    'neighbor nodes-ipv4 maximum-prefix 1000 80 restart 1',
    'maximum-paths 16',
    'ip prefix-list nodes-ipv4-in permit 203.0.113.0/24 ge 32 le 32',
    'ip prefix-list nodes-ipv4-in permit 10.244.0.0/16 le 24',
    'ip prefix-list nodes-ipv4-in permit 198.51.100.0/24',
    'route-map nodes-ipv4-in permit 10',
    'route-map nodes-ipv4-out deny 10',
    'route-map nodes-ipv6-in deny 10',
    'redistribute connected route-map own-ipv4',
  ]) {
    t.ok(text.includes(line), line)
  }
  t.notOk(
    text.some((line) => line.startsWith('redistribute') && line.endsWith('own-ipv6')),
    'a family without own prefixes announces none',
  )
  t.ok(
    text.indexOf('route-map nodes-ipv4-in permit 10') < text.indexOf('router bgp 65001'),
    'policy before sessions',
  )
  const others = lines(frrBgpConfig({ ...router, groups: router.groups.map(backwards) }))
  const lists = (all: string[]) => all.filter((line) => line.includes('prefix-list nodes-ipv4-in')).sort()
  t.strictSame(lists(others), lists(written), 'each keeps its number, whatever stands before it')
  t.end()
})

t.test('FRR calls those whose IPv4 has IPv6 next hops, or it would not hear of them', (t) => {
  const passives = (group: Partial<PeerGroup>) => {
    const groups = router.groups.map((one) => ({ ...one, ...group }))
    return lines(frrBgpConfig({ ...router, groups })).filter((line) => line.endsWith(' passive'))
  }
  const carries = ['ipv4', 'ipv6'] as const
  t.strictSame(passives({ carries }), ['neighbor nodes-ipv4 passive'])
  const unnumbered = [{ ...peer6, address: '', interface: 'eth1' }]
  t.strictSame(passives({ carries, peers: unnumbered }), ['neighbor nodes-ipv6 passive'], 'it knows the link')
  t.end()
})

t.test('BIRD: only listed prefixes come in, nothing goes out, graceful shutdown is honoured', (t) => {
  const text = lines(birdConfig(router))
  for (const line of [
    'router id 10.255.0.251;',
    'merge paths on limit 16;',
    'if !(net ~ [ 203.0.113.0/24{32,32}, 10.244.0.0/16{16,24}, 198.51.100.0/24{24,24} ]) then reject;',
    'if (65535, 0) ~ bgp_community then bgp_local_pref = 0;',
    'filter group_nodes_ipv4_out { reject; }',
    'filter group_nodes_ipv6_in { reject; }',
    'error wait time 2,10;',
    'graceful restart aware;',
    'check link yes;',
    'passive yes;',
    'import limit 1000 action block;',
    'protocol bgp node1_ipv6 from group_nodes_ipv6 { source address fd00::; neighbor fd00::1 as 65101; }',
  ]) {
    t.ok(text.includes(line), line)
  }
  t.end()
})

t.test('no name can smuggle a statement into a configuration', (t) => {
  const bad: RouterModel = { ...router, name: 'x"; include "/etc/passwd' }
  t.throws(() => frrBgpConfig(bad), /cannot stand in a router's configuration/)
  t.throws(() => birdConfig(bad), /cannot stand in a router's configuration/)
  t.end()
})

t.test(
  "the rack's ToRs accept from nodes loopbacks, podCIDRs and VIPs only, and announce them nothing",
  (t) => {
    const plan = makeAddressPlan(2)
    const nodes = routerModel(plan, 'tor1').groups.find((group) => group.name === 'nodes')
    t.same(nodes?.announce, [])
    t.same(
      nodes?.accept.map((rule) => `${rule.prefix} ${rule.lengthMin}-${rule.lengthMax}`),
      [
        '10.255.0.0/16 32-32',
        'fd00:255::/32 128-128',
        '10.244.0.0/16 24-24',
        'fd00:244::/32 64-64',
        '203.0.113.0/24 32-32',
        '2001:db8:113::/112 128-128',
      ],
    )
    t.same(
      nodes?.peers.map((one) => `${one.name} ${one.asn} ${one.address}`),
      [
        'node1 65101 10.254.1.1',
        'node1 65101 fd00:254:1::1',
        'node2 65102 10.254.1.3',
        'node2 65102 fd00:254:1::3',
      ],
    )
    t.same(
      routerModel(plan, 'spine').groups[0]?.peers.map((one) => one.asn),
      [65001, 65001, 65002, 65002],
    )
    t.end()
  },
)

t.test("FRR's summary is read, a peer it does not list included", (t) => {
  const json = JSON.stringify({
    ipv4Unicast: { peers: { '10.0.0.1': { state: 'Established', pfxRcd: 3 } } },
  })
  t.same(readFrrSessions(json, [peer, peer6]), [
    { peer: 'node1', address: '10.0.0.1', family: 'ipv4', state: 'Established', prefixesAccepted: 3 },
    { peer: 'node1', address: 'fd00::1', family: 'ipv6', state: 'not configured', prefixesAccepted: 0 },
  ])
  const unnumbered = { ...peer, address: 'fe80::1', interface: 'to-node1' }
  const ofInterface = { ipv6Unicast: { peers: { 'to-node1': { state: 'Established', pfxRcd: 4 } } } }
  t.match(readFrrSessions(JSON.stringify(ofInterface), [unnumbered]), [
    { address: 'fe80::1', family: 'ipv6', state: 'Established', prefixesAccepted: 4 },
  ])
  t.end()
})

t.test("BIRD's protocols are read, a peer it does not list included", (t) => {
  const text = [
    'BIRD 2.0.12 ready.',
    'Name       Proto      Table      State  Since         Info',
    'node1_ipv4 BGP        ---        up     22:34:51.243  Established   ',
    '  BGP state:          Established',
    '    Neighbor address: 10.0.0.1',
    '  Channel ipv4',
    '    Routes:         2 imported, 1 filtered, 0 exported, 2 preferred',
    '',
    'node2_ipv4 BGP        ---        start  22:34:51.243  Passive',
    '  BGP state:          Passive',
    '',
  ].join('\n')
  t.same(readBirdSessions(text, [peer, peer6]), [
    { peer: 'node1', address: '10.0.0.1', family: 'ipv4', state: 'Established', prefixesAccepted: 2 },
    { peer: 'node1', address: 'fd00::1', family: 'ipv6', state: 'not configured', prefixesAccepted: 0 },
  ])
  t.end()
})

t.test('BFD watches the groups that have it', (t) => {
  const [group] = router.groups
  if (!group) throw new Error('no group')
  const watched = { ...router, groups: [{ ...group, bfd: { intervalMs: 150, multiplier: 4 } }] }
  const [frr, bfdd, bird] = [frrBgpConfig(watched), frrBfdConfig(watched), birdConfig(watched)].map(lines)
  for (const line of ['neighbor nodes-ipv4 bfd', 'neighbor nodes-ipv6 bfd profile nodes'])
    t.ok(frr?.includes(line), line)
  for (const line of [
    'profile nodes',
    'detect-multiplier 4',
    'receive-interval 150',
    'transmit-interval 150',
  ])
    t.ok(bfdd?.includes(line), line)
  for (const line of ['protocol bfd bfd1 {}', 'bfd { interval 150 ms; multiplier 4; };'])
    t.ok(bird?.includes(line), line)
  for (const text of [frrBgpConfig(router), frrBfdConfig(router), birdConfig(router)])
    t.notMatch(text, /interval 150|neighbor .* bfd|protocol bfd/, 'and no others')
  t.end()
})

t.test("BFD sessions in the routers' words", (t) => {
  const frr = JSON.stringify([
    { peer: '10.0.0.1', status: 'up' },
    { peer: 'fd00::1', status: 'down' },
  ])
  const bird = [
    'BIRD 2.0.12 ready.',
    'bfd1:',
    'IP address                Interface  State      Since         Interval  Timeout',
    '10.0.0.1                  to-node1   Up         20:18:06.321    0.300    0.900',
    'fd00::1                   to-node1   Down       20:18:05.274    1.000    0.000',
  ]
  const expected = [
    { address: '10.0.0.1', isUp: true },
    { address: 'fd00::1', isUp: false },
  ]
  t.strictSame(readFrrBfd(frr), expected)
  t.strictSame(readBirdBfd(bird.join('\n')), expected)
  t.end()
})
