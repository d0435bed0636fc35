// A rack whose uplinks have no addresses: nodes are known by router advertisements, one session over link-local addresses carries both
// families to FRR and to BIRD (RFC 8950), BFD watches the link-local neighbours, and Weir's programs at XDP send IPv4 to routers of which
// only an IPv6 address is known. What is said of routes and sessions is the routers' own word.

import t from 'tap'
import { linkLocalOf } from '../../src/sandbox/address-plan.ts'
import { runIn } from '../../src/sandbox/host.ts'
import { blackholeLink, findLink, healLink } from '../../src/sandbox/links.ts'
import { countersOf, packets } from '../../src/sandbox/proof/context.ts'
import { kernelNextHops, spineAddresses } from '../../src/sandbox/proof/routes.ts'
import { routerBfdSessions, routerSessions } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { expectAnswerers, expectConnect } from './conformance/expect.ts'
import { pod, service, TCP_AND_UDP } from './conformance/manifests.ts'
import { flowPod, flowService } from './traffic/manifests.ts'
import { Traffic } from './traffic/traffic.ts'
import { watchFlows } from './traffic/watch.ts'

t.setTimeout(300_000)
const TORS = ['tor1', 'tor2'] as const
const NODES = ['node1', 'node2'] as const
const FLOWS = 50
const PROTOCOL = '158'

const bed = await Bed.up({ name: 'unnumb', nodes: NODES.length, unnumbered: true })
let traffic: Traffic | undefined
t.teardown(async () => {
  traffic?.close()
  await bed.down()
})

async function ip<T>(host: string, ...args: readonly string[]): Promise<T> {
  const { stdout } = await runIn(bed.rack.host(host), ['ip', '-j', ...args])
  return JSON.parse(stdout.trim() || '[]') as T
}

/** The node's end of its link to a ToR. */
const ownAddress = (node: string, tor: string): string =>
  linkLocalOf(findLink(bed.rack.plan, `${node}:to-${tor}`).lower.mac ?? '')

await bed.apply(
  ...NODES.map((node, index) => pod(`p${index + 1}`, { node, labels: { app: 'p' } })),
  pod('far', { node: 'node2', labels: { app: 'far' } }),
  flowPod('flows', 'node2'),
  service('web', { type: 'LoadBalancer', selector: { app: 'p' }, ports: TCP_AND_UDP }),
  service('far', { type: 'LoadBalancer', selector: { app: 'far' } }),
  service('local', { type: 'LoadBalancer', selector: { app: 'far' }, externalTrafficPolicy: 'Local' }),
  flowService({ app: 'flows' }),
)
await Promise.all(['p', 'far', 'flows'].map((app) => bed.waitForPods(`app=${app}`)))

async function areLed(vips: readonly string[], count: number): Promise<boolean> {
  const hops = await Promise.all(TORS.flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))))
  return hops.every((one) => one === count)
}

t.test('links have link-local addresses alone, and XDP on them', async (t) => {
  for (const node of NODES) {
    const { uplinks } = await bed.agent<{ uplinks: { name: string; hook?: string }[] }>(node, '/v1/status')
    t.same(
      uplinks.map(({ name, hook }) => [name, hook]),
      TORS.map((tor) => [`to-${tor}`, 'xdp']),
    )
    for (const tor of TORS) {
      const [link] = await ip<{ addr_info: { scope: string; local: string }[] }[]>(
        node,
        ...['address', 'show', 'dev', `to-${tor}`],
      )
      t.match(link?.addr_info, [{ scope: 'link', local: ownAddress(node, tor) }])
    }
  }
})

t.test(
  'one session to each ToR carries both families, watched by BFD over link-local addresses',
  async (t) => {
    for (const tor of TORS) {
      const sessions = (await routerSessions(bed.rack, tor)).filter(({ peer }) => peer.startsWith('node'))
      t.same(
        sessions.map(({ peer, state, address }) => [peer, state, address]),
        NODES.map((node) => [node, 'Established', ownAddress(node, tor)]),
        tor,
      )
      await bed.until(`BFD on ${tor}`, async () =>
        (await routerBfdSessions(bed.rack, tor)).every(({ isUp }) => isUp),
      )
      const spine = new Set(spineAddresses(bed.rack.plan))
      const watched = (await routerBfdSessions(bed.rack, tor))
        .map(({ address }) => address)
        .filter((address) => !spine.has(address))
      t.same(watched.sort(), NODES.map((node) => ownAddress(node, tor)).sort(), `${tor} watches the nodes`)
      t.same(await ip(tor, '-6', 'route', 'show', 'default'), [], `${tor} takes nobody for a way out`)
    }
    for (const node of NODES) {
      const { advertised } = await bed.agent<{ advertised: string[] }>(node, '/v1/uplinks')
      t.same(advertised, ['to-tor1', 'to-tor2'], `${node} tells routers of itself`)
    }
  },
)

t.test('the default routes of both families lead to link-local addresses', async (t) => {
  for (const node of NODES)
    for (const family of ['-4', '-6']) {
      const [route] = await ip<
        { protocol: string; nexthops?: { via?: { host: string }; gateway?: string; dev: string }[] }[]
      >(node, family, 'route', 'show', 'default')
      t.equal(route?.protocol, PROTOCOL)
      t.same(
        route?.nexthops?.map(({ via, gateway, dev }) => [via?.host ?? gateway, dev]),
        TORS.map((tor) => [
          linkLocalOf(findLink(bed.rack.plan, `${node}:to-${tor}`).upper.mac ?? ''),
          `to-${tor}`,
        ]),
        `${node} ${family}`,
      )
    }
})

t.test('VIPs are in both kernels by both nodes, and every pod answers, here and by DSR', async (t) => {
  const vips = await bed.vips('web')
  const far = await bed.vips('far')
  await bed.until('the VIPs in both ToRs', () => areLed([...vips, ...far], NODES.length))
  await expectAnswerers(bed, t, ['client1', 'client2'], vips, ['p1', 'p2'])
  await expectAnswerers(bed, t, 'client1', vips, ['p1', 'p2'], { protocol: 'udp' })
  const before = await countersOf(bed.rack)
  await expectAnswerers(bed, t, ['client1', 'client2'], far, ['far'])
  const after = await countersOf(bed.rack)
  const more = (node: string, ...reasons: string[]) =>
    packets(after.get(node), ...reasons) - packets(before.get(node), ...reasons)
  t.ok(more('node1', 'TO_REMOTE') > 0, 'what entered by node1 went on in a tunnel')
  t.ok(more('node2', 'FROM_TUNNEL') > 0 && more('node2', 'TO_LOCAL') > 0, 'node2 had some of both ways')
  t.ok(more('node2', 'REPLY') > more('node2', 'FROM_TUNNEL') / 2, 'and answered itself')
  t.equal(more('node1', 'REPLY', 'SNAT_REPLY'), 0, 'nothing came back by node1')
  for (const node of NODES) t.equal(packets(after.get(node), 'NO_NEXTHOP'), 0, `${node} always knew a way`)
  await expectConnect(bed, t, 'client1', vips, 'refused', { port: 81 })
})

t.test('a Local Service is announced by its node alone', async (t) => {
  const vips = await bed.vips('local')
  await bed.until('one next hop', () => areLed(vips, 1))
  await expectAnswerers(bed, t, 'client1', vips, ['far'])
})

t.test('pods reach VIPs, ClusterIPs and pods of other nodes', async (t) => {
  const { clusterIps, vips } = await bed.serviceAddresses('far')
  await expectAnswerers(bed, t, ['default/p1', 'node1'], [...clusterIps, ...vips], ['far'])
  await expectAnswerers(bed, t, 'default/p1', await bed.podAddresses('far'), ['far'], { port: 8080 })
})

t.test(
  'a link that loses every frame is left within BFD’s time, flows go on, and it comes back',
  async (t) => {
    const vips = await bed.vips('flows')
    await bed.until('the VIPs', () => areLed(vips, NODES.length))
    traffic = new Traffic(bed.rack.host('client1'), vips, 80, FLOWS)
    const running = [traffic]
    const expectWhole = async (what: string) => {
      const { flows, isAnsweredSince } = await watchFlows(bed, running, { withinMs: 15_000 })
      t.equal(flows.length, 2 * FLOWS)
      t.equal(flows.filter((flow) => !isAnsweredSince(flow) || flow.failures.length > 0).length, 0, what)
    }
    await expectWhole('flows go')
    // While the first link recovers, which takes BGP some ten seconds, one of the other node and the other ToR is lost.
    for (const [node, tor, other] of [
      ['node2', 'tor1', 'tor2'],
      ['node1', 'tor2', 'tor1'],
    ] as const) {
      const link = findLink(bed.rack.plan, `${node}:to-${tor}`)
      const isUp = async () =>
        (await routerBfdSessions(bed.rack, tor)).find(({ address }) => address === ownAddress(node, tor))
          ?.isUp
      await blackholeLink(link, bed.rack.host)
      await bed.until(`${tor}'s BFD to be down`, async () => (await isUp()) === false)
      await onWays(node, other)
      await expectWhole(`without the link of ${node} to ${tor}`)
      await healLink(link, bed.rack.host)
      await onWays(node, ...TORS)
      await bed.until(`${tor}'s BFD to be up`, async () => (await isUp()) === true)
    }
    await bed.until('the VIPs by both again', () => areLed(vips, NODES.length))
    await expectWhole('with both again')
  },
)

async function onWays(node: string, ...tors: readonly string[]): Promise<void> {
  await bed.until(`the routes of ${node} over ${tors.join(', ')}`, async () => {
    const routes = await Promise.all(
      ['-4', '-6'].map((family) =>
        ip<{ dev?: string; nexthops?: { dev: string }[] }[]>(node, family, 'route', 'show', 'default'),
      ),
    )
    const devices = routes.map(([route]) => route?.nexthops?.map(({ dev }) => dev) ?? [route?.dev])
    return devices.every((one) => one.join() === tors.map((tor) => `to-${tor}`).join())
  })
}
