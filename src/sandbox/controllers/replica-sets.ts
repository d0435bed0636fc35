// Keeps as many pods as a ReplicaSet asks for. Its pods are asked of the server each time, so that a stale store never
// makes two for one. Which pods go first on the way down is as upstream: not yet scheduled, not running, not ready, then
// from the node with the most siblings, then the youngest.

import type { Pod } from '../../kube/objects.ts'
import { PODS } from '../../kube/objects.ts'
import type { ReplicaSet } from '../../kube/workloads.ts'
import { REPLICA_SETS } from '../../kube/workloads.ts'
import { isPodActive, isPodAvailable, isPodReady, podFromTemplate } from './objects.ts'
import { createAll, deleteAll, enqueueOwner, listOwned, patchStatus } from './owned.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

export function createReplicaSets(context: ControllerContext): Controller {
  const queue = createWorkQueue({
    name: 'replicasets',
    log: context.log,
    reconcile: (key) => reconcile(context, key),
  })
  context.stores.replicaSets.subscribe((changes) => {
    for (const { key } of changes) queue.add(key)
  })
  context.stores.pods.subscribe((changes) => enqueueOwner(changes, 'ReplicaSet', queue))
  return queue
}

async function reconcile(context: ControllerContext, key: string): Promise<number | undefined> {
  const set = context.stores.replicaSets.get(key)
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return undefined
  const owner = { resource: REPLICA_SETS, object: set }
  const pods = (await listOwned(context.client, PODS, owner, set.spec.selector)).filter(isPodActive)
  const wanted = set.spec.replicas ?? 1
  if (pods.length < wanted && set.spec.template !== undefined) {
    const prefix = { generateName: `${set.metadata.name}-` }
    const template = set.spec.template
    pods.push(
      ...(await createAll(context.client, PODS, wanted - pods.length, () =>
        podFromTemplate(template, owner, prefix),
      )),
    )
  } else if (pods.length > wanted) {
    const doomed = choosePodsToDelete(pods, pods.length - wanted)
    await deleteAll(context.client, PODS, doomed)
    for (const pod of doomed) pods.splice(pods.indexOf(pod), 1)
  }
  const status = replicaSetStatus(set, pods, context.nowMs())
  await patchStatus(context.client, REPLICA_SETS, set, status)
  // Availability by minReadySeconds comes without an event.
  return status.availableReplicas < status.readyReplicas ? (set.spec.minReadySeconds ?? 0) * 1000 : undefined
}

export function replicaSetStatus(set: ReplicaSet, pods: readonly Pod[], nowMs: number) {
  return {
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: pods.filter(isPodReady).length,
    availableReplicas: pods.filter((pod) => isPodAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs)).length,
    observedGeneration: set.metadata.generation ?? 0,
  }
}

/** The pods whose loss matters least. */
export function choosePodsToDelete(pods: readonly Pod[], count: number): Pod[] {
  const siblings = new Map<string, number>()
  for (const { spec } of pods) siblings.set(spec.nodeName ?? '', (siblings.get(spec.nodeName ?? '') ?? 0) + 1)
  // Siblings leave the node one by one in this ranking, so that what remains stays spread.
  const rank = new Map<Pod, number>()
  const youngestFirst = [...pods].sort((a, b) => age(b) - age(a))
  for (const pod of youngestFirst) {
    const node = pod.spec.nodeName ?? ''
    rank.set(pod, siblings.get(node) ?? 0)
    siblings.set(node, (siblings.get(node) ?? 1) - 1)
  }
  const cost = (pod: Pod) => [
    pod.spec.nodeName === undefined ? 0 : 1,
    pod.status?.phase === 'Running' ? 1 : 0,
    isPodReady(pod) ? 1 : 0,
    -(rank.get(pod) ?? 0),
    -age(pod),
  ]
  return [...pods].sort((a, b) => compareLists(cost(a), cost(b))).slice(0, count)
}

function age(pod: Pod): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '') || 0
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
