// Cilium's BGP kinds, from objects as their authors write them to this node's part of the routing.

import t from 'tap'
import { parse } from 'yaml'
import {
  type BgpAdvertisement,
  type BgpClusterConfig,
  type BgpNodeConfigOverride,
  type BgpPeerConfig,
  toAdvertisement,
  toClusterConfig,
  toNodeOverride,
  toPeerConfig,
} from '../../../../src/kube/cilium.ts'
import type { CiliumObjects } from '../../../../src/model/cilium.ts'
import type { Node } from '../../../../src/model/service.ts'
import { ciliumPart } from '../../../../src/routing/sources/cilium.ts'
import { node } from './rows.ts'

const CLUSTER = `
metadata: { name: fabric, creationTimestamp: "2026-01-01T00:00:00Z" }
spec:
  nodeSelector: { matchLabels: { rack: a } }
  bgpInstances:
    - name: main
      localASN: 65100
      localPort: 1179
      peers:
        - { name: tor1, peerAddress: 10.0.0.1, peerASN: 65001, peerConfigRef: { name: tor } }
        - { name: tor2, peerAddress: "fd00::2", peerASN: 0, peerConfigRef: { name: tor } }
`
const PEER = `
metadata: { name: tor }
spec:
  transport: { peerPort: 1179 }
  timers: { connectRetryTimeSeconds: 12, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 }
  authSecretRef: tor-password
  gracefulRestart: { enabled: true, restartTimeSeconds: 15 }
  ebgpMultihop: 4
  families:
    - { afi: ipv4, safi: unicast, advertisements: { matchLabels: { advertise: bgp } } }
`
const ADVERTISEMENT = `
metadata: { name: bgp, labels: { advertise: bgp } }
spec:
  advertisements:
    - { advertisementType: PodCIDR }
    - advertisementType: Service
      selector: { matchExpressions: [ { key: env, operator: NotIn, values: [dev] } ] }
      service: { addresses: [LoadBalancerIP, ExternalIP, ClusterIP] }
      attributes: { communities: { standard: ["65100:99"], wellKnown: [no-export], large: ["65100:1:2"] }, localPreference: 99 }
`

interface Given {
  readonly clusters?: readonly string[]
  readonly peers?: readonly string[]
  readonly advertisements?: readonly string[]
  readonly overrides?: readonly string[]
}

function objects({ clusters, peers, advertisements, overrides }: Given): CiliumObjects {
  const all = <T>(texts: readonly string[]) => texts.map((text) => parse(text) as T)
  return {
    clusterConfigs: all<BgpClusterConfig>(clusters ?? [CLUSTER]).map(toClusterConfig),
    peerConfigs: all<BgpPeerConfig>(peers ?? [PEER]).map(toPeerConfig),
    advertisements: all<BgpAdvertisement>(advertisements ?? [ADVERTISEMENT]).map(toAdvertisement),
    overrides: all<BgpNodeConfigOverride>(overrides ?? []).map(toNodeOverride),
  }
}

const inRackA = node(1, { labels: { rack: 'a' } })

function part(given: Given, self: Node = inRackA) {
  const settings = { enabled: true, secretsNamespace: 'kube-system' }
  return ciliumPart(settings, objects(given), { self, others: [] })
}

t.test('a cluster config, its peer config and what it advertises', async (t) => {
  const { peers, rules, problems, asn, listen } = part({})
  t.strictSame(problems, [])
  t.equal(asn, 65_100)
  t.strictSame(listen, { port: 1179, addresses: [] })
  t.strictSame(peers[0], {
    name: 'main/tor1',
    source: 'CiliumBGPClusterConfig fabric, instance main, peer tor1',
    remote: { kind: 'address', address: '10.0.0.1' },
    asn: 65_001,
    port: 1179,
    families: ['ipv4'],
    password: { kind: 'secret', namespace: 'kube-system', name: 'tor-password', key: 'password' },
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 12 },
    multihopTtl: 4,
    gracefulRestart: { restartSeconds: 15 },
  })
  t.match(peers[1], { name: 'main/tor2', asn: 'external' })
  t.strictSame(
    rules.filter((rule) => rule.peers?.includes('main/tor1')),
    [
      {
        source: 'CiliumBGPAdvertisement bgp, advertisements[0]',
        kinds: ['pod-cidr'],
        peers: ['main/tor1'],
        families: ['ipv4'],
        attributes: { communities: [], largeCommunities: [], prepend: 0 },
      },
      {
        source: 'CiliumBGPAdvertisement bgp, advertisements[1]',
        kinds: ['load-balancer-ip', 'external-ip', 'cluster-ip'],
        peers: ['main/tor1'],
        families: ['ipv4'],
        services: { requirements: [{ key: 'env', operator: 'NotIn', values: ['dev'] }] },
        attributes: {
          communities: ['65100:99', '65535:65281'],
          largeCommunities: ['65100:1:2'],
          localPref: 99,
          prepend: 0,
        },
      },
    ],
  )
})

t.test('a node that is not selected has none of it', async (t) => {
  t.strictSame(part({}, node(1)), { source: 'cilium', peers: [], rules: [], problems: [] })
})

t.test('defaults are those of the CRD', async (t) => {
  const { peers, rules } = part({ peers: ['metadata: { name: tor }'] })
  t.match(peers[0], {
    port: 179,
    families: ['ipv4', 'ipv6'],
    timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 120 },
    multihopTtl: undefined,
    gracefulRestart: undefined,
    password: undefined,
  })
  t.strictSame(rules, [], 'families that name no advertisements advertise nothing')
})

t.test('overrides of a node', async (t) => {
  const override = `
metadata: { name: node1 }
spec:
  bgpInstances:
    - { name: main, routerID: 9.9.9.9, localPort: 2179, localASN: 65199, peers: [ { name: tor1, localAddress: 10.0.0.9 } ] }
`
  const { asn, routerId, listen, peers, problems } = part({ overrides: [override] })
  t.strictSame(problems, [])
  t.match({ asn, routerId, listen }, { asn: 65_199, routerId: '9.9.9.9', listen: { port: 2179 } })
  t.equal(peers[0]?.localAddress, '10.0.0.9')
  t.equal(part({ overrides: [override.replace('node1', 'node2')] }).asn, 65_100, 'of another node')
})

t.test('of several local preferences for one prefix the greatest comes last', async (t) => {
  const advertisement = (name: string, localPref: string) =>
    ADVERTISEMENT.replace('name: bgp', `name: ${name}`).replace(', localPreference: 99', localPref)
  const { rules } = part({
    advertisements: [
      advertisement('a', ', localPreference: 200'),
      advertisement('b', ''),
      advertisement('c', ', localPreference: 100'),
    ],
  })
  const order = rules.map(({ attributes }) => attributes.localPref ?? 0)
  t.strictSame(
    order,
    [...order].sort((a, b) => a - b),
  )
})

t.test('what is not followed is named', async (t) => {
  const younger = CLUSTER.replace('fabric', 'other').replace('2026-01-01', '2026-02-01')
  const second = '    - { name: second, localASN: 65200 }\n'
  const cases: [string, Given, RegExp[]][] = [
    [
      'a second config',
      { clusters: [younger, CLUSTER] },
      [/Config other selects this node too; fabric is older/],
    ],
    [
      'a missing peer config',
      { peers: [] },
      [/peer tor1 CiliumBGPPeerConfig tor does not exist/, /peer tor2/],
    ],
    [
      'no peer config',
      { clusters: [CLUSTER.replaceAll(', peerConfigRef: { name: tor }', '')] },
      [/no peerConfigRef/, /no peerConfigRef/],
    ],
    [
      'another AS',
      { clusters: [CLUSTER + second] },
      [/instance second is of AS 65200, but this node is of AS 65100/],
    ],
    ['no AS', { clusters: [CLUSTER.replace('localASN: 65100', '')] }, [/has no localASN/]],
    [
      'discovery',
      { clusters: [CLUSTER.replace('peerAddress: 10.0.0.1', 'autoDiscovery: { mode: DefaultGateway }')] },
      [/autoDiscovery DefaultGateway is not followed/],
    ],
    [
      'no address',
      { clusters: [CLUSTER.replace('peerAddress: 10.0.0.1, ', '')] },
      [/peerAddress '' is not an IP/],
    ],
    [
      'a source interface',
      { peers: [PEER.replace('peerPort: 1179', 'sourceInterface: lo')] },
      [/sourceInterface is not followed/],
    ],
    [
      'other families',
      { peers: [PEER.replace('safi: unicast', 'safi: mpls_vpn')] },
      [/family ipv4\/mpls_vpn is not followed/],
    ],
    [
      'timers',
      { peers: [PEER.replace('holdTimeSeconds: 9', 'holdTimeSeconds: 3')] },
      [/timers: holdTimeSeconds/],
    ],
    [
      'a Service without selector',
      { advertisements: [ADVERTISEMENT.replace(/ {6}selector.*\n/, '')] },
      [/has no selector and so selects no Service/, /has no selector/].slice(0, 1),
    ],
    [
      'aggregates',
      { advertisements: [ADVERTISEMENT.replace('addresses: [', 'aggregationLengthIPv4: 24, addresses: [')] },
      [/aggregationLength is not followed/],
    ],
    [
      'pod pools',
      { advertisements: [ADVERTISEMENT.replace('PodCIDR', 'CiliumPodIPPool')] },
      [/CiliumPodIPPool is not followed/],
    ],
    [
      'interfaces',
      { advertisements: [ADVERTISEMENT.replace('PodCIDR', 'Interface, interface: { name: eth0 }')] },
      [/interface eth0 are not advertised/],
    ],
    [
      'communities',
      { advertisements: [ADVERTISEMENT.replace('no-export', 'noexport')] },
      [/did you mean 'no-export'/],
    ],
    [
      'an override of no instance',
      { overrides: ['metadata: { name: node1 }\nspec: { bgpInstances: [ { name: mian } ] }'] },
      [/Override node1 fabric has no instance 'mian'/],
    ],
    [
      'an override that is no address',
      {
        overrides: [
          'metadata: { name: node1 }\nspec: { bgpInstances: [ { name: main, routerID: x, peers: [ { name: tor1, localAddress: "fd00::1", localPort: 5 } ] } ] }',
        ],
      },
      [/routerID 'x' is no IPv4/, /localPort of peer tor1/, /localAddress 'fd00::1' of peer tor1/],
    ],
  ]
  for (const [name, given, expected] of cases)
    t.match(
      part(given).problems.map(({ source, why }) => `${source} ${why}`),
      expected,
      name,
    )
})

t.test('loopbacks are advertised as the interface lo', async (t) => {
  const given = { advertisements: [ADVERTISEMENT.replace('PodCIDR', 'Interface, interface: { name: lo }')] }
  t.ok(part(given).rules.some(({ kinds }) => kinds.includes('loopback')))
})
