// What clients notice of a dead link, of a drained node, and of killed processes.

import { setTimeout as sleep } from 'node:timers/promises'
import { askAgent, tellAgent } from '../../src/cli/ask-agent.ts'
import type { LinkPlan } from '../../src/sandbox/address-plan.ts'
import { blackholeLink, findLink, healLink, linkName } from '../../src/sandbox/links.ts'
import type { LoadReport } from '../../src/sandbox/load.ts'
import { agentSocket } from '../../src/sandbox/nodes.ts'
import { waitUntil } from '../../src/sandbox/wait.ts'
import type { Effort } from '../frame/figure.ts'
import { NODES, RackBed } from './rack-bed.ts'

const NODE = 'node1'
/** In pairs, of different nodes and ToRs: while the first of one recovers, which takes gobgpd some ten seconds, the second is as it was. */
const LINKS = ['node1:to-tor1', 'node2:to-tor2', 'node1:to-tor2', 'node2:to-tor1'] as const
const BLACKHOLE_RATE = 500
const BLACKHOLE_SECONDS = 3
/** Of the end of a run, in which nothing may be lost: else it was not seen how long that lasts. */
const BLACKHOLE_OVER_MS = 400
/** A request that is not answered by then met the dead link: everything in a rack is near, and a lost SYN is sent again after a second. */
const PATIENCE_MS = 250
const KILL_PATIENCE_MS = 2_000
/** The generator is a process that has to start first. */
const BEGIN_MS = 1_000
/** gobgpd's sessions are back after some ten seconds, and routers then drop what they were not told again. */
const GOBGPD_SECONDS = 16
const AGENT_SECONDS = 6
const DRAIN_SECONDS = 8
const RESTART_MS = 10_000
const DRAINED_MS = 40_000
/** Of what was to be sent; less means that the machine was too busy to send it. */
const SENT_SHARE_MIN = 0.9
const WINDOWS_MAX = 4

export interface DisturbanceTimes {
  /** Milliseconds to the last request that the dead link lost: from the fault, and from the first that it lost. */
  readonly blackhole: { readonly fromFault: number[]; readonly fromFirst: number[] }
  /** Milliseconds from the wish to kernels without the node. */
  readonly marked: number[]
  /** … to a node whose VIPs are withdrawn. */
  readonly drained: number[]
  readonly undrained: number[]
  /** Requests, of those of one run. */
  readonly lost: Readonly<Record<'agent' | 'gobgpd' | 'drain', number[]>>
  /** What was seen of windows that had to be repeated. */
  readonly repeated: string[]
}

export interface DisturbancePains {
  readonly vips: number
  readonly repetitions: number
  readonly lossRepetitions: number
  /** New connections, while what may lose them happens. */
  readonly requestsPerSecond: number
}

export async function measureDisturbances(
  { vips, repetitions, lossRepetitions, requestsPerSecond }: DisturbancePains,
  { say, defer }: Pick<Effort, 'say' | 'defer'>,
): Promise<DisturbanceTimes> {
  const bed = await RackBed.up(vips, defer)
  say(`  a rack of ${NODES} nodes with ${vips} VIPs is up`)
  const times: DisturbanceTimes = {
    blackhole: { fromFault: [], fromFirst: [] },
    marked: [],
    drained: [],
    undrained: [],
    lost: { agent: [], gobgpd: [], drain: [] },
    repeated: [],
  }
  const tellRepeated = (seen: string) => {
    times.repeated.push(seen)
    say(`  once more: ${seen}`)
  }
  const lossIn = (seconds: number, happens: () => Promise<unknown>) =>
    lossOf(bed, { seconds, requestsPerSecond }, happens, tellRepeated)
  for (let index = 0; index < lossRepetitions; index += 1) {
    times.lost.agent.push(await lossIn(AGENT_SECONDS, () => killAgent(bed)))
    times.lost.gobgpd.push(await lossIn(GOBGPD_SECONDS, () => killGobgpd(bed)))
    times.lost.drain.push(await lossIn(DRAIN_SECONDS, () => drainAndBack(bed, vips)))
    say(
      `  lost: ${Object.entries(times.lost)
        .map(([what, counts]) => `${what} ${counts.at(-1)}`)
        .join(', ')}`,
    )
  }
  for (let index = 0; index < repetitions; index += 1) {
    const { markedMs, drainedMs, undrainedMs } = await drainAndBack(bed, vips)
    times.marked.push(markedMs)
    times.drained.push(drainedMs)
    times.undrained.push(undrainedMs)
  }
  say(`  drained ${repetitions} times`)
  for (let index = 0; index < repetitions; index += 1) {
    const link = findLink(bed.rack.plan, LINKS[index % LINKS.length] ?? LINKS[0])
    const isFirstOfPair = index % 2 === 0
    await bed.sessionsUp(isFirstOfPair ? undefined : link.upper.host)
    const { fromFaultMs, fromFirstMs } = await blackhole(bed, link)
    times.blackhole.fromFault.push(fromFaultMs)
    times.blackhole.fromFirst.push(fromFirstMs)
  }
  say(`  ${repetitions} links blackholed`)
  return times
}

/**
 * Requests that failed while something happens. A window in which answers were so slow that less was sent (the
 * machine had other work) is no such load; it is repeated, and told of.
 * @throws when no window sent enough
 */
async function lossOf(
  bed: RackBed,
  { seconds, requestsPerSecond }: { readonly seconds: number; readonly requestsPerSecond: number },
  happens: () => Promise<unknown>,
  tellRepeated: (seen: string) => void,
): Promise<number> {
  const wanted = requestsPerSecond * seconds
  for (let window = 1; ; window += 1) {
    await bed.sessionsUp()
    const loading = bed.load(requestsPerSecond, seconds, KILL_PATIENCE_MS)
    await sleep(BEGIN_MS)
    // What fails first is what is told: the load, which goes down with the rack, would fail too.
    await happens().finally(() => Promise.allSettled([loading]))
    const report = await loading
    const { started, answered, slow, latencyMs } = report
    if (isSent(report, wanted)) return started - answered
    if (window === WINDOWS_MAX) throw notSent(report, wanted)
    tellRepeated(
      `${started} of ${wanted} requests were sent, ${answered} answered, ${slow} of them after more than 0.9 s, p50 ${latencyMs.p50} ms`,
    )
  }
}

function isSent({ started }: LoadReport, wanted: number): boolean {
  return started >= wanted * SENT_SHARE_MIN
}

function notSent({ started, failures }: LoadReport, wanted: number): Error {
  const reason = failures[0]?.reason ?? 'none'
  return new Error(`only ${started} of ${wanted} requests were sent; the first failure: ${reason}`)
}

async function killAgent(bed: RackBed): Promise<void> {
  const before = bed.pidOf('agent', NODE)
  process.kill(before, 'SIGKILL')
  await sleep(BEGIN_MS)
  await bed.startAgent(NODE)
  if (bed.pidOf('agent', NODE) === before) throw new Error('the agent was not killed')
}

async function killGobgpd(bed: RackBed): Promise<void> {
  const before = bed.pidOf('gobgpd', NODE)
  process.kill(before, 'SIGKILL')
  await waitUntil('another gobgpd', RESTART_MS, () => {
    try {
      return bed.pidOf('gobgpd', NODE) !== before
    } catch {
      return false
    }
  })
}

/** As `weir drain` and `weir undrain` do it; the routers' kernels are what is waited for. */
async function drainAndBack(
  bed: RackBed,
  vips: number,
): Promise<{ markedMs: number; drainedMs: number; undrainedMs: number }> {
  const socket = agentSocket(bed.rack.host(NODE))
  const wish = (verb: string) => tellAgent<unknown>({ socket }, `/v1/${verb}?node=${NODE}`)
  const sinceMs = (beganNs: bigint, atNs = process.hrtime.bigint()) => Number(atNs - beganNs) / 1e6
  const beganNs = process.hrtime.bigint()
  const marked = bed.hops(vips, NODES - 1)
  await wish('drain')
  const markedMs = sinceMs(beganNs, await marked)
  const phase = async () => (await askAgent<{ phase: string }>({ socket }, `/v1/drain?node=${NODE}`)).phase
  await waitUntil('the node to be drained', DRAINED_MS, async () => (await phase()) === 'drained')
  const drainedMs = sinceMs(beganNs)
  const againNs = process.hrtime.bigint()
  await wish('undrain')
  const undrainedMs = sinceMs(againNs, await bed.hops(vips, NODES))
  return { markedMs, drainedMs, undrainedMs }
}

async function blackhole(
  bed: RackBed,
  link: LinkPlan,
): Promise<{ fromFaultMs: number; fromFirstMs: number }> {
  const loading = bed.load(BLACKHOLE_RATE, BLACKHOLE_SECONDS, PATIENCE_MS)
  await sleep(BEGIN_MS)
  try {
    // The program that makes the fault has to start first, so this is a little early.
    const faultMs = Date.now()
    await blackholeLink(link, bed.rack.host)
    const report = await loading
    const wanted = BLACKHOLE_RATE * BLACKHOLE_SECONDS
    if (!isSent(report, wanted)) throw notSent(report, wanted)
    const met = report.failures.map(({ atMs }) => atMs)
    const name = linkName(link.lower)
    if (met.length === 0) throw new Error(`no request met the dead link ${name}: nothing went over it`)
    const lastMs = Math.max(...met)
    const endMs = report.beganMs + BLACKHOLE_SECONDS * 1000
    if (lastMs > endMs - BLACKHOLE_OVER_MS)
      throw new Error(`requests were lost until ${endMs - lastMs} ms before the end of the run: ${name}`)
    return { fromFaultMs: lastMs - faultMs, fromFirstMs: lastMs - Math.min(...met) }
  } finally {
    await Promise.allSettled([loading])
    await healLink(link, bed.rack.host)
  }
}
