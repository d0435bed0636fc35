// Subresources other than status: scale (by the paths a kind declares), pods/binding, pods/eviction, pods/log, namespaces/finalize,
// serviceaccounts/token. Each is a small translation to an ordinary write of the parent object.

import type { WriteOptions } from './admission.ts'
import type { ObjectDeleter } from './deleter.ts'
import { parseDeleteOptions } from './deleter.ts'
import { badRequest, invalid, methodNotAllowed, StatusError, tooManyRequests } from './errors.ts'
import {
  clone,
  isRecord,
  type JsonRecord,
  openRecord,
  recordAt,
  stringAt,
  timestamp,
  valueAt,
} from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import { parseLabelSelector } from './selectors.ts'
import { resourceKey, type Storage } from './storage.ts'
import type { ObjectWriter } from './writer.ts'

const stepsOfPath = (path: string): string[] => path.split('.').filter((step) => step !== '')

const setAt = (object: JsonRecord, path: readonly string[], value: unknown): void => {
  let current = object
  for (const step of path.slice(0, -1)) {
    current = openRecord(current, step)
  }
  const last = path[path.length - 1]
  if (last !== undefined) current[last] = value
}

const selectorText = (value: unknown): string => {
  if (typeof value === 'string') return value
  if (!isRecord(value)) return ''
  const labels = isRecord(value['matchLabels'])
    ? value['matchLabels']
    : 'matchExpressions' in value
      ? {}
      : value
  const equalities = Object.entries(labels).map(([key, text]) => `${key}=${String(text)}`)
  const expressions = Array.isArray(value['matchExpressions'])
    ? value['matchExpressions'].filter(isRecord)
    : []
  const sets = expressions.map((expression) => {
    const key = String(expression['key'])
    const values = Array.isArray(expression['values']) ? expression['values'].join(',') : ''
    switch (expression['operator']) {
      case 'In':
        return `${key} in (${values})`
      case 'NotIn':
        return `${key} notin (${values})`
      case 'DoesNotExist':
        return `!${key}`
      default:
        return key
    }
  })
  return [...equalities, ...sets].join(',')
}

/** The autoscaling/v1 Scale of an object. */
export const scaleOf = (kind: KindDefinition, object: KubeObject): KubeObject => {
  const { scale } = kind
  if (!scale) throw methodNotAllowed()
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const selector =
    scale.labelSelectorPath && selectorText(valueAt(object, ...stepsOfPath(scale.labelSelectorPath)))
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as KubeObject['metadata'],
    spec: { replicas: Number(valueAt(object, ...stepsOfPath(scale.specReplicasPath)) ?? 0) },
    status: {
      replicas: Number(valueAt(object, ...stepsOfPath(scale.statusReplicasPath)) ?? 0),
      ...(selector ? { selector } : {}),
    },
  }
}

/** Writes `change(Scale).spec.replicas` back into the object. */
export const updateScale = (
  writer: ObjectWriter,
  kind: KindDefinition,
  namespace: string | undefined,
  name: string,
  change: (scale: KubeObject) => unknown,
  options: WriteOptions,
): KubeObject => {
  const { scale } = kind
  if (!scale) throw methodNotAllowed()
  const updated = writer.update(
    kind,
    namespace,
    name,
    (current) => {
      const wanted = change(scaleOf(kind, current))
      const replicas = valueAt(wanted, 'spec', 'replicas') ?? 0
      if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
        throw invalid({ group: 'autoscaling', plural: '', kind: 'Scale' }, name, [
          {
            field: 'spec.replicas',
            reason: 'FieldValueInvalid',
            message: `Invalid value: ${String(replicas)}: must be greater than or equal to 0`,
          },
        ])
      }
      const object = clone(current)
      setAt(object, stepsOfPath(scale.specReplicasPath), replicas)
      const version = stringAt(wanted, 'metadata', 'resourceVersion')
      if (version !== undefined) object.metadata.resourceVersion = version
      return object
    },
    options,
  )
  return scaleOf(kind, updated)
}

/** Binds a pod to a node, once: what a scheduler does. */
export const bindPod = (
  writer: ObjectWriter,
  kind: KindDefinition,
  namespace: string | undefined,
  name: string,
  body: unknown,
  nowMs: number,
  options: WriteOptions,
): KubeObject => {
  const node = stringAt(body, 'target', 'name')
  if (node === undefined || node === '')
    throw badRequest('target.name: Required value: the node to bind the pod to')
  const change = (current: KubeObject): KubeObject => {
    const bound = stringAt(current, 'spec', 'nodeName')
    if (bound) throw badRequest(`pod ${name} is already assigned to node "${bound}"`)
    return { ...current, spec: { ...recordAt(current, 'spec'), nodeName: node } }
  }
  const bound = writer.update(kind, namespace, name, change, options)
  const condition = {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: timestamp(nowMs),
  }
  const scheduled = (current: KubeObject): KubeObject => {
    const status = recordAt(current, 'status')
    const others = (Array.isArray(status['conditions']) ? status['conditions'] : []).filter(
      (entry) => !isRecord(entry) || entry['type'] !== 'PodScheduled',
    )
    return { ...current, status: { ...status, conditions: [...others, condition] } }
  }
  return options.dryRun === true ? bound : writer.update(kind, namespace, name, scheduled, options, 'status')
}

/** Deletes a pod unless a PodDisruptionBudget that selects it allows no disruption (429, on which kubectl drain waits). */
export const evictPod = (
  storage: Storage,
  writer: ObjectWriter,
  deleter: ObjectDeleter,
  kind: KindDefinition,
  namespace: string | undefined,
  name: string,
  body: unknown,
  query: URLSearchParams,
): void => {
  const pod = writer.read(kind, namespace, name)
  for (const budget of storage.list(resourceKey('policy', 'poddisruptionbudgets'), namespace)) {
    const selector = selectorText(valueAt(budget, 'spec', 'selector'))
    if (selector === '' || !parseLabelSelector(selector)(pod)) continue
    if (Number(valueAt(budget, 'status', 'disruptionsAllowed') ?? 0) > 0) continue
    throw tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", [
      {
        reason: 'DisruptionBudget',
        message: `The disruption budget ${budget.metadata.name} allows no disruption right now`,
      },
    ])
  }
  deleter.delete(kind, namespace, name, parseDeleteOptions(recordAt(body, 'deleteOptions'), query))
}

/** Replaces a namespace's spec.finalizers: how its last holder lets it go. */
export const finalizeNamespace = (
  writer: ObjectWriter,
  kind: KindDefinition,
  name: string,
  body: unknown,
  options: WriteOptions,
): KubeObject => {
  const finalizers = valueAt(body, 'spec', 'finalizers') ?? []
  const change = (current: KubeObject): KubeObject => ({
    ...current,
    spec: { ...recordAt(current, 'spec'), finalizers },
  })
  return writer.update(kind, undefined, name, change, options)
}

/** Streams into a pod that this server has no means for, and what serves instead in a rack; undefined for anything else. */
export const streamRefusal = (subresource: string | undefined, pod: string): StatusError | undefined => {
  const refuse = (what: string, instead: string): StatusError =>
    new StatusError(501, 'NotImplemented', `this server has no ${what}; in a rack use: ${instead}`)
  switch (subresource) {
    case 'exec':
    case 'attach':
      return refuse(subresource, `weir sandbox exec ${pod} -- COMMAND`)
    case 'portforward':
    case 'proxy':
      return refuse(subresource, `weir sandbox exec client1 -- curl http://ADDRESS:PORT`)
    default:
      return undefined
  }
}
