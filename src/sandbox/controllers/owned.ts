// Acting on what an object owns: list, create, delete, status. Each call is safe to repeat.

import type { KubeClient } from '../../kube/client.ts'
import { isKubeError } from '../../kube/errors.ts'
import type { Change } from '../../kube/list-watch.ts'
import type { ApiObject, LabelSelector, Resource } from '../../kube/objects.ts'
import { controllerOf, ownerReference, sameJson, selectorText } from './objects.ts'
import type { WorkQueue } from './work-queue.ts'

export interface Owner {
  resource: Resource
  object: ApiObject
}

/** At most this many creations or deletions per round and owner run side by side; the rest wait their turn. */
const PARALLEL = 10

/** The children of `owner`, straight from the server. Matching orphans are adopted, as controllers of Kubernetes do. */
export async function listOwned<T extends ApiObject>(
  client: KubeClient,
  resource: Resource<T>,
  owner: Owner,
  selector: LabelSelector,
): Promise<T[]> {
  const { namespace, uid } = owner.object.metadata
  const { items } = await client.list(resource, { namespace, labelSelector: selectorText(selector) })
  const owned: T[] = []
  for (const item of items) {
    const controller = controllerOf(item)
    if (controller?.uid === uid) owned.push(item)
    else if (controller === undefined && item.metadata.deletionTimestamp === undefined) {
      owned.push(await adopt(client, resource, owner, item))
    }
  }
  return owned
}

async function adopt<T extends ApiObject>(
  client: KubeClient,
  resource: Resource<T>,
  owner: Owner,
  orphan: T,
): Promise<T> {
  const { namespace, name, uid, resourceVersion, ownerReferences = [] } = orphan.metadata
  const metadata = {
    uid,
    resourceVersion,
    ownerReferences: [...ownerReferences, ownerReference(owner.resource, owner.object)],
  }
  return client.patch(resource, { namespace, name }, { metadata }, { kind: 'merge' })
}

/** Puts the key of each changed object's controller into the queue, when that is of the given kind. */
export function enqueueOwner<T extends ApiObject>(
  changes: readonly Change<T>[],
  kind: string,
  queue: WorkQueue,
): void {
  for (const change of changes) {
    for (const object of [
      'row' in change ? change.row : undefined,
      'previous' in change ? change.previous : undefined,
    ]) {
      const owner = object === undefined ? undefined : controllerOf(object)
      if (object !== undefined && owner?.kind === kind)
        queue.add(`${object.metadata.namespace}/${owner.name}`)
    }
  }
}

export async function createAll<T extends ApiObject>(
  client: KubeClient,
  resource: Resource<T>,
  count: number,
  make: (index: number) => T,
): Promise<T[]> {
  const created: T[] = []
  for (let start = 0; start < count; start += PARALLEL) {
    const batch = Array.from({ length: Math.min(PARALLEL, count - start) }, (_, index) => make(start + index))
    created.push(...(await Promise.all(batch.map((object) => client.create(resource, object)))))
  }
  return created
}

/** Deletes these very objects: a successor under the same name is left alone. */
export async function deleteAll(
  client: KubeClient,
  resource: Resource,
  objects: readonly ApiObject[],
): Promise<void> {
  for (let start = 0; start < objects.length; start += PARALLEL) {
    await Promise.all(
      objects.slice(start, start + PARALLEL).map((object) => deleteOne(client, resource, object)),
    )
  }
}

export async function deleteOne(
  client: KubeClient,
  resource: Resource,
  object: ApiObject,
  graceSeconds?: number,
): Promise<void> {
  const { uid } = object.metadata
  const options = {
    ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
    ...(uid === undefined ? {} : { preconditions: { uid } }),
  }
  await client.delete(resource, object.metadata, options).catch((error: unknown) => {
    // Gone already, or another object under this name by now.
    if (!isKubeError(error, 'not-found', 'conflict')) throw error
  })
}

/** Writes the status when it differs from what the object says. */
export async function patchStatus(
  client: KubeClient,
  resource: Resource,
  object: ApiObject,
  status: object,
): Promise<void> {
  const before = (object as { status?: Record<string, unknown> }).status ?? {}
  const differs = Object.entries(status).some(([field, value]) => !sameJson(before[field], value))
  if (!differs) return
  const { namespace, name } = object.metadata
  await client
    .patch(resource, { namespace, name, subresource: 'status' }, { status }, { kind: 'merge' })
    .catch((error: unknown) => {
      if (!isKubeError(error, 'not-found')) throw error
    })
}
