// The file's routing on one node or another: selectors of nodes, overrides, meshes.

import t from 'tap'
import type { Node } from '../../../../src/model/service.ts'
import { mergeRouting } from '../../../../src/routing/sources/merge.ts'
import { fileRouting, node } from './rows.ts'

function routingOn(self: Node, text: string, others: readonly Node[] = []) {
  return mergeRouting({ file: fileRouting(text), pools: [], facts: { self, others }, others: [] })
}

t.test('overrides by label; the last has its way, key by key', async (t) => {
  const text = `
asn: 65100
nodes:
  - { nodeSelector: { matchLabels: { rack: a } }, asn: 65101, podCidrs: [10.1.0.0/24] }
  - { nodeSelector: { matchExpressions: [ { key: edge, operator: Exists } ] }, asn: 65199, routerId: 9.9.9.9, loopbacks: [10.9.9.9/32] }
`
  const on = (labels: Record<string, string>) => routingOn(node(1, { labels }), text).routing
  t.match(on({}), { asn: 65100, routerId: '10.255.0.1', podCidrs: ['10.244.1.0/24'], loopbacks: [] })
  t.match(on({ rack: 'a' }), { asn: 65101, podCidrs: ['10.1.0.0/24'] })
  t.match(on({ rack: 'a', edge: '' }), {
    asn: 65199,
    routerId: '9.9.9.9',
    podCidrs: ['10.1.0.0/24'],
    loopbacks: ['10.9.9.9/32'],
  })
})

t.test('a router id is inferred where none is said', async (t) => {
  const text = 'asn: 65101'
  t.equal(routingOn(node(7), text).routing?.routerId, '10.255.0.7')
  t.equal(
    routingOn(node(7), `${text}\nloopbacks: ["fd00::7/128", 10.9.0.7/32]`).routing?.routerId,
    '10.9.0.7',
  )
  const sixes = [1, 2].map(
    (number) => routingOn(node(number, { internalIps: {}, addresses: [] }), text).routing?.routerId,
  )
  t.match(sixes[0], /^\d+\.\d+\.\d+\.\d+$/)
  t.not(sixes[0], sixes[1])
})

t.test('peers follow the labels of the node', async (t) => {
  const text = `
asn: 65101
peers:
  - { name: tor, nodeSelector: { matchLabels: { rack: a } }, address: 10.0.0.1, asn: 65001 }
  - { name: tor, nodeSelector: { matchLabels: { rack: b } }, address: 10.0.0.2, asn: 65002 }
  - { name: spine, address: 10.0.0.3, asn: 65003 }
announce:
  - { kinds: [podCIDR], peers: [tor] }
`
  const names = (labels: Record<string, string>) => {
    const { routing } = routingOn(node(1, { labels }), text)
    return [
      routing?.peers.map(({ name, asn }) => `${name} ${asn}`),
      routing?.rules.map(({ source }) => source),
    ]
  }
  t.strictSame(names({ rack: 'a' }), [
    ['tor 65001', 'spine 65003'],
    ['routing.loopbacks', 'routing.announce[0]'],
  ])
  t.strictSame(names({ rack: 'b' })[0], ['tor 65002', 'spine 65003'])
  t.strictSame(
    names({}),
    [['spine 65003'], ['routing.loopbacks']],
    'a rule for a peer of other nodes is none',
  )
})

t.test('two peers that meet on one node: the second is refused with the reason', async (t) => {
  const text = `
asn: 65101
peers:
  - { name: tor, nodeSelector: { matchLabels: { rack: a } }, address: 10.0.0.1, asn: 65001 }
  - { name: tor, nodeSelector: { matchLabels: { edge: x } }, address: 10.0.0.2, asn: 65002 }
`
  const { routing, problems } = routingOn(node(1, { labels: { rack: 'a', edge: 'x' } }), text)
  t.strictSame(
    routing?.peers.map(({ asn }) => asn),
    [65001],
  )
  t.match(problems, [{ source: 'routing.peers[1]', why: /routing\.peers\[0\] is named 'tor' too/ }])
})

t.test('a mesh: a session with every other node that matches, in each family that both have', async (t) => {
  const text = `
asn: 65100
peers: [ { name: mesh, nodes: { matchLabels: { role: worker } }, asn: internal, reflectorClient: true } ]
announce: [ { kinds: [podCIDR], peers: [mesh] } ]
`
  const worker = { labels: { role: 'worker' } }
  const { routing, problems } = routingOn(node(1), text, [node(2, worker), node(3), node(4, worker)])
  t.strictSame(problems, [])
  t.match(routing?.peers, [
    {
      name: 'mesh/node2/ipv4',
      remote: { address: '10.255.0.2' },
      localAddress: '10.255.0.1',
      asn: 'internal',
      families: ['ipv4'],
      reflectorClient: { clusterId: '10.255.0.1' },
    },
    { name: 'mesh/node4/ipv4' },
  ])
  t.strictSame(routing?.rules[1]?.peers, ['mesh/node2/ipv4', 'mesh/node4/ipv4'])
})

t.test('sessions that cannot be: with itself, and reflection to another AS', async (t) => {
  const text = `
asn: 65101
peers:
  - { address: 10.255.0.1, asn: 65001 }
  - { address: 10.0.0.2, asn: 65002, reflectorClient: true }
  - { address: 10.0.0.3, asn: 65101, multihopTtl: 3 }
`
  const { routing, problems } = routingOn(node(1), text)
  t.strictSame(routing?.peers, [])
  t.match(
    problems.map(({ why }) => why),
    [
      /10\.255\.0\.1 is this node's own address/,
      /reflected to peers of AS 65101 alone/,
      /is for external sessions/,
    ],
  )
})
