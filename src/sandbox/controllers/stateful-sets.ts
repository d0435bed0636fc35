// StatefulSets: pods with ordinals, made and removed in order (or all at once under Parallel). Volumes are left out: a pod of
// the rack has none. An update replaces pods from the highest ordinal down, one at a time, down to `partition`.

import { isKubeError } from '../../kube/errors.ts'
import type { Pod } from '../../kube/objects.ts'
import { PODS } from '../../kube/objects.ts'
import type { StatefulSet } from '../../kube/workloads.ts'
import { STATEFUL_SETS } from '../../kube/workloads.ts'
import { isPodReady, podFromTemplate, templateHash } from './objects.ts'
import { deleteAll, enqueueOwner, listOwned, patchStatus } from './owned.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

const HASH_LABEL = 'controller-revision-hash'

export function createStatefulSets(context: ControllerContext): Controller {
  const queue = createWorkQueue({
    name: 'statefulsets',
    log: context.log,
    reconcile: (key) => reconcile(context, key),
  })
  context.stores.statefulSets.subscribe((changes) => {
    for (const { key } of changes) queue.add(key)
  })
  context.stores.pods.subscribe((changes) => enqueueOwner(changes, 'StatefulSet', queue))
  return queue
}

async function reconcile(context: ControllerContext, key: string): Promise<void> {
  const { client } = context
  const set = context.stores.statefulSets.get(key)
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return
  const owner = { resource: STATEFUL_SETS, object: set }
  const hash = templateHash(set.spec.template)
  const pods = await listOwned(client, PODS, owner, set.spec.selector)
  const plan = planOrdinals(set, hash, pods)
  await deleteAll(client, PODS, plan.delete)
  for (const ordinal of plan.create) {
    const name = `${set.metadata.name}-${ordinal}`
    const pod = podFromTemplate(set.spec.template, owner, { name })
    const identity = {
      'statefulset.kubernetes.io/pod-name': name,
      'apps.kubernetes.io/pod-index': String(ordinal),
    }
    pod.metadata.labels = { ...pod.metadata.labels, ...identity, [HASH_LABEL]: hash }
    pod.spec.hostname = name
    if (set.spec.serviceName) pod.spec.subdomain = set.spec.serviceName
    await client.create(PODS, pod).catch((error: unknown) => {
      if (!isKubeError(error, 'already-exists')) throw error
    })
  }
  await patchStatus(client, STATEFUL_SETS, set, plan.status)
}

export interface OrdinalPlan {
  create: number[]
  delete: Pod[]
  status: NonNullable<StatefulSet['status']>
}

export function planOrdinals(set: StatefulSet, hash: string, pods: readonly Pod[]): OrdinalPlan {
  const wanted = set.spec.replicas ?? 1
  const parallel = set.spec.podManagementPolicy === 'Parallel'
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(pod), pod]))
  const isHealthy = (pod: Pod | undefined) =>
    pod !== undefined && isPodReady(pod) && pod.metadata.deletionTimestamp === undefined
  const plan: OrdinalPlan = { create: [], delete: [], status: statusOf(set, hash, pods) }
  for (let ordinal = 0; ordinal < wanted; ordinal++) {
    const pod = byOrdinal.get(ordinal)
    if (pod === undefined) plan.create.push(ordinal)
    if (!parallel && !isHealthy(pod)) return plan
  }
  const surplus = pods.filter((pod) => ordinalOf(pod) >= wanted).sort((a, b) => ordinalOf(b) - ordinalOf(a))
  if (surplus.length > 0) {
    plan.delete.push(
      ...(parallel ? surplus : surplus.slice(0, 1)).filter((pod) => !pod.metadata.deletionTimestamp),
    )
    return plan
  }
  const all = Array.from({ length: wanted }, (_, ordinal) => byOrdinal.get(ordinal))
  if (set.spec.updateStrategy?.type === 'OnDelete' || !all.every(isHealthy)) return plan
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0
  const outdated = pods.filter(
    (pod) => ordinalOf(pod) >= partition && pod.metadata.labels?.[HASH_LABEL] !== hash,
  )
  const last = outdated.sort((a, b) => ordinalOf(b) - ordinalOf(a))[0]
  if (last !== undefined) plan.delete.push(last)
  return plan
}

function ordinalOf(pod: Pod): number {
  return Number(/-(\d+)$/.exec(pod.metadata.name ?? '')?.[1] ?? Number.NaN)
}

function statusOf(set: StatefulSet, hash: string, pods: readonly Pod[]): NonNullable<StatefulSet['status']> {
  const ready = pods.filter(isPodReady).length
  const updated = pods.filter((pod) => pod.metadata.labels?.[HASH_LABEL] === hash).length
  const complete = updated === pods.length
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
    updatedReplicas: updated,
    currentReplicas: complete ? pods.length : pods.length - updated,
    updateRevision: `${set.metadata.name}-${hash}`,
    currentRevision: complete ? `${set.metadata.name}-${hash}` : (set.status?.currentRevision ?? ''),
  }
}
