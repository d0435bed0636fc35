// The whole rack: real routers, agents, gobgpd, API server, kubectl and curl. First every claim that the sandbox prints,
// then what a user does next: scale to nothing and back, kill what can be killed, apply the cluster's manifests.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeAddressPlan } from '../../src/sandbox/address-plan.ts'
import { downRack } from '../../src/sandbox/down.ts'
import { runIn } from '../../src/sandbox/host.ts'
import { blackholeLink, findLink, healLink } from '../../src/sandbox/links.ts'
import { nodeBpffs } from '../../src/sandbox/names.ts'
import { gobgpdBelow, startAgent } from '../../src/sandbox/nodes.ts'
import { anonymousBytes, findProcess } from '../../src/sandbox/process.ts'
import {
  askAgent,
  countersOf,
  loadFrom,
  type ProofContext,
  packets,
  urlOf,
} from '../../src/sandbox/proof/context.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { runProofs } from '../../src/sandbox/proof.ts'
import type { Rack } from '../../src/sandbox/rack.ts'
import { upRack } from '../../src/sandbox/up.ts'
import { waitUntil } from '../../src/sandbox/wait.ts'
import { BpfLink } from '../../src/sys/libbpf-ts/index.ts'
import { testRackName } from '../../tools/test-names.ts'

const NAME = testRackName('whole')
const BASE_MANIFESTS = fileURLToPath(new URL('../../manifests/base', import.meta.url))
/** The budget of a node: agent and gobgpd together, in anonymous memory. */
const NODE_MEMORY_BYTES = 150e6

let rack: Rack
let context: ProofContext

t.setTimeout(300_000)
t.teardown(() => downRack(NAME))
rack = await upRack({ name: NAME, plan: makeAddressPlan(3) })

async function curl(host: string, address: string): Promise<{ status: number; body: string }> {
  const { status, stdout } = await runIn(rack.host(host), [
    'curl',
    '-s',
    '-g',
    '-m',
    '2',
    urlOf(address, '/hostname'),
  ])
  return { status, body: stdout }
}

async function hopsEverywhere(): Promise<number[]> {
  const asked = rack.plan.tors.flatMap((tor) =>
    context.service.vips.map((vip) => kernelNextHops(context, tor.name, vip)),
  )
  return await Promise.all(asked)
}

t.test('every claim of the sandbox holds', async (t) => {
  const result = await runProofs(rack, (_title, finding) => {
    t.ok(finding.holds, `${finding.claim}: ${finding.seen}`, { details: finding.details })
  })
  context = result.context
})

t.test(
  'a Service without endpoints is refused at once and withdrawn; with endpoints it comes back',
  async (t) => {
    await context.kubectl('scale', 'deployment', 'web', '--replicas=0')
    await waitUntil('both ToRs to have lost the VIPs', 20_000, async () =>
      (await hopsEverywhere()).every((hops) => hops === 0),
    )
    t.pass('withdrawn from both kernel tables')
    const refused = await askAgent<{ service: string; usable: { anywhere: number } }[]>(
      rack,
      'node1',
      '/v1/services',
    )
    t.equal(refused.find((row) => row.service === 'default/web')?.usable.anywhere, 0)
    const inside = await curl('node1', context.service.clusterIps[0] ?? '')
    t.equal(inside.status, 7, 'curl says: connection refused')
    await context.kubectl('scale', 'deployment', 'web', '--replicas=6')
    await context.kubectl('rollout', 'status', 'deployment/web', '--timeout=60s')
    await waitUntil('the VIPs to be announced by every node', 20_000, async () =>
      (await hopsEverywhere()).every((hops) => hops === rack.plan.nodes.length),
    )
    for (const vip of context.service.vips) t.match((await curl('client1', vip)).body, /^web-/)
  },
)

t.test(
  'a restarted agent adopts: the same links and maps, programs swapped, nothing written anew',
  async (t) => {
    const node = rack.plan.nodes[1]
    if (!node) throw new Error('no second node')
    const pins = join(nodeBpffs(rack.name, node.name), 'links')
    const linkIds = () =>
      readdirSync(pins)
        .sort()
        .map((pin) => {
          const link = BpfLink.openPinned(join(pins, pin))
          const { id, programId } = link.info()
          link.close()
          return { pin, id, programId }
        })
    const before = linkIds()
    const agent = findProcess(`${rack.host(node.name).directory}/agent.pid`)
    t.ok(agent)
    if (agent) process.kill(agent.pid, 'SIGKILL')
    await sleep(100)
    t.match((await curl('client1', context.service.vips[0] ?? '')).body, /^web-/, 'served while it is away')
    await startAgent(rack, node)
    await waitUntil(
      'the agent to have synced',
      20_000,
      async () => (await askAgent<{ synced: boolean }>(rack, node.name, '/v1/status')).synced,
    )
    // Each step of that has a turn of its own, beside the first synchronisation.
    await waitUntil('every program to be replaced in place', 10_000, async () =>
      linkIds().every(({ programId }, index) => programId !== before[index]?.programId),
    )
    t.strictSame(
      linkIds().map(({ pin, id }) => [pin, id]),
      before.map(({ pin, id }) => [pin, id]),
    )
  },
)

t.test(
  'gobgpd is killed: its supervisor starts it again, the agent replays, no router loses a route',
  async (t) => {
    const node = rack.plan.nodes[0]
    const supervisor = node && findProcess(`${rack.host(node.name).directory}/gobgpd.pid`)
    const gobgpd = supervisor && gobgpdBelow(supervisor.pid)
    t.ok(gobgpd)
    if (!gobgpd || !node) return
    process.kill(gobgpd.pid, 'SIGKILL')
    const hops: number[] = []
    const until = Date.now() + 12_000
    while (Date.now() < until) {
      hops.push(...(await hopsEverywhere()))
      await sleep(200)
    }
    t.ok(
      hops.every((count) => count === rack.plan.nodes.length),
      'every look at the kernel tables saw all next hops',
    )
    await waitUntil('all sessions of the node', 30_000, async () => {
      const { sessions } = await askAgent<{ sessions: { session: string }[] }>(rack, node.name, '/v1/routes')
      return sessions.length === 4 && sessions.every(({ session }) => session === 'established')
    })
  },
)

t.test(
  'a link that loses frames and keeps its carrier: once its sessions are gone nothing is lost',
  async (t) => {
    const link = findLink(rack.plan, 'node2:to-tor2')
    await blackholeLink(link, rack.host)
    try {
      await waitUntil('the sessions over it to be given up', 20_000, async () => {
        const { sessions } = await askAgent<{ sessions: { session: string }[] }>(rack, 'node2', '/v1/routes')
        return sessions.filter(({ session }) => session === 'established').length === 2
      })
      await waitUntil(
        'tor2 to have dropped the next hop',
        10_000,
        async () => (await kernelNextHops(context, 'tor2', context.service.vips[0] ?? '')) === 2,
      )
      for (const vip of context.service.vips) {
        const report = await loadFrom(rack.host('client1'), urlOf(vip, '/hostname'), [
          '--rate',
          '200',
          '--seconds',
          '2',
        ])
        t.strictSame(report.failures, [])
        t.equal(report.slow, 0, 'no SYN was sent twice')
      }
    } finally {
      await healLink(link, rack.host)
    }
    await waitUntil('the sessions to be back', 30_000, async () => {
      const { sessions } = await askAgent<{ sessions: { session: string }[] }>(rack, 'node2', '/v1/routes')
      return sessions.every(({ session }) => session === 'established')
    })
  },
)

t.test('tunnelled packets are taken from known nodes only', async (t) => {
  const before = await countersOf(rack)
  const node = rack.plan.nodes[0]
  // From a client, who is no node: a datagram to the tunnel port of a node's loopback.
  const script = `require('node:dgram').createSocket('udp4').send(Buffer.alloc(80), 6081, '${node?.loopback.ipv4}', () => process.exit())`
  await runIn(rack.host('client1'), [process.execPath, '-e', script])
  await sleep(300)
  const after = await countersOf(rack)
  const dropped = (counters: typeof before) =>
    packets(counters.get(node?.name ?? ''), 'UNKNOWN_TUNNEL_SOURCE')
  t.equal(dropped(after) - dropped(before), 1)
})

t.test('a VIP answers ping, in both families, whole, from outside and from a node', async (t) => {
  for (const vip of context.service.vips) {
    const inside = await runIn(rack.host('node1'), ['ping', '-n', '-c', '2', '-i', '0.05', '-W', '1', vip])
    t.match(inside.stdout, /2 packets transmitted, 2 received/, `${vip} from node1`)
    const ping = await runIn(rack.host('client2'), [
      'ping',
      '-n',
      '-c',
      '5',
      '-i',
      '0.05',
      '-W',
      '1',
      '-s',
      '1400',
      vip,
    ])
    t.match(ping.stdout, /5 packets transmitted, 5 received/, vip)
  }
})

t.test('a jumbo request and answer pass between nodes and clients of 1500', async (t) => {
  const message = 'x'.repeat(6000)
  const url = urlOf(context.service.vips[0] ?? '', `/echo?msg=${message}`)
  const { stdout } = await runIn(rack.host('client2'), ['curl', '-s', '-g', '-m', '3', url])
  t.equal(stdout.trim(), message)
})

/** The address a Service was given in a family. */
async function addressOf(service: string, family: 'ipv4' | 'ipv6' = 'ipv4'): Promise<string> {
  let found: string | undefined
  await waitUntil(`an ${family} address of Service ${service}`, 10_000, async () => {
    const text = await context.kubectl(
      'get',
      'service',
      service,
      '-o',
      'jsonpath={.status.loadBalancer.ingress[*].ip}',
    )
    found = text.split(' ').find((ip) => ip !== '' && ip.includes(':') === (family === 'ipv6'))
    return found !== undefined
  })
  return found ?? ''
}

/** What netexec answers to one datagram; empty when nothing comes. */
async function askUdp(host: string, address: string, port: number, message: string): Promise<string> {
  const kind = address.includes(':') ? 'udp6' : 'udp4'
  const script = `const s = require('node:dgram').createSocket('${kind}')
    s.on('message', (data, from) => { console.log(from.address, String(data)); process.exit() })
    s.send('${message}', ${port}, '${address}'); setTimeout(() => process.exit(), 1500)`
  return (await runIn(rack.host(host), [process.execPath, '-e', script])).stdout.trim()
}

t.test('other Services: UDP beside TCP, a Local policy, hand-written endpoints', async (t) => {
  const pods = JSON.parse(await context.kubectl('get', 'pods', '-l', 'app=web', '-o', 'json')) as {
    items: { spec: { nodeName: string }; status: { podIP: string } }[]
  }
  const row = pods.items.find((pod) => pod.spec.nodeName === 'node3')?.status.podIP ?? 'no pod on node3'
  const manifest = `${rack.directory}/services.yaml`
  writeFileSync(
    manifest,
    readFileSync(new URL('services.yaml', import.meta.url), 'utf8').replaceAll('SLICE_ADDRESS', row),
  )
  await context.kubectl('apply', '-f', manifest)
  await context.kubectl('wait', '--for=condition=Ready', 'pod/alone', '--timeout=30s')
  const [names, names6, local, byHand] = [
    await addressOf('names'),
    await addressOf('names', 'ipv6'),
    await addressOf('local'),
    await addressOf('by-hand'),
  ]
  const isAnnounced = async (vip: string, hops: number) =>
    (await kernelNextHops(context, 'tor1', vip)) === hops &&
    (await kernelNextHops(context, 'tor2', vip)) === hops
  await waitUntil(
    'the VIPs in both ToRs',
    10_000,
    async () =>
      (await isAnnounced(names, 3)) &&
      (await isAnnounced(names6, 3)) &&
      (await isAnnounced(byHand, 3)) &&
      (await isAnnounced(local, 1)),
  )
  t.pass('a Local VIP is announced by the one node that has its endpoint, the others by all')

  t.equal(
    await askUdp('client1', names, 53, 'echo over udp'),
    `${names} over udp`,
    'the answer comes from the VIP',
  )
  t.equal(await askUdp('client2', names6, 53, 'echo over udp'), `${names6} over udp`)
  const tcp = await runIn(rack.host('client1'), ['curl', '-s', '-m', '2', `http://${names}:53/clientip`])
  t.match(tcp.stdout, /^10\.253\.1\.10:/, 'the same number over TCP; the pod sees the client')
  t.match(
    (await runIn(rack.host('client2'), ['curl', '-s', '-m', '2', `http://${local}/clientip`])).stdout,
    /^10\.253\.2\.10:/,
  )
  t.match(
    (await runIn(rack.host('node1'), ['curl', '-s', '-m', '2', `http://${local}/hostname`])).stdout,
    /^alone/,
    'from a node without the endpoint: the short-circuit',
  )
  t.match(
    (await runIn(rack.host('client1'), ['curl', '-s', '-m', '2', `http://${byHand}:81/hostname`])).stdout,
    /^web-/,
  )
  t.match(
    (await runIn(rack.host('node1'), ['curl', '-s', '-m', '2', 'http://10.96.7.7:81/hostname'])).stdout,
    /^web-/,
    'a chosen ClusterIP',
  )
  t.equal(
    (await runIn(rack.host('client1'), ['curl', '-s', '-m', '2', `http://${byHand}:82/`])).status,
    7,
    'a port nobody defined is refused',
  )

  await context.kubectl('delete', 'pod', 'alone')
  await waitUntil('the Local VIP to be withdrawn', 10_000, () => isAnnounced(local, 0))
  await context.kubectl('label', 'service', 'by-hand', 'service.kubernetes.io/service-proxy-name=other')
  await waitUntil('the labelled Service to be left alone', 10_000, () => isAnnounced(byHand, 0))
  await context.kubectl('label', 'service', 'by-hand', 'service.kubernetes.io/service-proxy-name-')
  await waitUntil('and to be ours again', 10_000, () => isAnnounced(byHand, 3))
  t.match(
    (await runIn(rack.host('client1'), ['curl', '-s', '-m', '2', `http://${byHand}:81/hostname`])).stdout,
    /^web-/,
  )
  await context.kubectl('delete', '-f', manifest, '--ignore-not-found')
  await waitUntil(
    'their addresses to be gone',
    10_000,
    async () => (await isAnnounced(names, 0)) && (await isAnnounced(byHand, 0)),
  )
})

t.test("the cluster's manifests are accepted by the API server", async (t) => {
  const out = await context.kubectl('apply', '-k', BASE_MANIFESTS, '--dry-run=server')
  t.match(out, /daemonset.apps\/weir created \(server dry run\)/)
  // The rack has the roles already: its agents run with them.
  t.match(out, /clusterrole.rbac.authorization.k8s.io\/weir (configured|unchanged) \(server dry run\)/)
})

t.test('what a node costs', async (t) => {
  for (const node of rack.plan.nodes) {
    const { directory } = rack.host(node.name)
    const agent = findProcess(`${directory}/agent.pid`)
    const supervisor = findProcess(`${directory}/gobgpd.pid`)
    const gobgpd = supervisor && gobgpdBelow(supervisor.pid)
    const bytes = [agent, gobgpd].reduce((sum, one) => sum + (one ? anonymousBytes(one.pid) : 0), 0)
    t.ok(bytes > 0 && bytes < NODE_MEMORY_BYTES, `${node.name}: ${(bytes / 1e6).toFixed(0)} MB anonymous`)
  }
  const log = readFileSync(`${rack.host('node1').directory}/agent.log`, 'utf8')
  t.notMatch(log, /"level":(50|60)/, 'no error in the agent’s log')
})
