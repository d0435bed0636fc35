// Watches: from a revision on, every change a client's selectors let through, in order. Transport-free: the sink gets events and
// decides what a line looks like (watch-stream.ts for HTTP, plain callbacks in this process).

import { badRequest, invalid } from './errors.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import { parseResourceVersion } from './lister.ts'
import { apiVersionOf, inVersion } from './registry.ts'
import { keyOfKind } from './sections.ts'
import { type ObjectPredicate, parseSelectors } from './selectors.ts'
import type { Change, Storage } from './storage.ts'

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'
  object: KubeObject
}

export interface WatchSink {
  event(event: WatchEvent): void
}

/** Bookmarks keep a quiet watch's resourceVersion young; the interval of the real server. One timer serves all watches. */
const bookmarkIntervalMs = 60_000

interface ActiveWatch {
  readonly kind: KindDefinition
  readonly sink: WatchSink
  readonly wantsBookmarks: boolean
  sentRevision: number
}

export interface WatchHandle {
  /** A last bookmark, if the client takes them, so that it resumes from here. */
  bookmark(): void
  stop(): void
}

export class Watcher {
  readonly #storage: Storage
  #watches = new Set<ActiveWatch>()
  #timer: NodeJS.Timeout | undefined

  constructor(storage: Storage) {
    this.#storage = storage
  }

  get count(): number {
    return this.#watches.size
  }

  /** Delivers the initial state or the missed changes at once, later changes as they happen. Throws 410 before sending anything. */
  watch(
    kind: KindDefinition,
    namespace: string | undefined,
    query: URLSearchParams,
    sink: WatchSink,
  ): WatchHandle {
    const wantsBookmarks = isTrue(query.get('allowWatchBookmarks'))
    const sendsInitial = initialEventsWish(query)
    const asked = parseResourceVersion(query.get('resourceVersion') ?? '')
    const predicate = parseSelectors(query, kind)
    const key = keyOfKind(kind)
    const isListed = sendsInitial === true || (sendsInitial === undefined && asked === undefined)
    if (asked !== undefined) this.#storage.assertReached(asked)
    // sendInitialEvents=false without a resourceVersion starts at the present.
    const from = sendsInitial === false ? (asked ?? this.#storage.revision) : asked
    const missed = isListed ? [] : this.#storage.changesSince(key, from ?? this.#storage.revision)
    const active: ActiveWatch = { kind, sink, wantsBookmarks, sentRevision: this.#storage.revision }
    const deliver = (change: Change): void => {
      const event = eventFor(change, kind, namespace, predicate)
      if (!event) return
      active.sentRevision = change.revision
      sink.event(event)
    }
    const unsubscribe = this.#storage.subscribe(key, deliver)
    if (isListed) this.#sendInitial(active, namespace, predicate, sendsInitial === true)
    for (const change of missed) deliver(change)
    this.#watches.add(active)
    this.#timer ??= setInterval(() => this.#sendBookmarks(), bookmarkIntervalMs).unref()
    return {
      bookmark: () => this.#sendBookmark(active),
      stop: () => {
        unsubscribe()
        this.#watches.delete(active)
        if (this.#watches.size === 0) this.close()
      },
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #sendInitial(
    { kind, sink, wantsBookmarks }: ActiveWatch,
    namespace: string | undefined,
    predicate: ObjectPredicate | undefined,
    endsWithBookmark: boolean,
  ): void {
    for (const object of this.#storage.list(keyOfKind(kind), namespace)) {
      if (!predicate || predicate(object)) sink.event({ type: 'ADDED', object: inVersion(object, kind) })
    }
    if (endsWithBookmark && wantsBookmarks) {
      const annotations = { 'k8s.io/initial-events-end': 'true' }
      sink.event({ type: 'BOOKMARK', object: bookmarkOf(kind, this.#storage.revision, annotations) })
    }
  }

  #sendBookmarks(): void {
    for (const watch of this.#watches) {
      if (watch.sentRevision !== this.#storage.revision) this.#sendBookmark(watch)
    }
  }

  #sendBookmark(watch: ActiveWatch): void {
    if (!watch.wantsBookmarks) return
    watch.sentRevision = this.#storage.revision
    watch.sink.event({ type: 'BOOKMARK', object: bookmarkOf(watch.kind, this.#storage.revision) })
  }
}

const isTrue = (text: string | null): boolean => text === 'true' || text === '1'

/** sendInitialEvents needs resourceVersionMatch=NotOlderThan, and the other way round. */
const initialEventsWish = (query: URLSearchParams): boolean | undefined => {
  const match = query.get('resourceVersionMatch') ?? ''
  const wish = query.get('sendInitialEvents')
  const fail = (field: string, message: string): never => {
    throw invalid({ group: 'meta.k8s.io', plural: '', kind: 'ListOptions' }, '', [
      { field, reason: 'FieldValueForbidden', message },
    ])
  }
  if (wish === null || wish === '') {
    if (match !== '')
      fail(
        'resourceVersionMatch',
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      )
    return undefined
  }
  if (wish !== 'true' && wish !== 'false')
    throw badRequest(`sendInitialEvents: Invalid value: "${wish}": must be true or false`)
  if (match !== 'NotOlderThan')
    fail('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan')
  return wish === 'true'
}

const bookmarkOf = (
  kind: KindDefinition,
  revision: number,
  annotations?: Record<string, string>,
): KubeObject => ({
  kind: kind.kind,
  apiVersion: apiVersionOf(kind),
  metadata: {
    resourceVersion: String(revision),
    creationTimestamp: null as unknown as string,
    ...(annotations ? { annotations } : {}),
  },
})

/** With selectors, an object that begins to match was added for this client, one that ceases to match was deleted. */
const eventFor = (
  change: Change,
  kind: KindDefinition,
  namespace: string | undefined,
  predicate: ObjectPredicate | undefined,
): WatchEvent | undefined => {
  const { object, previous } = change
  if (namespace !== undefined && object.metadata.namespace !== namespace) return undefined
  const shown = inVersion(object, kind)
  if (!predicate) return { type: change.type, object: shown }
  const did = previous !== undefined && predicate(previous)
  if (change.type === 'DELETED') return did ? { type: 'DELETED', object: shown } : undefined
  const does = predicate(object)
  if (does) return { type: did ? 'MODIFIED' : 'ADDED', object: shown }
  if (!did || !previous) return undefined
  const last = {
    ...previous,
    metadata: { ...previous.metadata, resourceVersion: object.metadata.resourceVersion ?? '' },
  }
  return { type: 'DELETED', object: inVersion(last, kind) }
}
