// DaemonSets: one pod on each node that fits. Its pods name their node from birth. An update replaces pods node by node,
// at most maxUnavailable missing at a time.

import type { Node, Pod } from '../../kube/objects.ts'
import { PODS } from '../../kube/objects.ts'
import type { DaemonSet } from '../../kube/workloads.ts'
import { DAEMON_SETS } from '../../kube/workloads.ts'
import { isPodActive, isPodAvailable, isPodReady, podFromTemplate, templateHash } from './objects.ts'
import { createAll, deleteAll, enqueueOwner, listOwned, patchStatus } from './owned.ts'
import { type PodRole, refusalOf } from './placement.ts'
import type { Controller, ControllerContext } from './store.ts'
import { createWorkQueue } from './work-queue.ts'

const HASH_LABEL = 'controller-revision-hash'

export function createDaemonSets(context: ControllerContext): Controller {
  const { stores } = context
  const queue = createWorkQueue({
    name: 'daemonsets',
    log: context.log,
    reconcile: (key) => reconcile(context, key),
  })
  stores.daemonSets.subscribe((changes) => {
    for (const { key } of changes) queue.add(key)
  })
  stores.pods.subscribe((changes) => enqueueOwner(changes, 'DaemonSet', queue))
  stores.nodes.subscribe(() => {
    for (const { metadata } of stores.daemonSets.list()) queue.add(`${metadata.namespace}/${metadata.name}`)
  })
  return queue
}

export interface DaemonPlan {
  /** Nodes that need a pod. */
  create: string[]
  delete: Pod[]
  status: Required<NonNullable<DaemonSet['status']>>
}

async function reconcile(context: ControllerContext, key: string): Promise<void> {
  const { client, stores } = context
  const set = stores.daemonSets.get(key)
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return
  const owner = { resource: DAEMON_SETS, object: set }
  const hash = templateHash(set.spec.template)
  const pods = await listOwned(client, PODS, owner, set.spec.selector)
  const plan = planDaemons(set, hash, pods, stores.nodes.list(), context.nowMs())
  await deleteAll(client, PODS, plan.delete)
  await createAll(client, PODS, plan.create.length, (index) => {
    const pod = podFromTemplate(set.spec.template, owner, { generateName: `${set.metadata.name}-` })
    pod.metadata.labels = { ...pod.metadata.labels, [HASH_LABEL]: hash }
    pod.spec.nodeName = plan.create[index] ?? ''
    return pod
  })
  await patchStatus(client, DAEMON_SETS, set, plan.status)
}

export function planDaemons(
  set: DaemonSet,
  hash: string,
  pods: readonly Pod[],
  nodes: readonly Node[],
  nowMs: number,
): DaemonPlan {
  const names = nodesFor(set, nodes, 'daemon')
  const keeping = nodesFor(set, nodes, 'running daemon')
  const active = pods.filter(isPodActive)
  // A terminating pod keeps its place until it is gone, for it may still hold host ports.
  const occupied = new Set(pods.map((pod) => pod.spec.nodeName ?? ''))
  const misplaced = active.filter((pod) => !names.has(pod.spec.nodeName ?? ''))
  const placed = active.filter((pod) => names.has(pod.spec.nodeName ?? ''))
  const minReady = set.spec.minReadySeconds ?? 0
  const available = placed.filter((pod) => isPodAvailable(pod, minReady, nowMs)).length
  const outdated = placed.filter((pod) => pod.metadata.labels?.[HASH_LABEL] !== hash)
  return {
    create: [...names].filter((name) => !occupied.has(name)),
    delete: [
      ...misplaced.filter((pod) => !keeping.has(pod.spec.nodeName ?? '')),
      ...replaceable(set, outdated, names.size - available),
    ],
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      desiredNumberScheduled: names.size,
      currentNumberScheduled: placed.length,
      updatedNumberScheduled: placed.length - outdated.length,
      numberMisscheduled: misplaced.length,
      numberReady: placed.filter(isPodReady).length,
      numberAvailable: available,
      numberUnavailable: names.size - available,
    },
  }
}

function nodesFor(set: DaemonSet, nodes: readonly Node[], role: PodRole): Set<string> {
  const pod = { spec: set.spec.template.spec }
  const fitting = nodes.filter((node) => refusalOf(pod, node, role) === undefined)
  return new Set(fitting.map((node) => node.metadata.name ?? ''))
}

/** Outdated pods that may go now: those that are not ready in any case, then as many as may be missing. */
function replaceable(set: DaemonSet, outdated: readonly Pod[], missing: number): Pod[] {
  if (set.spec.updateStrategy?.type === 'OnDelete') return []
  const limit = Number.parseInt(String(set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1), 10) || 1
  const broken = outdated.filter((pod) => !isPodReady(pod))
  const healthy = outdated.filter(isPodReady)
  return [...broken, ...healthy.slice(0, Math.max(0, limit - missing))]
}
