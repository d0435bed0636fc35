// Keeps what is served in step with the CustomResourceDefinitions in the store: new ones are established, changed ones served anew,
// deleted ones take their objects along. The registry changes at once with the write; conditions follow in a microtask, before the
// writer's client has its answer.

import { cleanupFinalizer, customKindOf } from './custom-kinds.ts'
import type { ObjectDeleter } from './deleter.ts'
import { clone, deepEqual, recordAt, stringAt, timestamp } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import type { KindRegistry } from './registry.ts'
import { type Change, type ResourceKey, resourceKey, type Storage } from './storage.ts'
import type { ObjectWriter } from './writer.ts'

export const crdResource: ResourceKey = 'apiextensions.k8s.io/customresourcedefinitions'

interface Condition {
  type: string
  status: string
  reason: string
  message: string
  lastTransitionTime: string
}

export class CustomResourceController {
  readonly #storage: Storage
  readonly #registry: KindRegistry
  readonly #writer: ObjectWriter
  readonly #deleter: ObjectDeleter
  readonly #nowMs: () => number
  /** Resources served on behalf of which CRD. */
  #served = new Map<ResourceKey, string>()
  #unsubscribe: (() => void)[] = []

  constructor(
    storage: Storage,
    registry: KindRegistry,
    writer: ObjectWriter,
    deleter: ObjectDeleter,
    nowMs: () => number,
  ) {
    this.#storage = storage
    this.#registry = registry
    this.#writer = writer
    this.#deleter = deleter
    this.#nowMs = nowMs
  }

  start(): void {
    for (const crd of this.#storage.list(crdResource)) this.#serve(crd)
    this.#unsubscribe.push(this.#storage.subscribe(undefined, (change) => this.#changed(change)))
  }

  close(): void {
    for (const stop of this.#unsubscribe) stop()
  }

  #changed(change: Change): void {
    if (change.resource !== crdResource) {
      const owner = change.type === 'DELETED' ? this.#served.get(change.resource) : undefined
      if (owner !== undefined) queueMicrotask(() => this.#settle(owner))
      return
    }
    const { object, previous } = change
    if (change.type === 'DELETED') this.#retire(object)
    else if (!deepEqual(object['spec'], previous?.['spec'])) this.#serve(object)
    queueMicrotask(() => this.#settle(object.metadata.name ?? ''))
  }

  #resourceOf(crd: KubeObject): ResourceKey {
    return resourceKey(stringAt(crd, 'spec', 'group') ?? '', stringAt(crd, 'spec', 'names', 'plural') ?? '')
  }

  /** Why the CRD's names can't be served, if so: they belong to a built-in kind or to another CRD. */
  #nameConflict(crd: KubeObject): string | undefined {
    const resource = this.#resourceOf(crd)
    const group = stringAt(crd, 'spec', 'group')
    const kind = stringAt(crd, 'spec', 'names', 'kind')
    for (const other of this.#registry.resources()) {
      if (other.group !== group || this.#served.get(other.key) === crd.metadata.name) continue
      if (other.key === resource) return `"${other.plural}" is already in use`
      if (other.kind === kind) return `"${other.kind}" is already in use`
    }
    return undefined
  }

  #serve(crd: KubeObject): void {
    if (this.#nameConflict(crd) !== undefined) return
    const { versions, storageVersion } = customKindOf(crd)
    const resource = this.#resourceOf(crd)
    this.#served.set(resource, crd.metadata.name ?? '')
    if (versions.length > 0) this.#registry.register(versions, storageVersion)
    else this.#registry.unregister(resource)
  }

  #retire(crd: KubeObject): void {
    const resource = this.#resourceOf(crd)
    if (this.#served.get(resource) !== crd.metadata.name) return
    this.#served.delete(resource)
    this.#registry.unregister(resource)
    // Whoever waited for these names may have them now.
    for (const other of this.#storage.list(crdResource)) {
      if (this.#nameConflict(other) !== undefined || this.#served.has(this.#resourceOf(other))) continue
      this.#serve(other)
      queueMicrotask(() => this.#settle(other.metadata.name ?? ''))
    }
  }

  #settle(name: string): void {
    const kind = this.#registry.resource(crdResource)?.storageVersion
    const crd = this.#storage.get(crdResource, undefined, name)
    if (!kind || !crd) return
    if (crd.metadata.deletionTimestamp === undefined) this.#writeStatus(kind, crd)
    else this.#cleanUp(kind, crd)
  }

  #writeStatus(kind: KindDefinition, crd: KubeObject): void {
    const spec = recordAt(crd, 'spec')
    const status = recordAt(crd, 'status')
    const conflict = this.#nameConflict(crd)
    const isAccepted = conflict === undefined
    const previous = Array.isArray(status['conditions']) ? (status['conditions'] as Condition[]) : []
    const condition = (type: string, reason: string, message: string): Condition => {
      const wanted = { type, status: isAccepted ? 'True' : 'False', reason, message }
      const old = previous.find((entry) => entry.type === type)
      return {
        ...wanted,
        lastTransitionTime: old?.status === wanted.status ? old.lastTransitionTime : timestamp(this.#nowMs()),
      }
    }
    const conditions = [
      condition('NamesAccepted', isAccepted ? 'NoConflicts' : 'Conflict', conflict ?? 'no conflicts found'),
      condition(
        'Established',
        isAccepted ? 'InitialNamesAccepted' : 'NotAccepted',
        isAccepted ? 'the initial names have been accepted' : 'not all names are accepted',
      ),
    ]
    const stored = customKindOf(crd).storageVersion?.version
    const known = Array.isArray(status['storedVersions']) ? (status['storedVersions'] as string[]) : []
    const next = {
      ...status,
      conditions,
      acceptedNames: isAccepted ? spec['names'] : (status['acceptedNames'] ?? { plural: '', kind: '' }),
      storedVersions: stored === undefined || known.includes(stored) ? known : [...known, stored],
    }
    if (!deepEqual(next, status)) this.#writer.replace(kind, { ...clone(crd), status: next })
  }

  /** Deletes the CRD's objects and lets the CRD go once none is left. */
  #cleanUp(kind: KindDefinition, crd: KubeObject): void {
    const resource = this.#resourceOf(crd)
    const finalizers = crd.metadata.finalizers ?? []
    if (!finalizers.includes(cleanupFinalizer)) return
    const isOwn = this.#served.get(resource) === crd.metadata.name
    const served = isOwn ? this.#registry.resource(resource)?.storageVersion : undefined
    if (served) {
      for (const { metadata } of this.#storage.list(resource)) {
        if (metadata.deletionTimestamp !== undefined) continue
        this.#deleter.delete(served, metadata.namespace, metadata.name ?? '', {
          propagationPolicy: 'Background',
        })
      }
      if (this.#storage.count(resource) > 0) return
    }
    const object = clone(crd)
    const rest = finalizers.filter((finalizer) => finalizer !== cleanupFinalizer)
    if (rest.length > 0) object.metadata.finalizers = rest
    else delete object.metadata.finalizers
    this.#writer.replace(kind, object)
  }
}
