// Which part of an object a write may touch, and what state a write leaves it in. Pure functions of objects; writer.ts and deleter.ts
// use them.

import { clone, type JsonRecord, valueAt } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import { type ResourceKey, resourceKey } from './storage.ts'

/** Which part of the object an endpoint writes. */
export type Section = 'main' | 'status'

export const keyOfKind = (kind: Pick<KindDefinition, 'group' | 'plural'>): ResourceKey =>
  resourceKey(kind.group, kind.plural)

const systemMetadata = [
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
  'resourceVersion',
  'selfLink',
] as const

/** Keeps what this endpoint may not write: status on the main endpoint, all but status (and labels) on the status endpoint. */
export const isolate = (
  kind: KindDefinition,
  incoming: KubeObject,
  previous: KubeObject,
  section: Section,
): KubeObject => {
  const kept = clone(previous)
  const metadata: KubeObject['metadata'] = { ...incoming.metadata }
  for (const field of systemMetadata) delete metadata[field]
  for (const field of systemMetadata) {
    if (kept.metadata[field] !== undefined) Object.assign(metadata, { [field]: kept.metadata[field] })
  }
  if (section === 'main') {
    const object: KubeObject = { ...incoming, metadata }
    if (!kind.hasStatusSubresource) return object
    if (kept['status'] === undefined) delete object['status']
    else object['status'] = kept['status']
    return object
  }
  const { labels, annotations } = metadata
  if (labels) kept.metadata.labels = labels
  if (annotations) kept.metadata.annotations = annotations
  if (incoming['status'] === undefined) delete kept['status']
  else kept['status'] = incoming['status']
  return kept
}

/** Everything but metadata (and status, where it is a subresource): a change of it is a new generation. */
export const specOf = (object: KubeObject, kind: KindDefinition): JsonRecord => {
  const { metadata: _metadata, ...rest } = object
  if (kind.hasStatusSubresource) delete rest['status']
  return rest
}

/** Marked for deletion, nobody's finalizer left, no grace period running: gone with this write. */
export const isFinished = (object: KubeObject): boolean =>
  object.metadata.deletionTimestamp !== undefined &&
  !hasFinalizers(object) &&
  (object.metadata.deletionGracePeriodSeconds ?? 0) === 0

/** Namespaces have a second list in their spec, kept until their content is gone. */
export const hasFinalizers = (object: KubeObject): boolean => {
  if ((object.metadata.finalizers ?? []).length > 0) return true
  if (object.kind !== 'Namespace' || object.apiVersion !== 'v1') return false
  const inSpec = valueAt(object, 'spec', 'finalizers')
  return Array.isArray(inSpec) && inSpec.length > 0
}
