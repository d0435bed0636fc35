// BFD between nodes and real routers, FRR's bfdd on one ToR and BIRD on the other. What a session is, the routers say: how long it has
// been up, how often it went down, with which discriminator. Times are told and not judged, but for an order of magnitude: two busy
// cores run all of this.

import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { decodeNexthop, NexthopRow } from '../../src/datapath/abi.gen.ts'
import { type AddressPlan, makeAddressPlan, type NodePlan } from '../../src/sandbox/address-plan.ts'
import { downRack } from '../../src/sandbox/down.ts'
import { runIn } from '../../src/sandbox/host.ts'
import { blackholeLink, findLink, healLink } from '../../src/sandbox/links.ts'
import { nodeBpffs } from '../../src/sandbox/names.ts'
import { gobgpdBelow, startAgent, writeAgentConfig } from '../../src/sandbox/nodes.ts'
import { findProcess, startProcess, stopProcess, waitForEnd } from '../../src/sandbox/process.ts'
import { askAgent } from '../../src/sandbox/proof/context.ts'
import { spineAddresses } from '../../src/sandbox/proof/routes.ts'
import type { Rack } from '../../src/sandbox/rack.ts'
import { routerCommand, routerSessions } from '../../src/sandbox/routers.ts'
import { upRack } from '../../src/sandbox/up.ts'
import { waitUntil } from '../../src/sandbox/wait.ts'
import { BpfLink, BpfMap, unpin } from '../../src/sys/libbpf-ts/index.ts'
import { testRackName } from '../../tools/test-names.ts'

const NAME = testRackName('bfd')
const FAMILIES = 2
/** Ten times what detection takes: a session that is still up then will not go down. */
const SOON_MS = 10_000
const MS_PER_SECOND = 1000

let rack: Rack
let node: NodePlan

t.setTimeout(300_000)
t.teardown(() => downRack(NAME))
const plan: AddressPlan = makeAddressPlan(1)
rack = await upRack({ name: NAME, plan })
node = rack.plan.nodes[0] as NodePlan

const spine = new Set(spineAddresses(plan))

/** A session with the node as its router tells it. */
interface Seen {
  readonly router: string
  readonly peer: string
  readonly isUp: boolean
  /** What stays the same as long as nothing happens to the session. */
  readonly identity: string
}

async function ask(router: string, ...argv: string[]): Promise<string> {
  const host = rack.host(router)
  const { stdout } = await runIn(host, routerCommand(host, argv))
  return stdout
}

interface FrrPeer {
  readonly peer: string
  readonly status: string
  readonly 'remote-id': number
  readonly id: number
}

async function seenByFrr(router: string): Promise<Seen[]> {
  const peers = JSON.parse(await ask(router, 'vtysh', '-c', 'show bfd peers json')) as FrrPeer[]
  const counters = JSON.parse(await ask(router, 'vtysh', '-c', 'show bfd peers counters json')) as {
    peer: string
    'session-down': number
  }[]
  return peers.map((one) => {
    const downs = counters.find(({ peer }) => peer === one.peer)?.['session-down']
    const identity = `${one.id} ${one['remote-id']} down ${downs}`
    return { router, peer: one.peer, isUp: one.status === 'up', identity }
  })
}

async function seenByBird(router: string): Promise<Seen[]> {
  const text = await ask(router, 'birdc', 'show bfd sessions')
  return [...text.matchAll(/^(\S+)\s+(\S+)\s+(Up|Down|Init|AdminDown)\s+(\S+)\s/gm)].map(
    ([, peer = '', , state, since = '']) => ({
      router,
      peer,
      isUp: state === 'Up',
      identity: since,
    }),
  )
}

/** What routers have among themselves is no matter of the node. */
async function seen(): Promise<Seen[]> {
  const sessions = [...(await seenByFrr('tor1')), ...(await seenByBird('tor2'))]
  return sessions.filter(({ peer }) => !spine.has(peer))
}

const isUpOn = (sessions: readonly Seen[], router: string) =>
  sessions.filter((session) => session.router === router && session.isUp).length

async function waitAllUp(): Promise<Seen[]> {
  let sessions: Seen[] = []
  await waitUntil('every BFD session to be up', 30_000, async () => {
    sessions = await seen()
    return isUpOn(sessions, 'tor1') === FAMILIES && isUpOn(sessions, 'tor2') === FAMILIES
  })
  return sessions
}

async function waitBgp(): Promise<void> {
  await waitUntil('every BGP session', 40_000, async () => {
    const sessions = (await Promise.all(['tor1', 'tor2'].map((name) => routerSessions(rack, name)))).flat()
    const own = sessions.filter(({ peer }) => peer === node.name)
    return own.length === 4 && own.every(({ state }) => state === 'Established')
  })
}

interface View {
  readonly address: string
  readonly state: string
  readonly downs: number
  readonly discriminator: number
}

const views = () => askAgent<View[]>(rack, node.name, '/v1/bfd')

function agentPid(): number {
  const agent = findProcess(`${rack.host(node.name).directory}/agent.pid`)
  if (!agent) throw new Error('the agent does not run')
  return agent.pid
}

/** Killed, and after a while another one begins. @param agent what its configuration has different */
async function replaceAgent(absentMs: number, agent = rack.plan.agent): Promise<void> {
  const former = findProcess(`${rack.host(node.name).directory}/agent.pid`)
  if (former) {
    process.kill(former.pid, 'SIGKILL')
    await waitForEnd(former, SOON_MS)
  }
  await sleep(absentMs)
  writeAgentConfig({ ...rack, plan: { ...rack.plan, agent } }, node)
  await startAgent(rack, node)
  await waitAgent()
}

async function waitAgent(): Promise<void> {
  await waitUntil(
    'the agent to have synced',
    30_000,
    async () => (await askAgent<{ synced: boolean }>(rack, node.name, '/v1/status')).synced,
  )
}

/** Marks of silent neighbours in the groups of uplinks, as the programs left them. */
function membersDown(): number[] {
  const map = BpfMap.openPinned(findMap('nexthops'))
  try {
    return [NexthopRow.NEXTHOP_UPLINKS_IPV4, NexthopRow.NEXTHOP_UPLINKS_IPV6].map((row) => {
      const key = Buffer.alloc(4)
      key.writeUInt32LE(row)
      const value = map.lookup(key)
      return value ? decodeNexthop(value).membersDown : 0
    })
  } finally {
    map.close()
  }
}

function findMap(name: string): string {
  const { maps } = pinned()
  const pin = maps.find((one) => one.startsWith(`${name}_v`))
  if (pin === undefined) throw new Error(`no pin of map ${name}`)
  return join(nodeBpffs(rack.name, node.name), 'maps', pin)
}

function pinned(): { maps: string[] } {
  const directory = join(nodeBpffs(rack.name, node.name), 'maps')
  return { maps: readdirSync(directory) }
}

/** How long it takes, in milliseconds, told in the test's output. */
async function timed(t: Test, what: string, isDone: () => Promise<boolean>): Promise<void> {
  const start = performance.now()
  await waitUntil(what, SOON_MS, isDone)
  t.comment(`${what}: ${Math.round(performance.now() - start)} ms`)
}

t.test('sessions of both families are up at both routers', async (t) => {
  const sessions = await waitAllUp()
  await waitBgp()
  t.equal(sessions.length, 2 * FAMILIES)
  const own = await views()
  t.equal(own.length, 2 * FAMILIES)
  t.ok(own.every(({ state }) => state === 'up'))
})

t.test('the agent is stopped for ten seconds: nothing happens', async (t) => {
  const [before, own] = [await waitAllUp(), await views()]
  const pid = agentPid()
  process.kill(pid, 'SIGSTOP')
  try {
    await sleep(10 * MS_PER_SECOND)
    t.strictSame(await seen(), before, 'the routers have seen nothing')
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  const after = await views()
  t.strictSame(
    after.map(({ address, downs }) => [address, downs]),
    own.map(({ address, downs }) => [address, downs]),
    'nor has the node',
  )
})

t.test('the agent is killed, and another goes on', async (t) => {
  const [before, own] = [await waitAllUp(), await views()]
  await replaceAgent(3 * MS_PER_SECOND)
  await sleep(2 * MS_PER_SECOND)
  t.strictSame(await seen(), before, 'after the next has taken over')
  t.strictSame(
    (await views()).map(({ address, downs, discriminator }) => [address, downs, discriminator]),
    own.map(({ address, downs, discriminator }) => [address, downs, discriminator]),
  )
})

t.test('gobgpd is killed: BFD stays up, and no router loses a route', async (t) => {
  await waitBgp()
  await waitAllUp()
  const monitors = await Promise.all(['tor1', 'tor2'].map((name) => monitorRoutes(name)))
  const supervisor = findProcess(`${rack.host(node.name).directory}/gobgpd.pid`)
  const gobgpd = supervisor && gobgpdBelow(supervisor.pid)
  t.ok(gobgpd)
  if (gobgpd) process.kill(gobgpd.pid, 'SIGKILL')
  await waitUntil('the sessions to have ended', 15_000, async () => {
    const sessions = await routerSessions(rack, 'tor1')
    return sessions.some(({ peer, state }) => peer === node.name && state !== 'Established')
  })
  const during = await seenByBird('tor2')
  t.ok(during.every(({ isUp }) => isUp))
  await waitBgp()
  await sleep(2 * MS_PER_SECOND)
  for (const { router, read, stop } of monitors) {
    await stop()
    const lost = read().filter((line) => /^Deleted/.test(line) && isOwn(line))
    t.strictSame(lost, [], `${router} has deleted nothing`)
  }
  await waitAllUp()
})

/** Loopback and pods of the node. */
function isOwn(line: string): boolean {
  const { loopback, podCidr } = node
  return [loopback.ipv4, loopback.ipv6, podCidr.ipv4, podCidr.ipv6].some((text) => line.includes(`${text} `))
}

/** Every change of a router's kernel table from now on. */
async function monitorRoutes(router: string) {
  const host = rack.host(router)
  mkdirSync(host.directory, { recursive: true })
  const [logFile, pidFile] = [`${host.directory}/monitor.log`, `${host.directory}/monitor.pid`]
  await startProcess({
    name: `ip monitor of ${router}`,
    namespace: host.namespace,
    cgroup: host.systemCgroup,
    argv: ['ip', 'monitor', 'route'],
    logFile,
    pidFile,
  })
  const read = () => readFileSync(logFile, 'utf8').split('\n')
  return { router, read, stop: () => stopProcess(pidFile) }
}

t.test('from XDP to tc, and a session between link-local addresses', async (t) => {
  const before = await waitAllUp()
  const [own, theirs] = [await linkLocal(node.name, 'to-tor1'), await linkLocal('tor1', `to-${node.name}`)]
  await runIn(rack.host(node.name), ['ping', '-c', '1', '-W', '1', `${theirs}%to-tor1`])
  const peer = `peer ${own} local-address ${theirs} interface to-${node.name}`
  await configureBfd(peer)
  const config = parse(readFileSync(`${rack.host(node.name).directory}/agent.yaml`, 'utf8')) as Config
  const unnumbered = { name: 'unnumbered', interface: 'to-tor1', asn: 'external', bfd: true }
  const agent = {
    datapath: { uplinkHook: 'tc' },
    routing: { peers: [...config.routing.peers, unnumbered] },
  }
  await replaceAgent(0, agent)
  await waitUntil('the link-local session', 15_000, async () =>
    (await seenByFrr('tor1')).some((session) => session.peer === own && session.isUp),
  )
  const view = (await views()).find(({ address }) => address === theirs)
  t.equal(view?.state, 'up')
  t.strictSame(
    (await seen()).filter((session) => session.peer !== own),
    before,
    'the others are as they were',
  )
  await configureBfd(`no ${peer}`)
  await replaceAgent(0)
  await waitUntil('the session to be gone', 15_000, async () => (await views()).length === 2 * FAMILIES)
  t.strictSame(await seen(), before, 'and so they are at XDP again')
})

/** A command alone would wait for the next one: FRR commits it then. */
async function configureBfd(command: string): Promise<void> {
  const lines = ['configure terminal', 'bfd', command, 'exit', 'exit', 'end']
  await ask('tor1', 'vtysh', ...lines.flatMap((line) => ['-c', line]))
}

interface Config {
  readonly routing: { readonly peers: readonly unknown[] }
}

async function linkLocal(host: string, device: string): Promise<string> {
  const argv = ['ip', '-6', '-o', 'address', 'show', 'dev', device, 'scope', 'link']
  const { stdout } = await runIn(rack.host(host), argv)
  return /inet6 (fe80:\S+)\//.exec(stdout)?.[1] ?? ''
}

for (const [link, router] of [
  ['to-tor1', 'tor1'],
  ['to-tor2', 'tor2'],
] as const)
  t.test(`${router}'s link loses every frame: both ends notice, and it comes back`, async (t) => {
    await waitAllUp()
    const fault = findLink(rack.plan, `${node.name}:${link}`)
    const other = router === 'tor1' ? 'tor2' : 'tor1'
    await blackholeLink(fault, rack.host)
    try {
      await timed(t, `${router} gives it up`, async () => isUpOn(await seen(), router) === 0)
      await timed(t, 'and so does the node', async () => {
        const down = (await views()).filter(({ state }) => state !== 'up')
        return down.length === FAMILIES
      })
      t.equal(isUpOn(await seen(), other), FAMILIES, 'the other way is sound')
      await timed(t, `${router} sends nothing that way`, async () => {
        const table = await runIn(rack.host(router), ['ip', 'route', 'show', node.loopback.ipv4])
        return !table.stdout.includes(`to-${node.name}`)
      })
    } finally {
      await healLink(fault, rack.host)
    }
    await waitAllUp()
    await waitBgp()
    t.strictSame(membersDown(), [0, 0], 'no mark is left')
  })

t.test('a link dies while the agent is stopped: the programs take it out of use themselves', async (t) => {
  await waitAllUp()
  const fault = findLink(rack.plan, `${node.name}:to-tor2`)
  const pid = agentPid()
  process.kill(pid, 'SIGSTOP')
  try {
    await blackholeLink(fault, rack.host)
    await timed(t, 'the neighbour is marked', async () => membersDown().every((bits) => bits === 2))
    await healLink(fault, rack.host)
    await timed(t, 'and is back', async () => membersDown().every((bits) => bits === 0))
    await waitAllUp()
  } finally {
    process.kill(pid, 'SIGCONT')
    await healLink(fault, rack.host)
  }
  await waitBgp()
})

t.test('the datapath dies and the agent with it: routers see it at once', async (t) => {
  await waitAllUp()
  process.kill(agentPid(), 'SIGSTOP')
  const pid = agentPid()
  try {
    const pins = join(nodeBpffs(rack.name, node.name), 'links')
    for (const pin of readdirSync(pins).filter((name) => /^xdp_|^tc_ingress_/.test(name))) {
      const link = BpfLink.openPinned(join(pins, pin))
      link.detach()
      link.close()
      unpin(join(pins, pin))
    }
    await timed(t, 'every session is given up', async () => (await seen()).every(({ isUp }) => !isUp))
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await waitAllUp()
  t.pass('with the programs the sessions are back')
})
