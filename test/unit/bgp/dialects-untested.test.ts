// EOS, Junos, NX-OS and SONiC have no device here: what is tested is that the text says so, and that every part of the model is in it, by
// its meaning and not by its looks.

import t from 'tap'
import { eosConfig } from '../../../bgp/dialects/eos.ts'
import { frrIntegratedConfig } from '../../../bgp/dialects/frr.ts'
import { junosConfig } from '../../../bgp/dialects/junos.ts'
import type { PeerGroup, RouterModel } from '../../../bgp/dialects/model.ts'
import { nxosConfig } from '../../../bgp/dialects/nxos.ts'
import { sonicConfig } from '../../../bgp/dialects/sonic.ts'

const GROUP: PeerGroup = {
  name: 'nodes',
  peers: [
    { name: 'node1', asn: 65101, address: '10.0.0.1', localAddress: '10.0.0.0' },
    { name: 'node1', asn: 65101, address: 'fd00::1', localAddress: 'fd00::' },
  ],
  accept: [
    { prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 },
    { prefix: '10.244.1.0/24', lengthMin: 24, lengthMax: 24 },
    { prefix: '10.244.0.0/16', lengthMin: 20, lengthMax: 24 },
    { prefix: '2001:db8::/112', lengthMin: 128, lengthMax: 128 },
  ],
  announce: [],
  prefixesMax: 1250,
  passive: true,
  bfd: { intervalMs: 150, multiplier: 4 },
  timers: { holdSeconds: 12, keepaliveSeconds: 4, connectRetrySeconds: 6 },
  password: 'PLACEHOLDER',
  ttlSecurityHops: 1,
}
const ROUTER: RouterModel = {
  asn: 65001,
  groups: [GROUP],
  ownPrefixes: [],
  ecmpPathsMax: 64,
  remarks: ['for node1'],
}

const DIALECTS = { eos: eosConfig, junos: junosConfig, nxos: nxosConfig, sonic: sonicConfig }

const withGroup = (change: Partial<PeerGroup>): RouterModel => ({
  ...ROUTER,
  groups: [{ ...GROUP, ...change }],
})
const lines = (text: string) => text.split('\n').map((line) => line.trim())

t.test('each says first that it was not run against a device', async (t) => {
  for (const [name, write] of Object.entries(DIALECTS)) {
    const [first = ''] = write(ROUTER).split('\n')
    t.match(first, /^[!#] .*: not run against a device\./, name)
  }
})

/** What must be found in a line of each dialect. */
const PARTS: Readonly<Record<string, Readonly<Record<keyof typeof DIALECTS, RegExp>>>> = {
  'the AS of the router': {
    eos: /^router bgp 65001$/,
    junos: /autonomous-system 65001$/,
    nxos: /^router bgp 65001$/,
    sonic: /^router bgp 65001$/,
  },
  'the node and its AS': {
    eos: /^neighbor 10\.0\.0\.1 remote-as 65101$/,
    junos: /neighbor fd00::1 peer-as 65101$/,
    nxos: /^neighbor fd00::1 remote-as 65101$/,
    sonic: /^neighbor fd00::1 remote-as 65101$/,
  },
  timers: { eos: /timers 4 12$/, junos: /hold-time 12$/, nxos: /^timers 4 12$/, sonic: /timers 4 12$/ },
  password: {
    eos: /password 0 PLACEHOLDER$/,
    junos: /authentication-key "PLACEHOLDER"$/,
    nxos: /^password 0 PLACEHOLDER$/,
    sonic: /password PLACEHOLDER$/,
  },
  GTSM: {
    eos: /ttl maximum-hops 1$/,
    junos: / ttl 255$/,
    nxos: /^ttl-security hops 1$/,
    sonic: /ttl-security hops 1$/,
  },
  BFD: {
    eos: /bfd interval 150 min-rx 150 multiplier 4$/,
    junos: /bfd-liveness-detection minimum-interval 150$/,
    nxos: /^bfd interval 150 min_rx 150 multiplier 4$/,
    sonic: /^detect-multiplier 4$/,
  },
  'the limit of prefixes': {
    eos: /maximum-routes 1250 warning-limit 80 percent$/,
    junos: /inet6 unicast prefix-limit maximum 1250$/,
    nxos: /^maximum-prefix 1250 80 restart 1$/,
    sonic: /maximum-prefix 1250 80 restart 1$/,
  },
  'it waits to be called': { eos: /passive$/, junos: / passive$/, nxos: /passive$/, sonic: /passive$/ },
  'a VIP, and nothing larger': {
    eos: /permit 203\.0\.113\.0\/24 eq 32$/,
    junos: /route-filter 203\.0\.113\.0\/24 prefix-length-range \/32-\/32$/,
    nxos: /^ip prefix-list .* permit 203\.0\.113\.0\/24 eq 32$/,
    sonic: /^ip prefix-list .* permit 203\.0\.113\.0\/24 ge 32 le 32$/,
  },
  'a network as it is': {
    eos: /permit 10\.244\.1\.0\/24$/,
    junos: /route-filter 10\.244\.1\.0\/24 prefix-length-range \/24-\/24$/,
    nxos: /permit 10\.244\.1\.0\/24$/,
    sonic: /permit 10\.244\.1\.0\/24$/,
  },
  'a range of lengths': {
    eos: /permit 10\.244\.0\.0\/16 ge 20 le 24$/,
    junos: /10\.244\.0\.0\/16 prefix-length-range \/20-\/24$/,
    nxos: /permit 10\.244\.0\.0\/16 ge 20 le 24$/,
    sonic: /permit 10\.244\.0\.0\/16 ge 20 le 24$/,
  },
  'nothing out': {
    eos: /^route-map weir-nodes-ipv4-out deny 10$/,
    junos: /weir-nodes-ipv6-out term others then reject$/,
    nxos: /^route-map weir-nodes-ipv6-out deny 10$/,
    sonic: /^route-map nodes-ipv4-out deny 10$/,
  },
  'ECMP over different AS paths': {
    eos: /multipath-relax$/,
    junos: /multipath multiple-as$/,
    nxos: /^bestpath as-path multipath-relax$/,
    sonic: /multipath-relax$/,
  },
}

for (const [part, patterns] of Object.entries(PARTS))
  t.test(part, async (t) => {
    for (const [name, write] of Object.entries(DIALECTS)) {
      const pattern = patterns[name as keyof typeof DIALECTS]
      const text = lines(write(ROUTER))
      t.ok(
        text.some((line) => pattern.test(line)),
        `${name}: ${pattern}\n${text.join('\n')}`,
      )
    }
  })

t.test('graceful shutdown is the least preferred, and only of what is let in anyway', async (t) => {
  for (const write of [eosConfig, nxosConfig]) {
    const text = lines(write(ROUTER))
    const at = text.indexOf('route-map weir-nodes-ipv4-in permit 10')
    t.strictSame(text.slice(at + 1, at + 4), [
      'match community weir-graceful-shutdown',
      'match ip address prefix-list weir-nodes-ipv4-in',
      'set local-preference 0',
    ])
    t.ok(text.some((line) => /^ip community-list .*weir-graceful-shutdown.* permit 65535:0$/.test(line)))
  }
  const junos = lines(junosConfig(ROUTER))
  const term = 'set policy-options policy-statement weir-nodes-ipv4-in term shutdown'
  t.ok(junos.includes(`${term} then local-preference 0`))
  t.equal(junos.filter((line) => line.startsWith(`${term} from route-filter`)).length, 3)
})

t.test('all nodes of a network are peers, of any AS number or of one', async (t) => {
  const listening = (asn: number | 'external') =>
    withGroup({ peers: [], listen: { ranges: ['10.0.0.0/16'], asn } })
  const expected = {
    eos: [
      /^bgp listen range 10\.0\.0\.0\/16 peer-group nodes-ipv4 peer-filter weir-any-asn$/,
      /^bgp listen range 10\.0\.0\.0\/16 peer-group nodes-ipv4 remote-as 65101$/,
    ],
    junos: [/peer-as-list weir-any-asn$/, /peer-as 65101$/],
    nxos: [
      /^neighbor 10\.0\.0\.0\/16 remote-as route-map weir-any-asn$/,
      /^neighbor 10\.0\.0\.0\/16 remote-as 65101$/,
    ],
    sonic: [/^neighbor nodes-ipv4 remote-as external$/, /^neighbor nodes-ipv4 remote-as 65101$/],
  }
  for (const [name, write] of Object.entries(DIALECTS)) {
    const [any, one] = expected[name as keyof typeof expected]
    t.ok(
      lines(write(listening('external'))).some((line) => any?.test(line)),
      `${name}, any`,
    )
    t.ok(
      lines(write(listening(65101))).some((line) => one?.test(line)),
      `${name}, one`,
    )
    t.notMatch(write(listening(65101)), /fd00::1/, 'no single node')
  }
})

t.test('IPv4 in an IPv6 session has IPv6 next hops', async (t) => {
  const both = withGroup({ peers: GROUP.peers.slice(1), carries: ['ipv4', 'ipv6'] })
  t.match(eosConfig(both), /neighbor nodes-ipv6 next-hop address-family ipv6 originate/)
  t.match(junosConfig(both), /family inet unicast extended-nexthop/)
  t.match(junosConfig(both), /import \( weir-nodes-ipv4-in \|\| weir-nodes-ipv6-in \)/)
  t.match(frrIntegratedConfig(both), /neighbor nodes-ipv6 capability extended-nexthop/)
  for (const write of [eosConfig, nxosConfig, sonicConfig])
    t.match(write(both), /(?:nodes-ipv6 | {2})route-map (?:weir-)?nodes-ipv4-in in/, 'with its own policy')
})

t.test('an internal session, and one over several hops', async (t) => {
  const internal = withGroup({
    peers: [{ name: 'node1', asn: 65001, address: '10.0.0.1', localAddress: '' }],
  })
  t.match(junosConfig(internal), /group weir-nodes-ipv4 type internal/)
  const { ttlSecurityHops: _, ...plain } = GROUP
  const far: RouterModel = { ...ROUTER, groups: [{ ...plain, multihopTtl: 4 }] }
  t.match(eosConfig(far), /neighbor nodes-ipv4 ebgp-multihop 4/)
  t.match(nxosConfig(far), /ebgp-multihop 4/)
  t.match(junosConfig(far), /multihop ttl 4/)
  t.match(sonicConfig(far), /ebgp-multihop 4/)
})

t.test('nothing in it can end a statement', async (t) => {
  const hostile = [
    withGroup({ password: 'x"; include "/etc/passwd' }),
    withGroup({ peers: [{ name: 'n', asn: 1, address: '', localAddress: '', interface: "swp1';" }] }),
    withGroup({ name: 'nodes\nexit' }),
  ]
  for (const write of [...Object.values(DIALECTS), frrIntegratedConfig])
    for (const router of hostile) t.throws(() => write(router), /cannot stand in a router's configuration/)
  const remark = { ...ROUTER, remarks: ['two\nlines'] }
  for (const write of Object.values(DIALECTS)) t.match(write(remark), /^[!#] two lines$/m)
})
