// Which node a pod goes to. Pure. A node qualifies when it is Ready, not cordoned, its taints are tolerated and its labels
// match the pod's nodeSelector; among those the one with the fewest pods of the same owner wins, then the fewest pods at all,
// then the lowest name, so that replicas spread evenly and the answer is always the same.

import type { Node, Pod } from '../../kube/objects.ts'
import { controllerOf, isNodeReady, isPodFinished, matchesLabels, stableJson } from './objects.ts'

export type Placement = { nodeName: string } | { reason: string }

export function choosePlace(pod: Pod, nodes: readonly Node[], pods: readonly Pod[]): Placement {
  if (nodes.length === 0) return { reason: 'no nodes available to schedule pods' }
  const refusals = new Map<string, number>()
  const fitting: Node[] = []
  for (const node of nodes) {
    const refusal = refusalOf(pod, node)
    if (refusal === undefined) fitting.push(node)
    else refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1)
  }
  if (fitting.length === 0) {
    const reasons = [...refusals].map(([reason, count]) => `${count} ${reason}`).join(', ')
    return { reason: `0/${nodes.length} nodes are available: ${reasons}.` }
  }
  return { nodeName: leastLoaded(pod, fitting, pods) }
}

/** A DaemonSet's pod goes to cordoned nodes too, and where it runs already only a NoExecute taint drives it away. */
export type PodRole = 'new' | 'daemon' | 'running daemon'

/** Why the node will not do; undefined when it will. */
export function refusalOf(pod: Pick<Pod, 'spec'>, node: Node, role: PodRole = 'new'): string | undefined {
  if (role === 'new' && !isNodeReady(node)) return 'node(s) were not ready'
  if (role === 'new' && node.spec?.unschedulable === true) return 'node(s) were unschedulable'
  const taint = (node.spec?.taints ?? []).find(({ effect, key, value }) => {
    if (effect === 'PreferNoSchedule' || (role === 'running daemon' && effect !== 'NoExecute')) return false
    return !(pod.spec.tolerations ?? []).some((toleration) => {
      if (toleration.effect && toleration.effect !== effect) return false
      if (toleration.key && toleration.key !== key) return false
      return toleration.operator === 'Exists' || (toleration.value ?? '') === (value ?? '')
    })
  })
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`
  const selected = matchesLabels(pod.spec.nodeSelector ?? {}, node.metadata.labels)
  return selected ? undefined : "node(s) didn't match the pod's node selector"
}

function leastLoaded(pod: Pod, fitting: readonly Node[], pods: readonly Pod[]): string {
  const family = familyOf(pod)
  const load = new Map(fitting.map((node) => [node.metadata.name ?? '', { siblings: 0, all: 0 }]))
  for (const other of pods) {
    const count = load.get(other.spec.nodeName ?? '')
    // One on its way out still holds its place until it is gone, but no longer counts as a replica.
    if (count === undefined || isPodFinished(other)) continue
    count.all++
    if (other.metadata.deletionTimestamp === undefined && familyOf(other) === family) count.siblings++
  }
  const ranked = [...load].sort(
    ([a, x], [b, y]) =>
      x.siblings - y.siblings || x.all - y.all || a.localeCompare(b, 'en', { numeric: true }),
  )
  return ranked[0]?.[0] ?? ''
}

/** Pods of one controller are replicas of each other; without one, pods of the same namespace and labels are. */
function familyOf(pod: Pod): string {
  return controllerOf(pod)?.uid ?? `${pod.metadata.namespace} ${stableJson(pod.metadata.labels ?? {})}`
}
