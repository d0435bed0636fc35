// At tc a packet for a pod skips the pod's device: real veths, real stacks at both ends. Whatever the state of checksums and segments, it must
// arrive whole, and with the device's queue in the way (NEXTHOP_BYPASS not set) the same.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { Attachments } from '../../src/datapath/attach.ts'
import { FAMILIES, type Family } from '../../src/model/address.ts'
import { F_TEST_XDP_LIVE_FRAMES } from '../../src/sys/libbpf-ts/program.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { deleteOrphans } from './orphans.ts'
import { type Frame, frame, mac, UDP } from './packet.ts'
import { ARRIVING, FROM_POD, POD_MTU, TARGET_PORT, TO_POD, World } from './world.ts'

const TRANSFER = fileURLToPath(new URL('./transfer.ts', import.meta.url))
const BYTES = 1 << 20
const PORT = 81
/** Of World: the pod's device and its row. The uplink's index is the next. */
const POD = { ifindex: 2, row: 16 } as const
const UPLINK_IFINDEX = 3
const HOSTS = ['client', 'node', 'pod'] as const
type Host = (typeof HOSTS)[number]

deleteOrphans('bypass')

const world = new World('bypass', true)
const namespace = (host: Host) => `weir-t${process.pid}-bypass-${host}`
const argvOf = (host: Host, argv: readonly string[]) => [`--net=/run/netns/${namespace(host)}`, ...argv]
const run = (host: Host, ...argv: string[]) =>
  execFileSync('nsenter', argvOf(host, argv), { encoding: 'utf8', timeout: 30_000 })
const ip = (host: Host, line: string) => run(host, 'ip', ...line.split(' '))

function makeNetwork(): void {
  for (const host of HOSTS) execFileSync('ip', ['netns', 'add', namespace(host)])
  const link = (index: number, name: string, near: string, far: string, peer: Host) =>
    ip(
      'node',
      `link add ${name} index ${index} address ${near} type veth peer eth0 address ${far} netns ${namespace(peer)}`,
    )
  link(POD.ifindex, 'p0', TO_POD.source, TO_POD.destination, 'pod')
  link(UPLINK_IFINDEX, 'up0', ARRIVING.destination, ARRIVING.source, 'client')
  for (const [host, name] of [
    ['node', 'p0'],
    ['node', 'up0'],
    ['client', 'eth0'],
    ['pod', 'eth0'],
  ] as const) {
    // The node itself says nothing there, which would be counted.
    if (host === 'node') ip(host, `link set ${name} addrgenmode none`)
    ip(host, `link set ${name} up`)
  }
  for (const family of FAMILIES) addressEnds(family)
}

function addressEnds(family: Family): void {
  const { client, pod, vip } = world.cast(family)
  const bits = family === 'ipv4' ? 32 : 128
  const noDad = family === 'ipv6' ? ' nodad' : ''
  const peer = (host: Host, own: string, other: string, lladdr: string) => {
    ip(host, `address add ${own}/${bits} dev eth0${noDad}`)
    ip(host, `route add ${other}/${bits} dev eth0`)
    ip(host, `neighbour add ${other} lladdr ${lladdr} dev eth0 nud permanent`)
  }
  peer('client', client, vip, ARRIVING.destination)
  peer('pod', pod, client, TO_POD.source)
}

function changeNexthop(row: number, change: (before: abi.Nexthop) => Partial<abi.Nexthop>): void {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(row)
  const before = abi.decodeNexthop(world.map('nexthops').lookup(key) ?? Buffer.alloc(abi.NEXTHOP_BYTES))
  world.map('nexthops').update(key, abi.encodeNexthop({ ...before, ...change(before) }))
}

function attach(): Attachments {
  const member = {
    ifindex: UPLINK_IFINDEX,
    destination: mac(ARRIVING.source),
    source: mac(ARRIVING.destination),
  }
  for (const row of [abi.NexthopRow.NEXTHOP_UPLINKS_IPV4, abi.NexthopRow.NEXTHOP_UPLINKS_IPV6])
    changeNexthop(row, ({ members }) => ({ members: [member, ...members.slice(1)] }))
  const attachments = new Attachments(`/sys/fs/bpf/weir-test-bypass-${process.pid}`)
  withNetworkNamespace(`/run/netns/${namespace('node')}`, () => {
    attachments.attachUplink(world.datapath.uplink, 'up0', UPLINK_IFINDEX, 'tc')
    attachments.attachPods(world.datapath.podTc, new Set([POD.ifindex]))
  })
  return attachments
}

async function serve(test: Test, family: Family): Promise<void> {
  const { pod } = world.cast(family)
  const argv = argvOf('pod', [process.execPath, TRANSFER, 'server', pod, String(TARGET_PORT)])
  const server = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  test.teardown(() => server.kill())
  await once(server.stdout, 'data')
}

const counter = (host: Host, name: string, what: string) =>
  Number(
    run(host, 'cat', `/proc/net/dev`)
      .match(new RegExp(`${name}:(.*)`))?.[1]
      ?.trim()
      .split(/\s+/)[{ rx: 1, tx: 9 }[what] ?? 0],
  )

/** @returns what each end counted besides: packets into the pod's device, and at the pod's end */
function transfer(test: Test, family: Family, name: string): { through: number; arrived: number } {
  const { vip } = world.cast(family)
  const before = { through: counter('node', 'p0', 'tx'), arrived: counter('pod', 'eth0', 'rx') }
  const said = run('client', process.execPath, TRANSFER, 'client', vip, String(PORT), String(BYTES))
  const [sent, heard] = said.trim().split(' | ')
  test.equal(heard, sent, `${name}: all of it came back`)
  test.match(sent, new RegExp(`^${BYTES} `))
  return {
    through: counter('node', 'p0', 'tx') - before.through,
    arrived: counter('pod', 'eth0', 'rx') - before.arrived,
  }
}

const setOffload = (state: 'on' | 'off') => {
  for (const host of ['client', 'pod'] as const)
    for (const feature of ['tx', 'tso', 'gro'])
      spawnSync('nsenter', argvOf(host, ['ethtool', '-K', 'eth0', feature, state]))
}

const forgetPathMtu = () => {
  for (const version of ['-4', '-6']) run('client', 'ip', version, 'route', 'flush', 'cache')
}

const setFlags = (flags: number) => changeNexthop(POD.row, () => ({ flags }))
const { NEXTHOP_BYPASS, NEXTHOP_REDIRECT } = abi.NexthopFlags

t.before(makeNetwork)
t.teardown(() => {
  for (const host of HOSTS) spawnSync('ip', ['netns', 'delete', namespace(host)])
  world.close()
})

for (const family of FAMILIES)
  t.test(family, async (t) => {
    const attachments = attach()
    t.teardown(() => attachments.close())
    await serve(t, family)
    const counted = () => world.metrics()
    const before = counted()
    for (const offload of ['on', 'off'] as const) {
      setOffload(offload)
      setFlags(NEXTHOP_REDIRECT)
      const by = transfer(t, family, `offload ${offload}, through the device`)
      t.ok(by.through > 0 && by.through === by.arrived, 'every packet went through the device')
      for (const flags of [NEXTHOP_REDIRECT | NEXTHOP_BYPASS, NEXTHOP_BYPASS]) {
        setFlags(flags)
        const past = transfer(t, family, `offload ${offload}, flags ${flags}, past the device`)
        t.ok(past.arrived > 0, 'the pod counts what it received')
        t.equal(past.through, 0, 'nothing went through the device')
      }
    }
    const grown = (reason: number) => (counted().get(reason) ?? 0) - (before.get(reason) ?? 0)
    t.ok(grown(abi.VerdictReason.REASON_TO_LOCAL) > 0)
    t.ok(grown(abi.VerdictReason.REASON_REPLY) > 0)
    t.equal(grown(abi.VerdictReason.REASON_PASSED_TO_STACK), 0)
  })

t.test('a pod with a smaller MTU: the client is told', async (t) => {
  const attachments = attach()
  t.teardown(() => attachments.close())
  setFlags(NEXTHOP_REDIRECT | NEXTHOP_BYPASS)
  ip('pod', 'link set eth0 mtu 1400')
  // The pod's stack would announce what it can take: the client must learn it of us.
  changeNexthop(POD.row, () => ({ mtu: 1300 }))
  for (const family of FAMILIES) {
    await serve(t, family)
    // With offload: unfinished checksums, and many segments at once.
    for (const offload of ['on', 'off'] as const) {
      setOffload(offload)
      forgetPathMtu()
      const before = world.metrics().get(abi.VerdictReason.REASON_TOO_BIG) ?? 0
      transfer(t, family, `${family}, offload ${offload}`)
      t.ok((world.metrics().get(abi.VerdictReason.REASON_TOO_BIG) ?? 0) > before, 'it was too big')
    }
  }
  changeNexthop(POD.row, () => ({ mtu: POD_MTU }))
  ip('pod', `link set eth0 mtu ${POD_MTU}`)
})

t.test('a client whose checksums are unfinished is refused by finished answers', async (t) => {
  const attachments = attach()
  t.teardown(() => attachments.close())
  // The uplink's device finishes what is unfinished as it sends: nothing of an answer may look so.
  const onUplink = (state: string) => run('node', 'ethtool', '-K', 'up0', 'tx', state, 'rx', state)
  setOffload('on')
  onUplink('off')
  t.teardown(() => onUplink('on'))
  for (const family of FAMILIES)
    for (const protocol of ['tcp', 'udp'] as const) {
      const said = run(
        'client',
        process.execPath,
        TRANSFER,
        'refused',
        world.cast(family).vip,
        '99',
        protocol,
      )
      t.equal(said, 'ECONNREFUSED\n', `${family} ${protocol}`)
    }
})

// Frames made here enter by the loopback device, which is a pod's for once.
t.test('what a pod sends with a VLAN tag is nothing of ours', (t) => {
  const LOOPBACK = 1
  const attachments = attach()
  t.teardown(() => attachments.close())
  ip('node', 'link set lo up')
  withNetworkNamespace(`/run/netns/${namespace('node')}`, () => {
    attachments.attachPods(world.datapath.podTc, new Set([POD.ifindex, LOOPBACK]))
    for (const family of FAMILIES) {
      const { pod, client } = world.cast(family)
      const xdp = (sent: Frame, flags = 0) => world.datapath.uplink.xdp.testRun({ data: sent.bytes(), flags })
      const answer = frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40_000).payload(77).udp()
      const turned = (sent: Frame) => {
        const before = world.metrics().get(abi.VerdictReason.REASON_REPLY) ?? 0
        xdp(sent, F_TEST_XDP_LIVE_FRAMES)
        return (world.metrics().get(abi.VerdictReason.REASON_REPLY) ?? 0) - before
      }
      xdp(world.request(family, UDP, PORT))
      t.equal(turned(answer), 1, `${family}: untagged`)
      t.equal(turned(answer.tagged(7)), 0, `${family}: tagged`)
    }
  })
  t.end()
})
