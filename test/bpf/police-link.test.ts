// Policy between real stacks: two pods of one node and the node itself, with programs on both directions of the pods' devices.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { Attachments } from '../../src/datapath/attach.ts'
import { KnownNetns } from '../../src/datapath/known-netns.ts'
import { datapathTables, policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, address, addressToBytes, FAMILIES, type Family } from '../../src/model/address.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { networkNamespaceCookie } from '../../src/sys/libc/sockets.ts'
import { runUplink } from './check.ts'
import { deleteOrphans } from './orphans.ts'
import { type Frame, frame, mac, speaking, TCP, UDP } from './packet.ts'
import { EVERYBODY, movePodsToLoopback, said, uniform } from './policy-rows.ts'
import { FROM_POD, TC, TO_POD, World, XDP } from './world.ts'

const TRANSFER = fileURLToPath(new URL('./transfer.ts', import.meta.url))
const BYTES = 1 << 20
const HOSTS = ['node', 'pod', 'localClient'] as const
type Host = (typeof HOSTS)[number]
const DEVICE = { pod: 2, localClient: 3 } as const
const SET = { pod: 1, localClient: 2 } as const
const [OPEN_PORT, CLOSED_PORT] = [8080, 8081]
const LOOPBACK = { ipv4: address('127.0.0.1'), ipv6: address('::1') }
const ANY = { ipv4: address('0.0.0.0'), ipv6: address('::') }
/** Enters the cgroup and becomes the command. */
const ENTER = 'echo $$ >"$0"/cgroup.procs && exec "$@"'
/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192
const TC_UNSPEC = 0xffff_ffff
/** A connection that nobody answers. */
const PROBE_SECONDS = 1

deleteOrphans('police')

const cgroup = `${cgroupMount()}/weir-test-police-${process.pid}`
const world = new World('police-link', false, { enforcesPolicy: true })
const maps = new PolicyMaps(
  policyTables((name) => world.map(name)),
  () => 0,
)
const namespace = (host: Host) => `weir-t${process.pid}-police-${host}`
const argvOf = (host: Host, argv: readonly string[]) => [`--net=/run/netns/${namespace(host)}`, ...argv]
const run = (host: Host, ...argv: string[]) =>
  execFileSync('nsenter', argvOf(host, argv), { encoding: 'utf8', timeout: 30_000 })
const ip = (host: Host, line: string) => run(host, 'ip', ...line.split(' '))

function makePod(host: 'pod' | 'localClient'): void {
  const device = `p${DEVICE[host]}`
  const [near, far] = [`0a:00:00:00:0${DEVICE[host]}:01`, `0a:00:00:00:0${DEVICE[host]}:02`]
  ip(
    'node',
    `link add ${device} index ${DEVICE[host]} address ${near} type veth peer eth0 address ${far} netns ${namespace(host)}`,
  )
  for (const [where, name] of [
    ['node', device],
    [host, 'eth0'],
    [host, 'lo'],
  ] as const)
    ip(where, `link set ${name} up`)
  for (const family of FAMILIES) {
    const own = world.cast(family)[host]
    const [bits, gateway, any] = family === 'ipv4' ? [32, '169.254.1.1', 'default'] : [128, 'fe80::1', '::/0']
    ip(host, `address add ${own}/${bits} dev eth0${family === 'ipv6' ? ' nodad' : ''}`)
    ip(host, `route add ${gateway}/${bits} dev eth0`)
    ip(host, `route add ${any} via ${gateway} dev eth0`)
    ip(host, `neighbour add ${gateway} lladdr ${near} dev eth0 nud permanent`)
    ip('node', `route add ${own}/${bits} dev ${device}`)
    ip('node', `neighbour add ${own} lladdr ${far} dev ${device} nud permanent`)
    const row = { ifindex: DEVICE[host], nexthopId: 0, pod: mac(far), host: mac(near) }
    world.map('endpoints').update(addressToBytes(own), abi.encodeEndpoint(row))
  }
}

function makeNetwork(): void {
  for (const host of HOSTS) execFileSync('ip', ['netns', 'add', namespace(host)])
  run(
    'node',
    'sh',
    '-c',
    'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
  )
  ip('node', 'link set lo up')
  for (const family of FAMILIES) ip('node', `address add ${world.cast(family).node} dev lo`)
  makePod('pod')
  makePod('localClient')
}

const CLASS = { deny: 1, onePort: 2, allow: 3, open: 0 } as const
const ports = [said(false), said(true, OPEN_PORT), said(false, OPEN_PORT + 1)]

let epoch = 0
function policy(
  host: keyof typeof SET,
  ingress: keyof typeof CLASS,
  egress: keyof typeof CLASS,
  at: 'pod' | 'localClient' | 'remotePod' = host,
): void {
  const all = (one: keyof typeof CLASS) => ({
    defaults: [CLASS[one], CLASS[one], CLASS[one]] as const,
    isOpen: one === 'open',
  })
  epoch += 1
  maps.apply([
    { table: 'sets', put: [{ set: SET[host], epoch, ingress: all(ingress), egress: all(egress) }] },
    {
      table: 'subjects',
      put: FAMILIES.map((family) => ({
        ...{ kind: 'pod', address: world.cast(family)[at], set: SET[host], pod: `a/${at}` },
        hairpin: { ingress: 0, egress: 0 },
      })),
    },
  ])
}

/** @param inside a cgroup that the process enters first */
async function serve(test: Test, host: Host, at: Address, port: number, inside?: string): Promise<void> {
  const command = [process.execPath, TRANSFER, 'server', at, String(port)]
  const argv = argvOf(host, inside === undefined ? command : ['sh', '-c', ENTER, inside, ...command])
  const server = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  test.teardown(() => server.kill())
  await once(server.stdout, 'data')
}

function transfers(test: Test, from: Host, to: Address, port: number, name: string): void {
  const [sent, heard] = run(from, process.execPath, TRANSFER, 'client', to, String(port), String(BYTES))
    .trim()
    .split(' | ')
  test.equal(heard, sent, `${name}: all of it came back`)
}

/** Whether a connection comes about. @param inside a cgroup that the process enters first */
function connects(from: Host, to: Address, port: number, inside?: string): boolean {
  const enter = inside === undefined ? '' : `echo $$ >${inside}/cgroup.procs; `
  const script = `${enter}exec 3<>/dev/tcp/${to}/${port}`
  const argv = argvOf(from, ['timeout', String(PROBE_SECONDS), 'bash', '-c', script])
  return spawnSync('nsenter', argv, { stdio: 'ignore' }).status === 0
}

const pings = (from: Host, to: Address) =>
  spawnSync('nsenter', argvOf(from, ['ping', '-c', '1', '-W', '1', to]), { stdio: 'ignore' }).status === 0

t.before(() => {
  makeNetwork()
  maps.apply([
    {
      table: 'classes',
      put: [
        uniform(CLASS.deny, said(false)),
        uniform(CLASS.allow, said(true)),
        {
          class: CLASS.onePort,
          uniform: undefined,
          protocols: [ports, ports, [said(false)], [said(false)], [said(false)], [said(false)]],
        },
      ],
    },
    EVERYBODY,
  ])
})
t.teardown(() => {
  for (const part of ['/pods/a', '/pods', '']) if (existsSync(cgroup + part)) rmdirSync(cgroup + part)
  for (const host of HOSTS) spawnSync('ip', ['netns', 'delete', namespace(host)])
  world.close()
})

t.test('the pods’ cgroup is closed until they are known, whatever their devices carry', async (t) => {
  const attachments = new Attachments(`/sys/fs/bpf/weir-test-police-closed-${process.pid}`)
  mkdirSync(`${cgroup}/pods/a`, { recursive: true })
  const { closed } = world.datapath
  const close = (...cgroups: string[]) =>
    attachments.attachCgroups(closed, ['weir_closed_egress', 'weir_closed_ingress'], cgroups)
  t.strictSame(
    close(`${cgroup}/pods`, `${cgroup}/none`),
    [`${cgroup}/none`],
    'a cgroup that is not there is told',
  )
  t.teardown(() => {
    close()
    attachments.close()
  })
  const netns = (host: Host) => networkNamespaceCookie(`/run/netns/${namespace(host)}`)
  const known = new KnownNetns(datapathTables((name) => world.map(name)).knownNetns)
  /** From a container of a pod; its devices carry nothing yet. */
  const inside = `${cgroup}/pods/a`
  const fromPod = (to: Address, port: number) => connects('localClient', to, port, inside)
  const toPod = (port: number, family: Family) => connects('pod', world.cast(family).localClient, port)
  for (const family of FAMILIES) {
    const { pod } = world.cast(family)
    await serve(t, 'pod', pod, OPEN_PORT + 10)
    const own = OPEN_PORT + (family === 'ipv4' ? 11 : 12)
    await serve(t, 'localClient', ANY[family], own, inside)
    t.ok(connects('localClient', pod, OPEN_PORT + 10), `${family}: outside of the cgroup nobody asks`)
    // Its address is known, as that of the pod that had it before.
    policy('localClient', 'open', 'open')
    t.notOk(fromPod(pod, OPEN_PORT + 10), `${family}: nobody knows it`)
    t.notOk(toPod(own, family), `${family}: nor does anybody reach it`)
    t.ok(connects('localClient', LOOPBACK[family], own, inside), `${family}: but itself`)
    known.set(new Map([[netns('localClient'), 'judged']]))
    t.ok(fromPod(pod, OPEN_PORT + 10), `${family}: known`)
    t.ok(toPod(own, family))
    known.set(new Map([[netns('pod'), 'judged']]))
    t.notOk(fromPod(pod, OPEN_PORT + 10), `${family}: another is`)
    known.set(new Map())
  }
})

t.test('two pods and their node', async (t) => {
  const attachments = new Attachments(`/sys/fs/bpf/weir-test-police-link-${process.pid}`)
  t.teardown(() => attachments.close())
  withNetworkNamespace(`/run/netns/${namespace('node')}`, () => {
    const { podTc, podEgressTc } = world.datapath
    attachments.attachPods(podTc, new Set(Object.values(DEVICE)), podEgressTc)
  })
  for (const family of FAMILIES) {
    const { pod, localClient, node } = world.cast(family)
    for (const port of [OPEN_PORT, CLOSED_PORT]) await serve(t, 'pod', pod, port)
    await serve(t, 'node', node, OPEN_PORT)
    maps.apply([
      { table: 'subjects', delete: [pod, localClient].map((address) => ({ kind: 'pod', address }) as const) },
    ])
    t.notOk(connects('localClient', pod, OPEN_PORT), `${family}: closed until they are known`)
    t.ok(connects('node', pod, OPEN_PORT), `${family}: but for their node`)

    policy('localClient', 'deny', 'open')
    t.notOk(connects('localClient', pod, OPEN_PORT), `${family}: the other is not known yet`)
    policy('pod', 'onePort', 'deny')
    transfers(t, 'localClient', pod, OPEN_PORT, `${family}: between pods`)
    transfers(t, 'node', pod, OPEN_PORT, `${family}: from the node`)
    transfers(t, 'localClient', node, OPEN_PORT, `${family}: to the node`)
    t.notOk(connects('localClient', pod, CLOSED_PORT), `${family}: another port`)
    t.ok(connects('node', pod, CLOSED_PORT), `${family}: NP-012 the node reaches its pods whatever they say`)
    t.notOk(connects('pod', node, OPEN_PORT), `${family}: the pod may begin nothing`)
    t.notOk(pings('localClient', pod), `${family}: pings are not in that class`)
    t.ok(pings('node', pod), `${family}: but of the node`)
    t.ok(connects('pod', pod, CLOSED_PORT), `${family}: NP-012 nobody is kept from himself`)
    policy('pod', 'open', 'open')
    policy('localClient', 'deny', 'open')
    t.ok(pings('localClient', pod), `${family}: and come back though ingress is denied`)
    policy('localClient', 'deny', 'onePort')
    t.notOk(connects('localClient', pod, CLOSED_PORT))
    t.ok(connects('localClient', pod, OPEN_PORT))
  }
})

t.test('two pods of one bridge, which routes nothing between them: its ports judge', async (t) => {
  const attachments = new Attachments(`/sys/fs/bpf/weir-test-police-link-${process.pid}`)
  t.teardown(() => attachments.close())
  ip('node', 'link add br0 type bridge')
  ip('node', 'link set br0 up')
  for (const index of Object.values(DEVICE)) ip('node', `link set p${index} master br0`)
  const ports = new Set(Object.values(DEVICE))
  withNetworkNamespace(`/run/netns/${namespace('node')}`, () => {
    attachments.attachPods(world.datapath.podTc, ports, world.datapath.podEgressTc)
  })
  policy('localClient', 'deny', 'open')
  policy('pod', 'onePort', 'deny')
  for (const family of FAMILIES) {
    const { pod, localClient } = world.cast(family)
    const bits = family === 'ipv4' ? 32 : 128
    ip('localClient', `route add ${pod}/${bits} dev eth0`)
    ip('pod', `route add ${localClient}/${bits} dev eth0`)
    for (const port of [OPEN_PORT, CLOSED_PORT]) await serve(t, 'pod', pod, port)
    transfers(t, 'localClient', pod, OPEN_PORT, `${family}: allowed`)
    t.notOk(connects('localClient', pod, CLOSED_PORT), `${family}: denied`)
  }
})

t.test(
  'who answers ARP for another pod of the bridge does not get what is let through to that one',
  async (t) => {
    const attachments = new Attachments(`/sys/fs/bpf/weir-test-police-link-${process.pid}`)
    t.teardown(() => attachments.close())
    withNetworkNamespace(`/run/netns/${namespace('node')}`, () => {
      const { podTc, podEgressTc } = world.datapath
      attachments.attachPods(podTc, new Set(Object.values(DEVICE)), podEgressTc)
    })
    const [near, far] = [`0a:00:00:00:0${DEVICE.localClient}:01`, `0a:00:00:00:0${DEVICE.localClient}:02`]
    policy('localClient', 'deny', 'open')
    policy('pod', 'open', 'open', 'remotePod')
    policy('pod', 'open', 'open')
    for (const family of FAMILIES) {
      const other = world.cast(family).remotePod
      const bits = family === 'ipv4' ? 32 : 128
      ip('localClient', `address add ${other}/${bits} dev lo${family === 'ipv6' ? ' nodad' : ''}`)
      await serve(t, 'localClient', other, OPEN_PORT + 20)
      ip('pod', `route add ${other}/${bits} dev eth0`)
      ip('pod', `neighbour add ${other} lladdr ${far} dev eth0 nud permanent`)
      const leadsTo = (ifindex: number) =>
        world.map('endpoints').update(
          addressToBytes(other),
          abi.encodeEndpoint({
            ...{ ifindex, nexthopId: 0 },
            ...{ pod: mac(far), host: mac(near) },
          }),
        )
      leadsTo(DEVICE.pod)
      t.notOk(connects('pod', other, OPEN_PORT + 20), `${family}: it is another's`)
      leadsTo(DEVICE.localClient)
      t.ok(connects('pod', other, OPEN_PORT + 20), `${family}: its own`)
    }
  },
)

t.test('NP-010 to a Service past the socket, where nobody translates', async (t) => {
  const run = (program: 'podTc' | 'podEgressTc', sent: Frame) =>
    world.datapath[program].testRun({ data: sent.bytes(), context: Buffer.alloc(SKB_BYTES) }).returnValue
  movePodsToLoopback(world)
  for (const family of FAMILIES)
    for (const protocol of [TCP, UDP]) {
      const { localClient, vip, client } = world.cast(family)
      const { spoken } = speaking(protocol)
      const ask = spoken(frame(FROM_POD).from(localClient, 40_000).to(vip, 81), 'syn')
      const further = spoken(ask, 'ack')
      const name = `${family} ${protocol}`
      policy('localClient', 'deny', 'allow')
      t.equal(run('podTc', ask), TC.DROP, `${name}: its backend may be anybody, and something may be denied`)
      t.equal(run('podTc', ask.to(client, 81)), TC.OK, `${name}: others are judged by their address`)
      policy('localClient', 'deny', 'open')
      t.equal(run('podTc', ask), TC.OK, `${name}: nothing is denied`)
      t.equal(run('podTc', further), TC.OK)
      // A router has led it back to this node, which sent it on.
      const led = runUplink(
        world,
        spoken(world.request(family, protocol, 80).from(localClient, 40_001), 'syn').bytes(),
      )
      t.equal(led.returnValue, XDP.TX)
      const leaving = spoken(ask.from(localClient, 40_001).to(vip, 80), 'ack')
      t.equal(run('podTc', leaving), TC.OK)
      const answer = spoken(frame(TO_POD).from(vip, 80).to(localClient, 40_001), 'ack')
      t.equal(run('podEgressTc', answer), TC_UNSPEC)
      policy('localClient', 'deny', 'allow')
      t.equal(run('podTc', leaving), TC.DROP, `${name}: cut, whatever entry it has`)
      t.equal(run('podEgressTc', answer), TC.DROP)
      world.forgetFlows()
    }
})
