// The agent in a cluster of many pods and policies: what it takes in memory, and how long a change takes from the API server to the kernel.

import { setTimeout as sleep } from 'node:timers/promises'
import { Bed, type MeasuredAgent } from '../control/bed.ts'
import type { ClusterSize } from '../control/cluster.ts'
import { untilAtRest } from '../control/measure.ts'
import { type Percentiles, percentiles } from '../control/percentiles.ts'
import type { Effort } from '../frame/figure.ts'
import { type Change, type ChangeKind, changeKinds } from './agent-changes.ts'
import { PolicyKernelView } from './agent-kernel.ts'
import type { PolicyClusterSize } from './objects.ts'

export const SIZE: PolicyClusterSize = { identities: 5000, policies: 1000, podsPerNode: 110 }
/** As many endpoints as pods. */
export const CLUSTER: ClusterSize = { services: 1000, endpoints: 5, nodes: 46, external: 10 }

/** What one round finds. */
export interface AgentRound {
  /** From the first list request to a kernel that holds every policy. */
  readonly syncMs: number
  readonly syncBusyMs: number
  readonly rssBytes: number
  readonly rssAfterBytes: number
  readonly changes: ReadonlyMap<string, ChangeRound>
}

export interface ChangeRound {
  readonly toKernel: Percentiles
  readonly busyMs: number
  /** Of the agent, all threads, for one change. */
  readonly cpuMs: number
}

export interface Pains {
  /** Of each kind. */
  readonly changes: number
  readonly settleMs: number
}

/** Discarded: the first changes find code that has not been compiled. */
const WARM_UP = 20
/** So that each meets an agent at rest. */
const CHANGE_PAUSE_MS = 10
const HELD = 'the kernel holds every policy'

export async function measureAgent(
  pains: Pains,
  { say, defer }: Pick<Effort, 'say' | 'defer'>,
): Promise<AgentRound> {
  const bed = new Bed({ policy: { enforce: true } })
  defer(() => bed.close())
  try {
    return await measureOn(bed, pains, say)
  } finally {
    await bed.close()
  }
}

type Ask = Awaited<ReturnType<Bed['startPolicyApi']>>

interface Scene {
  readonly ask: Ask
  readonly kernel: PolicyKernelView
  readonly agent: MeasuredAgent
}

async function measureOn(bed: Bed, pains: Pains, say: (line: string) => void): Promise<AgentRound> {
  const ask = await bed.startPolicyApi(CLUSTER, SIZE)
  bed.startGobgpd()
  const agent = bed.startAgent()
  const held = await agent.said(HELD)
  const sync = await agent.read()
  const kernel = new PolicyKernelView(bed.pins)
  try {
    assertHeld(kernel)
    await untilAtRest(agent, held.time)
    await sleep(pains.settleMs)
    const rssBytes = agent.rssAnonBytes()
    say(
      `  the kernel holds it after ${held.time - sync.firstRequestMs} ms; ${(rssBytes / 1e6).toFixed(0)} MB at rest`,
    )
    const changes = new Map<string, ChangeRound>()
    for (const kind of changeKinds(SIZE, pains.changes)) {
      const round = await changesOf({ ask, kernel, agent }, kind)
      const { p50, p99 } = round.toKernel
      say(`  ${kind.name}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`)
      changes.set(kind.name, round)
    }
    await sleep(pains.settleMs)
    return {
      syncMs: held.time - sync.firstRequestMs,
      syncBusyMs: sync.busyStretchMaxMs,
      rssBytes,
      rssAfterBytes: agent.rssAnonBytes(),
      changes,
    }
  } finally {
    kernel.close()
    await agent.kill()
  }
}

/** Every pod is somebody, and those of this node are judged. */
function assertHeld({ tables }: PolicyKernelView): void {
  const identities = [...tables.identities.entries()].length
  const subjects = [...tables.subjects.entries()].length
  if (identities < SIZE.identities || subjects < SIZE.podsPerNode)
    throw new Error(
      `the kernel holds ${identities} identities and ${subjects} subjects of ${JSON.stringify(SIZE)}`,
    )
}

async function changesOf(scene: Scene, kind: ChangeKind): Promise<ChangeRound> {
  const times: number[] = []
  const warmUp = Math.min(WARM_UP, kind.count)
  for (let index = 0; index < kind.count + warmUp; index += 1) {
    if (index === warmUp) await scene.agent.reset(true)
    const time = await changeOnce(scene, kind.make(index), `${kind.name}, change ${index}`)
    if (index >= warmUp) times.push(time)
    await sleep(CHANGE_PAUSE_MS)
  }
  const { busyStretchMaxMs, cpuMs } = await scene.agent.read()
  return { toKernel: percentiles(times), busyMs: busyStretchMaxMs, cpuMs: cpuMs / kind.count }
}

/** @throws when the kernel says of the change's question what it said before */
async function changeOnce({ ask, kernel }: Scene, change: Change, name: string): Promise<number> {
  if (change.prepare) await ask(change.prepare)
  const ruling = () => JSON.stringify(kernel.ruling(change.question))
  const before = ruling()
  const generations = kernel.generations()
  const told = ask(change.request)
  const { awaited } = change
  const seenNs =
    awaited === 'verdicts'
      ? kernel.awaitVerdicts(generations, () => ruling() !== before)
      : kernel.awaitIdentity(awaited.address, awaited.isThere)
  if (before === ruling()) throw new Error(`${name}: the kernel still says ${before}`)
  return Number(seenNs - (await told)) / 1e6
}
