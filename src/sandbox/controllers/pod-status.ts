// What a pod's status says of the state of its containers: phase, conditions, container statuses, as kubelet writes them. Pure.

import type {
  Condition,
  Container,
  ContainerState,
  ContainerStatus,
  Pod,
  PodStatus,
} from '../../kube/objects.ts'
import { conditionOf, withCondition } from './objects.ts'

/** What the runner knows of one container. */
export interface ContainerFacts {
  container: Container
  isInit: boolean
  state: 'waiting' | 'running' | 'ended'
  /** Why it waits: PodInitializing, ContainerCreating, CrashLoopBackOff, CreateContainerError. */
  waiting?: { reason: string; message?: string }
  pid?: number
  startedMs?: number
  end?: { exitCode: number; signal?: number | undefined; finishedMs: number; startedMs: number } | undefined
  lastEnd?: ContainerFacts['end']
  restartCount: number
  /** Readiness probe's verdict; true without a probe once it runs. */
  ready: boolean
}

export interface PodFacts {
  addresses: readonly string[]
  hostAddresses: readonly string[]
  startedMs: number
  containers: readonly ContainerFacts[]
  nowMs: number
}

export function podStatus(pod: Pod, facts: PodFacts): PodStatus {
  const inits = facts.containers.filter(({ isInit }) => isInit)
  const regular = facts.containers.filter(({ isInit }) => !isInit)
  const phase = phaseOf(pod, inits, regular)
  return {
    phase,
    qosClass: 'BestEffort',
    startTime: timeText(facts.startedMs),
    hostIP: facts.hostAddresses[0],
    hostIPs: facts.hostAddresses.map((ip) => ({ ip })),
    ...(facts.addresses.length === 0
      ? {}
      : { podIP: facts.addresses[0], podIPs: facts.addresses.map((ip) => ({ ip })) }),
    conditions: conditionsOf(pod, inits, regular, phase, facts.nowMs),
    containerStatuses: regular.map(containerStatus),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits.map(containerStatus) }),
  }
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

function isSidecar({ container, isInit }: ContainerFacts): boolean {
  return isInit && container.restartPolicy === 'Always'
}

/** A sidecar has done its part once it runs, any other init container once it has succeeded. */
export function isInitDone(facts: ContainerFacts): boolean {
  return isSidecar(facts) ? facts.state === 'running' : facts.state === 'ended' && facts.end?.exitCode === 0
}

function phaseOf(
  pod: Pod,
  inits: readonly ContainerFacts[],
  regular: readonly ContainerFacts[],
): PodStatus['phase'] {
  const policy = pod.spec.restartPolicy ?? 'Always'
  const failedInit = inits.some(
    (init) => !isSidecar(init) && init.state === 'ended' && init.end?.exitCode !== 0,
  )
  if (failedInit && policy === 'Never') return 'Failed'
  if (regular.every(({ state }) => state === 'ended')) {
    const allGood = regular.every(({ end }) => end?.exitCode === 0)
    const stays =
      pod.metadata.deletionTimestamp !== undefined ||
      policy === 'Never' ||
      (policy === 'OnFailure' && allGood)
    if (stays) return allGood ? 'Succeeded' : 'Failed'
    return 'Running'
  }
  const begun = regular.every(({ state, lastEnd }) => state !== 'waiting' || lastEnd !== undefined)
  return begun ? 'Running' : 'Pending'
}

function conditionsOf(
  pod: Pod,
  inits: readonly ContainerFacts[],
  regular: readonly ContainerFacts[],
  phase: PodStatus['phase'],
  nowMs: number,
): Condition[] {
  const initialized = inits.every(isInitDone)
  const unready = [...regular, ...inits.filter(isSidecar)]
    .filter(({ ready }) => !ready)
    .map(({ container }) => container.name)
  const containersReady = initialized && unready.length === 0
  const gatesOpen = (pod.spec.readinessGates ?? []).every(
    ({ conditionType }) => conditionOf(pod.status?.conditions, conditionType)?.status === 'True',
  )
  const why =
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` }
  const gateWhy = {
    reason: 'ReadinessGatesNotReady',
    message: 'corresponding condition of a readiness gate is not "True"',
  }
  const next: Condition[] = [
    { type: 'PodScheduled', status: 'True' },
    {
      type: 'Initialized',
      ...(initialized ? yes() : { status: 'False', reason: 'ContainersNotInitialized' }),
    },
    { type: 'ContainersReady', ...(containersReady ? yes() : { status: 'False', ...why }) },
    {
      type: 'Ready',
      ...(containersReady && gatesOpen ? yes() : { status: 'False', ...(containersReady ? gateWhy : why) }),
    },
  ]
  const now = timeText(nowMs)
  // Foreign conditions (readiness gates) are kept as they are.
  return next.reduce(
    (conditions, condition) => withCondition(conditions, condition, now),
    pod.status?.conditions ?? [],
  )
}

function yes(): { status: 'True' } {
  return { status: 'True' }
}

function containerStatus(facts: ContainerFacts): ContainerStatus {
  const image = facts.container.image ?? ''
  return {
    name: facts.container.name,
    image,
    imageID: `weir://${image}`,
    containerID: facts.pid === undefined ? undefined : `weir://${facts.pid}`,
    ready: facts.ready,
    started: facts.state === 'running',
    restartCount: facts.restartCount,
    state: stateOf(facts),
    lastState: facts.lastEnd === undefined ? {} : { terminated: terminated(facts.lastEnd) },
  }
}

function stateOf(facts: ContainerFacts): ContainerState {
  if (facts.state === 'running') return { running: { startedAt: timeText(facts.startedMs ?? 0) } }
  if (facts.state === 'ended' && facts.end !== undefined) return { terminated: terminated(facts.end) }
  return { waiting: facts.waiting ?? { reason: 'ContainerCreating' } }
}

function terminated(end: NonNullable<ContainerFacts['end']>): NonNullable<ContainerState['terminated']> {
  return {
    exitCode: end.exitCode,
    ...(end.signal === undefined ? {} : { signal: end.signal }),
    reason: end.exitCode === 0 ? 'Completed' : 'Error',
    startedAt: timeText(end.startedMs),
    finishedAt: timeText(end.finishedMs),
  }
}
