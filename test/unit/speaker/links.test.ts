// Sessions over links without IPv4 addresses, with a real gobgpd and BIRD: unnumbered (RFC 8950 over link-local addresses), IPv4 routes
// over an IPv6 session, a router that is replaced; and a collector.

import { spawnSync } from 'node:child_process'
import t from 'tap'
import type { Address, Prefix } from '../../../src/model/address.ts'
import type { BgpPeer, PeerExport } from '../../../src/model/routing.ts'
import { kernelRoutes, WEIR_ROUTE_PROTOCOL } from '../../../src/speaker/kernel-routes.ts'
import { readLinks } from '../../../src/speaker/links.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { ip, link, NODE_ASN, type RouterBed, routerAsn, until } from '../bgp/bed.ts'
import { announcement, attributes, exported, peerOf, routingOf } from './bed.ts'
import { allowed, BIRD, TwoRouters, untilUp } from './two-routers.ts'

const VIP = '203.0.113.7/32'
const VIP6 = '2001:db8:113::7/128'
const SECOND = 3
const COLLECTOR = `require('net').createServer((socket) => socket.on('data', (data) => console.log('bytes', data.length))).listen(11019, '127.0.0.1')`

/** The router looks for the node, whereupon the node knows the router. */
function sayHello(bed: RouterBed, index: number): void {
  const where = `--net=/run/netns/${bed.router(index)}`
  spawnSync('nsenter', [where, 'ping', '-c', '1', '-W', '1', '-I', 'to-node', 'ff02::1'])
}

t.test('links', async (t) => {
  const bed = new TwoRouters(t)
  const tor = await bed.addRouter(BIRD, '')
  const extended =
    'ipv4 { import all; export none; extended next hop on; }; ipv6 { import all; export none; };'
  const unnumbered = () =>
    `protocol bgp unnumbered from node { neighbor ${bed.linkLocal(bed.node, link(BIRD).device)}%'to-node' as ${NODE_ASN};
       passive on; ${extended.replace('export none', 'export where source = RTS_STATIC')} }`
  bed.reconfigureBird(BIRD, unnumbered())
  await bed.addRouter(
    SECOND,
    `protocol bgp six from node { neighbor ${link(SECOND).node6} as ${NODE_ASN}; passive on; ${extended} }`,
  )
  bed.startSupervisor(bed.node)
  const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
  t.teardown(() => netlink.close())
  const speaker = bed.speak({ readLinks: () => readLinks(netlink), kernelRoutes: kernelRoutes(netlink) })
  const base = peerOf('tor1', link(BIRD).router4, { asn: 'external', families: ['ipv4', 'ipv6'] })
  const first: BgpPeer = { ...base, remote: { kind: 'interface', interface: link(BIRD).device } }
  const six = peerOf('tor3', link(SECOND).router6, {
    asn: routerAsn(SECOND),
    localAddress: link(SECOND).node6 as Address,
    families: ['ipv4', 'ipv6'],
  })
  const routing = routingOf([first, six], { bmp: [{ address: '127.0.0.1' as Address, port: 11019 }] })
  const look = () => {
    sayHello(bed, BIRD)
    speaker.setRouting(routing, allowed)
  }
  const only = (name: string): PeerExport => ({ peers: [name], attributes: attributes() })
  ip('-n', bed.node, 'neigh', 'flush', 'dev', link(BIRD).device)
  speaker.setRouting(routing, allowed)
  speaker.setDesired([announcement(VIP), announcement(VIP6)])

  await t.test('IPv4 routes over an IPv6 session', async (t) => {
    await until('up', () => bed.kernelRoute(SECOND, VIP) !== '')
    t.match(bed.kernelRoute(SECOND, VIP), `via inet6 ${link(SECOND).node6} dev to-node`)
    t.match((await speaker.status()).problems, [{ code: 'peer-unresolved', text: /to-tor1/ }])
  })

  await t.test('an unnumbered session, once the kernel knows who is there', async (t) => {
    look()
    await until('up', () => bed.kernelRoute(BIRD, VIP) !== '', 25_000)
    const own = bed.linkLocal(bed.node, link(BIRD).device)
    t.match(bed.kernelRoute(BIRD, VIP), `via inet6 ${own} dev to-node`)
    await until('IPv6 too', () => bed.kernelRoute(BIRD, VIP6) !== '')
    t.match(
      (await speaker.status()).sessions.find(({ name }) => name === 'tor1'),
      { session: 'established' },
    )
  })

  await t.test('what it tells is learned over its link-local address, and goes with the rules', async (t) => {
    const prefix = '192.0.2.0/24' as Prefix
    const imports = {
      prefixes: [{ prefix, family: 'ipv4' as const, lengthMin: 24, lengthMax: 24 }],
      maxPrefixes: 1,
    }
    const kernel = () => ip('-n', bed.node, 'route', 'show', 'proto', `${WEIR_ROUTE_PROTOCOL}`).trim()
    speaker.setRouting({ ...routing, peers: [{ ...first, imports }, six] }, allowed)
    await until('learned', () => kernel() !== '')
    t.match(
      kernel(),
      `192.0.2.0/24 via inet6 ${bed.linkLocal(tor, 'to-node')} dev ${link(BIRD).device} metric 200`,
    )
    speaker.setRouting(routing, allowed)
    await until('gone', () => kernel() === '')
  })

  await t.test('exports name it as any other', async (t) => {
    speaker.setDesired([exported(VIP, [only('tor3')]), exported(VIP6, [only('tor1')])])
    await until(
      'each its own',
      () => bed.kernelRoute(BIRD, VIP) === '' && bed.kernelRoute(SECOND, VIP6) === '',
    )
    t.not(bed.kernelRoute(BIRD, VIP6), '')
    t.not(bed.kernelRoute(SECOND, VIP), '')
  })

  await t.test('a router that is replaced by one with another address', async (t) => {
    const before = (await speaker.status()).sessions.find(({ name }) => name === 'tor3')?.sinceMs
    const old = bed.linkLocal(tor, 'to-node')
    ip('-n', tor, 'addr', 'del', `${old}/64`, 'dev', 'to-node')
    ip('-n', tor, 'addr', 'add', 'fe80::99/64', 'dev', 'to-node', 'nodad')
    bed.bird(BIRD, 'restart', 'unnumbered')
    await until(
      'the session with the new one',
      async () => {
        look()
        const session = (await speaker.status()).sessions.find(({ name }) => name === 'tor1')
        return session?.address === `fe80::99%${link(BIRD).device}` && session.session === 'established'
      },
      45_000,
    )
    await until('the route', () => bed.kernelRoute(BIRD, VIP6) !== '')
    t.equal(bed.kernelRoute(BIRD, VIP), '', 'and no other')
    t.equal((await speaker.status()).sessions.find(({ name }) => name === 'tor3')?.sinceMs, before)
  })

  await t.test('a collector is told, and missed', async (t) => {
    look()
    const said = async () =>
      (await speaker.status()).problems.some(({ code }) => code === 'collector-unreachable')
    await until('missed', said)
    const collector = bed.spawn(bed.node, [process.execPath, '--eval', COLLECTOR], 'collector.log')
    t.teardown(() => collector.kill())
    await until('told', () => bed.read('collector.log').includes('bytes'), 40_000)
    look()
    await until('not missed', async () => !(await said()))
    await untilUp(speaker, 2)
  })
})
