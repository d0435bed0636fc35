// Parts of several sources: who has the last word, what is refused, and what the model promises whatever they say.

import fc from 'fast-check'
import t from 'tap'
import { familyOf } from '../../../../src/model/address.ts'
import type { CiliumObjects } from '../../../../src/model/cilium.ts'
import type { BgpPeer } from '../../../../src/model/routing.ts'
import { ciliumPart } from '../../../../src/routing/sources/cilium.ts'
import { kubeRouterPart } from '../../../../src/routing/sources/kube-router.ts'
import { mergeRouting } from '../../../../src/routing/sources/merge.ts'
import type { RoutingPart } from '../../../../src/routing/sources/node-facts.ts'
import { broken } from './promises.ts'
import { fileRouting, node } from './rows.ts'

const self = node(1)

function merged(text: string, others: readonly RoutingPart[]) {
  return mergeRouting({ file: fileRouting(text), pools: [], facts: { self, others: [] }, others })
}

function other(overrides: Partial<RoutingPart> = {}): RoutingPart {
  return { source: 'kube-router', peers: [], rules: [], problems: [], ...overrides }
}

function peerTo(text: string, name = text): BgpPeer {
  return {
    name,
    source: `test ${name}`,
    remote: { kind: 'address', address: text as never },
    asn: 65_001,
    port: 179,
    families: [familyOf(text as never)],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
  }
}

t.test('an AS number from whoever says it; who contradicts is refused whole', async (t) => {
  t.equal(merged('{}', [other({ asn: 65_200 })]).routing?.asn, 65_200)
  t.match(merged('{}', [other()]), {
    routing: undefined,
    problems: [{ why: /no source gives this node an AS/ }],
  })
  const refused = merged('asn: 65100', [other({ asn: 65_200, peers: [peerTo('10.0.0.1')] })])
  t.strictSame(refused.routing?.peers, [])
  t.match(refused.problems, [{ source: 'kube-router', why: /says AS 65200 where file says AS 65100/ }])
})

t.test('one session with an address, whoever asks for it', async (t) => {
  const text = 'asn: 65100\npeers: [ { name: tor, address: 10.0.0.1, asn: 65001 } ]'
  const { routing, problems } = merged(text, [
    other({ peers: [peerTo('10.0.0.1'), peerTo('10.0.0.2', 'tor')] }),
  ])
  t.strictSame(
    routing?.peers.map(({ source }) => source),
    ['routing.peers[0]'],
  )
  t.match(problems, [
    { source: 'test 10.0.0.1', why: /routing\.peers\[0\] has the session with 10\.0\.0\.1 already/ },
    { source: 'test tor', why: /routing\.peers\[0\] is named 'tor' too/ },
  ])
})

t.test('rules without peers are for the peers of their source, but for loopbacks', async (t) => {
  const text = 'asn: 65100\npeers: [ { name: tor, address: 10.0.0.1, asn: 65001 } ]'
  const { routing } = merged(text, [other({ peers: [peerTo('10.0.0.2')] })])
  t.match(routing?.rules, [
    { kinds: ['loopback'], peers: undefined },
    { kinds: ['pod-cidr'], peers: ['tor'] },
    { kinds: ['external-ip', 'load-balancer-ip'], peers: ['tor'] },
  ])
  t.strictSame(
    merged('asn: 65100', [other({ peers: [peerTo('10.0.0.2')] })]).routing?.rules.map(({ kinds }) => kinds),
    [['loopback']],
    'a file without peers says nothing of those of others',
  )
  t.strictSame(merged(text, []).routing?.rules[1]?.peers, undefined, 'alone, every peer is its own')
})

t.test("pod networks: the file's, else another source's, else the node's", async (t) => {
  const theirs = other({ podCidrs: ['10.9.0.0/24' as never] })
  t.strictSame(merged('{ asn: 1, podCidrs: [10.8.0.0/24] }', [theirs]).routing?.podCidrs, ['10.8.0.0/24'])
  t.strictSame(merged('{ asn: 1, podCidrs: [] }', [theirs]).routing?.podCidrs, [])
  t.strictSame(merged('{ asn: 1 }', [theirs]).routing?.podCidrs, ['10.9.0.0/24'])
  t.strictSame(merged('{ asn: 1 }', []).routing?.podCidrs, ['10.244.1.0/24'])
})

const addresses = fc.oneof(
  fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.255.0.1', 'fd00::1', 'fd00::2', 'x', ''),
  fc.ipV4(),
  fc.ipV6(),
)
const numbers = fc.oneof(
  fc.integer({ min: -1, max: 300 }),
  fc.constantFrom(64_512, 65_001, 65_536, 4_294_967_295),
)
const someText = fc.oneof(fc.string({ maxLength: 6 }), numbers.map(String), addresses)
const list = (one: fc.Arbitrary<string>) => fc.array(one, { maxLength: 4 }).map((all) => all.join(','))

const annotations = fc
  .record(
    {
      'node.asn': someText,
      peers: fc.oneof(
        someText,
        fc
          .array(
            fc.record(
              {
                remoteip: addresses,
                remoteasn: numbers,
                port: numbers,
                password: someText,
                localip: addresses,
                bfd: fc.record({ enabled: fc.boolean(), detection_multiplier: numbers }),
              },
              { requiredKeys: [] },
            ),
            { maxLength: 4 },
          )
          .map((value) => JSON.stringify(value)),
      ),
      'peer.ips': list(addresses),
      'peer.asns': list(numbers.map(String)),
      'rr.server': someText,
      'rr.client': someText,
      'path-prepend.as': someText,
      'path-prepend.repeat-n': numbers.map(String),
      'node.bgp.communities': list(fc.constantFrom('1:2', 'no-export', '70000:1', '4259840100', 'x')),
      'node.bgp.customimportreject': list(fc.constantFrom('10.244.0.0/16', '10.244.2.0/24', 'x')),
      'bgp-local-addresses': list(addresses),
      'pod-cidrs': list(fc.constantFrom('10.9.0.0/24', '0.0.0.0/0', 'fd00:9::/64', 'x')),
    },
    { requiredKeys: [] },
  )
  .map((all) =>
    Object.fromEntries(Object.entries(all).map(([key, value]) => [`kube-router.io/${key}`, value])),
  )

const selector = fc.constantFrom({ requirements: [] }, undefined)
const common = { uid: '', generation: 1, conditions: [] }

const cilium: fc.Arbitrary<CiliumObjects> = fc.record({
  clusterConfigs: fc.array(
    fc.record({
      ...constants(common),
      name: fc.constantFrom('a', 'b'),
      createdMs: numbers,
      nodeSelector: selector,
      instances: fc.array(
        fc.record({
          name: fc.constantFrom('i', 'j'),
          localAsn: fc.option(fc.constantFrom(64_512, 65_001), { nil: undefined }),
          localPort: fc.option(fc.constant(179), { nil: undefined }),
          peers: fc.array(
            fc.record({
              name: fc.constantFrom('p', 'q'),
              address: fc.option(addresses, { nil: undefined }),
              asn: fc.constantFrom(0, 65_001, 64_512),
              autoDiscovery: fc.constant(undefined),
              peerConfig: fc.constantFrom('c', 'missing', undefined),
            }),
            { maxLength: 4 },
          ),
        }),
        { maxLength: 2 },
      ),
    }),
    { maxLength: 2 },
  ),
  peerConfigs: fc.array(
    fc.record({
      ...constants({ ...common, createdMs: 0 }),
      name: fc.constant('c'),
      port: fc.constant(179),
      sourceInterface: fc.constant(undefined),
      connectRetrySeconds: fc.constant(120),
      holdSeconds: fc.integer({ min: 0, max: 20 }),
      keepaliveSeconds: fc.integer({ min: 0, max: 20 }),
      authSecret: fc.constantFrom(undefined, 's'),
      restartSeconds: fc.constantFrom(undefined, 15),
      multihop: fc.integer({ min: 0, max: 255 }),
      families: fc.array(
        fc.record({
          afi: fc.constantFrom('ipv4', 'ipv6', 'l2vpn'),
          safi: fc.constantFrom('unicast', 'evpn'),
          advertisements: selector,
        }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 1 },
  ),
  advertisements: fc.array(
    fc.record({
      ...constants({ ...common, createdMs: 0, labels: {} }),
      name: fc.constant('adv'),
      rows: fc.array(
        fc.record({
          type: fc.constantFrom('PodCIDR', 'Service', 'Interface', 'CiliumPodIPPool'),
          selector,
          addresses: fc.array(fc.constantFrom('LoadBalancerIP', 'ClusterIP', 'x'), { maxLength: 3 }),
          aggregates: fc.boolean(),
          interface: fc.constantFrom(undefined, 'lo'),
          communities: fc.array(fc.constantFrom('1:2', '1:2:3', 'no-export', 'x'), { maxLength: 4 }),
          localPref: fc.constantFrom(undefined, 0, 100),
        }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 2 },
  ),
  overrides: fc.constant([]),
})

function constants<T extends object>(values: T): { [Key in keyof T]: fc.Arbitrary<T[Key]> } {
  const made = Object.entries(values).map(([key, value]) => [key, fc.constant(value)])
  return Object.fromEntries(made) as { [Key in keyof T]: fc.Arbitrary<T[Key]> }
}

t.test('whatever the sources say, the model keeps its promises', async () => {
  const files = fc.constantFrom(
    '{}',
    'asn: 64512',
    '{ asn: 65001, listen: true }',
    `
asn: 64512
peers:
  - { name: tor, address: 10.0.0.1, asn: 65001, attributes: { med: 3 } }
  - { name: mesh, nodes: {}, asn: internal, reflectorClient: true }
announce: [ { kinds: [podCIDR], peers: [mesh] }, { kinds: [loadBalancerIP] } ]
sources: { kubeRouter: { enabled: true } }
`,
    'sources: { kubeRouter: { enabled: true, nodesFullMesh: false, advertiseExternalIp: true, multihopTtl: 5 } }',
  )
  fc.assert(
    fc.property(files, annotations, annotations, cilium, (text, mine, theirs, objects) => {
      const file = fileRouting(text)
      const facts = {
        self: node(1, { annotations: mine }),
        others: [node(2, { annotations: theirs }), node(3)],
      }
      const parts = [
        kubeRouterPart(file.sources.kubeRouter, facts),
        ciliumPart(file.sources.cilium, objects, facts),
      ]
      const { routing } = mergeRouting({ file, pools: [], facts, others: parts })
      if (routing === undefined) return
      const faults = broken(routing)
      if (faults.length > 0) throw new Error(faults.join(', '))
    }),
    { numRuns: 500 },
  )
})
