// What is shown of gobgpd's tables, held against the routers' own: what each is told and tells, what becomes of it, who listens (a raw
// BMP station that takes the messages apart), and how often a session fell.

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { describeAdvertised, describeReceived } from '../../../src/agent/bgp-routes-view.ts'
import type { Address } from '../../../src/model/address.ts'
import { inPrefixOrder } from '../../../src/model/prefix-order.ts'
import { kernelRoutes } from '../../../src/speaker/kernel-routes.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { link, NODE_ASN, until } from '../bgp/bed.ts'
import { attributes, cidr, exported, routingOf } from './bed.ts'
import { allowed, BIRD, bothRouters, FRR, peer, TwoRouters, untilUp } from './two-routers.ts'

t.setTimeout(300_000)
const COLLECTOR_PORT = 11_019
const STATION = fileURLToPath(new URL('./bmp-station.ts', import.meta.url))

const birdPeers = (routes: readonly string[]) => `
protocol static more { ipv4; ${routes.map((one) => `route ${one} blackhole;`).join(' ')} }
protocol bgp node4 from node { neighbor ${link(BIRD).node4} as ${NODE_ASN}; graceful restart on;
  ipv4 { import all; export where source = RTS_STATIC; }; }
`

t.test('tables', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(
    BIRD,
    birdPeers(['203.0.113.0/24', '10.200.1.0/24', '10.201.0.0/24', '10.200.2.0/24', '10.200.3.0/24']),
  )
  await bed.addFrr()
  bed.startSupervisor(bed.node)
  const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
  t.teardown(() => netlink.close())
  const speaker = bed.speak({ kernelRoutes: kernelRoutes(netlink) })
  const imports = {
    prefixes: [{ prefix: cidr('10.200.0.0/16'), family: 'ipv4' as const, lengthMin: 24, lengthMax: 24 }],
    maxPrefixes: 2,
  }
  const routing = routingOf([peer(BIRD, { imports }), peer(FRR)])
  speaker.setRouting(routing, allowed)
  const both = [`tor${BIRD}`, `tor${FRR}`]
  speaker.setDesired([
    exported('203.0.113.7/32', [
      { peers: [`tor${BIRD}`], attributes: attributes({ communities: ['65101:1'], med: 5, prepend: 1 }) },
      { peers: [`tor${FRR}`], attributes: attributes({ largeCommunities: ['65101:1:2'] }) },
    ]),
    exported('203.0.113.8/32', [{ peers: [`tor${FRR}`], attributes: attributes() }]),
    exported('10.255.0.1/32', [{ peers: both, attributes: attributes() }]),
  ])
  await untilUp(speaker, 2)

  const table = async (index: number) => {
    const { announcements } = await speaker.status()
    const routes = await speaker.tables.advertised({ kind: 'address', address: link(index).router4 })
    return inPrefixOrder(describeAdvertised(`tor${index}`, routes, announcements, true))
  }

  await t.test('advertised: as each router has it, without the markers of classes', async (t) => {
    await until('BIRD has it', () => bed.birdRoute(BIRD, '203.0.113.7/32') !== '')
    const bird = await table(BIRD)
    t.strictSame(
      bird.map(({ prefix, status }) => `${prefix} ${status}`),
      ['10.255.0.1/32 advertised', '203.0.113.7/32 advertised'],
    )
    const told = bed.birdRoute(BIRD, '203.0.113.7/32')
    t.match(told, `BGP.as_path: ${bird[1]?.asPath.join(' ')}`)
    t.match(told, `BGP.med: ${bird[1]?.attributes.med}`)
    t.match(told, `BGP.next_hop: ${bird[1]?.nextHop}`)
    t.strictSame(bird[1]?.attributes.communities, ['65101:1'])
    await until('FRR has both', () => bed.frrPath('203.0.113.8/32') !== undefined)
    const frr = await table(FRR)
    t.strictSame(
      frr.map(({ prefix }) => prefix),
      ['10.255.0.1/32', '203.0.113.7/32', '203.0.113.8/32'],
    )
    t.equal(bed.frrPath('203.0.113.7/32')?.largeCommunity?.string, frr[1]?.attributes.largeCommunities.join())
  })

  await t.test('received: every route that is told, and what becomes of it', async (t) => {
    const rows = async () => {
      const { router4 } = link(BIRD)
      return describeReceived(
        'bird',
        await speaker.tables.received({ kind: 'address', address: router4 }, router4),
      )
    }
    await until(
      'it is told',
      async () => (await rows()).filter(({ verdict }) => verdict === 'taken').length === 2,
    )
    const verdicts = new Map((await rows()).map(({ prefix, verdict }) => [prefix, verdict]))
    t.equal(verdicts.get('203.0.113.0/24'), 'ours')
    t.equal(verdicts.get('10.201.0.0/24'), 'not-named')
    const named = ['10.200.1.0/24', '10.200.2.0/24', '10.200.3.0/24'].map((one) => verdicts.get(one))
    t.strictSame(named.sort(), ['over-limit', 'taken', 'taken'])
    t.equal((await rows())[0]?.nextHop, link(BIRD).router4)
    speaker.setRouting(bothRouters(), allowed)
    await until('no imports', async () => (await rows()).every(({ verdict }) => verdict === 'no-rules'))
  })

  await t.test('a collector gets initiation, peers and routes, and is shown as up', async (t) => {
    const place = { address: '127.0.0.1' as Address, port: COLLECTOR_PORT }
    const collectors = async () => (await speaker.tables.daemon())?.collectors
    speaker.setRouting(bothRouters({ bmp: [place] }), allowed)
    await until('it is known', async () => (await collectors())?.length === 1)
    t.equal((await collectors())?.[0]?.upSinceMs, undefined, 'nobody is there')
    bed.spawn(bed.node, [process.execPath, STATION, String(COLLECTOR_PORT)], 'bmp.log')
    const messages = () => bed.read('bmp.log').split('\n')
    const saw = (pattern: RegExp) => () => messages().some((line) => pattern.test(line))
    await until('initiation', () => saw(/^initiation sysName=\S+/)(), 40_000)
    await until('both peers', () =>
      [BIRD, FRR].every((one) => saw(new RegExp(`^peer-up ${link(one).router4} AS 6500${one}`))()),
    )
    await until(
      'what BIRD tells',
      saw(new RegExp(`^route-monitoring ${link(BIRD).router4} .*10\\.200\\.1\\.0/24`)),
    )
    t.ok(
      messages().indexOf(messages().find((line) => line.startsWith('initiation')) ?? '') === 0,
      'initiation first',
    )
    await until('it is shown as up', async () => (await collectors())?.[0]?.upSinceMs !== undefined)
    speaker.setRouting(bothRouters(), allowed)
    await until('it is gone', async () => (await collectors())?.length === 0)
  })

  await t.test('a session that falls is counted', async (t) => {
    const session = async () => (await speaker.status()).sessions.find(({ name }) => name === `tor${BIRD}`)
    t.equal((await session())?.flaps, 0)
    bed.bird(BIRD, 'restart', 'node4')
    await until('it fell', async () => (await session())?.flaps === 1)
    t.match((await session())?.lastError, /ended at/)
    await untilUp(speaker, 2)
    t.equal((await session())?.lastError, undefined, 'what is over is no error')
  })
})
