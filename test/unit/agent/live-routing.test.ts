// The routing in force while the agent runs: whatever changes it, whoever asked to be told is told, and the configuration that others
// hold says what is in force.

import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { loadOrLastGood } from '../../../src/agent/config-file.ts'
import { ConfigInForce, LiveRouting } from '../../../src/agent/live-routing.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import type { NodeRouting } from '../../../src/model/routing.ts'
import type { Node } from '../../../src/model/service.ts'
import { equalRows } from '../../../src/tables/equal-rows.ts'
import { Table } from '../../../src/tables/table.ts'
import { fakeServer, until } from '../kube/fake-server.ts'
import { node } from '../routing/sources/rows.ts'

/** @param options.remembered the state directory of an agent before */
async function bed(
  t: { teardown: (run: () => Promise<void>) => void },
  { remembered, ...options }: { pollMs?: number; remembered?: string } = {},
) {
  const directory = mkdtempSync(join(tmpdir(), 'weir-live-'))
  mkdirSync(join(directory, 'state'))
  if (remembered) cpSync(join(remembered, 'cilium.json'), join(directory, 'state', 'cilium.json'))
  const file = join(directory, 'agent.yaml')
  const write = (routing: string, more = '') =>
    writeFileSync(
      file,
      `
nodeName: node1
stateDirectory: ${directory}/state
kubernetes: { servers: ["https://127.0.0.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [to-tor1] }
routing: { gobgp: "unix:///g.sock", ${routing} }
${more}
`,
    )
  write('asn: 65101, loopbacks: [10.255.0.1/32]')
  const server = await fakeServer()
  server.intercept = (request, response) => {
    if (!request.url?.includes('/cilium.io/')) return false
    response.writeHead(404, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ kind: 'Status', code: 404, reason: 'NotFound', message: 'no such kind' }))
    return true
  }
  const client = createKubeClient({ servers: [server.url] })
  const logged: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) })
  const events: string[] = []
  const nodes = new Table<Node>({ name: 'nodes', equals: equalRows })
  const inForce = new ConfigInForce({ file, loaded: loadOrLastGood(file), log })
  const live = new LiveRouting({
    inForce,
    client,
    events: { record: (_, type, reason, message) => void events.push(`${type} ${reason} ${message}`) },
    sources: { nodes },
    startDelayMs: 0,
    log,
    ...options,
  })
  const told: NodeRouting[] = []
  live.sources.onChange((routing) => told.push(routing))
  t.teardown(async () => {
    live.close()
    client.close()
    await server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return { write, server, nodes, inForce, live, told, events, logged, directory }
}

t.test("a configuration that follows Cilium's objects counts when they are known", async (t) => {
  const { write, server, live, told, inForce } = await bed(t)
  await live.synced
  const missing = server.intercept
  let answer = () => {}
  const asked = new Promise<void>((resolve) => {
    server.intercept = (request, response) => {
      if (!request.url?.includes('/ciliumloadbalancerippools')) return missing?.(request, response) ?? false
      answer = () => void missing?.(request, response)
      resolve()
      return true
    }
  })
  write('asn: 65102, loopbacks: [10.255.0.1/32], sources: { cilium: { enabled: true } }')
  await asked
  t.equal(inForce.config.routing.asn, 65_102)
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.same([live.sources.current?.asn, told.length], [65_101, 0], 'not before')
  answer()
  await until('it to count', () => told.at(-1)?.asn === 65_102)
})

const CILIUM = 'asn: 65101, loopbacks: [10.255.0.1/32], sources: { cilium: { enabled: true } }'
const KINDS = [
  ...['ciliumbgpclusterconfigs', 'ciliumbgppeerconfigs', 'ciliumbgpadvertisements'],
  ...['ciliumloadbalancerippools', 'ciliumbgpnodeconfigoverrides'],
]

t.test(
  "kinds of Cilium's that the cluster lacks: one line, and they are noticed when they come",
  async (t) => {
    const { write, server, live, events, logged } = await bed(t, { pollMs: 40 })
    await live.synced
    write(CILIUM)
    const whys = () => live.status().problems.map(({ source, why }) => `${source}: ${why}`)
    await until('the status to say so', () => whys().length > 0)
    // Several polls.
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.match(whys(), [
      /^routing.sources.cilium: the cluster has no kinds ciliumbgpclusterconfigs.cilium.io, .*ciliumbgpnodeconfigoverrides.cilium.io: .*Mend: install/,
    ])
    t.equal(logged.filter((line) => line.includes('the cluster has no')).length, 1)
    t.equal(logged.filter((line) => /cilium/i.test(line)).length, 1, logged.join(''))
    t.equal(events.filter((event) => event.includes('RoutingProblem')).length, 1)
    const asked = (path: string) => server.requests.filter(({ url }) => url.startsWith(path)).length
    t.ok(asked('/apis/cilium.io/v2/') <= 7, 'the kinds themselves are not asked for again and again')
    t.ok(server.requests.filter(({ url }) => url === '/apis/cilium.io/v2').length >= 3)

    let there = KINDS.slice(1, 3)
    const missing = server.intercept
    server.intercept = (request, response) => {
      const [path = ''] = request.url?.split('?') ?? []
      if (path !== '/apis/cilium.io/v2')
        return there.some((kind) => path.endsWith(kind)) ? false : (missing?.(request, response) ?? false)
      response.end(JSON.stringify({ resources: there.map((name) => ({ name })) }))
      return true
    }
    await until(
      'two of them',
      () => whys()[0]?.includes('no kinds ciliumbgpclusterconfigs.cilium.io, ciliumloadbalancer') === true,
    )
    there = KINDS.slice(0, 3)
    await until('all that sessions need', () => whys().length === 0)
    // Nobody has to have pools and overrides. They are noticed all the same.
    const before = asked('/apis/cilium.io/v2/ciliumloadbalancerippools')
    there = KINDS
    await until('pools', () => asked('/apis/cilium.io/v2/ciliumloadbalancerippools') > before)
    t.equal(logged.filter((line) => line.includes("Cilium's kinds can be read now")).length, 1)
  },
)

t.test('kinds that may not be read are what they were, also after a restart', async (t) => {
  const first = await bed(t, { pollMs: 20 })
  const { write, server, live, directory } = first
  const missing = server.intercept
  const forbid: typeof missing = (request, response) => {
    if (!request.url?.includes('/ciliumloadbalancerippools')) return missing?.(request, response) ?? false
    response.writeHead(403, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ kind: 'Status', code: 403, reason: 'Forbidden', message: 'no' }))
    return true
  }
  await live.synced
  server.set({ name: 'blue', spec: { blocks: [{ cidr: '198.51.100.0/24' }] } })
  server.intercept = (request, response) =>
    request.url?.includes('/ciliumloadbalancerippools') ? false : (missing?.(request, response) ?? false)
  write(CILIUM)
  await until('the pool', () => live.sources.pools.length === 1)
  t.match(live.sources.pools, [{ name: 'blue', closed: undefined }])
  t.ok(live.sources.areAllPoolsKnown)

  const second = await bed(t, { pollMs: 20, remembered: join(directory, 'state') })
  second.server.intercept = forbid
  const again = second.live
  second.write(CILIUM)
  await until('what was remembered', () => again.sources.pools.length === 1)
  t.match(again.sources.pools, [
    { name: 'blue', prefixes: ['198.51.100.0/24'], closed: /cannot be read now/ },
  ])
  t.notOk(again.sources.areAllPoolsKnown)
  t.match(again.status().problems, [
    { why: /has no kinds/ },
    {
      why: /may not list ciliumloadbalancerippools.cilium.io: what was last read of them stays in force.*Mend: grant/,
    },
  ])
  t.equal(again.ciliumPools.size, 0, 'nothing is written on them')

  second.server.set({ name: 'green', spec: { blocks: [{ cidr: '192.0.2.0/24' }] } })
  second.server.intercept = (request, response) =>
    request.url?.includes('/ciliumloadbalancerippools') ? false : (missing?.(request, response) ?? false)
  await until(
    'what they are now',
    () => again.sources.areAllPoolsKnown && again.sources.pools[0]?.name === 'green',
  )
  t.equal(again.sources.pools.length, 1, 'the one that has gone meanwhile is no pool any more')
})

t.test('the file, a trial and the node, each told as it comes', async (t) => {
  const { write, nodes, inForce, live, told, events } = await bed(t)
  await live.synced
  t.equal(live.sources.current?.asn, 65_101)
  const { config } = inForce
  write('asn: 65102, loopbacks: [10.255.0.1/32]', 'pools: [ { name: p, prefixes: [203.0.113.0/24] } ]')
  await until('the new number', () => told.at(-1)?.asn === 65_102)
  t.equal(config.routing.asn, 65_102, 'whoever holds the configuration sees it')
  t.match(live.sources.pools, [{ name: 'p' }])
  inForce.candidate.apply('routing: { asn: 65103 }', 60_000)
  t.equal(told.at(-1)?.asn, 65_103)
  t.match(config.pools, [{ name: 'p' }], 'the section that was not given stays')
  inForce.candidate.rollback()
  t.equal(told.at(-1)?.asn, 65_102)
  nodes.set('node1', node(1))
  await until("the node's pod network", () => told.at(-1)?.podCidrs[0] === '10.244.1.0/24')
  t.match(events, [
    /Normal RoutingChanged .*the file changed/,
    /Normal RoutingChanged .*applied/,
    /Normal RoutingChanged .*rolled back/,
  ])
})

t.test('what is refused, and what waits, is an Event and in the status', async (t) => {
  const { write, nodes, live, told, events } = await bed(t)
  nodes.set('node1', node(1))
  await until('the node', () => told.length === 1)
  write('asn: 0')
  await until('an Event', () => events.length === 1)
  t.match(events, [/Warning ConfigRefused .* is refused: routing\.asn.*\. The last good/], 'in one line')
  t.match(live.status(), { file: { refused: { message: /routing\.asn/ } }, candidate: undefined })
  write('asn: 65101, loopbacks: [10.255.0.9/32]', 'logLevel: debug')
  await until('the loopback', () => told.at(-1)?.loopbacks[0] === '10.255.0.9/32')
  t.match(events[1], /Warning ConfigNeedsRestart .*changes of logLevel wait for a restart/)
  t.strictSame(live.status().file.waitForRestart, [
    'logLevel',
    'routing.loopbacks (where tunnels end)',
    'routing.routerId (of gobgpd)',
  ])
})

t.test('what waits for a restart is told of whoever brought it', async (t) => {
  const { write, nodes, live, told, inForce } = await bed(t)
  nodes.set('node1', node(1))
  await until('the node', () => told.length === 1)
  const loopbacks = 'routing.loopbacks (where tunnels end)'
  const waiting = () => [live.status().file.waitForRestart, live.status().waitForRestart]
  inForce.candidate.apply('routing: { asn: 65101, loopbacks: [10.255.0.9/32], routerId: 10.255.0.1 }', 60_000)
  t.strictSame(waiting(), [[], [{ by: 'candidate', keys: [loopbacks] }]], 'a candidate is not the file')
  inForce.candidate.rollback()
  t.strictSame(waiting(), [[], []])
  write('asn: 65101, loopbacks: [10.255.0.9/32], routerId: 10.255.0.1')
  await until('the file', () => told.at(-1)?.loopbacks[0] === '10.255.0.9/32')
  t.strictSame(waiting(), [[loopbacks], []])
})

t.test('Secrets of peers are followed as peers come and go', async (t) => {
  const { write, server, live } = await bed(t)
  const asked = () => server.requests.some(({ url }) => url.includes('/namespaces/default/secrets'))
  let changes = 0
  live.onSecret(() => {
    changes += 1
  })
  write(
    'asn: 65101, peers: [ { address: 10.0.0.1, asn: 1, password: { secret: { namespace: default, name: tor } } } ]',
  )
  await until('a watch of the Secret', asked)
  server.set({ name: 'tor', data: { password: Buffer.from('x').toString('base64') } })
  await until('its word', () => changes > 0)
  t.equal(await live.secrets.read('default', 'tor', 'password'), 'x')
})
