// Pod: what it is given at creation, and the words kubectl get sums its state up with.

import type { KindDefinition, KubeObject } from '../kind.ts'
import { timeSince } from './age.ts'
import { ageColumn, defineKind, textColumn, wideColumn } from './define.ts'
import { fillPodSpec, type PodSpec, qosClassOf } from './pod-spec.ts'
import { podSpecErrors, podUpdateErrors } from './pod-validation.ts'

const defaultGraceSeconds = 30
/** How long a pod stays on a node that is not ready or not reachable. */
const evictionTolerationSeconds = 300

interface ContainerState {
  waiting?: { reason?: string }
  running?: { startedAt?: string }
  terminated?: { exitCode?: number; signal?: number; reason?: string; finishedAt?: string }
}

interface ContainerStatus {
  name: string
  ready?: boolean
  started?: boolean
  restartCount?: number
  state?: ContainerState
  lastState?: ContainerState
}

interface PodStatus {
  phase?: string
  reason?: string
  qosClass?: string
  podIP?: string
  podIPs?: { ip: string }[]
  nominatedNodeName?: string
  conditions?: { type: string; status: string; reason?: string }[]
  containerStatuses?: ContainerStatus[]
  initContainerStatuses?: ContainerStatus[]
}

function podSpecOf(object: KubeObject): PodSpec {
  return (object['spec'] ?? {}) as PodSpec
}

function podStatusOf(object: KubeObject): PodStatus {
  return (object['status'] ?? {}) as PodStatus
}

function admitPod(object: KubeObject): void {
  const spec = podSpecOf(object)
  fillPodSpec(spec)
  spec.enableServiceLinks ??= true
}

function allocatePod(object: KubeObject, previous: KubeObject | undefined): void {
  const spec = podSpecOf(object)
  if (previous === undefined) fillAdmissionPlugins(spec)
  const status = podStatusOf(object)
  status.phase ||= 'Pending'
  status.qosClass ||= qosClassOf(spec)
  object['status'] = status
}

/** What a cluster's default admission plug-ins add when a pod is made. */
function fillAdmissionPlugins(spec: PodSpec): void {
  spec.serviceAccountName ||= 'default'
  spec.serviceAccount ||= spec.serviceAccountName
  spec.priority ??= 0
  spec.preemptionPolicy ??= 'PreemptLowerPriority'
  const tolerations = spec.tolerations ?? []
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const isTolerated = tolerations.some(
      (toleration) =>
        (toleration.key === key || (!toleration.key && toleration.operator === 'Exists')) &&
        (!toleration.effect || toleration.effect === 'NoExecute'),
    )
    if (!isTolerated)
      tolerations.push({
        key,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: evictionTolerationSeconds,
      })
  }
  spec.tolerations = tolerations
}

function isRestartable(spec: PodSpec, name: string): boolean {
  return (spec.initContainers ?? []).some(
    (container) => container.name === name && container.restartPolicy === 'Always',
  )
}

function readyText(object: KubeObject): string {
  const spec = podSpecOf(object)
  const status = podStatusOf(object)
  const sidecars = (spec.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  ).length
  const ready = (status.containerStatuses ?? []).filter(
    (container) => container.ready && container.state?.running,
  ).length
  const readySidecars = (status.initContainerStatuses ?? []).filter(
    (container) => isRestartable(spec, container.name) && container.started && container.ready,
  ).length
  return `${ready + readySidecars}/${(spec.containers ?? []).length + sidecars}`
}

function endText(terminated: NonNullable<ContainerState['terminated']>): string {
  if (terminated.reason) return terminated.reason
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode ?? 0}`
}

/** The first init container that has not done its part, if any. */
function initText(spec: PodSpec, status: PodStatus): string | undefined {
  for (const [index, container] of (status.initContainerStatuses ?? []).entries()) {
    const { terminated, waiting } = container.state ?? {}
    if (terminated !== undefined && terminated.exitCode === 0) continue
    if (isRestartable(spec, container.name) && container.started) continue
    if (terminated !== undefined) return `Init:${endText(terminated)}`
    if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`
    return `Init:${index}/${(spec.initContainers ?? []).length}`
  }
  return undefined
}

function statusText(object: KubeObject): string {
  const spec = podSpecOf(object)
  const status = podStatusOf(object)
  let text = status.reason || status.phase || ''
  if (
    (status.conditions ?? []).some(
      (condition) => condition.type === 'PodScheduled' && condition.reason === 'SchedulingGated',
    )
  )
    text = 'SchedulingGated'
  const init = initText(spec, status)
  if (init !== undefined) text = init
  else {
    let hasRunning = false
    for (const { state, ready } of [...(status.containerStatuses ?? [])].reverse()) {
      if (state?.waiting?.reason) text = state.waiting.reason
      else if (state?.terminated !== undefined) text = endText(state.terminated)
      else if (ready && state?.running !== undefined) hasRunning = true
    }
    if (text === 'Completed' && hasRunning) {
      const isReady = (status.conditions ?? []).some(
        (condition) => condition.type === 'Ready' && condition.status === 'True',
      )
      text = isReady ? 'Running' : 'NotReady'
    }
  }
  if (object.metadata.deletionTimestamp === undefined) return text
  if (status.reason === 'NodeLost') return 'Unknown'
  return status.phase === 'Succeeded' || status.phase === 'Failed' ? text : 'Terminating'
}

function restartsText(object: KubeObject, nowMs: number): string {
  const containers = podStatusOf(object).containerStatuses ?? []
  const restarts = containers.reduce((sum, container) => sum + (container.restartCount ?? 0), 0)
  const times = containers.map((container) => container.lastState?.terminated?.finishedAt ?? '').sort()
  const last = times.at(-1)
  return restarts > 0 && last ? `${restarts} (${timeSince(last, nowMs)} ago)` : String(restarts)
}

function gatesText(object: KubeObject): string {
  const gates = podSpecOf(object).readinessGates ?? []
  const conditions = podStatusOf(object).conditions ?? []
  const met = gates.filter((gate) =>
    conditions.some((condition) => condition.type === gate.conditionType && condition.status === 'True'),
  )
  return gates.length === 0 ? '<none>' : `${met.length}/${gates.length}`
}

export const podKind: KindDefinition = defineKind('Pod', {
  package: 'core',
  shortNames: ['po'],
  categories: ['all'],
  hasGeneration: true,
  columns: [
    textColumn('Ready', readyText),
    textColumn('Status', statusText),
    textColumn('Restarts', restartsText),
    ageColumn,
    wideColumn(
      'IP',
      (object) => podStatusOf(object).podIPs?.[0]?.ip ?? (podStatusOf(object).podIP || '<none>'),
    ),
    wideColumn('Node', (object) => podSpecOf(object).nodeName || '<none>'),
    wideColumn('Nominated Node', (object) => podStatusOf(object).nominatedNodeName || '<none>'),
    wideColumn('Readiness Gates', gatesText),
  ],
  deletionGraceSeconds: (object) => {
    const { nodeName, terminationGracePeriodSeconds } = podSpecOf(object)
    const { phase } = podStatusOf(object)
    // Nobody would end a pod that is nowhere; one that has ended needs no time.
    if (!nodeName || phase === 'Succeeded' || phase === 'Failed') return 0
    return terminationGracePeriodSeconds ?? defaultGraceSeconds
  },
  admit: admitPod,
  allocate: allocatePod,
  validate: (object, previous) => [
    ...podSpecErrors(podSpecOf(object), 'spec'),
    ...(previous === undefined ? [] : podUpdateErrors(object, previous)),
  ],
})
