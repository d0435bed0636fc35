// Flows outlive everything around them. A thousand TCP and a thousand UDP flows run through VIPs of both families, each checking
// who answers it, while endpoints and other Services come and go, agents are killed, upgraded to other map sizes, routers choose
// other nodes, and links break or change their address.

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { cutLink, findLink, healLink } from '../../src/sandbox/links.ts'
import { startAgent } from '../../src/sandbox/nodes.ts'
import { findProcess } from '../../src/sandbox/process.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { Bed, type Manifest } from './conformance/bed.ts'
import { type PodPlace, READY, service, slicesOf } from './conformance/manifests.ts'
import type { FlowReport } from './traffic/client.ts'
import { FLOW_PORT, flowPod, flowService } from './traffic/manifests.ts'
import { Traffic } from './traffic/traffic.ts'
import { idOf, reportsOf, watchFlows } from './traffic/watch.ts'

t.setTimeout(300_000)
/** Of each protocol. */
const FLOWS = 1000
const KILLS = 5
/** A TCP flow that waits longer than this has lost its way: a lost segment is sent again within a second or two. */
const STALLED_MS = 8000
/** For TCP's patience after a loss. */
const ANSWERS_MS = 10_000
const STAYING = ['b1', 'b2', 'b3'] as const
const COMING_AND_GOING = ['e1', 'e2'] as const
const PORTS_OF_SLICE = [
  { name: 'tcp', port: FLOW_PORT },
  { name: 'udp', port: FLOW_PORT, protocol: 'UDP' },
]

const bed = await Bed.up({ name: 'churn' })
const running: Traffic[] = []
t.teardown(async () => {
  for (const one of running) one.close()
  await bed.down()
})

const places = new Map<string, PodPlace>()

function endpoints(names: readonly string[]): Manifest[] {
  const states = Object.fromEntries(names.map((name) => [name, { conditions: READY }]))
  return slicesOf('flows', places, states, { ports: PORTS_OF_SLICE })
}

await bed.apply(
  ...STAYING.map((name, index) => flowPod(name, `node${index + 1}`)),
  ...COMING_AND_GOING.map((name, index) => flowPod(name, `node${index + 1}`)),
  flowService(),
)
await bed.waitForPods('app=flows')
for (const name of [...STAYING, ...COMING_AND_GOING]) {
  const node = `node${name.slice(1)}`
  places.set(name, { addresses: await bed.podAddresses(name), node })
}
await bed.apply(...endpoints([...STAYING, ...COMING_AND_GOING]))
const vips = await bed.vips('flows')
await bed.until('every node to announce the VIPs, and every pod to listen', async () => {
  const hops = await Promise.all(
    ['tor1', 'tor2'].flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))),
  )
  const opened = await Promise.all(
    Array.from({ length: 30 }, () => bed.connect('client1', vips[0] ?? '', 80)),
  )
  return hops.every((count) => count === 3) && opened.every((outcome) => outcome === 'open')
})

const reports = () => reportsOf(running)

/** Waits until every flow is answered after now, and tells what is wrong with those that must hold. */
async function expectWhole(t: Test, what: string, mustHold: (flow: FlowReport) => boolean): Promise<void> {
  const { flows, isAnsweredSince } = await watchFlows(bed, running, { mustHold, withinMs: ANSWERS_MS })
  const wrong = flows.filter(
    (flow) => !isAnsweredSince(flow) || flow.failures.length > 0 || flow.waitsMs > STALLED_MS,
  )
  t.equal(wrong.length, 0, `${what}: ${flows.length} flows hold`, {
    flows: wrong.slice(0, 10).map((flow) => JSON.stringify(flow)),
  })
}

/** UDP flows leave an endpoint that no slice names any more; TCP flows stay while the pod lives. */
function holdsAlways({ protocol, backend }: FlowReport): boolean {
  return protocol === 'tcp' || STAYING.some((name) => name === backend)
}

async function killAgent(number: number): Promise<void> {
  const node = bed.rack.plan.nodes[number % bed.rack.plan.nodes.length]
  if (!node) throw new Error('a rack has nodes')
  const agent = findProcess(`${bed.rack.host(node.name).directory}/agent.pid`)
  if (agent) process.kill(agent.pid, 'SIGKILL')
  await sleep(200)
  await startAgent(bed.rack, node)
}

function others(round: number): Manifest[] {
  return Array.from({ length: 20 }, (_, index) =>
    service(`other${round}-${index}`, {
      selector: { app: 'flows' },
      ports: [{ port: 90, targetPort: FLOW_PORT }],
    }),
  )
}

t.test('the flows are opened, and spread over all pods', async (t) => {
  for (const client of ['client1', 'client2'])
    running.push(new Traffic(bed.rack.host(client), vips, 80, FLOWS / 2))
  await bed.until('every flow to be answered', async () => {
    const flows = await reports()
    return flows.length === 2 * FLOWS && flows.every(({ answered }) => answered > 0)
  })
  const flows = await reports()
  for (const name of [...STAYING, ...COMING_AND_GOING])
    t.ok(flows.filter(({ backend }) => backend === name).length > FLOWS / 10, `${name} has its share`)
})

t.test(
  'CT-004, OPS-007 endpoints and other Services come and go, and the agents are killed five times: no flow is reset or misdelivered',
  async (t) => {
    for (let round = 0; round < KILLS; round += 1) {
      const [leaving = '', staying = ''] =
        round % 2 === 0 ? COMING_AND_GOING : [...COMING_AND_GOING].reverse()
      await bed.apply(...endpoints([...STAYING, staying]), ...others(round))
      const killed = killAgent(round)
      // Changes also while the agent is away.
      await bed.apply(...endpoints([...STAYING, leaving]))
      await bed.delete(...others(round))
      await killed
      await bed.apply(...endpoints([...STAYING, ...COMING_AND_GOING]))
      await bed.until('every agent to have synced', async () => {
        const names = bed.rack.plan.nodes.map(({ name }) => name)
        const states = await Promise.all(
          names.map((name) => bed.agent<{ synced: boolean }>(name, '/v1/status')),
        )
        return states.every(({ synced }) => synced)
      })
      await expectWhole(t, `round ${round + 1}`, holdsAlways)
    }
  },
)

t.test('CT-004 agents with other map capacities take over the flows of the old maps', async (t) => {
  for (const node of bed.rack.plan.nodes.slice(0, 2)) {
    const file = `${bed.rack.host(node.name).directory}/agent.yaml`
    const config = parse(readFileSync(file, 'utf8')) as { datapath: Record<string, unknown> }
    config.datapath['capacities'] = { flows: 1 << 17, backends: 1 << 15 }
    writeFileSync(file, stringify(config))
    await startAgent(bed.rack, node)
    await expectWhole(t, `${node.name} was upgraded`, holdsAlways)
  }
  const { maps } = await bed.agent<{ maps?: { name: string; capacity: number }[] }>('node1', '/v1/status')
  if (maps) t.equal(maps.find(({ name }) => name === 'flows')?.capacity, 1 << 17)
})

/** Makes routers choose anew: another seed of their hash. */
async function rehash(seed: number): Promise<void> {
  for (const router of ['spine', 'tor1', 'tor2'])
    await bed.run(router, ['sysctl', '-qw', `net.ipv4.fib_multipath_hash_seed=${seed + router.length}`])
}

t.test('routers choose other nodes for the flows: the same pods answer', async (t) => {
  for (const seed of [1234, 98_765]) {
    await rehash(seed)
    await expectWhole(t, `seed ${seed}`, holdsAlways)
  }
})

t.test(
  'routers choose other nodes after the endpoints have changed: the pods before the change answer',
  async (t) => {
    await bed.apply(...endpoints([...STAYING, 'e1']))
    await sleep(1000)
    await rehash(777_777)
    // A datagram does not tell a flow's first packet from its others, so UDP goes where the new table says.
    await expectWhole(t, 'without e2', ({ protocol }) => protocol === 'tcp')
    await bed.apply(...endpoints([...STAYING, ...COMING_AND_GOING]))
  },
)

t.test('a link is cut and mended, another end of a link gets another address', async (t) => {
  // UDP flows that went where the table without e2 said have left their first pod for good.
  const moved = new Set((await reports()).filter(({ failures }) => failures.length > 0).map(idOf))
  const holdsStill = (flow: FlowReport) =>
    holdsAlways(flow) && !(flow.protocol === 'udp' && moved.has(idOf(flow)))
  const link = findLink(bed.rack.plan, 'node2:to-tor1')
  await cutLink(link, bed.rack.host)
  await expectWhole(t, 'cut', holdsStill)
  await healLink(link, bed.rack.host)
  const [end] = bed.rack.plan.nodes[0]?.uplinks ?? []
  const device = `to-${bed.rack.plan.nodes[0]?.name}`
  const tor = end?.tor ?? ''
  for (const setting of ['ipv4/conf/DEV/arp_notify', 'ipv6/conf/DEV/ndisc_notify'])
    await bed.run(tor, ['sysctl', '-qw', `net/${setting.replace('DEV', device)}=1`])
  await bed.run(tor, ['ip', 'link', 'set', 'dev', device, 'address', '02:00:00:12:34:56'])
  await expectWhole(t, 'another address', holdsStill)
})
