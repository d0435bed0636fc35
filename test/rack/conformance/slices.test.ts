// Slices in quantity and in motion, added ServiceCIDRs, and agents and API servers that are away: what was programmed stays.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startControl, stopControl } from '../../../src/sandbox/control-process.ts'
import { startAgent } from '../../../src/sandbox/nodes.ts'
import { findProcess, stopProcess } from '../../../src/sandbox/process.ts'
import { Bed } from './bed.ts'
import { expectAnswerers, expectConnect } from './expect.ts'
import { HTTP_PORT, READY, service, slice, slicesOf } from './manifests.ts'
import { podsByNode } from './pods.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confslice' })
t.teardown(() => bed.down())

const PODS = ['p1', 'p2', 'p3'] as const
const places = await podsByNode(bed, PODS)

function slices(serviceName: string, names: readonly string[], name = serviceName) {
  const states = Object.fromEntries(names.map((one) => [one, { conditions: READY }]))
  return slicesOf(serviceName, places, states, { name })
}

/** Connections opened one after another until `done`, and how they ended. */
async function connectAllAlong(from: string, target: string, isDone: () => boolean): Promise<string[]> {
  const outcomes = new Set<string>()
  while (!isDone()) {
    outcomes.add(await bed.connect(from, target, 80))
    await sleep(5)
  }
  return [...outcomes]
}

t.test('SVC-009 an endpoint that moves between slices is served all the time', async (t) => {
  await bed.apply(service('moving', { type: 'LoadBalancer' }), ...slices('moving', ['p1'], 'moving-a'))
  const { clusterIps } = await bed.serviceAddresses('moving')
  const vips = await bed.vips('moving')
  await expectConnect(bed, t, 'node1', clusterIps, 'open')
  await expectConnect(bed, t, 'client1', vips, 'open')
  let isDone = false
  const watching = Promise.all([
    ...clusterIps.map((target) => connectAllAlong('node1', target, () => isDone)),
    ...vips.map((target) => connectAllAlong('client1', target, () => isDone)),
  ])
  for (const [to, from] of [
    ['b', 'a'],
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    await bed.apply(...slices('moving', ['p1'], `moving-${to}`))
    await bed.delete(...slices('moving', ['p1'], `moving-${from}`))
    await sleep(200)
  }
  isDone = true
  for (const outcomes of await watching) t.strictSame(outcomes, ['open'])
})

t.test('SVC-024 slices of names and of the other family are not read as addresses', async (t) => {
  const [p1] = [places.get('p1')?.addresses ?? []]
  await bed.apply(
    service('single', { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }),
    slice('single', [{ address: p1[0] ?? '', node: 'node1', conditions: READY }]),
    slice('single', [{ address: places.get('p2')?.addresses[1] ?? '', node: 'node2', conditions: READY }]),
    slice('single', [{ address: 'backend.example.org', conditions: READY }], {
      name: 'single-fqdn',
      addressType: 'FQDN',
    }),
  )
  const { clusterIps } = await bed.serviceAddresses('single')
  t.equal(clusterIps.length, 1)
  await expectAnswerers(bed, t, ['node3', 'default/caller'], clusterIps, ['p1'])
})

t.test('SVC-027 more than a thousand endpoints, in slices of up to a thousand', async (t) => {
  const COUNT = 1100
  // Addresses of a host outside the cluster, all of a prefix that is local there.
  const { ipv4, ipv6 } = bed.rack.plan.clients[1]?.address ?? { ipv4: '', ipv6: '' }
  const many = [
    { prefix: '10.88.0.0/16', via: ipv4, of: (index: number) => `10.88.${index >> 8}.${index & 255}` },
    { prefix: 'fd00:88::/112', via: ipv6, of: (index: number) => `fd00:88::${(index + 1).toString(16)}` },
  ]
  for (const { prefix, via } of many) {
    await bed.run('client2', ['ip', 'route', 'replace', 'local', prefix, 'dev', 'lo'])
    await bed.run('spine', ['ip', 'route', 'replace', prefix, 'via', via])
    for (const [index, tor] of bed.rack.plan.tors.entries()) {
      const link = bed.rack.plan.links.find(
        ({ kind, lower }) => kind === 'tor-spine' && lower.host === tor.name,
      )
      const upper =
        link?.upper.address[prefix.includes(':') ? 'ipv6' : 'ipv4'].split('/')[0] ?? `no link ${index}`
      await bed.run(tor.name, ['ip', 'route', 'replace', prefix, 'via', upper])
    }
  }
  await bed.order('client2', { kind: 'listen', port: HTTP_PORT })
  await bed.apply(service('huge'))
  for (const { of } of many) {
    const endpoints = Array.from({ length: COUNT }, (_, index) => ({ address: of(index), conditions: READY }))
    const family = of(0).includes(':') ? 6 : 4
    await bed.apply(
      slice('huge', endpoints.slice(0, 1000), { name: `huge${family}-a` }),
      slice('huge', endpoints.slice(1000), { name: `huge${family}-b` }),
    )
  }
  const { clusterIps } = await bed.serviceAddresses('huge')
  for (const clusterIp of clusterIps) {
    const seen = new Map<string, number>()
    await bed
      .until('all endpoints to have been asked for', async () => {
        for (const [name, count] of await bed.answerers('node1', clusterIp, 80, 400))
          seen.set(name, (seen.get(name) ?? 0) + count)
        return seen.size > COUNT * 0.9
      })
      .catch(() => {})
    t.ok(seen.size > COUNT * 0.9 && seen.size <= COUNT, `${clusterIp}: ${seen.size} endpoints answered`)
    t.notOk(
      [...seen.keys()].find((name) => name.startsWith('(')),
      'all answered',
    )
  }
})

t.test('SVC-020 an address of an added ServiceCIDR that is nobody’s gets nothing', async (t) => {
  await bed.apply({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'more' },
    spec: { cidrs: ['10.97.0.0/24', 'fd00:97::/112'] },
  })
  const counted = async () => {
    const metrics = await bed.agent<Record<string, { packets: number }>>('node1', '/v1/metrics')
    return metrics['UNALLOCATED_ADDRESS']?.packets ?? 0
  }
  await bed.until('attempts to be counted', async () => {
    const before = await counted()
    for (const address of ['10.97.0.77', 'fd00:97::77']) await bed.connect('node1', address, 80)
    return (await counted()) >= before + 2
  })
  for (const address of ['10.97.0.77', 'fd00:97::77'])
    for (const from of ['node1', 'default/caller'])
      t.not(await bed.connect(from, address, 80), 'open', `${address} from ${from}`)
})

async function killAgent(number: number): Promise<void> {
  const node = bed.rack.plan.nodes[number - 1]
  const agent = node && findProcess(`${bed.rack.host(node.name).directory}/agent.pid`)
  if (agent) process.kill(agent.pid, 'SIGKILL')
}

async function restartAgent(number: number): Promise<void> {
  const node = bed.rack.plan.nodes[number - 1]
  if (node) await startAgent(bed.rack, node)
}

t.test('OPS-007 what changed while the agent was away: stale state goes, new state comes', async (t) => {
  await bed.apply(
    service('stale', { clusterIP: '10.96.210.1', ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }),
    ...slices('stale', ['p2']).slice(0, 1),
    service('changed'),
    ...slices('changed', ['p2']),
  )
  const changed = (await bed.serviceAddresses('changed')).clusterIps
  await expectConnect(bed, t, 'node1', ['10.96.210.1', ...changed], 'open')
  await killAgent(1)
  await expectConnect(bed, t, 'node1', ['10.96.210.1', ...changed], 'open')
  await bed.kubectl('delete', 'service', 'stale')
  await bed.apply(...slices('changed', ['p3']), service('fresh'), ...slices('fresh', ['p1']))
  const fresh = (await bed.serviceAddresses('fresh')).clusterIps
  await restartAgent(1)
  await bed.until(
    'the deleted Service to be gone',
    async () => (await bed.connect('node1', '10.96.210.1', 80)) !== 'open',
  )
  await expectAnswerers(bed, t, ['node1', 'default/caller'], changed, ['p3'])
  await expectAnswerers(bed, t, ['node1', 'default/caller'], fresh, ['p1'])
})

t.test(
  'OPS-003, SVC-021 without an API server everything stays, also when the agent starts anew',
  async (t) => {
    const { clusterIps } = await bed.serviceAddresses('moving')
    const vips = await bed.vips('moving')
    const everything = async () => {
      await expectAnswerers(bed, t, ['node1', 'default/caller'], [...clusterIps, ...vips], ['p1'])
      await expectAnswerers(bed, t, 'client1', vips, ['p1'])
    }
    await everything()
    // Its snapshot of what was just written comes within a second.
    await sleep(1500)
    await stopControl(bed.rack)
    await everything()
    const node = bed.rack.plan.nodes[0]
    if (node) await stopProcess(`${bed.rack.host(node.name).directory}/agent.pid`)
    await restartAgent(1)
    await sleep(1000)
    t.equal((await bed.agent<{ synced: boolean }>('node1', '/v1/status')).synced, false)
    await everything()
    const alive = await bed.run('node1', [
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      'http://127.0.0.1:10256/livez',
    ])
    t.equal(alive.stdout, '200', '/livez')
    await startControl(bed.rack)
    await bed.until(
      'the agent to have synced',
      async () => (await bed.agent<{ synced: boolean }>('node1', '/v1/status')).synced,
    )
    await bed.apply(...slices('changed', ['p2']))
    await expectAnswerers(bed, t, 'node1', (await bed.serviceAddresses('changed')).clusterIps, ['p2'])
  },
)

/** A TCP segment without options; raw IPv4 sockets do the rest but the checksum. */
function segment(from: string, fromPort: number, to: string, toPort: number, flags: number): string {
  const tcp = Buffer.alloc(20)
  tcp.writeUInt16BE(fromPort, 0)
  tcp.writeUInt16BE(toPort, 2)
  // Far from any window.
  tcp.writeUInt32BE(0x3456_7890, 4)
  tcp.writeUInt32BE(0x1234_5678, 8)
  tcp.writeUInt8(0x50, 12)
  tcp.writeUInt8(flags, 13)
  tcp.writeUInt16BE(1024, 14)
  const address = (text: string) => text.split('.').map(Number)
  const pseudo = Buffer.from([...address(from), ...address(to), 0, 6, 0, tcp.length])
  const whole = Buffer.concat([pseudo, tcp])
  let sum = 0
  for (let at = 0; at < whole.length; at += 2) sum += whole.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  tcp.writeUInt16BE(~sum & 0xffff, 16)
  return tcp.toString('hex')
}

t.test(
  'CT-005 segments outside of the window reach the client translated, or not at all, and harm nothing',
  async (t) => {
    const TCP = 6
    const [vip = ''] = await bed.vips('moving')
    const [podAddress = ''] = places.get('p1')?.addresses ?? []
    const client = bed.rack.plan.clients[0]?.address.ipv4 ?? ''
    const sourcePort = 47_001
    const raw = { kind: 'raw', protocol: TCP, family: 4 } as const
    await bed.order('client1', raw)
    const target = { address: vip, port: 80, sourcePort, timeoutMs: 2000 }
    await bed.order('client1', { kind: 'open', key: 'window', protocol: 'tcp', ...target })
    const ask = async () =>
      (await bed.order('client1', { kind: 'ask', key: 'window', text: '/hostname', timeoutMs: 2000 })).text
    t.equal(await ask(), 'p1')
    await bed.order('client1', raw)
    // ACK, SYN with ACK, FIN with ACK, RST. After a reset, a SYN with ACK would be another connection's.
    for (const flags of [0x10, 0x12, 0x11, 0x04])
      await bed.order('default/p1', {
        ...raw,
        to: client,
        hex: segment(podAddress, HTTP_PORT, client, sourcePort, flags),
      })
    await sleep(300)
    const seen = (await bed.order('client1', raw)).map(({ from }) => from)
    t.ok(seen.includes(vip), 'they arrive')
    t.notOk(seen.includes(podAddress), 'none from the pod’s address')
    t.equal(await ask(), 'p1', 'the connection lives')
  },
)
