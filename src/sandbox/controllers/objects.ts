// Small questions every controller asks of objects: who owns it, does a selector match, what does a condition say. Pure.

import { createHash } from 'node:crypto'
import type { InvolvedObject } from '../../kube/events.ts'
import type {
  ApiObject,
  Condition,
  Container,
  LabelSelector,
  Node,
  OwnerReference,
  Pod,
  PodTemplate,
  Resource,
} from '../../kube/objects.ts'
import { apiVersionOf } from '../../kube/objects.ts'

/** How an Event names a pod. */
export function involved({ metadata }: Pod): InvolvedObject {
  const { namespace = '', name = '', uid } = metadata
  return { apiVersion: 'v1', kind: 'Pod', namespace, name, uid }
}

/** The owner that manages this object, if any. */
export function controllerOf(object: ApiObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true)
}

export function ownerReference(resource: Resource, owner: ApiObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    name: owner.metadata.name ?? '',
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

/** An empty selector matches everything, as in apps/v1; an absent one matches nothing. */
export function matchesSelector(
  selector: LabelSelector | undefined,
  labels: Record<string, string> | undefined,
): boolean {
  if (selector === undefined) return false
  const have = labels ?? {}
  if (!matchesLabels(selector.matchLabels ?? {}, have)) return false
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = Object.hasOwn(have, key) ? have[key] : undefined
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value)
      case 'NotIn':
        return value === undefined || !values.includes(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
      default:
        return false
    }
  })
}

export function matchesLabels(
  wanted: Record<string, string>,
  labels: Record<string, string> | undefined,
): boolean {
  return Object.entries(wanted).every(
    ([key, value]) => labels !== undefined && Object.hasOwn(labels, key) && labels[key] === value,
  )
}

/** The label selector as a query parameter. */
export function selectorText(selector: LabelSelector): string {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const sets = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`
  })
  return [...equal, ...sets].join(',')
}

export function conditionOf(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type)
}

/** Replaces a condition; the transition time moves only when the status does. */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  next: Condition,
  now: string,
): Condition[] {
  const before = conditionOf(conditions, next.type)
  const lastTransitionTime = before?.status === next.status ? (before.lastTransitionTime ?? now) : now
  const others = (conditions ?? []).filter((condition) => condition.type !== next.type)
  const unchanged =
    before?.status === next.status && before.reason === next.reason && before.message === next.message
  if (unchanged) return [...(conditions ?? [])]
  return [...others, { ...next, lastTransitionTime }]
}

export function isPodReady(pod: Pod): boolean {
  return conditionOf(pod.status?.conditions, 'Ready')?.status === 'True'
}

/** Ready, and for at least so long. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  if (!isPodReady(pod)) return false
  if (minReadySeconds === 0) return true
  const since = Date.parse(conditionOf(pod.status?.conditions, 'Ready')?.lastTransitionTime ?? '')
  return Number.isFinite(since) && since + minReadySeconds * 1000 <= nowMs
}

/** Neither finished nor being deleted: what counts as a replica. */
export function isPodActive(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && !isPodFinished(pod)
}

export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

export function isNodeReady(node: Node): boolean {
  return conditionOf(node.status?.conditions, 'Ready')?.status === 'True'
}

/** Regular containers, then init containers that go on running (sidecars): those whose ports a Service may name. */
export function servingContainers(pod: Pod): Container[] {
  const sidecars = (pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always')
  return [...pod.spec.containers, ...sidecars]
}

const HASH_CHARS = 10
/** Ten characters that spell no word, as Kubernetes' own names. */
const SAFE_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'

/** Names a pod template by its content, key order aside. */
export function templateHash(template: PodTemplate): string {
  const digest = createHash('sha256').update(stableJson(template)).digest()
  return [...digest.subarray(0, HASH_CHARS)]
    .map((byte) => SAFE_ALPHABET[byte % SAFE_ALPHABET.length])
    .join('')
}

/** JSON with sorted keys: equal for equal values. */
export function stableJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${stableJson(field)}`)
  return `{${fields.join(',')}}`
}

export function sameJson(a: unknown, b: unknown): boolean {
  return stableJson(a) === stableJson(b)
}

/** A pod from a template. */
export function podFromTemplate(
  template: PodTemplate,
  owner: { resource: Resource; object: ApiObject },
  name: { name: string } | { generateName: string },
): Pod {
  const { metadata } = template
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...name,
      namespace: owner.object.metadata.namespace,
      labels: { ...metadata?.labels },
      annotations: { ...metadata?.annotations },
      ownerReferences: [ownerReference(owner.resource, owner.object)],
    },
    spec: structuredClone(template.spec),
  }
}
