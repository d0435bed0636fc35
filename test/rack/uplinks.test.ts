// The node's default route follows its uplinks. Long flows run from clients to VIPs and from a pod to a host outside while cables and whole
// ToRs fail, with and without their carrier, and come back: every one of them goes on. What the route is, the node's kernel says; what
// became of packets, the datapath's counters.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LinkPlan } from '../../src/sandbox/address-plan.ts'
import { runIn } from '../../src/sandbox/host.ts'
import { blackholeLink, cutLink, findLink, findLinks, healLink } from '../../src/sandbox/links.ts'
import { startAgent, WEIR } from '../../src/sandbox/nodes.ts'
import { findProcess, signalProcess, startProcess, waitForEnd } from '../../src/sandbox/process.ts'
import { countersOf, loadFrom, packets, urlOf } from '../../src/sandbox/proof/context.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { routerSessions } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'
import { FLOW_PORT, flowPod, flowService } from './traffic/manifests.ts'
import { serverCommand, Traffic } from './traffic/traffic.ts'
import { reportsOf, watchFlows } from './traffic/watch.ts'

t.setTimeout(400_000)
const NODES = ['node1', 'node2'] as const
/** Of each protocol, from each place. */
const FLOWS = 100
const ROUTE_MS = 15_000
const ANSWERS_MS = 15_000
/** Of TCP, after half a minute without any way. */
const PATIENCE_MS = 45_000
const SESSIONS_MS = 60_000
/** BFD among routers takes 1.5 s, their hold time would be 9 s. */
const SPINE_MS = 6_000
const PROTOCOL = '158'

const bed = await Bed.up({ name: 'uplinks', nodes: NODES.length })
const running: Traffic[] = []
t.teardown(async () => {
  for (const one of running) one.close()
  await bed.down()
})

interface KernelRoute {
  readonly protocol: string
  readonly metric?: number
  readonly prefsrc?: string
  readonly gateway?: string
  readonly dev?: string
  readonly nexthops?: readonly { readonly gateway?: string; readonly dev: string }[]
}

async function defaultRoutes(node: string, family: '-4' | '-6'): Promise<KernelRoute[]> {
  const argv = ['ip', family, '-j', 'route', 'show', 'default']
  return JSON.parse((await runIn(bed.rack.host(node), argv)).stdout || '[]') as KernelRoute[]
}

/** Devices of the one default route; empty where there is none, or more than one. */
async function devices(node: string, family: '-4' | '-6'): Promise<string[]> {
  const [route, ...others] = await defaultRoutes(node, family)
  if (!route || others.length > 0 || route.protocol !== PROTOCOL) return []
  return route.nexthops ? route.nexthops.map(({ dev }) => dev).sort() : [route.dev ?? '']
}

async function untilRoutes(t: Test, what: string, node: string, wanted: readonly string[]): Promise<void> {
  const start = performance.now()
  await bed.until(
    `${node}'s default routes to be over ${wanted.join(', ')}`,
    async () => {
      const seen = await Promise.all([devices(node, '-4'), devices(node, '-6')])
      return seen.every((one) => one.join() === wanted.join())
    },
    ROUTE_MS,
  )
  t.comment(`${what}: ${node} over ${wanted.join(' and ')} after ${Math.round(performance.now() - start)} ms`)
}

const BOTH = ['to-tor1', 'to-tor2'] as const

const reports = () => reportsOf(running)

/** Waits until every flow is answered after now. */
async function expectWhole(t: Test, what: string, withinMs = ANSWERS_MS): Promise<void> {
  const { flows, isAnsweredSince } = await watchFlows(bed, running, { withinMs })
  const wrong = flows.filter((flow) => !isAnsweredSince(flow) || flow.failures.length > 0)
  t.equal(wrong.length, 0, `${what}: ${flows.length} flows go on`, {
    flows: wrong.slice(0, 10).map((flow) => JSON.stringify(flow)),
  })
}

async function untilSound(): Promise<void> {
  await bed.until(
    'every session and every way',
    async () => {
      const sessions = await Promise.all(
        ['tor1', 'tor2', 'spine'].map((name) => routerSessions(bed.rack, name)),
      )
      const hops = await Promise.all(
        ['tor1', 'tor2'].flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))),
      )
      return (
        sessions.flat().every(({ state }) => state === 'Established') &&
        hops.every((count) => count === NODES.length)
      )
    },
    SESSIONS_MS,
  )
}

await bed.apply(
  ...NODES.map((node, index) => flowPod(`b${index + 1}`, node)),
  ...NODES.map((node, index) => pod(`web${index + 1}`, { node, labels: { app: 'web' } })),
  flowService({ app: 'flows' }),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] }),
)
await bed.waitForPods('app=flows')
await bed.waitForPods('app=web')
const outside = bed.rack.host('client2')
await startProcess({
  name: 'the server outside',
  namespace: outside.namespace,
  cgroup: outside.systemCgroup,
  argv: serverCommand('outside', FLOW_PORT),
  logFile: `${outside.directory}/server.log`,
  pidFile: `${outside.directory}/server.pid`,
})
const vips = [...(await bed.vips('flows')), ...(await bed.vips('web'))]
const [web = ''] = await bed.vips('web')

t.test('the agent has made the default routes, and nobody else any', async (t) => {
  await untilSound()
  for (const node of bed.rack.plan.nodes) {
    await untilRoutes(t, 'at first', node.name, BOTH)
    const [route] = await defaultRoutes(node.name, '-4')
    t.match(route, { protocol: PROTOCOL, metric: 64, prefsrc: node.loopback.ipv4 })
    const [route6] = await defaultRoutes(node.name, '-6')
    t.match(route6, { protocol: PROTOCOL, metric: 64, prefsrc: node.loopback.ipv6 })
  }
})

t.test('flows are opened from a client to VIPs and from a pod to outside', async (t) => {
  const { address } = bed.rack.plan.clients.find(({ name }) => name === 'client2') ?? {}
  running.push(new Traffic(bed.rack.host('client1'), await bed.vips('flows'), 80, FLOWS))
  const to = [address?.ipv4 ?? '', address?.ipv6 ?? '']
  running.push(new Traffic(await bed.host('default/b1'), to, FLOW_PORT, FLOWS))
  await bed.until('every flow to be answered', async () => {
    const flows = await reports()
    return flows.length === 4 * FLOWS && flows.every(({ answered }) => answered > 0)
  })
  await expectWhole(t, 'at first')
})

/** Requests, each on a connection of its own, while something happens. */
async function withRequests(t: Test, what: string, happening: () => Promise<void>): Promise<void> {
  const load = loadFrom(bed.rack.host('client1'), urlOf(web, '/hostname'), [
    ...['--rate', '50', '--seconds', '6'],
  ])
  await happening()
  const { answered, failures, slow } = await load
  t.comment(`${what}: of requests ${answered} answered, ${slow} of them late, ${failures.length} failed`)
  t.ok(answered > 0)
}

async function healAll(links: readonly LinkPlan[]): Promise<void> {
  for (const link of links) await healLink(link, bed.rack.host)
}

interface Fault {
  readonly name: string
  readonly links: readonly LinkPlan[]
  readonly how: typeof cutLink
  /** Which nodes have lost which uplink. */
  readonly lost: readonly (readonly [node: string, uplink: string])[]
}

const cable = (uplink: string): readonly LinkPlan[] => [findLink(bed.rack.plan, `node1:${uplink}`)]
const everywhere = (uplink: string) => NODES.map((node) => [node, uplink] as const)
const FAULTS: readonly Fault[] = [
  ...BOTH.flatMap((uplink): Fault[] => [
    { name: `${uplink} without carrier`, links: cable(uplink), how: cutLink, lost: [['node1', uplink]] },
    {
      name: `${uplink} loses every frame`,
      links: cable(uplink),
      how: blackholeLink,
      lost: [['node1', uplink]],
    },
  ]),
  {
    name: 'tor1 is switched off',
    links: findLinks(bed.rack.plan, 'tor1'),
    how: cutLink,
    lost: everywhere('to-tor1'),
  },
  {
    name: 'tor2 forwards nothing',
    links: findLinks(bed.rack.plan, 'tor2'),
    how: blackholeLink,
    lost: everywhere('to-tor2'),
  },
]

/** A ToR that is dead at its links' other ends is left out by the fabric too, long before its sessions' hold time is over. */
async function untilSpineLeavesOut(t: Test, name: string): Promise<void> {
  const start = performance.now()
  const hops = () => Promise.all(vips.map((vip) => kernelNextHops(bed, 'spine', vip)))
  await bed.until(
    'the spine to send everything by the other ToR',
    async () => (await hops()).every((count) => count === 1),
    SPINE_MS,
  )
  t.comment(`${name}: the spine leaves it out after ${Math.round(performance.now() - start)} ms`)
}

for (const { name, links, how, lost } of FAULTS)
  t.test(`${name}, and comes back`, async (t) => {
    await untilSound()
    t.teardown(() => healAll(links))
    const before = await countersOf(bed.rack)
    await withRequests(t, name, async () => {
      for (const link of links) await how(link, bed.rack.host)
      if (links.length > 1) await untilSpineLeavesOut(t, name)
      for (const [node, uplink] of lost)
        await untilRoutes(
          t,
          name,
          node,
          BOTH.filter((one) => one !== uplink),
        )
    })
    await expectWhole(t, 'while it lasts')
    await healAll(links)
    for (const [node] of lost) await untilRoutes(t, 'back', node, BOTH)
    await expectWhole(t, 'afterwards')
    const after = await countersOf(bed.rack)
    for (const node of NODES)
      t.equal(
        packets(after.get(node), 'NO_NEXTHOP'),
        packets(before.get(node), 'NO_NEXTHOP'),
        `the datapath of ${node} always knew a way`,
      )
  })

t.test('both uplinks are lost: the last member stays, and flows wait for it', async (t) => {
  await untilSound()
  const [first, second] = BOTH.map((uplink) => findLink(bed.rack.plan, `node1:${uplink}`))
  if (!first || !second) throw new Error('a node has two uplinks')
  t.teardown(() => healAll([first, second]))
  await cutLink(first, bed.rack.host)
  await untilRoutes(t, 'one', 'node1', ['to-tor2'])
  await cutLink(second, bed.rack.host)
  await sleep(3000)
  await untilRoutes(t, 'none', 'node1', ['to-tor2'])
  const view = await bed.agent<{ defaultRoutes: { problem?: string }[] }>('node1', '/v1/uplinks')
  t.ok(view.defaultRoutes.every(({ problem }) => problem?.startsWith('every uplink is lost')))
  await healLink(first, bed.rack.host)
  await untilRoutes(t, 'the other one', 'node1', ['to-tor1'])
  await healLink(second, bed.rack.host)
  await untilRoutes(t, 'both', 'node1', BOTH)
  // Its routers must hear of it again before anything can reach it; what TCP lost meanwhile it sends again ever more rarely.
  await untilSound()
  await expectWhole(t, 'afterwards', PATIENCE_MS)
})

t.test(
  "an uplink is set down and up on the node: IPv6 keeps its address, and the route its member's",
  async (t) => {
    await untilSound()
    const host = bed.rack.host('node1')
    await runIn(host, ['ip', 'link', 'set', 'to-tor1', 'down'])
    await untilRoutes(t, 'down', 'node1', ['to-tor2'])
    const { stdout } = await runIn(host, ['ip', '-6', 'address', 'show', 'dev', 'to-tor1'])
    t.match(stdout, /fd00:254:1::1\/127/)
    await runIn(host, ['ip', 'link', 'set', 'to-tor1', 'up'])
    await untilRoutes(t, 'up', 'node1', BOTH)
    await expectWhole(t, 'afterwards')
  },
)

t.test('routes stay while the agent is away, and those of others are never touched', async (t) => {
  await untilSound()
  const node = bed.rack.plan.nodes[0]
  const agent = node && findProcess(`${bed.rack.host(node.name).directory}/agent.pid`)
  if (!node || !agent) throw new Error('the agent of node1 does not run')
  const host = bed.rack.host(node.name)
  const foreign = ['default', 'via', '10.254.1.0', 'dev', 'to-tor1', 'metric', '500']
  await runIn(host, ['ip', 'route', 'add', ...foreign])
  process.kill(agent.pid, 'SIGKILL')
  await sleep(2000)
  const routes = await defaultRoutes(node.name, '-4')
  t.equal(routes.length, 2)
  t.equal(routes.find(({ protocol }) => protocol === PROTOCOL)?.nexthops?.length, 2)
  const cut = findLink(bed.rack.plan, 'node1:to-tor1')
  await cutLink(cut, bed.rack.host)
  await startAgent(bed.rack, node)
  await bed.until('the route to lose its member', async () => {
    const own = (await defaultRoutes(node.name, '-4')).find(({ protocol }) => protocol === PROTOCOL)
    return own?.dev === 'to-tor2'
  })
  await healLink(cut, bed.rack.host)
  const kept = (await defaultRoutes(node.name, '-4')).filter(({ protocol }) => protocol !== PROTOCOL)
  t.match(kept, [{ metric: 500, gateway: '10.254.1.0' }])
  await runIn(host, ['ip', 'route', 'del', ...foreign])
  await untilRoutes(t, 'afterwards', node.name, BOTH)
  await expectWhole(t, 'afterwards')
})

t.test('weir uninstall takes the routes away, and says so', async (t) => {
  const host = bed.rack.host('node2')
  const agent = findProcess(`${host.directory}/agent.pid`)
  if (!agent) throw new Error('the agent of node2 does not run')
  signalProcess(agent, 'SIGTERM')
  await waitForEnd(agent, 10_000)
  t.equal((await defaultRoutes('node2', '-4')).length, 1, 'they stay when the agent ends')
  const config = `${host.directory}/agent.yaml`
  const { status, stdout, stderr } = await runIn(host, [
    process.execPath,
    WEIR,
    'uninstall',
    '--config',
    config,
  ])
  t.equal(status, 0, stderr)
  t.match(stdout, /default route of ipv4 via 10\.254\.1\.2, 10\.254\.2\.2/)
  t.match(stdout, /default route of ipv6 via fd00:254:1::2, fd00:254:2::2/)
  for (const family of ['-4', '-6'] as const) t.same(await defaultRoutes('node2', family), [])
})
