// What may restart on a node, and what of it routers see: nothing. Every change of the kernel tables of both ToRs and the spine is
// listened to while agent and gobgpd are killed, stopped and replaced; sessions are counted by the routers themselves.

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { FibWatch } from '../../bench/routing/fib-watch.ts'
import type { NodePlan } from '../../src/sandbox/address-plan.ts'
import { gobgpdBelow, startAgent, startGobgpd } from '../../src/sandbox/nodes.ts'
import { findProcess, stopProcess } from '../../src/sandbox/process.ts'
import { kernelNextHops } from '../../src/sandbox/proof/routes.ts'
import { routerCommand } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'

t.setTimeout(300_000)
const FRR = 'tor1'
const BIRD = 'tor2'
const ROUTERS = [FRR, BIRD, 'spine'] as const
/** A route that is lost or replaced after a session came back is so within this time. */
const SETTLE_MS = 2_000

const bed = await Bed.up({ name: 'restarts', nodes: 2 })
t.teardown(() => bed.down())
const node = bed.rack.node('node1')
const { directory } = bed.rack.host(node.name)

await bed.apply(
  pod('web1', { node: 'node1', labels: { app: 'web' } }),
  pod('web2', { node: 'node2', labels: { app: 'web' } }),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
)
await bed.waitForPods('app=web')
const vips = await bed.vips('web')

async function hops(): Promise<number[]> {
  return await Promise.all([FRR, BIRD].flatMap((tor) => vips.map((vip) => kernelNextHops(bed, tor, vip))))
}

async function ask(router: string, ...argv: readonly string[]): Promise<string> {
  return (await bed.run(router, routerCommand(bed.rack.host(router), argv))).stdout
}

/** This node's sessions by their addresses: what changes whenever one ends or comes up, as the routers count it. */
async function sessions(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const neighbours = JSON.parse(await ask(FRR, 'vtysh', '-c', 'show bgp neighbors json')) as Record<
    string,
    { bgpState?: string; connectionsEstablished?: number; connectionsDropped?: number }
  >
  const protocols = (await ask(BIRD, 'birdc', 'show protocols all')).split(/\n\n/)
  for (const { local } of node.uplinks)
    for (const address of [local.ipv4, local.ipv6]) {
      const frr = neighbours[address]
      if (frr) found.set(address, `${frr.bgpState} ${frr.connectionsEstablished} ${frr.connectionsDropped}`)
      const bird = protocols.find((text) => text.includes(`Neighbor address: ${address}\n`))
      if (bird) found.set(address, bird.trim().split('\n')[0] ?? '')
    }
  return found
}

async function untilUp(): Promise<void> {
  await bed.until('all sessions of the node, and the end of every restart', async () => {
    const states = [...(await sessions()).values()]
    if (states.length !== 4 || !states.every((state) => state.includes('Established'))) return false
    return !(await ask(BIRD, 'birdc', 'show protocols all')).includes('graceful restart active')
  })
}

const pidFile = (name: string) => `${directory}/${name}.pid`

function pidOf(name: string): number {
  const found = findProcess(pidFile(name))
  if (!found) throw new Error(`${name} of ${node.name} does not run`)
  return found.pid
}

async function replaceAgent(): Promise<void> {
  await startAgent(bed.rack, node)
  await bed.until(
    'the agent to have synced',
    async () => (await bed.agent<{ synced: boolean }>(node.name, '/v1/status')).synced,
  )
}

/** What routers' kernel tables change while `work` is done, and shortly after. */
async function changesDuring(work: () => Promise<void>): Promise<ReadonlyMap<string, readonly string[]>> {
  const changes = new Map<string, string[]>(ROUTERS.map((router) => [router, []]))
  const watches = await Promise.all(
    ROUTERS.map((router) =>
      FibWatch.open(
        bed.rack.host(router).namespace,
        () => true,
        (change) => changes.get(router)?.push(change),
      ),
    ),
  )
  await work()
  await sleep(SETTLE_MS)
  for (const watch of watches) watch.close()
  return changes
}

/** No router changes a single route while `work` is done. */
async function unseen(t: Test, work: () => Promise<void>): Promise<void> {
  for (const [router, seen] of await changesDuring(work))
    t.same(seen, [], `${router}'s kernel table did not change`)
}

await bed.until('the VIPs in both ToRs, by both nodes', async () =>
  (await hops()).every((count) => count === 2),
)
await untilUp()

t.test('what listens hears a withdrawal', async (t) => {
  const seen: string[] = []
  const watch = await FibWatch.open(
    bed.rack.host(BIRD).namespace,
    () => true,
    (change) => seen.push(change),
  )
  await bed.kubectl('label', 'node', 'node2', 'node.kubernetes.io/exclude-from-external-load-balancers=')
  await bed.until('one next hop', async () => (await hops()).every((count) => count === 1))
  await bed.kubectl('label', 'node', 'node2', 'node.kubernetes.io/exclude-from-external-load-balancers-')
  await bed.until('two again', async () => (await hops()).every((count) => count === 2))
  watch.close()
  t.ok(
    seen.some((change) => vips.some((vip) => change.includes(vip))),
    seen.join('; '),
  )
})

for (const [how, stop] of [
  ['killed', async () => void process.kill(pidOf('agent'), 'SIGKILL')],
  ['told to stop, as an upgrade does', () => stopProcess(pidFile('agent'))],
] as const)
  t.test(`the agent is ${how}, and another follows: no route changes, no session ends`, async (t) => {
    const before = await sessions()
    const gobgpd = gobgpdBelow(pidOf('gobgpd'))?.pid
    await unseen(t, async () => {
      await stop()
      await bed.until('it to be gone', async () => findProcess(pidFile('agent')) === undefined)
      await sleep(SETTLE_MS)
      await replaceAgent()
    })
    t.same(await sessions(), before, 'sessions are the same ones')
    t.equal(gobgpdBelow(pidOf('gobgpd'))?.pid, gobgpd, 'gobgpd too')
  })

t.test('gobgpd is killed: it is started again, its sessions are new, and no route changes', async (t) => {
  const before = await sessions()
  const gobgpd = gobgpdBelow(pidOf('gobgpd'))
  await unseen(t, async () => {
    if (gobgpd) process.kill(gobgpd.pid, 'SIGKILL')
    await bed.until('every session to be another', async () => {
      const now = await sessions()
      return [...before].every(([address, state]) => now.get(address) !== state)
    })
    await untilUp()
  })
})

t.test("gobgpd's container is told to stop on a node that is not drained: no route changes", async (t) => {
  const before = await sessions()
  await unseen(t, async () => {
    await stopProcess(pidFile('gobgpd'))
    await sleep(SETTLE_MS)
    await startGobgpd(bed.rack, node)
    await bed.until('every session to be another', async () => {
      const now = await sessions()
      return [...before].every(([address, state]) => now.get(address) !== state)
    })
    await untilUp()
  })
})

/** But for what the IPv4 session of this node carried: its own networks, and it as one of a VIP's next hops. */
function otherThanOf({ loopback, podCidr }: NodePlan, changes: readonly string[]): string[] {
  const own = [`${loopback.ipv4}/32`, podCidr.ipv4]
  return changes.filter((change) => {
    const [kind, destination = ''] = change.split(' ')
    const isVip = kind === 'set' && vips.some((vip) => destination === `${vip}/32`)
    return !isVip && !own.includes(destination)
  })
}

t.test(
  'a changed timer, and a changed password, end the session that they are of, and no other',
  async (t) => {
    const file = `${directory}/agent.yaml`
    const config = parse(readFileSync(file, 'utf8')) as { routing: { peers: Record<string, unknown>[] } }
    const [first] = config.routing.peers
    const changed = node.uplinks[0]?.local.ipv4 ?? ''
    const change = async (what: string, key: string, value: unknown, atRouter: () => Promise<string>) => {
      const before = await sessions()
      if (first) first[key] = value
      const seen = await changesDuring(async () => {
        t.equal(await atRouter(), '', 'the router takes it')
        writeFileSync(file, stringify(config))
        await bed.until(
          `${what}: another session`,
          async () => (await sessions()).get(changed) !== before.get(changed),
        )
        await untilUp()
      })
      t.same(seen.get(BIRD), [], `${what}: the other ToR changes nothing`)
      t.same(otherThanOf(node, seen.get(FRR) ?? []), [], `${what}: nor does FRR of other sessions' routes`)
      const after = await sessions()
      t.same(
        [...before].filter(([address, state]) => after.get(address) !== state).map(([address]) => address),
        [changed],
        `${what}: one session is another`,
      )
    }
    await change('timer', 'timers', { holdSeconds: 12 }, async () => '')
    writeFileSync(`${directory}/password`, 'sesame\n', { mode: 0o600 })
    await change('password', 'password', { file: `${directory}/password` }, () =>
      ask(
        FRR,
        'vtysh',
        '-c',
        'configure terminal',
        '-c',
        `router bgp ${node.uplinks[0]?.torAsn}`,
        '-c',
        `neighbor ${changed} password sesame`,
      ),
    )
    t.ok((await hops()).every((count) => count === 2))
  },
)
