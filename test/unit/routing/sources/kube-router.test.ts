// kube-router's node annotations mean what they mean there.

import t from 'tap'
import { address } from '../../../../src/model/address.ts'
import type { Node } from '../../../../src/model/service.ts'
import { kubeRouterPart } from '../../../../src/routing/sources/kube-router.ts'
import { fileRouting, node } from './rows.ts'

const PREFIX = 'kube-router.io/'

function annotated(number: number, annotations: Record<string, string>, overrides: Partial<Node> = {}): Node {
  const prefixed = Object.entries(annotations).map(([key, value]) => [`${PREFIX}${key}`, value])
  return node(number, { annotations: Object.fromEntries(prefixed), ...overrides })
}

function part(
  annotations: Record<string, string>,
  flags = '',
  others: readonly Node[] = [],
  overrides: Partial<Node> = {},
) {
  const { sources } = fileRouting(
    `sources: { kubeRouter: { enabled: true, enableIbgp: ${others.length > 0}${flags} } }`,
  )
  return kubeRouterPart(sources.kubeRouter, { self: annotated(1, annotations, overrides), others })
}

const YAML = `
- remoteip: 10.0.0.1
  remoteasn: 65001
  localip: 10.0.0.9
  password: c2VjcmV0
  port: 1179
  bfd: { enabled: true, detection_multiplier: 5, required_min_rx_interval: 200, desired_min_tx_interval: 300 }
- remoteip: "fd00::1"
  remoteasn: 65002
`

t.test('external peers, as YAML', async (t) => {
  const { peers, problems } = part({ peers: YAML })
  t.strictSame(problems, [])
  t.strictSame(peers, [
    {
      name: 'kube-router/10.0.0.1',
      source: 'node annotation kube-router.io/peers[0]',
      remote: { kind: 'address', address: '10.0.0.1' },
      asn: 65001,
      port: 1179,
      localAddress: '10.0.0.9',
      families: ['ipv4'],
      password: { kind: 'inline', text: 'secret' },
      timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 5 },
      gracefulRestart: { restartSeconds: 90 },
      bfd: { intervalMs: 300, multiplier: 5 },
    },
    {
      name: 'kube-router/fd00::1',
      source: 'node annotation kube-router.io/peers[1]',
      remote: { kind: 'address', address: 'fd00::1' },
      asn: 65002,
      port: 179,
      families: ['ipv6'],
      timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 5 },
      gracefulRestart: { restartSeconds: 90 },
    },
  ])
})

t.test('external peers, as lists; an empty element has the default', async (t) => {
  const { peers, problems } = part({
    'peer.ips': '10.0.0.1,10.0.0.2',
    'peer.asns': '65001,65002',
    'peer.ports': ',1179',
    'peer.passwords': 'c2VjcmV0,',
    'peer.localips': '10.0.0.9,',
  })
  t.strictSame(problems, [])
  t.match(peers, [
    { port: 179, password: { text: 'secret' }, localAddress: '10.0.0.9' },
    { port: 1179, password: undefined, localAddress: undefined },
  ])
})

t.test('what cannot be followed is named', async (t) => {
  const cases: [Record<string, string>, RegExp[]][] = [
    [{ peers: '[' }, [/peers is not valid YAML/]],
    [{ peers: 'x' }, [/peers is no list/]],
    [{ peers: '[ { remoteip: 10.0.0, remoteasn: 1 } ]' }, [/peers\[0\] remoteip '10\.0\.0' is not an IP/]],
    [{ peers: '[ { remoteip: 10.0.0.1 } ]' }, [/remoteasn '' is no AS number/]],
    [
      { peers: '[ { remoteip: 10.0.0.1, remoteasn: 1, pasword: x } ]' },
      [/unknown key 'pasword' \(did you mean 'password'\?\)/],
    ],
    [{ peers: '[ { remoteip: 10.0.0.1, remoteasn: 1, password: "secret!" } ]' }, [/password is not base64/]],
    [{ peers: '[ { remoteip: 10.0.0.1, remoteasn: 1, port: 99999 } ]' }, [/port '99999' is no port/]],
    [
      { peers: '[ { remoteip: 10.0.0.1, remoteasn: 1, bfd: { enabled: true, port: 4784 } } ]' },
      [/bfd\.port can only be 3784/],
    ],
    [
      { 'peer.ips': '10.0.0.1,10.0.0.2', 'peer.asns': '65001' },
      [/peer\.asns has 1 elements where peer\.ips has 2/],
    ],
    [{ 'peer.asns': '65001' }, [/peer\.ips is needed/, /has 1 elements where peer\.ips has 0/]],
    [{ peers: YAML, 'peer.ips': '1.1.1.1', 'peer.asns': '1' }, [/peer\.ips is not read beside/]],
    [{ 'path-prepend.as': '64512' }, [/path-prepend\.repeat-n is needed/]],
    [{ 'path-prepend.as': '65000', 'path-prepend.repeat-n': '2' }, [/is not this node's AS/]],
    [
      { 'path-prepend.as': '64512', 'path-prepend.repeat-n': '256' },
      [/repeat-n '256' is no number of times/],
    ],
    [{ 'node.bgp.communities': '1:2:3' }, [/'1:2:3' is no community/]],
    [{ 'node.asn': '65101' }, [/node\.asn is not read while nodes form a full mesh of AS 64512/]],
    [{ 'node.asn': 'x' }, [/'x' is no AS number/]],
    [{ 'pod-cidrs': '10.1.0.0' }, [/pod-cidrs '10\.1\.0\.0' is not a network/]],
    [{ 'bgp-local-addresses': 'eth0' }, [/bgp-local-addresses 'eth0' is not an IP/]],
    [
      { 'node.bgp.comunities': '1:2' },
      [/node\.bgp\.comunities is not known \(did you mean 'node\.bgp\.communities'\?\)/],
    ],
  ]
  for (const [annotations, expected] of cases)
    t.match(
      part(annotations).problems.map(({ source, why }) => `${source} ${why}`),
      expected,
      JSON.stringify(annotations),
    )
})

t.test('what is announced to whom', async (t) => {
  const flags = ', advertiseExternalIp: true, advertiseLoadBalancerIp: true'
  const annotations = {
    peers: '[ { remoteip: 10.0.0.1, remoteasn: 65001 } ]',
    'node.bgp.communities': 'no-export,4259840100',
    'path-prepend.as': '64512',
    'path-prepend.repeat-n': '3',
  }
  const none = { communities: [], largeCommunities: [], prepend: 0 }
  t.strictSame(part(annotations, flags, [node(2)]).rules, [
    {
      source: 'routing.sources.kubeRouter',
      kinds: ['pod-cidr'],
      peers: ['kube-router/node2'],
      attributes: none,
    },
    {
      source: 'routing.sources.kubeRouter',
      kinds: ['pod-cidr', 'external-ip', 'load-balancer-ip'],
      peers: ['kube-router/10.0.0.1'],
      attributes: none,
    },
    {
      source: 'node annotation kube-router.io/node.bgp.communities',
      kinds: ['loopback', 'pod-cidr', 'cluster-ip', 'external-ip', 'load-balancer-ip'],
      peers: ['kube-router/10.0.0.1'],
      attributes: { communities: ['65000:100', '65535:65281'], largeCommunities: [], prepend: 3 },
      isOnlyAttributes: true,
    },
  ])
})

t.test(
  'the mesh imports the pod networks of other nodes, but for what customimportreject names',
  async (t) => {
    const { peers } = part({ 'node.bgp.customimportreject': '10.244.3.0/24' }, '', [node(2), node(3)])
    t.match(peers, [
      {
        name: 'kube-router/node2',
        asn: 'internal',
        localAddress: '10.255.0.1',
        imports: { prefixes: [{ prefix: '10.244.2.0/24', lengthMin: 24, lengthMax: 24 }] },
      },
      { name: 'kube-router/node3', imports: undefined },
    ])
  },
)

t.test('reflectors have sessions with everybody, clients with reflectors alone', async (t) => {
  const server = annotated(2, { 'rr.server': '42' })
  const client = annotated(3, { 'rr.client': '42' })
  const plain = node(4)
  const names = (annotations: Record<string, string>) =>
    part(annotations, '', [server, client, plain]).peers.map(
      ({ name, reflectorClient }) => `${name} ${reflectorClient?.clusterId ?? '-'}`,
    )
  t.strictSame(names({ 'rr.client': '42' }), ['kube-router/node2 -'])
  t.strictSame(names({ 'rr.server': '42' }), [
    'kube-router/node2 -',
    'kube-router/node3 0.0.0.42',
    'kube-router/node4 -',
  ])
  t.strictSame(names({ 'rr.server': '10.0.0.7' })[1], 'kube-router/node3 10.0.0.7')
  t.strictSame(names({}), ['kube-router/node2 -', 'kube-router/node3 -', 'kube-router/node4 -'])
  const fromServer = part({ 'rr.client': '1' }, '', [server, client, plain]).peers[0]
  t.equal(fromServer?.imports?.prefixes.length, 3, 'a reflector has the networks of all')
})

t.test("without the full mesh, sessions are among nodes of the node's own AS", async (t) => {
  const { asn, peers, problems } = part({ 'node.asn': '65101' }, ', nodesFullMesh: false', [
    annotated(2, { 'node.asn': '65101' }),
    annotated(3, { 'node.asn': '65103' }),
  ])
  t.strictSame(problems, [])
  t.equal(asn, 65101)
  t.strictSame(
    peers.map(({ name }) => name),
    ['kube-router/node2'],
  )
  t.match(part({}, ', nodesFullMesh: false').problems, [{ why: /is needed where nodesFullMesh is false/ }])
})

t.test('families: a session carries both where the other has none of its own', async (t) => {
  const dual = { internalIps: { ipv4: address('10.255.0.1'), ipv6: address('fd00:255::1') } }
  const families = (ip: string) =>
    part({ peers: `[ { remoteip: "${ip}", remoteasn: 65001 } ]` }, '', [], dual).peers[0]?.families
  t.strictSame(families('10.0.0.1'), ['ipv4', 'ipv6'])
  t.strictSame(families('fd00::1'), ['ipv4', 'ipv6'])
  t.strictSame(
    part({ peers: YAML }, '', [], dual).peers.map((peer) => peer.families),
    [['ipv4'], ['ipv6']],
  )
})

t.test('pod networks and where to listen', async (t) => {
  t.strictSame(part({ 'pod-cidrs': '10.9.0.0/24, fd00:9::/64' }).podCidrs, ['10.9.0.0/24', 'fd00:9::/64'])
  t.strictSame(part({ 'pod-cidr': '10.9.0.0/24' }).podCidrs, ['10.9.0.0/24'])
  t.strictSame(part({}).listen, { port: 179, addresses: ['10.255.0.1'] })
  t.strictSame(part({ 'bgp-local-addresses': '10.1.1.1' }, ', bgpPort: 1179').listen, {
    port: 1179,
    addresses: ['10.1.1.1'],
  })
})
