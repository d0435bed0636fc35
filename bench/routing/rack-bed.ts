// A rack of two nodes with clients, as `weir sandbox up` makes it: what clients notice is measured here. One Service of web servers on both
// nodes, and as many more of the same servers as VIPs are wanted.

import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { downRack } from '../../src/sandbox/down.ts'
import type { LoadReport } from '../../src/sandbox/load.ts'
import { gobgpdBelow, startAgent } from '../../src/sandbox/nodes.ts'
import { planFromDocument } from '../../src/sandbox/plan-file.ts'
import { findProcess } from '../../src/sandbox/process.ts'
import { askAgent, findKubectl, kubectlFor, loadFrom, urlOf } from '../../src/sandbox/proof/context.ts'
import type { Rack } from '../../src/sandbox/rack.ts'
import { routerNames, routerSessions } from '../../src/sandbox/routers.ts'
import { upRack } from '../../src/sandbox/up.ts'
import { waitUntil } from '../../src/sandbox/wait.ts'
import { testRackName } from '../../tools/test-names.ts'
import { FibWatch } from './fib-watch.ts'

export const NODES = 2
const SETTLED_MS = 60_000
/** A stall lets so many wait at once before the schedule itself is held up. */
const WAITING_MAX = 4_000
/** Other daemons' packets are in the machine's way when a rack has just come up. */
const CALM_MS = 2_000

export class RackBed {
  readonly rack: Rack
  readonly frr: FibWatch
  readonly bird: FibWatch
  /** Of the Service that is asked. */
  readonly vip: string

  private constructor(rack: Rack, frr: FibWatch, bird: FibWatch, vip: string) {
    this.rack = rack
    this.frr = frr
    this.bird = bird
    this.vip = vip
  }

  /** @param defer is told first what takes it down, however far it came */
  static async up(vips: number, defer: (undo: () => Promise<void>) => void): Promise<RackBed> {
    const name = testRackName('bench')
    defer(() => downRack(name))
    const routing = {
      gates: { holdDownSeconds: 0, damping: false },
      drain: { quietSeconds: 1, timeoutSeconds: 30 },
    }
    const plan = planFromDocument({ nodes: NODES, agent: { routing } }, 'the benchmark')
    const rack = await upRack({ name, plan })
    const kubectl = kubectlFor(rack, await findKubectl())
    const file = `${rack.directory}/objects.json`
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects(vips) }))
    await kubectl('apply', '-f', file)
    await kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=web', '--timeout=60s')
    const isVip = (text: string) => text.startsWith('203.0.113.') && text.endsWith('/32')
    const frr = await FibWatch.open(rack.host('tor1').namespace, isVip)
    const bird = await FibWatch.open(rack.host('tor2').namespace, isVip)
    defer(async () => {
      for (const watch of [frr, bird]) watch.close()
    })
    const address = await kubectl(
      'get',
      'service',
      'web0',
      '-o',
      'jsonpath={.status.loadBalancer.ingress[0].ip}',
    )
    const bed = new RackBed(rack, frr, bird, address)
    await bed.hops(vips, NODES)
    await bed.sessionsUp()
    await sleep(CALM_MS)
    return bed
  }

  /** So many VIPs, each by so many nodes, in both kernels. @returns when that was so, in nanoseconds of the monotonic clock */
  async hops(vips: number, nodes: number): Promise<bigint> {
    const isSo = (table: ReadonlyMap<string, number>) =>
      table.size === vips && [...table.values()].every((hops) => hops === nodes)
    const times = await Promise.all(
      [this.frr, this.bird].map((watch) => watch.until(isSo, `${vips} VIPs by ${nodes} nodes`, SETTLED_MS)),
    )
    return times.toSorted((a, b) => (a < b ? 1 : -1))[0] ?? 0n
  }

  /** Of one router, or of all. */
  async sessionsUp(router?: string): Promise<void> {
    const routers = router === undefined ? routerNames(this.rack.plan) : [router]
    await waitUntil(`every BGP session of ${routers.join(', ')}`, SETTLED_MS, async () => {
      const all = await Promise.all(routers.map((name) => routerSessions(this.rack, name)))
      return all
        .flat()
        .every(({ state, prefixesAccepted }) => state === 'Established' && prefixesAccepted > 0)
    })
  }

  /** New connections at a steady rate; each is a request. */
  load(rate: number, seconds: number, timeoutMs: number): Promise<LoadReport> {
    const options = { rate, seconds, concurrency: WAITING_MAX, 'timeout-ms': timeoutMs }
    const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)])
    return loadFrom(this.rack.host('client1'), urlOf(this.vip, '/hostname'), args)
  }

  pidOf(daemon: 'agent' | 'gobgpd', node: string): number {
    const found = findProcess(`${this.rack.host(node).directory}/${daemon}.pid`)
    const process = daemon === 'agent' ? found : found && gobgpdBelow(found.pid)
    if (!process) throw new Error(`${daemon} of ${node} does not run`)
    return process.pid
  }

  /** Also after its death; resolves when it has synced. */
  async startAgent(node: string): Promise<void> {
    await startAgent(this.rack, this.rack.node(node))
    await waitUntil(
      'the agent to have synced',
      SETTLED_MS,
      async () => (await askAgent<{ synced: boolean }>(this.rack, node, '/v1/status')).synced,
    )
  }
}

function objects(vips: number): object[] {
  const names = Array.from({ length: NODES }, (_, index) => `node${index + 1}`)
  const pods = names.map((nodeName) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `web-${nodeName}`, namespace: 'default', labels: { app: 'web' } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [
        { name: 'netexec', image: 'agnhost', args: ['netexec', '--http-port=8080', '--udp-port=8081'] },
      ],
    },
  }))
  const services = Array.from({ length: vips }, (_, index) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `web${index}`, namespace: 'default' },
    spec: {
      type: 'LoadBalancer',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    },
  }))
  return [...pods, ...services]
}
