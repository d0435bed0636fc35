// Topologies with real routers, read from their own tables: two ToRs of one ASN or of two, nodes of one ASN or of one each, both families;
// a full mesh of nodes; route reflectors, a router and a node.

import t, { type Test } from 'tap'
import { announce, FabricBed, type FabricNode, nodeObject, until } from './fabric-bed.ts'

t.setTimeout(300_000)
const SOON_MS = 30_000
const VIP = '203.0.113.7/32'
const VIP6 = '2001:db8:113::7/128'
const POOLS = 'pools: [{ name: default, prefixes: [203.0.113.0/24, "2001:db8:113::/112"] }]'

/** Node `node` and ToR `tor` are joined by a cable of their own. */
const cable = (node: number, tor: number) => ({
  node4: `10.254.${tor}${node}.1`,
  tor4: `10.254.${tor}${node}.0`,
  node6: `fd00:254:${tor}${node}::1`,
  tor6: `fd00:254:${tor}${node}::`,
})
const NODES = [1, 2] as const
const TORS = [1, 2] as const

interface Asns {
  readonly node: (node: number) => number
  readonly tor: (tor: number) => number
}

function wire(bed: FabricBed): void {
  for (const node of NODES)
    for (const tor of TORS) {
      const { node4, tor4, node6, tor6 } = cable(node, tor)
      bed.cable(
        { host: `node${node}`, device: `to-tor${tor}`, addresses: [`${node4}/31`, `${node6}/127`] },
        { host: `tor${tor}`, device: `to-node${node}`, addresses: [`${tor4}/31`, `${tor6}/127`] },
      )
    }
}

const frrFor = ({ node, tor }: Asns) => [
  `router bgp ${tor(1)}`,
  'bgp router-id 10.255.250.1',
  'no bgp ebgp-requires-policy',
  'no bgp default ipv4-unicast',
  'bgp bestpath as-path multipath-relax',
  ...NODES.flatMap((index) =>
    [cable(index, 1).node4, cable(index, 1).node6].flatMap((peer) => [
      `neighbor ${peer} remote-as ${node(index)}`,
      `neighbor ${peer} timers 3 9`,
      `neighbor ${peer} timers connect 1`,
      `neighbor ${peer} passive`,
    ]),
  ),
  ...(['ipv4', 'ipv6'] as const).flatMap((family) => [
    `address-family ${family} unicast`,
    ...NODES.map((index) => ` neighbor ${cable(index, 1)[family === 'ipv4' ? 'node4' : 'node6']} activate`),
    'exit-address-family',
  ]),
  'exit',
]

const birdFor = ({ node, tor }: Asns) => `router id 10.255.250.2;
protocol device {}
protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; merge paths on; }
template bgp node { local as ${tor(2)}; passive on; hold time 9; error wait time 1, 2; }
${NODES.map(
  (index) => `
protocol bgp four${index} from node { neighbor ${cable(index, 2).node4} as ${node(index)}; ipv4 { import all; export all; }; }
protocol bgp six${index} from node { neighbor ${cable(index, 2).node6} as ${node(index)}; ipv6 { import all; export all; }; }`,
).join('')}`

const configOf = (index: number, { node, tor }: Asns) => `
routing:
  asn: ${node(index)}
  routerId: 10.255.0.${index}
  loopbacks: [10.255.0.${index}/32, 'fd00:255::${index}/128']
  peers:
${TORS.flatMap((one) => {
  const { node4, tor4, node6, tor6 } = cable(index, one)
  return [
    `    - { address: ${tor4}, asn: ${tor(one)}, localAddress: ${node4}, timers: { holdSeconds: 9, connectRetrySeconds: 5 } }`,
    `    - { address: '${tor6}', asn: ${tor(one)}, localAddress: '${node6}', timers: { holdSeconds: 9, connectRetrySeconds: 5 } }`,
  ]
}).join('\n')}
${POOLS}`

const EXTERNAL: readonly { readonly name: string; readonly asns: Asns }[] = [
  {
    name: 'two ToRs of different ASNs, nodes of one',
    asns: { node: () => 65101, tor: (tor) => 65000 + tor },
  },
  {
    name: 'two ToRs of one ASN, each node of its own',
    asns: { node: (node) => 65100 + node, tor: () => 65000 },
  },
]

for (const { name, asns } of EXTERNAL)
  t.test(`${name}: both families, both nodes for every VIP`, async (t) => {
    const bed = new FabricBed(t)
    wire(bed)
    await Promise.all([bed.addFrr('tor1', frrFor(asns)), bed.addBird('tor2', birdFor(asns))])
    for (const index of NODES) {
      const node = await bed.addNode(nodeObject(`node${index}`, []), configOf(index, asns))
      announce(node, VIP, VIP6, `10.255.0.${index}/32`, `fd00:255::${index}/128`)
    }
    for (const tor of TORS)
      for (const [prefix, side] of [
        [VIP, 'node4'],
        [VIP6, 'node6'],
      ] as const) {
        const wanted = NODES.map((node) => cable(node, tor)[side]).join()
        const what = `tor${tor}'s kernel leads to ${prefix} by ${wanted}`
        await until(what, () => bed.gateways(`tor${tor}`, prefix).join() === wanted, SOON_MS)
        t.pass(what)
      }
    t.same(
      bed
        .frrPaths('tor1', VIP)
        .map(({ aspath }) => aspath?.string)
        .sort(),
      NODES.map((node) => String(asns.node(node))).sort(),
      'FRR has them from the nodes alone: nobody is a way between the ToRs',
    )
    for (const index of NODES) t.same(bed.learned(`node${index}`), [], 'and nodes take nothing')
  })

/** Nodes and whoever else on one segment. */
const ON_SEGMENT = {
  4: (index: number) => `10.250.0.${index}`,
  6: (index: number) => `fd00:250::${index}`,
}
const end = (host: string, index: number) => ({
  host,
  device: 'eth0',
  addresses: [`${ON_SEGMENT[4](index)}/24`, `${ON_SEGMENT[6](index)}/64`],
})
const memberOf = (index: number) =>
  nodeObject(`node${index}`, [ON_SEGMENT[4](index), ON_SEGMENT[6](index)], {
    role: index === 1 ? 'first' : 'other',
  })
const pods = (index: number) => [`10.244.${index}.0/24`, `fd00:244:${index}::/64`]
const IMPORTS = `imports: { prefixes: [{ prefix: 10.244.0.0/16, lengthMin: 24, lengthMax: 24 }, { prefix: 'fd00:244::/32', lengthMin: 64, lengthMax: 64 }] }`
const TIMERS = 'timers: { holdSeconds: 9, connectRetrySeconds: 5 }'
const INTERNAL_ASN = 65100

const internalConfig = (index: number, peers: readonly string[], more = '') => `
routing:
  asn: ${INTERNAL_ASN}
  routerId: 10.255.0.${index}
  podCidrs: [${pods(index).map((one) => `'${one}'`)}]
${more}
  peers:
${peers.map((one) => `    - { ${one} }`).join('\n')}
${POOLS}`

/** What node `index` learns when every one of the others tells it of its pods. */
const podsOfOthers = (index: number, count: number) =>
  [4, 6].flatMap((family, place) =>
    Array.from({ length: count }, (_, at) => at + 1)
      .filter((other) => other !== index)
      .map((other) => `${pods(other)[place]} via ${ON_SEGMENT[family as 4 | 6](other)}`),
  )

async function untilLearned(t: Test, bed: FabricBed, count: number): Promise<void> {
  for (let index = 1; index <= count; index += 1) {
    const wanted = podsOfOthers(index, count)
    const what = `the kernel of node${index} leads to the pods of the others`
    await until(what, () => bed.learned(`node${index}`).join() === wanted.join(), SOON_MS)
    t.same(bed.learned(`node${index}`), wanted, what)
  }
}

t.test('a full mesh of three nodes, chosen by a selector, each of which listens', async (t) => {
  const bed = new FabricBed(t)
  const members = [1, 2, 3].map(memberOf)
  bed.segment('lan', [...[1, 2, 3].map((index) => end(`node${index}`, index)), end('tor', 9)])
  await bed.addFrr('tor', [
    'router bgp 65000',
    'bgp router-id 10.255.250.1',
    'no bgp ebgp-requires-policy',
    `neighbor ${ON_SEGMENT[4](1)} remote-as ${INTERNAL_ASN}`,
    `neighbor ${ON_SEGMENT[4](1)} passive`,
    'exit',
  ])
  const mesh = `name: mesh, nodes: {}, asn: internal, families: [ipv4, ipv6], ${TIMERS}, ${IMPORTS}`
  const external = `address: ${ON_SEGMENT[4](9)}, asn: 65000, nodeSelector: { matchLabels: { role: first } }, ${TIMERS}`
  for (const self of members) {
    const index = members.indexOf(self) + 1
    const listen = `  listen: { addresses: [${ON_SEGMENT[4](index)}, '${ON_SEGMENT[6](index)}'] }`
    const others = members.filter((one) => one !== self)
    const node = await bed.addNode(self, internalConfig(index, [mesh, external], listen), others)
    t.equal(node.routing.peers.length, index === 1 ? 5 : 4)
    announce(node, ...pods(index))
  }
  await untilLearned(t, bed, 3)
  const listeners = bed.run('node1', 'ss', '-Htln', 'sport = :179')
  t.same(
    listeners
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/)[3])
      .sort(),
    ['10.250.0.1:179', '[fd00:250::1]:179'],
    'gobgpd listens where it was told to, and nowhere else',
  )
  await until('FRR has node1', () => bed.frrPaths('tor', pods(1)[0] ?? '').length === 1, SOON_MS)
  t.same(bed.frrPaths('tor', pods(2)[0] ?? ''), [], 'what a node learned inside it tells nobody outside')
})

t.test('a router reflects routes between the nodes', async (t) => {
  const bed = new FabricBed(t)
  bed.segment('lan', [...[1, 2].map((index) => end(`node${index}`, index)), end('tor', 9)])
  const neighbours = [1, 2].flatMap((index) => [ON_SEGMENT[4](index), ON_SEGMENT[6](index)])
  await bed.addFrr('tor', [
    `router bgp ${INTERNAL_ASN}`,
    'bgp router-id 10.255.250.1',
    'bgp cluster-id 10.255.250.1',
    'no bgp default ipv4-unicast',
    ...neighbours.flatMap((peer) => [
      `neighbor ${peer} remote-as ${INTERNAL_ASN}`,
      `neighbor ${peer} timers 3 9`,
      `neighbor ${peer} passive`,
    ]),
    ...['ipv4', 'ipv6'].flatMap((family) => [
      `address-family ${family} unicast`,
      ...neighbours
        .filter((peer) => peer.includes(':') === (family === 'ipv6'))
        .flatMap((peer) => [` neighbor ${peer} activate`, ` neighbor ${peer} route-reflector-client`]),
      'exit-address-family',
    ]),
    'exit',
  ])
  for (const index of [1, 2]) {
    const peers = [ON_SEGMENT[4](9), ON_SEGMENT[6](9)].map(
      (one) => `address: '${one}', asn: internal, ${TIMERS}, ${IMPORTS}`,
    )
    const node = await bed.addNode(memberOf(index), internalConfig(index, peers))
    announce(node, ...pods(index))
  }
  await untilLearned(t, bed, 2)
  t.equal(bed.frrPaths('tor', pods(1)[0] ?? '')[0]?.nexthops?.[0]?.ip, ON_SEGMENT[4](1))
})

t.test('a node reflects routes between two others and a router', async (t) => {
  const bed = new FabricBed(t)
  bed.segment('lan', [...[1, 2, 3].map((index) => end(`node${index}`, index)), end('tor', 9)])
  const reflector = ON_SEGMENT[4](1)
  await bed.addFrr('tor', [
    `router bgp ${INTERNAL_ASN}`,
    'bgp router-id 10.255.250.1',
    `neighbor ${reflector} remote-as ${INTERNAL_ASN}`,
    `neighbor ${reflector} timers 3 9`,
    `neighbor ${reflector} timers connect 1`,
    'exit',
  ])
  const members = [1, 2, 3].map(memberOf)
  const clients = `name: clients, nodes: { matchLabels: { role: other } }, asn: internal, families: [ipv4, ipv6], reflectorClient: { clusterId: 10.255.0.1 }, ${TIMERS}, ${IMPORTS}`
  const nodes: FabricNode[] = []
  for (const self of members) {
    const index = members.indexOf(self) + 1
    const others = members.filter((one) => one !== self)
    const up = [ON_SEGMENT[4](1), ON_SEGMENT[6](1)].map(
      (one) => `address: '${one}', asn: internal, ${TIMERS}, ${IMPORTS}`,
    )
    // A client too: to others gobgpd 3.10 tells neither originator nor cluster.
    const router = `address: ${ON_SEGMENT[4](9)}, asn: internal, reflectorClient: {}, ${TIMERS}`
    const config =
      index === 1 ? internalConfig(1, [clients, router], '  listen: true') : internalConfig(index, up)
    const node = await bed.addNode(self, config, others)
    announce(node, ...pods(index))
    nodes.push(node)
  }
  await untilLearned(t, bed, 3)
  const [path] = bed.frrPaths('tor', pods(3)[0] ?? '')
  t.match(path, { originatorId: '10.255.0.3', clusterList: { list: ['10.255.0.1'] } })
  t.equal(path?.nexthops?.[0]?.ip, ON_SEGMENT[4](3), 'whose next hop is the node itself')
})
