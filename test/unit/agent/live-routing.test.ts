// The routing in force while the agent runs: whatever changes it, whoever asked to be told is told, and the configuration that others
// hold says what is in force.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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

async function bed(t: { teardown: (run: () => Promise<void>) => void }) {
  const directory = mkdtempSync(join(tmpdir(), 'weir-live-'))
  mkdirSync(join(directory, 'state'))
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
  const log = pino({ level: 'silent' })
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
  })
  const told: NodeRouting[] = []
  live.sources.onChange((routing) => told.push(routing))
  t.teardown(async () => {
    live.close()
    client.close()
    await server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return { write, server, nodes, inForce, live, told, events }
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
  t.match(events, [/Warning ConfigRefused .*routing\.asn.*last good/s])
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
