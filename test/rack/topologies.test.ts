// One rack, wired once, in one topology after another, live: a guest in a kube-router's GoBGP; two ToRs of one ASN; ToRs that reflect routes
// between nodes of their own ASN; a full mesh of the nodes; IPv4 over addressed IPv6 sessions (RFC 8950). Between FRR, BIRD and real agents,
// read from the routers' tables and the kernels. The other lines of routing, and where a rack shows each:
//
//   eBGP to ToRs of two ASNs, one of each node, both families   whole, gates (AS paths), bgp-cli
//   unnumbered, with router advertisements                      unnumbered
//   pools: selectors, requests, sharing, exhaustion, conflict   pools
//   gates, hold-down, flapping, attributes, guard, its rate     gates
//   configuration: live, refused, on trial; the three sources   live-routing
//   drain, cordon, undrain                                      drain
//   BFD, uplinks that die and return                            bfd, uplinks
//   agent or gobgpd killed, stopped, replaced                   restarts
//   weir bgp, metrics, causes                                   bgp-cli
//   routers that lie                                            hostile
//
// What gobgpd 3.10 gets wrong is shown on a real one in test/unit/bgp/real-*.test.ts, and here that agents do not run into it:
//
//   transit between routers; an own path that imports swallow   topologies (RFC 8950, route reflectors)
//   a second start empties the table                            restarts (the agent is killed)
//   prefixes that are none; what lies outside                   gates (guard)
//   a narrower policy withdraws nothing                         gates (a pool that shrinks)
//   an empty neighbor set is everybody                          topologies (a rule for a router that is none)
//   IPv6 with an IPv4 next hop; one next hop for all routers    topologies (each router's own, both families)
//   paths before peers; SIGTERM withdraws                       restarts (gobgpd is killed, is told to stop)
//   passwords that differ are silent                            bgp-cli
//   EnableZebra kills it                                        topologies (learned routes come by netlink)

import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { openGobgpClient, type PeerSettings } from '../../bgp/client/gobgp-grpc-client.ts'
import type { NodePlan } from '../../src/sandbox/address-plan.ts'
import { gobgpSocket, startAgent, startGobgpd } from '../../src/sandbox/nodes.ts'
import { startProcess, stopProcess } from '../../src/sandbox/process.ts'
import { becomeKubeRouter, kubeRouterState } from '../unit/speaker/kube-router.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'
import { nodesLedTo } from './led-to.ts'
import { BIRD, FRR, TORS, TopologyBed } from './topologies-bed.ts'

t.setTimeout(290_000)
const STATION = fileURLToPath(new URL('../unit/speaker/bmp-station.ts', import.meta.url))
const BMP_PORT = 11_019
const POD_LENGTHS = { ipv4: 24, ipv6: 64 }
const LINK_LENGTHS = { ipv4: 31, ipv6: 127 }

const bed = await Bed.up({
  name: 'topologies',
  nodeAsn: 'shared',
  agent: { routing: { listen: true, announce: [{ kinds: ['podCIDR'] }, { kinds: ['loadBalancerIP'] }] } },
})
t.teardown(() => bed.down())
const rack = new TopologyBed(bed)
const { nodes } = rack
const ASN = nodes[0]?.asn ?? 0
const ALL = nodes.map(({ name }) => name).join()

await bed.apply(
  pod('web', { node: 'node1', labels: { app: 'web' } }),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
)
await bed.waitForPods('app=web')
const vips = await bed.vips('web')
const [vip4 = '', vip6 = ''] = vips
const hostOf = (vip: string) => `${vip}/${vip.includes(':') ? 128 : 32}`

/** Waits until it is so; what it is in the end stands in the assertion. */
async function expectSoon<T>(t: Test, what: string, look: () => Promise<T>, wanted: T): Promise<void> {
  let now: T | undefined
  const isSo = async () => {
    now = await look()
    return JSON.stringify(now) === JSON.stringify(wanted)
  }
  await bed.until(what, isSo, 30_000).catch(() => {})
  t.strictSame(now, wanted, what)
}

/** Both VIPs, or these prefixes, in both ToRs' kernels by these nodes. */
async function expectLed(t: Test, what: string, names: string, prefixes = vips.map(hostOf)): Promise<void> {
  const look = () => Promise.all(TORS.flatMap((tor) => prefixes.map((one) => nodesLedTo(bed, tor, one))))
  await expectSoon(
    t,
    what,
    look,
    TORS.flatMap(() => prefixes.map(() => names)),
  )
}

/** Each node's kernel holds the pods' networks of the others, by these gateways for each. */
async function expectPodsLearned(
  t: Test,
  what: string,
  gateways: (node: NodePlan, other: NodePlan, family: 'ipv4' | 'ipv6') => readonly string[],
): Promise<void> {
  const wanted = nodes.map((node) =>
    nodes
      .filter((other) => other !== node)
      .flatMap((other) =>
        (['ipv4', 'ipv6'] as const).map(
          (family) => `${other.podCidr[family]} via ${[...gateways(node, other, family)].sort().join(' ')}`,
        ),
      )
      .sort(),
  )
  await expectSoon(t, what, () => Promise.all(nodes.map((node) => rack.learned(node))), wanted)
}

/** The sessions of the rack, changed. */
const sessions = (node: NodePlan, change: object) => ({
  peers: rack.plainPeers(node).map((peer) => ({ ...peer, ...change })),
})
const importing = (base: 'pods' | 'clients', more = {}) => ({
  imports: { prefixes: rack.rulesOf(base, POD_LENGTHS), ...more },
})

t.test(
  "a guest in kube-router's gobgpd: its Services go out, the host's objects stay, and all again after its restart",
  async (t) => {
    const node = rack.nodes[2]
    if (node === undefined) throw new Error('the rack has three nodes')
    const host = bed.rack.host(node.name)
    const target = `unix://${gobgpSocket(host)}`
    const client = openGobgpClient({ target })
    t.teardown(() => client.close())
    const external = node.uplinks.map(
      ({ peer, local, torAsn }): PeerSettings => ({
        ...{
          remote: { kind: 'address', address: peer.ipv4 },
          localAddress: local.ipv4,
          asn: torAsn,
          port: 179,
        },
        ...{ families: ['ipv4'], holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
      }),
    )
    const theirs = { podCidr: node.podCidr.ipv4, vip: '203.0.113.250/32' }
    const kubeRouter = { ...theirs, asn: ASN, routerId: node.loopback.ipv4, external, internal: [] }
    const pidFile = `${host.directory}/gobgpd.pid`
    const startKubeRouter = async () => {
      await stopProcess(pidFile, { signal: 'SIGKILL' })
      rmSync(gobgpSocket(host), { force: true })
      await startProcess({
        name: 'gobgpd as kube-router has it',
        ...{ namespace: host.namespace, cgroup: host.systemCgroup, pidFile },
        argv: ['gobgpd', `--api-hosts=${target}`, '--pprof-disable', '--log-plain'],
        logFile: `${host.directory}/kube-router.log`,
      })
      await client.waitUntilReady(AbortSignal.timeout(10_000))
      await becomeKubeRouter(client, kubeRouter)
    }
    const exportPolicy = { policies: ['kube_router_export1', /^weir-/], defaultAction: 'reject' }

    await stopProcess(`${host.directory}/agent.pid`)
    await stopProcess(pidFile)
    await startKubeRouter()
    const before = kubeRouterState(target, theirs)
    const peers = rack.plainPeers(node).filter(({ family }) => family === 'ipv4')
    rack.configureNode(node, { mode: 'kube-router', listen: false, peers })
    await startAgent(bed.rack, node)
    await expectLed(t, 'the VIP by all nodes', ALL, [hostOf(vip4)])
    await expectLed(t, "the host's own VIP by it", node.name, [theirs.vip])
    t.match(await client.getAssignment('export'), exportPolicy, 'one policy more than the host had')
    t.equal(kubeRouterState(target, theirs), before)

    await startKubeRouter()
    await expectLed(t, 'the VIP after its restart', ALL, [hostOf(vip4)])
    t.match(await client.getAssignment('export'), exportPolicy)
    t.equal(kubeRouterState(target, theirs), before)

    await stopProcess(`${host.directory}/agent.pid`)
    await stopProcess(pidFile, { signal: 'SIGKILL' })
    rack.configureNode(node)
    await startGobgpd(bed.rack, node)
    await startAgent(bed.rack, node)
  },
)

t.test('two ToRs of one ASN', async (t) => {
  await rack.configureTors({ asns: [65_010, 65_010] })
  rack.configureNodes((node) => sessions(node, { asn: 65_010 }))
  await expectLed(t, 'both families by every node', ALL)
  const paths = await rack.frrPaths(hostOf(vip4))
  t.same(
    paths.map(({ aspath, nexthops }) => `${aspath?.string} by ${nexthops?.[0]?.ip}`).sort(),
    nodes.map(({ uplinks }) => `${ASN} by ${uplinks[0]?.local.ipv4}`).sort(),
    'FRR has it from each node alone, with its address on that link',
  )
  const birds = await rack.birdc('show', 'route', 'for', vip6, 'all')
  t.same(
    [...birds.matchAll(/BGP\.next_hop: (\S+)/g)].map(([, hop]) => hop).sort(),
    nodes.map(({ uplinks }) => uplinks[1]?.local.ipv6).sort(),
    'and BIRD',
  )
  t.same([...new Set([...birds.matchAll(/BGP\.as_path: (.*)/g)].map(([, path]) => path))], [String(ASN)])
})

t.test(
  'ToRs reflect routes between the nodes: imports by a filter, several next hops, a limit; told to a collector',
  async (t) => {
    const [first] = nodes
    const [toFrr, toBird] = first?.uplinks ?? []
    const collector = bed.rack.plan.clients[0]?.address.ipv4 ?? ''
    const told: string[] = []
    const station = spawn(
      'nsenter',
      [
        `--net=/run/netns/${bed.rack.host('client1').namespace}`,
        process.execPath,
        STATION,
        String(BMP_PORT),
        collector,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    t.teardown(() => station.kill())
    station.stdout.setEncoding('utf8').on('data', (text: string) => told.push(...text.split('\n')))

    const both = [...rack.rulesOf('pods', POD_LENGTHS), ...rack.rulesOf('clients', POD_LENGTHS)]
    await rack.configureTors({ asns: [ASN, ASN], reflects: true, announce: both })
    const internal = { asn: 'internal', ...importing('pods') }
    const bmp = [{ address: collector, port: BMP_PORT }]
    rack.configureNodes((node) => ({ ...sessions(node, internal), ...(node === first ? { bmp } : {}) }))
    const byBoth = ({ uplinks }: NodePlan, _: NodePlan, family: 'ipv4' | 'ipv6') =>
      uplinks.map(({ peer }) => peer[family])
    await expectPodsLearned(t, "the others' pods by both ToRs, and nothing else of what is told", byBoth)
    await expectLed(t, 'VIPs, which imports leave alone', ALL)

    for (const line of [
      /^initiation sysName=\S+/,
      new RegExp(`^peer-up ${toFrr?.peer.ipv4} AS ${ASN}`),
      new RegExp(`^route-monitoring ${toBird?.peer.ipv4} AS ${ASN} .*${nodes[1]?.podCidr.ipv4}`),
    ]) {
      const isTold = async () => told.some((one) => line.test(one))
      await bed.until(`the collector to be told ${line}`, isTold, 40_000).catch(() => {})
      t.ok(await isTold(), `the collector is told ${line}`)
    }

    const limited = (peer: Record<string, unknown>) =>
      peer['address'] === toBird?.peer.ipv4 ? importing('pods', { maxPrefixes: 1 }) : {}
    if (first)
      rack.configureNode(first, {
        peers: rack.plainPeers(first).map((peer) => ({ ...peer, ...internal, ...limited(peer) })),
      })
    const hopsOf = async () => {
      const rows = first ? await rack.learned(first) : []
      return [toFrr, toBird].map(
        (uplink) => rows.filter((row) => row.includes(`${uplink?.peer.ipv4}`)).length,
      )
    }
    await expectSoon(t, 'of BIRD one prefix, of FRR what it was', hopsOf, [2, 1])
    await bed.until('an Event', async () => {
      const { items } = await bed.get<{ items: { reason: string; involvedObject: { name: string } }[] }>(
        'events',
      )
      return items.some((one) => one.reason === 'RoutingImportsLimit' && one.involvedObject.name === 'node1')
    })
  },
)

t.test('a full mesh of the nodes', async (t) => {
  await rack.addSegment()
  const mesh = { name: 'mesh', nodes: {}, asn: 'internal', ...importing('pods') }
  rack.configureNodes((node) => ({ peers: [...sessions(node, { asn: 'internal' }).peers, mesh] }))
  await expectPodsLearned(t, 'pods from each node itself', (_, other, family) => [other.loopback[family]])
  await expectLed(t, 'VIPs', ALL)
  for (const other of nodes.slice(1)) {
    const paths = await rack.frrPaths(other.podCidr.ipv4)
    t.same(
      paths.map(({ peer }) => peer?.peerId),
      [other.uplinks[0]?.local.ipv4],
      `FRR has the pods of ${other.name} from it alone: what a node learned inside it tells nobody`,
    )
  }
})

t.test('IPv4 over addressed IPv6 sessions, with two ToRs of two ASNs that tell of clients', async (t) => {
  const asns = [65_011, 65_012] as const
  const announce = [...rack.rulesOf('clients', POD_LENGTHS), ...rack.rulesOf('links', LINK_LENGTHS)]
  await rack.configureTors({ asns, overIpv6: true, announce })
  const overIpv6 = ({ uplinks }: NodePlan) =>
    uplinks.map(({ tor, peer, local }, index) => ({
      ...{ name: tor, address: peer.ipv6, localAddress: local.ipv6, asn: asns[index], bfd: true },
      families: ['ipv4', 'ipv6'],
    }))
  rack.configureNodes((node) => ({
    peers: overIpv6(node).map((peer) => ({ ...peer, ...importing('clients') })),
  }))
  await rack.removeSegment()
  await expectLed(t, 'both families by every node', ALL)
  const ofNodes = nodes.map(({ uplinks }) => uplinks[0]?.local.ipv6 ?? '').sort()
  t.same(
    (await rack.frrPaths(hostOf(vip4)))
      .filter(({ peer }) => ofNodes.includes(peer?.peerId ?? ''))
      .map(({ nexthops }) => nexthops?.[0]?.ip)
      .sort(),
    ofNodes,
    'FRR has the IPv4 VIP by IPv6 addresses',
  )
  const { stdout } = await bed.run(BIRD, ['ip', 'route', 'show', hostOf(vip4)])
  for (const { uplinks } of nodes) t.match(stdout, `via inet6 ${uplinks[1]?.local.ipv6} `, 'and BIRD')

  // As soon as FRR has heard of every node; then each time, by both routers.
  for (const vip of vips) {
    const places = ['client1', 'client2'].flatMap((client) => Array.from({ length: 12 }, () => client))
    const connectAll = () => Promise.all(places.map((client) => bed.connect(client, vip, 80)))
    const all = places.map(() => 'open')
    await expectSoon(t, `every connection to ${vip} is answered`, connectAll, all)
    t.strictSame(await connectAll(), all, 'and again')
  }

  const learnedBy = (node: NodePlan, tors: readonly string[]) =>
    bed.rack.plan.clients
      .flatMap(({ subnet }) =>
        [subnet.ipv4, subnet.ipv6].map((prefix) => {
          const hops = node.uplinks.filter(({ tor }) => tors.includes(tor)).map(({ peer }) => peer.ipv6)
          return `${prefix} via ${hops.map((hop) => (prefix.includes(':') ? hop : `inet6 ${hop}`)).join(' ')}`
        }),
      )
      .sort()
  const learned = () => Promise.all(nodes.map((node) => rack.learned(node)))
  await expectSoon(
    t,
    "clients' networks by both ToRs, and no link's",
    learned,
    nodes.map((node) => learnedBy(node, TORS)),
  )
  const [client] = bed.rack.plan.clients
  for (const prefix of [client?.subnet.ipv4 ?? '', client?.subnet.ipv6 ?? '']) {
    t.equal((await rack.frrPaths(prefix)).length, 1, `FRR has ${prefix} from the spine: no node is a transit`)
    const birds = await rack.birdc('show', 'route', 'for', prefix, 'all')
    t.equal([...birds.matchAll(/BGP\.as_path: /g)].length, 1, 'nor for BIRD')
  }
  await rack.birdc('disable', 'node2_ipv6')
  await expectSoon(
    t,
    'a session that ends takes its next hops along',
    learned,
    nodes.map((node) => learnedBy(node, node.name === 'node2' ? [FRR] : TORS)),
  )

  // A rule names a router that no node has any more: of gobgpd's peers it must mean none, and not all that are left.
  rack.configureNodes((node) => ({
    announce: [{ kinds: ['loadBalancerIP'] }, { kinds: ['podCIDR'], peers: [FRR] }],
    peers: overIpv6(node).map((peer) =>
      peer.name === FRR ? { ...peer, nodeSelector: { matchLabels: { uplink: 'both' } } } : peer,
    ),
  }))
  await expectSoon(
    t,
    'without imports nothing is left',
    learned,
    nodes.map(() => []),
  )
  await rack.birdc('enable', 'node2_ipv6')
  const ledBy = (prefix: string) => nodesLedTo(bed, BIRD, prefix)
  const pods = nodes.map(({ podCidr }) => podCidr.ipv4)
  await expectSoon(t, 'VIPs are at the other router', () => ledBy(hostOf(vip4)), ALL)
  await expectSoon(
    t,
    'and pods nowhere',
    () => Promise.all(pods.map(ledBy)),
    pods.map(() => ''),
  )
})
