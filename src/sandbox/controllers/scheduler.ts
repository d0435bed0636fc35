// Binds pods to nodes, one at a time, so that each decision sees the one before. What was decided but has not come back
// through the watch yet is remembered, and counted as placed.

import { isKubeError } from '../../kube/errors.ts'
import type { Pod } from '../../kube/objects.ts'
import { PODS } from '../../kube/objects.ts'
import { conditionOf, involved, isPodFinished, withCondition } from './objects.ts'
import { deleteOne, patchStatus } from './owned.ts'
import { choosePlace } from './placement.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

const SCHEDULER_NAME = 'default-scheduler'

export function createScheduler(context: ControllerContext): Controller {
  const assumed = new Map<string, { uid: string | undefined; nodeName: string }>()
  const { stores } = context
  const queue = createWorkQueue({
    name: 'scheduler',
    log: context.log,
    workers: 1,
    reconcile: (key) => schedule(context, key, assumed),
  })
  stores.pods.subscribe((changes) => {
    for (const change of changes) {
      if (change.type === 'delete' || change.row.spec.nodeName !== undefined) assumed.delete(change.key)
      if (change.type !== 'delete' && isWaiting(change.row)) queue.add(change.key)
    }
  })
  stores.nodes.subscribe(() => {
    for (const pod of stores.pods.list())
      if (isWaiting(pod)) queue.add(`${pod.metadata.namespace}/${pod.metadata.name}`)
  })
  return queue
}

function isWaiting(pod: Pod): boolean {
  const ours = (pod.spec.schedulerName ?? SCHEDULER_NAME) === SCHEDULER_NAME
  return ours && !pod.spec.nodeName && !isPodFinished(pod)
}

async function schedule(
  context: ControllerContext,
  key: string,
  assumed: Map<string, { uid: string | undefined; nodeName: string }>,
): Promise<void> {
  const { client, stores } = context
  const pod = stores.pods.get(key)
  if (pod === undefined || !isWaiting(pod) || assumed.get(key)?.uid === pod.metadata.uid) return
  if (pod.metadata.deletionTimestamp !== undefined) {
    // No node will ever confirm its end.
    await deleteOne(client, PODS, pod, 0)
    return
  }
  const pods = stores.pods.list().map((other) => {
    const decided = assumed.get(`${other.metadata.namespace}/${other.metadata.name}`)
    return decided === undefined ? other : { ...other, spec: { ...other.spec, nodeName: decided.nodeName } }
  })
  const place = choosePlace(pod, stores.nodes.list(), pods)
  if ('reason' in place) {
    await noteUnschedulable(context, pod, place.reason)
    return
  }
  assumed.set(key, { uid: pod.metadata.uid, nodeName: place.nodeName })
  try {
    await bind(context, pod, place.nodeName)
    const assigned = `Successfully assigned ${key} to ${place.nodeName}`
    context.events.record(involved(pod), 'Normal', 'Scheduled', assigned)
  } catch (error) {
    assumed.delete(key)
    if (!isKubeError(error, 'not-found')) throw error
  }
}

async function bind({ client }: ControllerContext, pod: Pod, nodeName: string): Promise<void> {
  const { namespace, name, uid } = pod.metadata
  const target = { apiVersion: 'v1', kind: 'Node', name: nodeName }
  const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target }
  await client.post(PODS, { namespace, name, subresource: 'binding' }, binding)
}

async function noteUnschedulable(context: ControllerContext, pod: Pod, message: string): Promise<void> {
  const before = conditionOf(pod.status?.conditions, 'PodScheduled')
  if (before?.status === 'False' && before.message === message) return
  const now = new Date(context.nowMs()).toISOString().replace(/\.\d+Z$/, 'Z')
  context.events.record(involved(pod), 'Warning', 'FailedScheduling', message)
  const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message } as const
  await patchStatus(context.client, PODS, pod, {
    phase: 'Pending',
    conditions: withCondition(pod.status?.conditions, condition, now),
  })
}
