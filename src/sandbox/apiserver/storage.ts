// The store: every object of the cluster in memory, one resourceVersion counter, and per resource a bounded history of changes
// from which watches resume. Data in: whole objects from the semantic layer (object-writer.ts). Data out: objects, lists at a
// revision, change events.
//
// Invariants:
// - A stored object is never mutated; a change stores a new instance. Lists, events and pages therefore share instances.
// - Revisions only grow, also across snapshot and restore; every change has its own.
// - An index of a resource holds, per key, exactly the live objects whose key function names it.
// - `history` of a resource holds every change after `compactedRevision`, in order. A watch from before it must list again (410).

import { compacted, expired, tooLargeResourceVersion } from './errors.ts'
import type { KubeObject } from './kind.ts'

/** Changes kept per resource for resuming watches; at 2 kB per object this bounds history at about 8 MB for a busy kind. */
const historyLimit = 4096
/** A quarter is dropped at a time, so that trimming costs nothing per change. */
const historySlack = 1024

/** More changes than a server can make between two of its snapshots, which follow a change within a second. */
const restoreStep = 1_000_000

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED'

export interface Change {
  readonly type: ChangeType
  readonly resource: ResourceKey
  readonly revision: number
  /** The object after the change; for DELETED its last state with the deletion's resourceVersion. */
  readonly object: KubeObject
  readonly previous: KubeObject | undefined
}

/** `group/plural`, the core group being empty: `/pods`, `apps/deployments`. Versions of a kind share one. */
export type ResourceKey = `${string}/${string}`

export const resourceKey = (group: string, plural: string): ResourceKey => `${group}/${plural}`

/** Name within the resource: `namespace/name`, or `/name` for what has no namespace. Sorts as Kubernetes lists. */
export const objectKey = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`

export const keyOf = (object: KubeObject): string =>
  objectKey(object.metadata.namespace, object.metadata.name ?? '')

type Listener = (change: Change) => void

/** The keys an object is found under in a secondary index. */
export type KeysOf = (object: KubeObject) => readonly string[]

interface Index {
  readonly keysOf: KeysOf
  readonly holders: Map<string, Set<KubeObject>>
}

interface Table {
  readonly objects: Map<string, KubeObject>
  readonly namespaces: Map<string, Map<string, KubeObject>>
  /** Keys in order, rebuilt when one was added or removed since; updates leave it valid. */
  sortedKeys: string[] | undefined
  history: Change[]
  compactedRevision: number
  readonly listeners: Set<Listener>
  readonly indexes: Map<string, Index>
}

export interface SnapshotContent {
  revision: number
  resources: Record<string, KubeObject[]>
}

export class Storage {
  #tables = new Map<ResourceKey, Table>()
  #listeners = new Set<Listener>()
  #revision = 1
  /** Every change before this revision is unknown: raised by restore. */
  #floor = 0

  get revision(): number {
    return this.#revision
  }

  get(resource: ResourceKey, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#tables.get(resource)?.objects.get(objectKey(namespace, name))
  }

  resources(): ResourceKey[] {
    return [...this.#tables.keys()]
  }

  count(resource: ResourceKey): number {
    return this.#tables.get(resource)?.objects.size ?? 0
  }

  /** Objects of one resource in list order, all or of one namespace. */
  list(resource: ResourceKey, namespace?: string): KubeObject[] {
    const table = this.#tables.get(resource)
    if (!table) return []
    if (namespace !== undefined) {
      const inside = table.namespaces.get(namespace)
      return inside ? [...inside.keys()].sort().map((key) => inside.get(key) as KubeObject) : []
    }
    table.sortedKeys ??= [...table.objects.keys()].sort()
    return table.sortedKeys.map((key) => table.objects.get(key) as KubeObject)
  }

  /** Keeps a secondary index of a resource from now on, so that finding who holds an address costs the same at any size. */
  addIndex(resource: ResourceKey, name: string, keysOf: KeysOf): void {
    const table = this.#table(resource)
    const index: Index = { keysOf, holders: new Map() }
    table.indexes.set(name, index)
    for (const object of table.objects.values()) addToIndex(index, object)
  }

  /** Live objects whose keys in the index include `key`. */
  holders(resource: ResourceKey, index: string, key: string): KubeObject[] {
    return [...(this.#tables.get(resource)?.indexes.get(index)?.holders.get(key) ?? [])]
  }

  /** The list as it was at an older revision, by undoing history; 410 when that is no longer known. */
  listAt(resource: ResourceKey, revision: number, namespace?: string): KubeObject[] {
    this.assertReached(revision)
    const table = this.#table(resource)
    if (revision < table.compactedRevision)
      throw expired(`The provided resource version is too old: ${revision}`)
    const objects = new Map(table.objects)
    for (let index = table.history.length - 1; index >= 0; index -= 1) {
      const change = table.history[index] as Change
      if (change.revision <= revision) break
      if (change.previous) objects.set(keyOf(change.object), change.previous)
      else objects.delete(keyOf(change.object))
    }
    const keys = [...objects.keys()].sort()
    const listed = keys.map((key) => objects.get(key) as KubeObject)
    return namespace === undefined
      ? listed
      : listed.filter((object) => object.metadata.namespace === namespace)
  }

  assertReached(revision: number): void {
    if (revision > this.#revision) throw tooLargeResourceVersion(revision, this.#revision)
  }

  /** Stores a new state and gives it the next resourceVersion. The object becomes the store's. */
  put(resource: ResourceKey, object: KubeObject): KubeObject {
    const table = this.#table(resource)
    const key = keyOf(object)
    const previous = table.objects.get(key)
    object.metadata.resourceVersion = String(++this.#revision)
    this.#place(table, key, object)
    if (!previous) table.sortedKeys = undefined
    this.#publish(table, {
      type: previous ? 'MODIFIED' : 'ADDED',
      resource,
      revision: this.#revision,
      object,
      previous,
    })
    return object
  }

  /** `last` is the state to report when the deletion also changed the object (its last finalizer went). */
  remove(
    resource: ResourceKey,
    namespace: string | undefined,
    name: string,
    last?: KubeObject,
  ): KubeObject | undefined {
    const table = this.#table(resource)
    const key = objectKey(namespace, name)
    const previous = table.objects.get(key)
    if (!previous) return undefined
    const state = last ?? previous
    const object = { ...state, metadata: { ...state.metadata, resourceVersion: String(++this.#revision) } }
    table.objects.delete(key)
    for (const index of table.indexes.values()) removeFromIndex(index, previous)
    const inside = table.namespaces.get(namespace ?? '')
    inside?.delete(key)
    if (inside?.size === 0) table.namespaces.delete(namespace ?? '')
    table.sortedKeys = undefined
    this.#publish(table, { type: 'DELETED', resource, revision: this.#revision, object, previous })
    return object
  }

  /** Changes of a resource after `revision`; 410 when some of them are no longer known. */
  changesSince(resource: ResourceKey, revision: number): Change[] {
    this.assertReached(revision)
    const table = this.#table(resource)
    if (revision < table.compactedRevision) throw compacted(revision, table.compactedRevision)
    let first = table.history.length
    while (first > 0 && (table.history[first - 1] as Change).revision > revision) first -= 1
    return table.history.slice(first)
  }

  /** Calls back on every later change, in order, before `put` or `remove` returns. Returns the way to stop. */
  subscribe(resource: ResourceKey | undefined, listener: Listener): () => void {
    const listeners = resource === undefined ? this.#listeners : this.#table(resource).listeners
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Forgets history now, as an etcd compaction does: watches that resume from before must list again. */
  compact(): void {
    for (const table of this.#tables.values()) {
      table.history = []
      table.compactedRevision = this.#revision
    }
  }

  content(): SnapshotContent {
    const resources: Record<string, KubeObject[]> = {}
    for (const [key, table] of this.#tables)
      if (table.objects.size > 0) resources[key] = [...table.objects.values()]
    return { revision: this.#revision, resources }
  }

  /**
   * Replaces nothing: meant for an empty store, before anyone watches. The content may be older than what a killed server last told
   * its clients, so the counter jumps past every number that server can have given out: none is used twice, and a client that
   * resumes with one is told to list again (410) instead of missing what became of it.
   */
  load(content: SnapshotContent): void {
    this.#revision = Math.max(this.#revision, content.revision + restoreStep)
    this.#floor = this.#revision
    for (const [key, objects] of Object.entries(content.resources)) {
      const table = this.#table(key as ResourceKey)
      for (const object of objects) this.#place(table, keyOf(object), object)
      table.sortedKeys = undefined
    }
    this.compact()
  }

  #place(table: Table, key: string, object: KubeObject): void {
    const previous = table.objects.get(key)
    for (const index of table.indexes.values()) {
      if (previous) removeFromIndex(index, previous)
      addToIndex(index, object)
    }
    table.objects.set(key, object)
    const namespace = object.metadata.namespace ?? ''
    let inside = table.namespaces.get(namespace)
    if (!inside) {
      inside = new Map()
      table.namespaces.set(namespace, inside)
    }
    inside.set(key, object)
  }

  #publish(table: Table, change: Change): void {
    table.history.push(change)
    if (table.history.length > historyLimit + historySlack) {
      const dropped = table.history.splice(0, historySlack)
      table.compactedRevision = (dropped[dropped.length - 1] as Change).revision
    }
    for (const listener of table.listeners) listener(change)
    for (const listener of this.#listeners) listener(change)
  }

  #table(resource: ResourceKey): Table {
    let table = this.#tables.get(resource)
    if (!table) {
      table = {
        objects: new Map(),
        namespaces: new Map(),
        sortedKeys: [],
        history: [],
        compactedRevision: this.#floor,
        listeners: new Set(),
        indexes: new Map(),
      }
      this.#tables.set(resource, table)
    }
    return table
  }
}

const addToIndex = ({ keysOf, holders }: Index, object: KubeObject): void => {
  for (const key of keysOf(object)) {
    const held = holders.get(key)
    if (held) held.add(object)
    else holders.set(key, new Set([object]))
  }
}

const removeFromIndex = ({ keysOf, holders }: Index, object: KubeObject): void => {
  for (const key of keysOf(object)) {
    const held = holders.get(key)
    held?.delete(object)
    if (held?.size === 0) holders.delete(key)
  }
}
