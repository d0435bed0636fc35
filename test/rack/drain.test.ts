// Draining a node, as its routers see it: their BGP tables and kernels are read through drain and undrain, under traffic, with the agent killed
// in every state. Nothing is taken from what the agent says but the name of the state it is in.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { runAt, runIn } from '../../src/sandbox/host.ts'
import { agentSocket, gobgpdBelow, startAgent, WEIR } from '../../src/sandbox/nodes.ts'
import { findProcess } from '../../src/sandbox/process.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { routerCommand } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'
import { flowPod, flowService } from './traffic/manifests.ts'
import { Traffic } from './traffic/traffic.ts'
import { reportsOf, watchFlows } from './traffic/watch.ts'

t.setTimeout(300_000)
const DRAINED = 'node2'
const TORS = ['tor1', 'tor2'] as const
const FLOWS = 100
const QUIET_SECONDS = 3
const ALL_NODES = 3

const bed = await Bed.up({
  name: 'drain',
  agent: { routing: { drain: { quietSeconds: QUIET_SECONDS, timeoutSeconds: 60 } } },
})
const running: Traffic[] = []
t.teardown(async () => {
  for (const one of running) one.close()
  await bed.down()
})

const names = bed.rack.plan.nodes.map(({ name }) => name)
await bed.apply(
  ...names.flatMap((node, index) => [
    flowPod(`flow${index + 1}`, node),
    pod(`web${index + 1}`, { node, labels: { app: 'web' } }),
  ]),
  flowService({ app: 'flows' }),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
)
await bed.waitForPods('app in (flows,web)')
const vips = [...(await bed.vips('flows')), ...(await bed.vips('web'))]
const own = [
  ...bed.nodeAddresses(2),
  ...Object.values(bed.rack.plan.nodes[1]?.podCidr ?? {}).map((one) => String(one)),
]

/** Next hops of every VIP in both kernels, each number once. */
async function hops(): Promise<number[]> {
  const counts = await Promise.all(TORS.flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))))
  return [...new Set(counts)].sort()
}

type PathState = 'plain' | 'marked' | 'gone'

/** The drained node's path to a VIP in a ToR's BGP table. */
async function pathIn(tor: string, vip: string): Promise<PathState> {
  const host = bed.rack.host(tor)
  if (tor === 'tor2') {
    const argv = routerCommand(host, ['birdc', 'show', 'route', 'for', vip, 'all'])
    const blocks = (await runIn(host, argv)).stdout.split('unicast [')
    const block = blocks.find((text) => text.includes(`on to-${DRAINED}`))
    if (block === undefined) return 'gone'
    return block.includes('(65535,0)') ? 'marked' : 'plain'
  }
  const family = vip.includes(':') ? 'ipv6' : 'ipv4'
  const argv = routerCommand(host, ['vtysh', '-c', `show bgp ${family} unicast ${vip} json`])
  const table = JSON.parse((await runIn(host, argv)).stdout) as {
    paths?: { peer: { peerId: string }; community?: { list?: string[] } }[]
  }
  const ours = drainedNode().uplinks.map(({ local }) => local[family] as string)
  const path = table.paths?.find(({ peer }) => ours.includes(peer.peerId))
  if (path === undefined) return 'gone'
  return path.community?.list?.includes('gracefulShutdown') === true ? 'marked' : 'plain'
}

/** Waits until every VIP's path is so in both tables, and both kernels have so many next hops. */
async function expectRouters(t: Test, what: string, state: PathState, count: number): Promise<void> {
  let seen = ''
  await bed
    .until(what, async () => {
      const states = await Promise.all(TORS.flatMap((tor) => vips.map((vip) => pathIn(tor, vip))))
      seen = `${[...new Set(states)].join()}; ${(await hops()).join()} next hops`
      return seen === `${state}; ${count} next hops`
    })
    .catch(() => {})
  t.equal(seen, `${state}; ${count} next hops`, what)
}

async function phase(): Promise<string> {
  return (await bed.agent<{ phase: string }>(DRAINED, '/v1/drain')).phase
}

async function untilPhase(wanted: string): Promise<void> {
  await bed.until(`the state ${wanted}`, async () => (await phase()) === wanted)
}

function drainedNode() {
  const node = bed.rack.plan.nodes.find(({ name }) => name === DRAINED)
  if (!node) throw new Error(`the rack has no ${DRAINED}`)
  return node
}

const directory = bed.rack.host(DRAINED).directory

async function killAgent(): Promise<void> {
  const pidFile = join(directory, 'agent.pid')
  const agent = findProcess(pidFile)
  if (agent) process.kill(agent.pid, 'SIGKILL')
  // Whoever starts the next one must not find this one still there.
  await bed.until('the agent to be gone', async () => findProcess(pidFile) === undefined)
}

function signalGobgpd(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
  const supervisor = findProcess(join(directory, 'gobgpd.pid'))
  const gobgpd = supervisor && gobgpdBelow(supervisor.pid)
  if (!gobgpd) throw new Error(`${DRAINED} has no gobgpd`)
  process.kill(gobgpd.pid, signal)
}

function recordedPhase(): string {
  const file = join(directory, 'drain.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { phase: string }).phase
}

/** By the command line, as an operator does; its words, a line each. */
async function weir(verb: 'drain' | 'undrain', socketOf = DRAINED): Promise<string[]> {
  const socket = agentSocket(bed.rack.host(socketOf))
  const argv = [process.execPath, WEIR, verb, DRAINED, '--socket', socket]
  const { status, stdout, stderr } = await runAt({}, argv, { timeoutMs: 70_000 })
  if (status !== 0) throw new Error(`weir ${verb}: ${stderr}`)
  return stdout.trim().split('\n')
}

/** By the Node object, as other tools do. */
async function wish(isWanted: boolean): Promise<void> {
  const labels = { 'weir.network/drain': isWanted ? '' : null }
  await bed.patch('node', DRAINED, { metadata: { labels }, spec: { unschedulable: isWanted } })
}

/** Requests on connections of their own, one after another from each worker, until stopped. */
class Requests {
  sent = 0
  readonly failures: string[] = []
  #isStopped = false
  readonly #workers: Promise<void>[]

  constructor(addresses: readonly string[]) {
    this.#workers = ['client1', 'client2', 'client1', 'client2'].map(async (client, index) => {
      const address = addresses[index % addresses.length] ?? ''
      while (!this.#isStopped) {
        const body = await bed.http(client, address).catch((error: unknown) => `error ${error}`)
        this.sent += 1
        if (!/^web\d$/.test(body)) this.failures.push(`${client} ${address}: '${body}'`)
        await sleep(5)
      }
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#workers)
  }
}

/** Waits until each flow is answered after now; none may have failed. */
async function expectFlows(t: Test, what: string): Promise<void> {
  const { flows, isAnsweredSince } = await watchFlows(bed, running)
  const broken = flows.filter((flow) => !isAnsweredSince(flow) || flow.failures.length > 0)
  t.same(
    broken.slice(0, 5).map((flow) => JSON.stringify(flow)),
    [],
    `${what}: all of ${flows.length} flows go on`,
  )
}

/** Polls both kernels while something happens: the drained node must not come back meanwhile. */
async function expectNeverBack(t: Test, what: string, happens: () => Promise<unknown>): Promise<void> {
  const seen = new Set<number>()
  let isOver = false
  const looking = (async () => {
    while (!isOver) {
      for (const count of await hops()) seen.add(count)
      await sleep(50)
    }
  })()
  await happens()
  isOver = true
  await looking
  t.same([...seen], [ALL_NODES - 1], `${what}: only ${ALL_NODES - 1} next hops were ever seen`)
}

await expectRouters(t, 'at first', 'plain', ALL_NODES)

t.test('a drain moves traffic away, then the VIPs: no request is lost, no flow broken', async (t) => {
  for (const client of ['client1', 'client2'])
    running.push(new Traffic(bed.rack.host(client), vips.slice(0, 2), 80, FLOWS / 2))
  await bed.until('every flow to be answered', async () => {
    const flows = await reportsOf(running)
    return flows.length === 2 * FLOWS && flows.every(({ answered }) => answered > 0)
  })
  const requests = new Requests(vips.slice(2))
  const said = weir('drain', 'node1')
  await expectRouters(t, 'marked: in the tables, not in the kernels', 'marked', ALL_NODES - 1)
  t.ok(existsSync(join(directory, 'drain')), 'gobgpd would say goodbye if it were stopped')
  const lines = await said
  const phases = [...new Set(lines.map((line) => line.split(': ')[1]))]
  t.same(phases.slice(-1), ['drained'], lines.join('\n'))
  await expectRouters(t, 'withdrawn', 'gone', ALL_NODES - 1)
  await expectFlows(t, 'drained')
  await requests.stop()
  t.ok(requests.sent > 200, `${requests.sent} requests were sent`)
  t.same(requests.failures.slice(0, 5), [], 'none was lost')
  for (const prefix of own) {
    const length = prefix.includes('/') ? '' : prefix.includes(':') ? '/128' : '/32'
    for (const tor of TORS) {
      const argv = ['ip', '-j', 'route', 'show', `${prefix}${length}`]
      if (prefix.includes(':')) argv.splice(1, 0, '-6')
      const { stdout } = await bed.run(tor, argv)
      t.match(stdout, /dst/, `${tor} still leads to ${prefix}`)
    }
  }
})

t.test('the drain is told of on the Node', async (t) => {
  const { status } = await bed.get<{
    status: { conditions: { type: string; status: string; reason: string }[] }
  }>('node', DRAINED)
  t.match(
    status.conditions.find(({ type }) => type === 'weir.network/Drained'),
    { status: 'True', reason: 'Drained' },
  )
  t.ok(
    status.conditions.some(({ type }) => type === 'Ready'),
    "the kubelet's own stay",
  )
  const { items } = await bed.get<{ items: { reason: string }[] }>(
    'events',
    '-n',
    'default',
    '--field-selector',
    `involvedObject.name=${DRAINED}`,
  )
  const reasons = items.map(({ reason }) => reason)
  for (const reason of ['DrainMarking', 'DrainWaiting', 'DrainWithdrawing', 'Drained'])
    t.ok(reasons.includes(reason), reason)
})

t.test('undrained, it takes its share again; nothing is lost either', async (t) => {
  const requests = new Requests(vips.slice(2))
  const lines = await weir('undrain')
  t.match(lines.at(-1), /node2: active/)
  await expectRouters(t, 'back', 'plain', ALL_NODES)
  await expectFlows(t, 'undrained')
  await requests.stop()
  t.same(requests.failures.slice(0, 5), [], `none of ${requests.sent} was lost`)
  t.notOk(existsSync(join(directory, 'drain')), 'gobgpd would be killed if it were stopped')
  const { spec } = await bed.get<{ spec: { unschedulable?: boolean } }>('node', DRAINED)
  t.not(spec.unschedulable, true, 'the cordon was ours')
})

/** Holds the drain in a state: a gobgpd that does not answer keeps what needs it waiting. */
const HOLDS: Readonly<Record<string, () => Promise<void>>> = {
  marking: async () => {
    signalGobgpd('SIGSTOP')
    await wish(true)
    await untilPhase('marking')
  },
  waiting: async () => {
    await wish(true)
    await untilPhase('waiting')
  },
  withdrawn: async () => {
    await wish(true)
    await untilPhase('waiting')
    await sleep((QUIET_SECONDS - 1) * 1000)
    signalGobgpd('SIGSTOP')
    await untilPhase('withdrawn')
  },
  drained: async () => {
    await wish(true)
    await untilPhase('drained')
  },
}

for (const [held, comeThere] of Object.entries(HOLDS)) {
  t.test(`an agent killed while ${held} is followed by one that goes on`, async (t) => {
    await comeThere()
    await killAgent()
    t.equal(recordedPhase(), held)
    if (held === 'marking' || held === 'withdrawn') signalGobgpd('SIGCONT')
    const restart = async () => {
      await startAgent(bed.rack, drainedNode())
      await untilPhase('drained')
    }
    if (held === 'marking') await restart()
    else await expectNeverBack(t, held, restart)
    await expectRouters(t, 'drained in the end', 'gone', ALL_NODES - 1)
    await wish(false)
    await untilPhase('active')
    await expectRouters(t, 'and back', 'plain', ALL_NODES)
  })
}

t.test('a gobgpd that dies while the node drains comes back marked', async (t) => {
  await wish(true)
  await untilPhase('waiting')
  await expectRouters(t, 'marked', 'marked', ALL_NODES - 1)
  await expectNeverBack(t, 'gobgpd killed', async () => {
    signalGobgpd('SIGKILL')
    await untilPhase('drained')
    await bed.until('its sessions to be back', async () => {
      const { sessions } = await bed.agent<{ sessions: { session: string }[] }>(DRAINED, '/v1/routes')
      return sessions.length > 0 && sessions.every(({ session }) => session === 'established')
    })
  })
  await expectRouters(t, 'withdrawn', 'gone', ALL_NODES - 1)
  await wish(false)
  await expectRouters(t, 'and back', 'plain', ALL_NODES)
})

t.test('a drain that is taken back while the agent is away', async (t) => {
  await wish(true)
  await untilPhase('drained')
  await killAgent()
  await wish(false)
  await startAgent(bed.rack, drainedNode())
  await expectRouters(t, 'back', 'plain', ALL_NODES)
  await untilPhase('active')
  await expectFlows(t, 'after all of this')
})
