// The section `routing`: what is read, and what is refused with the path of the key.

import t from 'tap'
import { parse } from 'yaml'
import { parseConfig } from '../../../src/agent/config.ts'
import { nodeRouting } from '../../../src/agent/node-routing.ts'

const BASE = {
  nodeName: 'node1',
  stateDirectory: '/run/weir/node1',
  kubernetes: { servers: ['https://127.0.0.1:6443'] },
  datapath: { bpffs: '/sys/fs/bpf/weir', cgroup: '/sys/fs/cgroup', uplinks: ['to-tor1'] },
  pools: [{ name: 'default', prefixes: ['203.0.113.0/24'] }],
}

const ROUTING = {
  gobgp: 'unix:///run/weir/gobgpd.sock',
  asn: 65101,
  routerId: '10.255.0.1',
  loopbacks: ['10.255.0.1/32'],
}

/** @param text YAML that goes below `routing`, beside the least there must be */
function read(text: string, more: object = {}) {
  const routing = { ...ROUTING, ...(parse(text) as object) }
  return parseConfig(JSON.stringify({ ...BASE, ...more, routing }), 'agent.yaml')
}

function refusalOf(text: string): string {
  try {
    read(text)
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

const peersOf = (text: string) => nodeRouting(read(text)).peers
const peer = (text: string) => peersOf(`peers: [ { address: 10.254.1.0, asn: 65001${text} } ]`)[0]

const PLAIN = {
  name: '10.254.1.0',
  source: 'routing.peers[0]',
  remote: { kind: 'address', address: '10.254.1.0' },
  asn: 65001,
  port: 179,
  families: ['ipv4'],
  timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
  gracefulRestart: { restartSeconds: 60 },
}

t.test('a peer', async (t) => {
  const cases: [string, object][] = [
    ['', {}],
    [', family: ipv4', {}],
    [', families: [ipv4, ipv4]', {}],
    [', name: tor1', { name: 'tor1' }],
    [', port: 1179, localAddress: 10.254.1.1', { port: 1179, localAddress: '10.254.1.1' }],
    [', asn: external', { asn: 'external' }],
    [', localAsn: 65199', { localAsn: 65199 }],
    [', password: { file: /etc/weir/tor }', { password: { kind: 'file', path: '/etc/weir/tor' } }],
    [
      ', password: { secret: { name: tor } }',
      { password: { kind: 'secret', namespace: 'kube-system', name: 'tor', key: 'password' } },
    ],
    [
      ', timers: { holdSeconds: 90 }',
      { timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 5 } },
    ],
    [', multihopTtl: 3', { multihopTtl: 3 }],
    [', ttlSecurity: true', { ttlSecurityMin: 255 }],
    [', ttlSecurity: 3', { ttlSecurityMin: 253 }],
    [
      ', gracefulRestart: { longLivedSeconds: 3600 }',
      { gracefulRestart: { restartSeconds: 60, longLivedSeconds: 3600 } },
    ],
    [', bfd: true', { bfd: { intervalMs: 250, multiplier: 3 } }],
    [', bfd: { intervalMs: 100 }', { bfd: { intervalMs: 100, multiplier: 3 } }],
    [', bfd: false', {}],
    [
      ', imports: { prefixes: [0.0.0.0/0] }',
      { imports: { prefixes: [row('0.0.0.0/0', 0, 0)], maxPrefixes: 1000 } },
    ],
    [
      ', imports: { prefixes: [ { prefix: 10.0.0.0/8, lengthMax: 24 } ], maxPrefixes: 5 }',
      { imports: { prefixes: [row('10.0.0.0/8', 8, 24)], maxPrefixes: 5 } },
    ],
  ]
  for (const [text, expected] of cases) {
    const asn = text.includes('asn: external')
      ? peersOf(`peers: [ { address: 10.254.1.0${text} } ]`)[0]
      : peer(text)
    t.strictSame(asn, { ...PLAIN, ...expected }, text)
  }
  t.strictSame(peer(', gracefulRestart: false')?.gracefulRestart, undefined)
  t.match(peersOf('peers: [ { interface: eth0, asn: external } ]')[0], {
    name: 'eth0',
    remote: { kind: 'interface', interface: 'eth0' },
    families: ['ipv4', 'ipv6'],
  })
  t.strictSame(
    peersOf('peers: [ { address: "fd00::1", asn: 65001, families: [ipv6, ipv4] } ]')[0]?.families,
    ['ipv4', 'ipv6'],
  )
  t.match(peersOf('peers: [ { address: 10.0.0.9, asn: internal, reflectorClient: true } ]')[0], {
    reflectorClient: { clusterId: '10.255.0.1' },
  })
  t.match(
    peersOf('peers: [ { address: 10.0.0.9, asn: internal, reflectorClient: { clusterId: 1.2.3.4 } } ]')[0],
    {
      reflectorClient: { clusterId: '1.2.3.4' },
    },
  )
})

function row(prefix: string, lengthMin: number, lengthMax: number) {
  return { prefix, family: 'ipv4', lengthMin, lengthMax }
}

t.test('rules, gates, drain and limits', async (t) => {
  const routing = nodeRouting(
    read(
      `
peers: [ { name: tor1, address: 10.254.1.0, asn: 65001, attributes: { med: 5 } }, { address: 10.254.1.2, asn: 65002 } ]
serviceNetworks: [10.96.0.0/12]
announce:
  - { kinds: [podCIDR, loadBalancerIP], peers: [tor1], pools: [default], attributes: { communities: [no-export, "1:2", "1:2:3"], prepend: 1 } }
  - { kinds: [clusterIP], services: { matchLabels: { expose: "yes" } }, namespaces: [shop], families: [ipv4] }
gates: { withoutEndpoints: keep, holdDownSeconds: 0.5, damping: false }
drain: { med: 4000, prepend: 2, timeoutSeconds: 10 }
maxAnnouncements: 7
maxChangesPerSecond: 9
bmp: [ { address: 192.0.2.9 } ]
listen: true
`,
      { pools: [{ ...BASE.pools[0], attributes: { localPref: 200 } }] },
    ),
  )
  const none = { communities: [], largeCommunities: [], prepend: 0 }
  t.strictSame(routing.rules, [
    { source: 'routing.loopbacks', kinds: ['loopback'], attributes: none },
    {
      source: 'routing.announce[0]',
      kinds: ['pod-cidr', 'load-balancer-ip'],
      peers: ['tor1'],
      pools: ['default'],
      attributes: { communities: ['1:2', '65535:65281'], largeCommunities: ['1:2:3'], prepend: 1 },
    },
    {
      source: 'routing.announce[1]',
      kinds: ['cluster-ip'],
      services: { requirements: [{ key: 'expose', operator: 'In', values: ['yes'] }] },
      namespaces: ['shop'],
      families: ['ipv4'],
      attributes: none,
    },
    {
      source: 'pools[0].attributes',
      kinds: ['external-ip', 'load-balancer-ip'],
      pools: ['default'],
      attributes: { ...none, localPref: 200 },
      isOnlyAttributes: true,
    },
    {
      source: 'routing.peers[0].attributes',
      kinds: ['loopback', 'pod-cidr', 'cluster-ip', 'external-ip', 'load-balancer-ip'],
      peers: ['tor1'],
      attributes: { ...none, med: 5 },
      isOnlyAttributes: true,
    },
  ])
  t.match(routing, {
    gates: { withoutEndpoints: 'keep', holdDownMs: 500 },
    drain: { med: 4000, prepend: 2, quietMs: 2000, timeoutMs: 10_000 },
    limits: { announcementsMax: 7, changesPerSecond: 9 },
    bmp: [{ address: '192.0.2.9', port: 11_019 }],
    listen: { port: 179, addresses: [] },
    serviceNetworks: ['10.96.0.0/12'],
  })
  t.equal(routing.gates.damping, undefined)
})

t.test('a password in clear is refused, and said nowhere', async (t) => {
  const at = (text: string) => `peers: [ { address: 10.254.1.0, asn: 65001, password: ${text} } ]`
  const texts = [
    'hunter22',
    '"hunter22"',
    '{ file: hunter22 }',
    '{ secret: hunter22 }',
    '{ hunter22 }',
    '[hunter22]',
  ]
  for (const text of [...texts, '{ text: hunter22 }', '{ secret: { name: Hunter22 } }']) {
    const refusal = refusalOf(at(text))
    t.match(refusal, /routing\.peers\[0\]\.password/, text)
    t.notMatch(refusal, /hunter22/i)
  }
})

t.test('what no router could take is refused, with the path of the key', async (t) => {
  const at = (text: string) => `peers: [ { address: 10.254.1.0, asn: 65001${text} } ]`
  const cases: [string, RegExp][] = [
    [at(', timers: { holdSeconds: 2 }'), /routing\.peers\[0\]\.timers\.holdSeconds/],
    [
      at(', timers: { holdSeconds: 9, keepaliveSeconds: 4 }'),
      /routing\.peers\[0\]\.timers\.keepaliveSeconds: must fit three times/,
    ],
    [at(', timers: { hold: 9 }'), /routing\.peers\[0\]\.timers: unknown key 'hold'/],
    [at(', holdSecond: 9'), /routing\.peers\[0\]: unknown key 'holdSecond' \(did you mean 'holdSeconds'\?\)/],
    [at(', bfd: { interval: 300 }'), /routing\.peers\[0\]\.bfd: unknown key 'interval'/],
    [at(', bfd: { intervalMs: 1 }'), /routing\.peers\[0\]\.bfd\.intervalMs/],
    [
      at(', multihopTtl: 3, ttlSecurity: true'),
      /routing\.peers\[0\]\.ttlSecurity: cannot stand beside multihopTtl/,
    ],
    [at(', families: [ipv4, ipv6]'), /routing\.peers\[0\]\.families: ipv6 has no usable next hop/],
    [at(', family: ipv6'), /routing\.peers\[0\]\.family: is ipv6/],
    [at(', interface: eth0'), /routing\.peers\[0\]\.address: a peer has exactly one of/],
    ['peers: [ { asn: 1 } ]', /routing\.peers\[0\]\.address: a peer has exactly one of/],
    ['peers: [ { address: 10.0.0.1 } ]', /routing\.peers\[0\]\.asn: is neither an AS number nor/],
    ['peers: [ { address: 10.0.0.1, asn: 23456 } ]', /routing\.peers\[0\]\.asn/],
    ['peers: [ { address: 224.0.0.5, asn: 1 } ]', /routing\.peers\[0\]\.address: 224\.0\.0\.5 is no address/],
    ['peers: [ { address: "fe80::1", asn: 1 } ]', /fe80::1 is link-local: name the interface/],
    [at(', localAddress: "fd00::1"'), /routing\.peers\[0\]\.localAddress: is of another family/],
    [at(', localAddress: 10.254.1.0'), /routing\.peers\[0\]\.localAddress: is the peer's own address/],
    [at(', password: {}'), /routing\.peers\[0\]\.password: needs file or secret/],
    [at(', password: { file: tor }'), /routing\.peers\[0\]\.password\.file: is no absolute path/],
    [
      at(', password: secret'),
      /routing\.peers\[0\]\.password: .* never the password itself: write password: \{ file: \S+ \}, or password: \{ secret: \{ name: /,
    ],
    [
      at(', password: { secret: tor }'),
      /routing\.peers\[0\]\.password\.secret: names a Secret: write secret: \{ name/,
    ],
    [
      at(', attributes: { communities: [noexport] }'),
      /attributes\.communities\[0\]: 'noexport' is no community \(did you mean 'no-export'\?\)/,
    ],
    [at(', attributes: { prepend: 33 }'), /attributes\.prepend/],
    [at(', gracefulRestart: { restartSeconds: 5000 }'), /gracefulRestart\.restartSeconds/],
    [
      at(', imports: { prefixes: [ { prefix: 10.0.0.0/8, lengthMax: 4 } ] }'),
      /imports\.prefixes\[0\]: lengths 8 to 4 are not between/,
    ],
    [
      at(', imports: { prefixes: [ { prefix: 10.0.0.0/8, lengthMin: 4 } ] }'),
      /imports\.prefixes\[0\]: lengths 4 to 8/,
    ],
    [at(', imports: { prefixes: [] }'), /imports\.prefixes/],
    [
      at(', asn: internal, multihopTtl: 3').replace('asn: 65001, ', ''),
      /multihopTtl: is for external sessions/,
    ],
    [
      at(', asn: external, reflectorClient: true').replace('asn: 65001, ', ''),
      /reflectorClient: routes are reflected to internal/,
    ],
    [
      'peers: [ { address: 10.0.0.1, asn: 1 }, { address: 10.0.0.1, asn: 2 } ]',
      /routing\.peers\[1\]\.address: '10\.0\.0\.1' is that of routing\.peers\[0\] too/,
    ],
    [
      'peers: [ { name: a, address: 10.0.0.1, asn: 1 }, { name: a, address: 10.0.0.2, asn: 2 } ]',
      /routing\.peers\[1\]\.name: 'a' is that of routing\.peers\[0\] too/,
    ],
    ['announce: [ { kinds: [podCidr] } ]', /routing\.announce\[0\]\.kinds\[0\]/],
    ['announce: [ { kinds: [] } ]', /routing\.announce\[0\]\.kinds/],
    ['announce: [ { kinds: [clusterIP] } ]', /routing\.announce\[0\]\.kinds: nothing lets ClusterIPs out/],
    [
      'peers: [ { name: tor1, address: 10.0.0.1, asn: 1 } ]\nannounce: [ { kinds: [podCIDR], peers: [tor] } ]',
      /routing\.announce\[0\]\.peers\[0\]: no peer is named 'tor' \(did you mean 'tor1'\?\)/,
    ],
    [
      'announce: [ { kinds: [loadBalancerIP], pools: [defualt] } ]',
      /routing\.announce\[0\]\.pools\[0\]: no pool is named 'defualt' \(did you mean 'default'\?\)/,
    ],
    [
      'announce: [ { kinds: [loadBalancerIP], services: { matchLabel: {} } } ]',
      /routing\.announce\[0\]\.services: unknown key 'matchLabel' \(did you mean 'matchLabels'\?\)/,
    ],
    [
      'announce: [ { kinds: [loadBalancerIP], services: { matchExpressions: [ { key: a, operator: In } ] } } ]',
      /services\.matchExpressions\[0\]\.values: In needs values/,
    ],
    ['podCidrs: [0.0.0.0/0]', /routing\.podCidrs\[0\]: would allow every address/],
    [
      'serviceNetworks: [10.255.0.0/24]',
      /routing\.serviceNetworks\[0\]: 10\.255\.0\.0\/24 holds 10\.255\.0\.1/,
    ],
    ['loopbacks: [10.255.0.0/24]', /routing\.loopbacks\[0\]: must be a single address/],
    ['routerId: "fd00::1"', /routing\.routerId: must be written as an IPv4 address/],
    [
      'nodes: [ { nodeSelector: {}, loopbacks: [203.0.113.7/32] } ]',
      /pools\[0\]\.prefixes\[0\]: .* holds 203\.0\.113\.7/,
    ],
    ['gates: { holdDownSeconds: -1 }', /routing\.gates\.holdDownSeconds/],
    [
      'gates: { damping: { reuseThreshold: 9000 } }',
      /routing\.gates\.damping\.reuseThreshold: must lie below/,
    ],
    [
      'sources: { kubeRouter: { enable: true } }',
      /routing\.sources\.kubeRouter: unknown key 'enable' \(did you mean 'enabled'\?\)/,
    ],
    ['announc: []', /routing: unknown key 'announc' \(did you mean 'announce'\?\)/],
  ]
  for (const [text, expected] of cases) t.throws(() => read(text), { message: expected }, text)
  const twice = { pools: [BASE.pools[0], BASE.pools[0]] }
  t.throws(() => read('', twice), { message: /pools\[1\]\.name: 'default' is the name of pools\[0\] too/ })
})

t.test('peers of different nodes may share name and address', async (t) => {
  const text = `
peers:
  - { name: tor, nodeSelector: { matchLabels: { rack: a } }, address: 10.0.0.1, asn: 65001 }
  - { name: tor, nodeSelector: { matchLabels: { rack: b } }, address: 10.0.0.1, asn: 65002 }
`
  t.equal(read(text).routing.peers.length, 2)
})

t.test('without an AS number the file alone says nothing', async (t) => {
  const config = parseConfig(JSON.stringify({ ...BASE, routing: { gobgp: ROUTING.gobgp } }), 'agent.yaml')
  t.throws(() => nodeRouting(config), {
    message: /routing\.asn: the file alone gives this node no AS number/,
  })
})
