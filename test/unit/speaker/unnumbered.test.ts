// IPv4 by IPv6 next hops (RFC 8950), on links with addresses and on links without any, with FRR and BIRD; what it takes that such a
// session begins, and what becomes of it without.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DefaultRoute } from '../../../src/agent/default-route.ts'
import { RouterAdvertisements } from '../../../src/agent/router-advertisements.ts'
import { NetworkView } from '../../../src/datapath/network-view.ts'
import { Icmpv6Socket } from '../../../src/sys/libc/icmpv6.ts'
import { announce, FabricBed, nodeObject, until } from './fabric-bed.ts'

t.setTimeout(300_000)
const SOON_MS = 40_000
const VIP = '203.0.113.7/32'
const VIP6 = '2001:db8:113::7/128'
const POOLS = 'pools: [{ name: default, prefixes: [203.0.113.0/24, "2001:db8:113::/112"] }]'
const TIMERS = 'timers: { holdSeconds: 9, connectRetrySeconds: 5 }'
const IMPORTS = 'imports: { prefixes: [{ prefix: 10.200.0.0/16, lengthMin: 24, lengthMax: 24 }] }'
const NODE_ASN = 65101
const BIRD = 2
const ADVERTISEMENT = 134
const quiet = { info: () => {}, warn: () => {}, debug: () => {} }

const frrFor = (peer: string, declaration: readonly string[]) => [
  'router bgp 65001',
  'bgp router-id 10.255.250.1',
  'no bgp ebgp-requires-policy',
  'no bgp default ipv4-unicast',
  ...declaration,
  `neighbor ${peer} timers 3 9`,
  `neighbor ${peer} timers connect 1`,
  `neighbor ${peer} capability extended-nexthop`,
  'address-family ipv4 unicast',
  ` neighbor ${peer} activate`,
  ' network 10.200.1.0/24',
  'exit-address-family',
  'address-family ipv6 unicast',
  ` neighbor ${peer} activate`,
  'exit-address-family',
  'exit',
]

const birdFor = (neighbour: string) => `router id 10.255.250.2;
protocol device {}
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol static { ipv4; route 10.200.2.0/24 blackhole; }
protocol bgp node {
  local as 65002; neighbor ${neighbour} as ${NODE_ASN}; hold time 9;
  error wait time 1, 2; connect delay time 1; connect retry time 1;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import all; export none; };
}
`

const config = (peers: readonly string[]) => `
routing:
  asn: ${NODE_ASN}
  routerId: 10.255.0.1
  loopbacks: [10.255.0.1/32, 'fd00:255::1/128']
  peers:
${peers.map((one) => `    - { ${one}, families: [ipv4, ipv6], ${TIMERS}, ${IMPORTS} }`).join('\n')}
${POOLS}`

/** FRR without next-hop groups writes a made-up IPv4 gateway, whose neighbour entry it makes of the node's link-local address. */
const FRR_STAND_IN = '169.254.0.1'

function leads(bed: FabricBed, tor: number, by: string): boolean {
  const [four, six] = [bed.gateways(`tor${tor}`, VIP), bed.gateways(`tor${tor}`, VIP6)]
  if (six.join() !== by) return false
  if (tor === BIRD) return four.join() === `inet6 ${by}`
  const told = bed.frrPaths('tor1', VIP)[0]?.nexthops?.map(({ ip }) => ip) ?? []
  return told.includes(by) && (four.join() === FRR_STAND_IN || four.join() === `inet6 ${by}`)
}

/** Packets of IPv4 between an address that the router announces and the VIP: as soon as FRR has heard an advertisement. */
async function reaches(bed: FabricBed, tor: number): Promise<boolean> {
  const [vip = ''] = VIP.split('/')
  const answers = (): boolean => {
    try {
      bed.run(`tor${tor}`, 'ping', '-n', '-c', '1', '-W', '1', '-I', `10.200.${tor}.1`, vip)
      return true
    } catch {
      return false
    }
  }
  await until(`packets between tor${tor} and the VIP`, answers, SOON_MS)
  return true
}

function giveAddresses(bed: FabricBed): void {
  for (const one of ['10.255.0.1/32', 'fd00:255::1/128', VIP, VIP6])
    bed.run('node', 'ip', 'address', 'add', one, 'dev', 'lo')
  for (const tor of [1, 2]) bed.run(`tor${tor}`, 'ip', 'address', 'add', `10.200.${tor}.1/32`, 'dev', 'lo')
}

for (const zebra of ['no zebra nexthop kernel enable', 'zebra nexthop kernel enable'])
  t.test(`IPv4 over IPv6 sessions, ${zebra}`, async (t) => {
    const bed = new FabricBed(t)
    for (const tor of [1, 2])
      bed.cable(
        { host: 'node', device: `to-tor${tor}`, addresses: [`fd00:254:${tor}::1/127`] },
        { host: `tor${tor}`, device: 'to-node', addresses: [`fd00:254:${tor}::/127`] },
      )
    giveAddresses(bed)
    await bed.addFrr('tor1', frrFor('fd00:254:1::1', [`neighbor fd00:254:1::1 remote-as ${NODE_ASN}`]), [
      zebra,
    ])
    bed.run('tor1', 'ip', 'route', 'add', 'blackhole', '10.200.1.0/24')
    await bed.addBird('tor2', birdFor('fd00:254:2::1'))
    const peers = [1, 2].map((tor) => `address: 'fd00:254:${tor}::', asn: 6500${tor}`)
    const node = await bed.addNode(nodeObject('node', []), config(peers))
    announce(node, VIP, VIP6)
    const { netlink, namespacePath, routing } = node
    const advertisements = new RouterAdvertisements({
      ...{ netlink, namespacePath, log: quiet },
      peers: () => routing.peers,
    })
    t.teardown(() => advertisements.close())
    for (const tor of [1, 2]) {
      const what = `tor${tor}'s kernel leads to the VIP by the node's IPv6 address`
      await until(what, () => leads(bed, tor, `fd00:254:${tor}::1`), SOON_MS)
      t.pass(what)
    }
    await until('the node has learned of both', () => bed.learned('node').length === 2, SOON_MS)
    t.same(bed.learned('node').sort(), [
      '10.200.1.0/24 via inet6 fd00:254:1::',
      '10.200.2.0/24 via inet6 fd00:254:2::',
    ])
    for (const tor of [1, 2]) t.ok(await reaches(bed, tor), `packets go to tor${tor} and back`)
  })

t.test('unnumbered', async (t) => {
  const bed = new FabricBed(t)
  for (const tor of [1, 2])
    bed.cable(
      { host: 'node', device: `to-tor${tor}`, addresses: [] },
      { host: `tor${tor}`, device: 'to-node', addresses: [] },
    )
  giveAddresses(bed)
  const linkLocal = (host: string, device: string): string => {
    const text = bed.run(host, 'ip', '-6', '-o', 'address', 'show', 'dev', device, 'scope', 'link')
    return /inet6 (\S+)\//.exec(text)?.[1] ?? ''
  }
  await until('addresses', () => [1, 2].every((tor) => linkLocal('node', `to-tor${tor}`) !== ''))
  await bed.addFrr('tor1', frrFor('to-node', ['neighbor to-node interface v6only remote-as external']))
  bed.run('tor1', 'ip', 'route', 'add', 'blackhole', '10.200.1.0/24')
  await bed.addBird('tor2', birdFor(`${linkLocal('node', 'to-tor2')}%'to-node'`))
  const peers = [1, 2].map((tor) => `name: tor${tor}, interface: to-tor${tor}, asn: external`)
  const node = await bed.addNode(nodeObject('node', []), config(peers))
  announce(node, VIP, VIP6)
  const { netlink, namespacePath } = node
  const advertise = () =>
    new RouterAdvertisements({ netlink, namespacePath, peers: () => node.routing.peers, log: quiet })
  const isUp = () => /Established/.test(bed.frr('tor1', 'show bgp neighbors to-node'))

  await t.test('FRR does not begin before it has heard of the node', async (t) => {
    await sleep(6000)
    t.notOk(isUp())
  })

  let advertisements = advertise()
  await t.test('it does once it has, and BIRD too', async (t) => {
    const start = performance.now()
    for (const tor of [1, 2]) {
      const by = linkLocal('node', `to-tor${tor}`)
      const what = `tor${tor}'s kernel leads to the VIP by the node's link-local address`
      await until(what, () => leads(bed, tor, by), SOON_MS)
      t.comment(`${what} after ${Math.round(performance.now() - start)} ms`)
    }
    t.same(advertisements.links, ['to-tor1', 'to-tor2'])
    await until('the node has learned of both', () => bed.learned('node').length === 2, SOON_MS)
    t.same(
      bed.learned('node').sort(),
      [1, 2].map((tor) => `10.200.${tor}.0/24 via inet6 ${linkLocal(`tor${tor}`, 'to-node')}`),
    )
    for (const tor of [1, 2]) t.ok(await reaches(bed, tor), `packets go to tor${tor} and back`)
  })

  await t.test('the default routes go there too, and nobody takes the node for a router', async (t) => {
    let route: DefaultRoute | undefined
    let mode: 'manage' | 'observe' = 'observe'
    const network = new NetworkView({
      netlink,
      uplinkNames: ['to-tor1', 'to-tor2'],
      ways: () => route?.ways ?? [],
      onChange: () => {},
      onProblem: () => {},
    })
    await network.start()
    route = new DefaultRoute({
      settings: () => ({ defaultRoute: mode }),
      netlink,
      network,
      wanted: () => ({ ...node.routing, areAll: true }),
      isNode: () => false,
      sessions: () => new Map(),
      isWayUp: () => undefined,
      onWays: () => {},
      log: quiet,
    })
    t.teardown(async () => {
      await route?.close()
      await network.close()
    })
    const wanted = [1, 2].map((tor) => linkLocal(`tor${tor}`, 'to-node')).sort()
    const view = (family: string) => route?.views.find((one) => one.family === family)
    const theirs = ['default', 'via', 'inet6', linkLocal('tor1', 'to-node'), 'dev', 'to-tor1', 'metric', '64']
    bed.run('node', 'ip', '-4', 'route', 'add', ...theirs)
    await until('observed', () => view('ipv4')?.hops.length === 1)
    t.equal(view('ipv6')?.hops.length, 0, 'who observes writes nothing')
    mode = 'manage'
    await until('told', () =>
      /EEXIST.*Mend: remove the default route of metric 64/.test(view('ipv4')?.problem ?? ''),
    )
    t.notMatch(bed.run('node', 'ip', 'route', 'show', 'default'), /proto 158/, 'a route of others stays')
    bed.run('node', 'ip', '-4', 'route', 'del', ...theirs)
    await until(
      'IPv4',
      () => bed.gateways('node', 'default').join() === wanted.map((one) => `inet6 ${one}`).join(),
    )
    const six = () => bed.run('node', 'ip', '-6', 'route', 'show', 'default')
    await until('IPv6', () => wanted.every((one) => six().includes(one)))
    t.match(bed.run('node', 'ip', 'route', 'show', 'default'), /proto 158 src 10\.255\.0\.1 metric 64/)
    t.equal(bed.run('tor2', 'ip', '-6', 'route', 'show', 'default'), '')
    const { gateways } = network.waysOut()
    t.same(
      gateways.map(({ family, address, mac }) => [family, address, mac !== undefined]).sort(),
      ['ipv4', 'ipv6'].flatMap((family) => wanted.map((one) => [family, one, true])).sort(),
      'and so the datapath knows where IPv4 goes',
    )
  })

  await t.test('a session that is up does not end for want of advertisements', async (t) => {
    await advertisements.close()
    await sleep(15_000)
    t.ok(isUp())
    advertisements = advertise()
  })

  await t.test('a router that solicits is answered; nobody takes the node for a way out', async (t) => {
    const heard: Buffer[] = []
    const socket = new Icmpv6Socket({
      namespacePath: `/run/netns/${bed.namespace('tor2')}`,
      ifindex:
        (JSON.parse(bed.run('tor2', 'ip', '-j', 'link', 'show', 'to-node')) as { ifindex: number }[])[0]
          ?.ifindex ?? 0,
      types: [ADVERTISEMENT],
      onMessage: (message, sender) => {
        if (sender === linkLocal('node', 'to-tor2')) heard.push(Buffer.from(message))
      },
      onError: (error) => t.fail(String(error)),
    })
    t.teardown(() => socket.close())
    await until('one by itself', () => heard.length === 1, 11_000)
    // Two within three seconds would be a flood.
    await sleep(3_000)
    const solicitation = Buffer.alloc(8)
    solicitation.writeUInt8(133, 0)
    socket.send(solicitation, 'ff02::2')
    const start = performance.now()
    await until('an answer', () => heard.length === 2, 2_000)
    t.comment(`answered after ${Math.round(performance.now() - start)} ms`)
    for (const message of heard) {
      t.equal(message.readUInt16BE(6), 0, 'router lifetime')
      t.equal(message.length, 24, 'with the address of the link')
    }
    t.equal(bed.run('tor2', 'ip', '-6', 'route', 'show', 'default'), '')
  })
  await advertisements.close()
})
