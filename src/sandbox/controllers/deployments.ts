// Deployments → ReplicaSets: one set per pod template, named for the template's hash; rollout.ts says how large each should
// be, and this file makes it so, round by round, as the sets' status comes in. Writes what `kubectl rollout` reads: status,
// the Available and Progressing conditions, revision annotations; keeps the last old sets for `rollout undo`.

import { isKubeError } from '../../kube/errors.ts'
import type { Condition } from '../../kube/objects.ts'
import type { Deployment, ReplicaSet } from '../../kube/workloads.ts'
import { DEPLOYMENTS, REPLICA_SETS } from '../../kube/workloads.ts'
import { conditionOf, ownerReference, templateHash, withCondition } from './objects.ts'
import { deleteAll, enqueueOwner, listOwned, patchStatus } from './owned.ts'
import { planRollout, type SetSize, strategyOf } from './rollout.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

const HASH_LABEL = 'pod-template-hash'
const REVISION = 'deployment.kubernetes.io/revision'
const HISTORY_LIMIT = 10
const PROGRESS_SECONDS = 600

export function createDeployments(context: ControllerContext): Controller {
  const queue = createWorkQueue({
    name: 'deployments',
    log: context.log,
    reconcile: (key) => reconcile(context, key),
  })
  context.stores.deployments.subscribe((changes) => {
    for (const { key } of changes) queue.add(key)
  })
  context.stores.replicaSets.subscribe((changes) => enqueueOwner(changes, 'Deployment', queue))
  return queue
}

async function reconcile(context: ControllerContext, key: string): Promise<number | undefined> {
  const { client, stores } = context
  const deployment = stores.deployments.get(key)
  if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return undefined
  const sets = await listOwned(
    client,
    REPLICA_SETS,
    { resource: DEPLOYMENTS, object: deployment },
    deployment.spec.selector,
  )
  const hash = templateHash(deployment.spec.template)
  const oldest = (a: ReplicaSet, b: ReplicaSet) => revisionOf(a) - revisionOf(b)
  const old = sets.filter((set) => set.metadata.labels?.[HASH_LABEL] !== hash).sort(oldest)
  let next = sets.find((set) => set.metadata.labels?.[HASH_LABEL] === hash)
  if (next === undefined && deployment.spec.paused === true) return undefined
  const revision = Math.max(0, ...old.map(revisionOf)) + 1
  next =
    next === undefined
      ? await createSet(context, deployment, hash, revision)
      : await asLatest(context, next, revision)
  await noteRevision(context, deployment, next)
  if (deployment.spec.paused !== true) await resize(context, deployment, next, old)
  await patchStatus(client, DEPLOYMENTS, deployment, deploymentStatus(deployment, next, old, context.nowMs()))
  const retired = old.filter((set) => (set.spec.replicas ?? 0) === 0 && (set.status?.replicas ?? 0) === 0)
  const surplus = retired.length - (deployment.spec.revisionHistoryLimit ?? HISTORY_LIMIT)
  if (surplus > 0) await deleteAll(client, REPLICA_SETS, retired.slice(0, surplus))
  return undefined
}

async function createSet(
  { client }: ControllerContext,
  deployment: Deployment,
  hash: string,
  revision: number,
): Promise<ReplicaSet> {
  const { template, selector, minReadySeconds } = deployment.spec
  const labels = { ...template.metadata?.labels, [HASH_LABEL]: hash }
  const { namespace } = deployment.metadata
  const name = `${deployment.metadata.name}-${hash}`
  const set: ReplicaSet = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      namespace,
      labels,
      annotations: { [REVISION]: String(revision) },
      ownerReferences: [ownerReference(DEPLOYMENTS, deployment)],
    },
    spec: {
      // Born empty; planRollout gives it its first pods in the same round.
      replicas: 0,
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  }
  try {
    return await client.create(REPLICA_SETS, set)
  } catch (error) {
    if (isKubeError(error, 'already-exists')) return client.get(REPLICA_SETS, { namespace, name })
    throw error
  }
}

/** A set that becomes current again (rollout undo) takes the newest revision number. */
async function asLatest(
  { client }: ControllerContext,
  set: ReplicaSet,
  revision: number,
): Promise<ReplicaSet> {
  if (revisionOf(set) >= revision) return set
  const metadata = { annotations: { [REVISION]: String(revision) } }
  return client.patch(REPLICA_SETS, set.metadata, { metadata }, { kind: 'merge' })
}

async function noteRevision(
  { client }: ControllerContext,
  deployment: Deployment,
  set: ReplicaSet,
): Promise<void> {
  const revision = String(revisionOf(set))
  if (deployment.metadata.annotations?.[REVISION] === revision) return
  await client.patch(
    DEPLOYMENTS,
    deployment.metadata,
    { metadata: { annotations: { [REVISION]: revision } } },
    { kind: 'merge' },
  )
}

function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0)
}

/** Sets the new sizes, in the server and in the objects at hand. */
async function resize(
  { client }: ControllerContext,
  deployment: Deployment,
  next: ReplicaSet,
  old: readonly ReplicaSet[],
): Promise<void> {
  const sizes = planRollout(
    deployment.spec.replicas ?? 1,
    strategyOf(deployment),
    sizeOf(next),
    old.map(sizeOf),
  )
  for (const set of [next, ...old]) {
    const replicas = sizes.get(set.metadata.name ?? '')
    if (replicas === undefined) continue
    await client.patch(REPLICA_SETS, set.metadata, { spec: { replicas } }, { kind: 'merge' })
    set.spec.replicas = replicas
  }
}

function sizeOf(set: ReplicaSet): SetSize {
  return {
    name: set.metadata.name ?? '',
    replicas: set.spec.replicas ?? 0,
    available: set.status?.availableReplicas ?? 0,
  }
}

export function deploymentStatus(
  deployment: Deployment,
  next: ReplicaSet,
  old: readonly ReplicaSet[],
  nowMs: number,
): NonNullable<Deployment['status']> {
  const sets = [next, ...old]
  const total = (field: 'replicas' | 'readyReplicas' | 'availableReplicas') =>
    sets.reduce((count, set) => count + (set.status?.[field] ?? 0), 0)
  const wanted = deployment.spec.replicas ?? 1
  const available = total('availableReplicas')
  const status = {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: total('replicas'),
    updatedReplicas: next.status?.replicas ?? 0,
    readyReplicas: total('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, Math.max(wanted, total('replicas')) - available),
  }
  const enough = available >= wanted - strategyOf(deployment).maxUnavailable
  const complete = status.updatedReplicas === wanted && status.replicas === wanted && available === wanted
  const now = new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z')
  const conditions = [
    availableCondition(enough),
    progressCondition(deployment, next, complete, nowMs),
  ].reduce((list, condition) => withCondition(list, condition, now), deployment.status?.conditions ?? [])
  return { ...status, conditions }
}

function availableCondition(enough: boolean): Condition {
  return enough
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      }
}

function progressCondition(
  deployment: Deployment,
  next: ReplicaSet,
  complete: boolean,
  nowMs: number,
): Condition {
  const set = `ReplicaSet "${next.metadata.name}"`
  const type = 'Progressing'
  if (complete) {
    return {
      type,
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: `${set} has successfully progressed.`,
    }
  }
  const before = conditionOf(deployment.status?.conditions, type)
  // Once available, a set that loses a pod is not progressing anew.
  if (before?.reason === 'NewReplicaSetAvailable' && before.message?.includes(set))
    return { ...before, status: 'True' }
  const startedMs = Date.parse(next.metadata.creationTimestamp ?? '') || nowMs
  const deadlineMs = (deployment.spec.progressDeadlineSeconds ?? PROGRESS_SECONDS) * 1000
  if (nowMs - startedMs > deadlineMs) {
    return {
      type,
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: `${set} has timed out progressing.`,
    }
  }
  return { type, status: 'True', reason: 'ReplicaSetUpdated', message: `${set} is progressing.` }
}
