// Ownership between objects (metadata.ownerReferences): dependents go when their last owner has gone (background), an owner that is
// deleted in the foreground waits for its blocking dependents, an orphaning one lets go of them first.
//
// Data in: every change of the store. An index from owner uid to dependents makes the work proportional to what changed. Changes only
// mark; the work is done in one round per event loop turn, so that writers never re-enter each other.

import { foregroundFinalizer, type ObjectDeleter, orphanFinalizer } from './deleter.ts'
import { clone } from './json.ts'
import type { KindDefinition, KubeObject, OwnerReference } from './kind.ts'
import type { KindRegistry } from './registry.ts'
import { type Change, keyOf, type ResourceKey, type Storage } from './storage.ts'
import type { ObjectWriter } from './writer.ts'

interface Locator {
  readonly resource: ResourceKey
  readonly namespace: string | undefined
  readonly name: string
}

const locatorOf = (resource: ResourceKey, object: KubeObject): Locator => ({
  resource,
  namespace: object.metadata.namespace,
  name: object.metadata.name ?? '',
})

const locatorKey = (resource: ResourceKey, object: KubeObject): string => `${resource} ${keyOf(object)}`

type OwnerState = 'live' | 'absent' | 'waiting'

export class GarbageCollector {
  readonly #storage: Storage
  readonly #registry: KindRegistry
  readonly #writer: ObjectWriter
  readonly #deleter: ObjectDeleter
  /** Owner uid → its dependents by locator key. */
  #dependents = new Map<string, Map<string, Locator>>()
  /** Dependents to judge and owners to serve in the next round. */
  #toJudge = new Map<string, Locator>()
  #toServe = new Map<string, Locator>()
  #scheduled: NodeJS.Immediate | undefined
  #unsubscribe: () => void = () => undefined

  constructor(storage: Storage, registry: KindRegistry, writer: ObjectWriter, deleter: ObjectDeleter) {
    this.#storage = storage
    this.#registry = registry
    this.#writer = writer
    this.#deleter = deleter
  }

  start(): void {
    for (const resource of this.#storage.resources()) {
      for (const object of this.#storage.list(resource)) this.#noticed(resource, object, undefined)
    }
    this.#unsubscribe = this.#storage.subscribe(undefined, (change) => this.#changed(change))
  }

  close(): void {
    this.#unsubscribe()
    clearImmediate(this.#scheduled)
  }

  #changed({ type, resource, object, previous }: Change): void {
    if (type !== 'DELETED') {
      this.#noticed(resource, object, previous)
      return
    }
    for (const owner of object.metadata.ownerReferences ?? []) this.#forget(owner.uid, resource, object)
    for (const [key, locator] of this.#dependents.get(object.metadata.uid ?? '') ?? [])
      this.#toJudge.set(key, locator)
    if (this.#toJudge.size > 0) this.#schedule()
  }

  #noticed(resource: ResourceKey, object: KubeObject, previous: KubeObject | undefined): void {
    const { ownerReferences, deletionTimestamp, finalizers } = object.metadata
    const before = previous?.metadata.ownerReferences
    if (ownerReferences !== before) {
      const kept = new Set((ownerReferences ?? []).map((owner) => owner.uid))
      for (const owner of before ?? []) if (!kept.has(owner.uid)) this.#forget(owner.uid, resource, object)
      for (const owner of ownerReferences ?? []) this.#index(owner.uid, resource, object)
      if (ownerReferences && ownerReferences.length > 0) {
        this.#toJudge.set(locatorKey(resource, object), locatorOf(resource, object))
        this.#schedule()
      }
    }
    const isHeldByUs = finalizers?.includes(foregroundFinalizer) || finalizers?.includes(orphanFinalizer)
    if (deletionTimestamp === undefined || !isHeldByUs) return
    this.#toServe.set(object.metadata.uid ?? '', locatorOf(resource, object))
    this.#schedule()
  }

  #index(ownerUid: string, resource: ResourceKey, object: KubeObject): void {
    let known = this.#dependents.get(ownerUid)
    if (!known) {
      known = new Map()
      this.#dependents.set(ownerUid, known)
    }
    known.set(locatorKey(resource, object), locatorOf(resource, object))
  }

  /** A dependent went or let go of an owner: a waiting owner may now be free. */
  #forget(ownerUid: string, resource: ResourceKey, object: KubeObject): void {
    const known = this.#dependents.get(ownerUid)
    known?.delete(locatorKey(resource, object))
    if (known?.size === 0) this.#dependents.delete(ownerUid)
    const reference = object.metadata.ownerReferences?.find((owner) => owner.uid === ownerUid)
    const owner = reference && this.#ownerOf(reference, object.metadata.namespace)
    if (!owner || owner.object.metadata.deletionTimestamp === undefined) return
    this.#toServe.set(ownerUid, owner.locator)
    this.#schedule()
  }

  #schedule(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined
      const owners = [...this.#toServe.values()]
      const dependents = [...this.#toJudge.values()]
      this.#toServe.clear()
      this.#toJudge.clear()
      for (const owner of owners) this.#serveOwner(owner)
      for (const dependent of dependents) this.#judge(dependent)
    })
  }

  #read({ resource, namespace, name }: Locator): { kind: KindDefinition; object: KubeObject } | undefined {
    const object = this.#storage.get(resource, namespace, name)
    const kind = this.#registry.resource(resource)?.storageVersion
    return object && kind ? { kind, object } : undefined
  }

  #serveOwner(locator: Locator): void {
    const found = this.#read(locator)
    if (!found || found.object.metadata.deletionTimestamp === undefined) return
    const finalizers = found.object.metadata.finalizers ?? []
    const dependents = [...(this.#dependents.get(found.object.metadata.uid ?? '')?.values() ?? [])]
    if (finalizers.includes(orphanFinalizer)) {
      for (const dependent of dependents)
        this.#dropOwners(dependent, (owner) => owner.uid === found.object.metadata.uid)
      this.#removeFinalizer(locator, orphanFinalizer)
    } else if (finalizers.includes(foregroundFinalizer)) {
      for (const dependent of dependents) this.#judge(dependent)
      if (!this.#hasBlockingDependents(found.object)) this.#removeFinalizer(locator, foregroundFinalizer)
    }
  }

  #hasBlockingDependents({ metadata: { uid = '' } }: KubeObject): boolean {
    const dependents = [...(this.#dependents.get(uid)?.values() ?? [])]
    return dependents.some((locator) => {
      const owners = this.#read(locator)?.object.metadata.ownerReferences ?? []
      return owners.some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true)
    })
  }

  /** Decides over one dependent by the state of its owners. */
  #judge(locator: Locator): void {
    const found = this.#read(locator)
    const owners = found?.object.metadata.ownerReferences ?? []
    if (!found || owners.length === 0) return
    const { kind, object } = found
    const states = owners.map((owner) => this.#stateOf(owner, object, kind))
    const isUnowned = states.every((state) => state !== 'live')
    if (!isUnowned) {
      const lost = new Set(owners.filter((_, index) => states[index] !== 'live').map((owner) => owner.uid))
      if (lost.size > 0) this.#dropOwners(locator, (owner) => lost.has(owner.uid))
      return
    }
    if (object.metadata.deletionTimestamp !== undefined) return
    const isAwaited = states.includes('waiting') && this.#dependents.has(object.metadata.uid ?? '')
    const propagationPolicy = isAwaited ? 'Foreground' : 'Background'
    const preconditions = { uid: object.metadata.uid ?? '' }
    this.#deleter.delete(kind, locator.namespace, locator.name, { propagationPolicy, preconditions })
  }

  /** An owner of a kind that is not served can't be looked up: it counts as live, nothing is deleted on a guess. */
  #stateOf(reference: OwnerReference, dependent: KubeObject, dependentKind: KindDefinition): OwnerState {
    const kind = this.#registry.findKind(reference.apiVersion, reference.kind)
    if (!kind) return 'live'
    // A cluster-scoped object can't be owned by a namespaced one: there is no namespace to look in.
    if (kind.namespaced && !dependentKind.namespaced) return 'live'
    const owner = this.#ownerOf(reference, dependent.metadata.namespace)
    if (!owner) return 'absent'
    const { deletionTimestamp, finalizers } = owner.object.metadata
    return deletionTimestamp !== undefined && finalizers?.includes(foregroundFinalizer) ? 'waiting' : 'live'
  }

  #ownerOf(
    reference: OwnerReference,
    namespace: string | undefined,
  ): { object: KubeObject; locator: Locator } | undefined {
    const kind = this.#registry.findKind(reference.apiVersion, reference.kind)
    if (!kind) return undefined
    const resource: ResourceKey = `${kind.group}/${kind.plural}`
    const object = this.#storage.get(resource, kind.namespaced ? namespace : undefined, reference.name)
    return object?.metadata.uid === reference.uid
      ? { object, locator: locatorOf(resource, object) }
      : undefined
  }

  #dropOwners(locator: Locator, isDropped: (owner: OwnerReference) => boolean): void {
    const found = this.#read(locator)
    if (!found) return
    const object = clone(found.object)
    const owners = (object.metadata.ownerReferences ?? []).filter((owner) => !isDropped(owner))
    if (owners.length > 0) object.metadata.ownerReferences = owners
    else delete object.metadata.ownerReferences
    this.#writer.replace(found.kind, object)
  }

  #removeFinalizer(locator: Locator, finalizer: string): void {
    const found = this.#read(locator)
    if (!found) return
    const object = clone(found.object)
    const finalizers = (object.metadata.finalizers ?? []).filter((entry) => entry !== finalizer)
    if (finalizers.length > 0) object.metadata.finalizers = finalizers
    else delete object.metadata.finalizers
    this.#writer.replace(found.kind, object)
  }
}
