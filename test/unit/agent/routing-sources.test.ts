// The routing of this node follows its objects and its configuration, and what is not followed is named.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { RoutingSources } from '../../../src/agent/routing-sources.ts'
import type { CiliumObjects } from '../../../src/model/cilium.ts'
import type { NodeRouting } from '../../../src/model/routing.ts'
import type { Node } from '../../../src/model/service.ts'
import type { FilePool } from '../../../src/routing/sources/file.ts'
import { equalRows } from '../../../src/tables/equal-rows.ts'
import { Table } from '../../../src/tables/table.ts'
import { until } from '../kube/fake-server.ts'
import { fileRouting, node } from '../routing/sources/rows.ts'

const NO_OBJECTS: CiliumObjects = { clusterConfigs: [], peerConfigs: [], advertisements: [], overrides: [] }

function bed(t: { teardown: (run: () => void) => void }, text: string, objects = NO_OBJECTS) {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'weir-routing-'))
  const nodes = new Table<Node>({ name: 'nodes', equals: equalRows })
  const state = { routing: fileRouting(text), pools: [] as FilePool[] }
  const told: NodeRouting[] = []
  const problems: string[] = []
  const opened: RoutingSources[] = []
  const open = () => {
    const sources = new RoutingSources({
      nodeName: 'node1',
      stateDirectory,
      config: () => state,
      nodes,
      cilium: () => objects,
      ciliumPools: () => [],
      ciliumReaders: [],
      onProblem: ({ source, why }) => problems.push(`${source} ${why}`),
    })
    sources.onChange((routing) => told.push(routing))
    opened.push(sources)
    return sources
  }
  t.teardown(() => {
    for (const one of opened) one.close()
    rmSync(stateDirectory, { recursive: true, force: true })
  })
  return { nodes, state, told, problems, open }
}

const BY_RACK = `
asn: 65101
peers:
  - { name: tor, nodeSelector: { matchLabels: { rack: a } }, address: 10.0.0.1, asn: 65001 }
  - { name: tor, nodeSelector: { matchLabels: { rack: b } }, address: 10.0.0.2, asn: 65002 }
`

t.test("peers follow the labels of the node's object, also of one that an agent before knew", async (t) => {
  const { nodes, told, open } = bed(t, BY_RACK)
  const first = open()
  t.strictSame(first.current?.peers, [], 'nothing is known of the node yet')
  nodes.set('node1', node(1, { labels: { rack: 'a' } }))
  await until('a peer', () => told.at(-1)?.peers.length === 1)
  nodes.set('node1', node(1, { labels: { rack: 'b' } }))
  await until('the other peer', () => told.at(-1)?.peers[0]?.asn === 65_002)
  t.equal(first.current?.peers[0]?.asn, 65_002)
  t.equal(open().current?.peers[0]?.asn, 65_002, 'before any object has come')
  nodes.delete('node1')
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.equal(first.current?.peers.length, 1, 'a node whose object is away is what it was')
})

t.test('a change of others that concerns nobody is told to nobody', async (t) => {
  const { nodes, told, open } = bed(t, BY_RACK)
  nodes.set('node1', node(1, { labels: { rack: 'a' } }))
  open()
  await until('the first', () => told.length === 1)
  nodes.set('node2', node(2))
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.equal(told.length, 1)
})

t.test('another configuration, and another pool', async (t) => {
  const { nodes, state, told, open } = bed(t, 'asn: 65101')
  nodes.set('node1', node(1))
  const sources = open()
  await until('the first', () => told.length === 1)
  state.routing = fileRouting('asn: 65102')
  sources.configChanged()
  t.equal(told.at(-1)?.asn, 65_102)
  state.pools = [{ name: 'p', prefixes: ['203.0.113.0/24' as never] }]
  sources.configChanged()
  t.equal(told.length, 3)
  t.match(sources.pools, [{ name: 'p' }])
})

t.test('a source that is not enabled and says something is named', async (t) => {
  const cluster = {
    name: 'fabric',
    uid: '',
    generation: 1,
    createdMs: 0,
    conditions: [],
    nodeSelector: undefined,
    instances: [],
  }
  const { nodes, open, told } = bed(t, 'asn: 65101', { ...NO_OBJECTS, clusterConfigs: [cluster] })
  nodes.set('node1', node(1, { annotations: { 'kube-router.io/peers': '[]' } }))
  const sources = open()
  await until('the first', () => told.length === 1)
  t.match(sources.status().sources, [
    { source: 'file', state: 'followed' },
    { source: 'kube-router', state: 'unused', detail: /kube-router\.io\/peers .*kubeRouter\.enabled/ },
    { source: 'cilium', state: 'unused', detail: /fabric .*cilium\.enabled/ },
  ])
})

t.test("kube-router's annotations are followed live, and what is wrong with them is told once", async (t) => {
  const { nodes, told, problems, open } = bed(t, 'sources: { kubeRouter: { enabled: true } }')
  const sources = open()
  const annotated = (peers: string) => node(1, { annotations: { 'kube-router.io/peers': peers } })
  nodes.set('node1', annotated('[ { remoteip: 10.0.0.1, remoteasn: 65001 } ]'))
  await until('a peer', () => told.at(-1)?.peers.length === 1)
  nodes.set('node1', annotated('x'))
  await until('no peer', () => told.at(-1)?.peers.length === 0)
  nodes.set('node1', { ...annotated('x'), zone: 'z' })
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.strictSame(problems, ['node annotation kube-router.io/peers is no list of peers'])
  t.match(sources.status().problems, [{ why: 'is no list of peers' }])
})

t.test("keys under our prefix that nobody follows on this node's object", async (t) => {
  const { nodes, problems, open } = bed(t, 'asn: 65101')
  const sources = open()
  nodes.set(
    'node1',
    node(1, {
      annotations: {
        'weir.network/drain': '',
        'weir.network/cordoned-by-drain': 'true',
        'weir.network/x-y-z': '',
      },
      labels: { 'weir.network/drian': '', 'weir.network/our-own-rack-name': 'a', 'example.com/drian': '' },
    }),
  )
  await until('all of them', () => problems.length === 3)
  t.match(problems, [
    /node annotation weir.network\/drain is not followed here: it is a label or taint of a Node/,
    /node annotation weir.network\/x-y-z is not followed: there is no such key$/,
    /node label weir.network\/drian is not followed.*mean 'weir.network\/drain'/,
  ])
  nodes.set('node1', node(1, { labels: { 'weir.network/drain': '' } }))
  await until('none', () => sources.status().problems.length === 0)
})

t.test('without an AS number nothing is told, and the last routing stays', async (t) => {
  const { nodes, state, told, open } = bed(t, '{}')
  nodes.set('node1', node(1))
  const sources = open()
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.strictSame([sources.current, told], [undefined, []])
  state.routing = fileRouting('asn: 65101')
  sources.configChanged()
  state.routing = fileRouting('{}')
  sources.configChanged()
  t.equal(sources.current?.asn, 65_101)
  t.match(sources.status().problems, [{ why: /no source gives this node an AS number/ }])
})
