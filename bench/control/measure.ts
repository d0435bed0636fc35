// One size of cluster, from an empty kernel to the figures of its table.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Effort } from '../frame/figure.ts'
import type { EndpointChange } from './api-process.ts'
import { Bed, type MeasuredAgent } from './bed.ts'
import { type ClusterSize, isExternal } from './cluster.ts'
import { KernelView } from './kernel-view.ts'
import { type Percentiles, percentiles } from './percentiles.ts'

/** What one round finds. */
export interface RoundFigures {
  /** From the first list request to a kernel that holds everything. */
  readonly syncMs: number
  /** Of that, after everything was in the agent's tables. */
  readonly tablesToMapsMs: number
  readonly syncCpuMs: number
  readonly syncLoopDelayMs: number
  readonly syncBusyMs: number
  /** From a kernel that holds everything to an agent that has nothing left to do. */
  readonly restMs: number
  readonly rssIdleBytes: number
  readonly rssPeakBytes: number
  readonly idlePercent: number
  /** Single changes, one after another: from the watch event's leaving to the kernel's map. */
  readonly change: Percentiles
  readonly churnLoopDelayMs: number
  readonly churnBusyMs: number
  readonly churnCpuPerChangeMs: number
  /** Ready to run, but others had the cores. */
  readonly churnWaitPerChangeMs: number
  /** All at once, in as many Services. */
  readonly burst: Percentiles
  /** From the process's start, and from its first list request, with everything pinned already. */
  readonly adoptStartMs: number
  readonly adoptSyncMs: number
}

/** How much of it. */
export interface Pains {
  readonly changes: number
  readonly burst: number
  /** After a sync: what the garbage collector and the grace of a first batch still do. */
  readonly settleMs: number
  readonly idleMs: number
  /** CPU profiles of the agent go here. */
  readonly profileFile?: string | undefined
}

const HELD = 'the kernel holds every Service'
/** Busier than this it still has something to do, of the first time: the status of each Service is written once. */
const REST_PERCENT = 3
const REST_LOOK_MS = 2_000
/** An agent that is not at rest by then is not going to be: that is measured. */
const REST_MAX_MS = 180_000
/** Between single changes, so that each meets an agent at rest. */
const CHANGE_PAUSE_MS = 8
/** Discarded: the first changes find code that has not been compiled. */
const WARM_UP = 50

/** From an empty kernel to a restart of the agent. */
export async function measureRound(
  size: ClusterSize,
  pains: Pains,
  { say, defer }: Pick<Effort, 'say' | 'defer'>,
): Promise<RoundFigures> {
  const bed = new Bed()
  defer(() => bed.close())
  try {
    return await measureOn(bed, size, pains, say)
  } finally {
    await bed.close()
  }
}

async function measureOn(
  bed: Bed,
  size: ClusterSize,
  pains: Pains,
  say: (line: string) => void,
): Promise<RoundFigures> {
  const change = await bed.startApi(size)
  bed.startGobgpd()
  const agent = bed.startAgent(pains.profileFile)
  const synced = await agent.said('synced')
  const held = await agent.said(HELD)
  const sync = await agent.read()
  say(`  synced after ${held.time - sync.firstRequestMs} ms`)
  const kernel = new KernelView(bed.pins)
  try {
    assertHeld(kernel, size)
    const restMs = await untilAtRest(agent, held.time)
    await sleep(pains.settleMs)
    const idlePercent = await idleness(agent, pains.idleMs)
    const rssIdleBytes = agent.rssAnonBytes()
    say(`  at rest after ${(restMs / 1000).toFixed(1)} s`)
    say(`  idle ${idlePercent.toFixed(2)} %, ${(rssIdleBytes / 1e6).toFixed(0)} MB`)
    const scene = { kernel, apply: change, flip: flipper(), size }
    const singles = await singleChanges(scene, agent, pains)
    say(`  changes p50 ${singles.change.p50.toFixed(2)} ms, p99 ${singles.change.p99.toFixed(2)} ms`)
    const burst = await manyChanges(scene, Math.min(pains.burst, size.services))
    await agent.kill()
    const adopted = await adoption(bed, pains.profileFile && `${pains.profileFile}.restart`)
    return {
      syncMs: held.time - sync.firstRequestMs,
      tablesToMapsMs: held.time - synced.time,
      syncCpuMs: sync.cpuMs,
      syncLoopDelayMs: sync.loopDelayMaxMs,
      syncBusyMs: sync.busyStretchMaxMs,
      restMs,
      rssIdleBytes,
      rssPeakBytes: sync.rssAnonPeakBytes,
      idlePercent,
      ...singles,
      burst,
      ...adopted,
    }
  } finally {
    kernel.close()
  }
}

/** Per address: its port and all others. */
function assertHeld(kernel: KernelView, size: ClusterSize): void {
  const services = Array.from({ length: size.services }, (_, index) => index)
  const external = services.filter((index) => isExternal(index, size)).length
  const wanted = { frontends: (size.services + external) * 2, backends: size.services * size.endpoints }
  const found = { frontends: kernel.count('frontends'), backends: kernel.count('backend_ids') }
  const lacking = services.filter((index) => !kernel.holds(index, isExternal(index, size)))
  if (found.frontends === wanted.frontends && found.backends === wanted.backends && lacking.length === 0)
    return
  throw new Error(
    `the kernel holds ${found.frontends} frontends and ${found.backends} backends, not ${wanted.frontends} and ` +
      `${wanted.backends}; ${lacking.length} Services lack theirs`,
  )
}

/** @param sinceMs wall clock, in milliseconds since the epoch */
export async function untilAtRest(agent: MeasuredAgent, sinceMs: number): Promise<number> {
  for (;;) {
    const lookedMs = Date.now() - sinceMs
    if (lookedMs >= REST_MAX_MS || (await idleness(agent, REST_LOOK_MS)) < REST_PERCENT) return lookedMs
  }
}

/** Processor time, in percent of one core. */
async function idleness(agent: MeasuredAgent, idleMs: number): Promise<number> {
  await agent.reset(false)
  await sleep(idleMs)
  const { cpuMs, wallMs } = await agent.read()
  return (cpuMs / wallMs) * 100
}

/** Turns an endpoint's readiness over, so that every change is one. */
type Flip = (service: number, endpoint: number) => EndpointChange

function flipper(): Flip {
  const notReady = new Set<string>()
  return (service, endpoint) => {
    const name = `${service} ${endpoint}`
    const ready = notReady.delete(name)
    if (!ready) notReady.add(name)
    return { service, endpoint, ready }
  }
}

type ApplyChanges = (changes: readonly EndpointChange[]) => Promise<bigint[]>

interface Scene {
  readonly kernel: KernelView
  readonly apply: ApplyChanges
  readonly flip: Flip
  readonly size: ClusterSize
}

/** Single changes, one after another. */
async function singleChanges(
  { kernel, apply, flip, size }: Scene,
  agent: MeasuredAgent,
  { changes, profileFile }: Pains,
): Promise<
  Pick<
    RoundFigures,
    'change' | 'churnLoopDelayMs' | 'churnBusyMs' | 'churnCpuPerChangeMs' | 'churnWaitPerChangeMs'
  >
> {
  const times: number[] = []
  let waitedBeforeMs = 0
  for (let index = 0; index < changes + WARM_UP; index += 1) {
    if (index === WARM_UP) {
      await agent.reset(true, profileFile && `${profileFile}.changes`)
      waitedBeforeMs = agent.waitedMs()
    }
    const service = (index * 7919) % size.services
    const before = new Map([[service, kernel.frontend(service)]])
    const told = apply([flip(service, index % size.endpoints)])
    const seenNs = kernel.awaitChanges(before).get(service) ?? 0n
    const [sentNs = 0n] = await told
    if (index >= WARM_UP) times.push(Number(seenNs - sentNs) / 1e6)
    await sleep(CHANGE_PAUSE_MS)
  }
  const waitedMs = agent.waitedMs() - waitedBeforeMs
  const { loopDelayMaxMs, busyStretchMaxMs, cpuMs } = await agent.read()
  return {
    change: percentiles(times),
    churnLoopDelayMs: loopDelayMaxMs,
    churnBusyMs: busyStretchMaxMs,
    churnCpuPerChangeMs: cpuMs / changes,
    churnWaitPerChangeMs: waitedMs / changes,
  }
}

/** As many Services changed at once. */
async function manyChanges({ kernel, apply, flip, size }: Scene, count: number): Promise<Percentiles> {
  const services = Array.from({ length: count }, (_, index) => (index * 7919 + 1) % size.services)
  const endpoint = size.endpoints - 1
  const before = new Map(services.map((service) => [service, kernel.frontend(service)]))
  const told = apply(services.map((service) => flip(service, endpoint)))
  const seen = kernel.awaitChanges(before)
  const sent = await told
  const times = services.map(
    (service, index) => Number((seen.get(service) ?? 0n) - (sent[index] ?? 0n)) / 1e6,
  )
  return percentiles(times)
}

async function adoption(
  bed: Bed,
  profileFile: string | undefined,
): Promise<{ adoptStartMs: number; adoptSyncMs: number }> {
  const agent = bed.startAgent(profileFile)
  const held = await agent.said(HELD)
  const { firstRequestMs } = await agent.read()
  await agent.kill()
  return { adoptStartMs: held.time - agent.startedMs, adoptSyncMs: held.time - firstRequestMs }
}
