// One kind, followed for ever: list, watch from there, and hand the reader adds, updates and deletes in batches.
//
// What must hold: the reader never misses a change and never sees the same version twice, whatever the server does. So
//  - a watch that ends, breaks or falls silent is reopened at the last version seen (bookmarks keep that version young);
//  - 410, as HTTP status or as an ERROR event, and anything we cannot parse, leads to a new list, which is compared with
//    what the reader knows by uid and resourceVersion: it sees only differences, and an object replaced under the same
//    name is a delete and an add. What is new comes before what is gone, so that nothing is without a successor in between;
//  - versions never go back: a list older than what is known (another API server that lags) is asked for again, until it is
//    clear that the cluster itself was set back;
//  - every failure waits with jittered exponential backoff and then goes on; there is no terminal state but `close()`.
//
// A list is streamed as the beginning of a watch where the server can (WatchList, KEP-3157), else it comes in pages. Objects are
// projected as they are parsed, so what nobody reads is garbage at once, and handed over in slices, between which others get
// their turn.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { ChangeBatch } from './change-batch.ts'
import type { KubeClient } from './client.ts'
import { isKubeError, KubeError } from './errors.ts'
import { listPages } from './list-pages.ts'
import { type ApiObject, keyOf, type ObjectMeta, type Resource } from './objects.ts'
import { RetryPause, type RetryPauseOptions } from './retry-pause.ts'
import { compareVersions, isFromTheFuture } from './versions.ts'
import { parseEvent, readLines, type WatchEvent } from './watch-lines.ts'

export type Change<Row> =
  | { type: 'add'; key: string; row: Row }
  | { type: 'update'; key: string; row: Row; previous: Row }
  | { type: 'delete'; key: string; previous: Row }

/** What the follower is doing; `failures` counts consecutive ones. */
export interface ListWatchState {
  phase: 'listing' | 'watching' | 'waiting' | 'closed'
  failures: number
  lastError: string | undefined
  resourceVersion: string | undefined
}

export interface ListWatchOptions<T extends ApiObject, Row> extends RetryPauseOptions {
  client: KubeClient
  resource: Resource<T>
  namespace?: string | undefined
  labelSelector?: string | undefined
  fieldSelector?: string | undefined
  /** Keeps what is needed of an object; undefined skips it (and deletes the row if there was one). */
  project: (object: T) => Row | undefined
  /** Called with at least one change. A throw crashes the process. */
  onChanges: (changes: readonly Change<Row>[]) => void
  /** Called on every failure, for the log. */
  onProblem?: (error: KubeError) => void
  /** Called whenever the server lets a watch begin: it serves the kind to us. */
  onOpened?: () => void
  /** Objects per page; by their size when absent. */
  pageSize?: number
  /** Whether to ask for the list as the beginning of a watch; true when absent. */
  streamsLists?: boolean
  /** Waits so long before it begins: after a power cut all nodes come at once. */
  startDelayMs?: number
  /** Changes are collected this long before they are handed over. */
  batchMs?: number
  /** A watch without a single byte for this long is opened anew. API servers send a bookmark about every minute. */
  inactivityMs?: number
}

export interface ListWatch<Row> {
  /** Resolves once the first list has been handed over; rejects only when closed before. */
  readonly synced: Promise<void>
  readonly state: Readonly<ListWatchState>
  get(key: string): Row | undefined
  rows(): IterableIterator<[string, Row]>
  /** Ends a pause after a failure: there is reason to think that it has passed. */
  retryNow(): void
  close(): void
}

interface Known<Row> {
  uid: string
  resourceVersion: string
  row: Row
}

/** How far the body of a watch has been read. */
interface Reading<Row> {
  /** What a streamed list has brought; undefined: it is whole, or there is none. */
  listed: Map<string, Known<Row>> | undefined
  lines: number
  workedMs: number
}

/** None: what one piece of a watch brings is a batch. Bursts gather in sockets while a batch is worked on. */
const BATCH_MS = 0
/** While a list streams in, others get their turn after so much work: a socket may hold megabytes. */
const LIST_STRETCH_MS = 5
const INACTIVITY_MS = 90_000
/** A streamed list flows; a server that pauses so long in it does not know when to say that it is whole. */
const LIST_INACTIVITY_MS = 10_000
/** The server ends a watch after a while, so that load spreads again after its restart; between 5 and 10 minutes as client-go does. */
const WATCH_SECONDS = 300
/** A server may refuse our version with a status of its own; after so many failed openings in a row the version is given up. */
const WATCH_OPENINGS_BEFORE_RELIST = 3
/** So many lists in a row older than what is known are no lagging server: the cluster was restored from a backup. */
const OLDER_LISTS_MAX = 5
/** On the bookmark that ends a streamed list. */
const LIST_END = 'k8s.io/initial-events-end'

export function listWatch<T extends ApiObject, Row>(options: ListWatchOptions<T, Row>): ListWatch<Row> {
  return new Follower(options)
}

class Follower<T extends ApiObject, Row> implements ListWatch<Row> {
  readonly synced: Promise<void>
  readonly state: ListWatchState = {
    phase: 'listing',
    failures: 0,
    lastError: undefined,
    resourceVersion: undefined,
  }
  readonly #options: ListWatchOptions<T, Row>
  readonly #known = new Map<string, Known<Row>>()
  readonly #abort = new AbortController()
  readonly #batch: ChangeBatch<Row>
  readonly #retries: RetryPause
  /** Changes wait for nothing; while a list is taken over they come in slices, and others get their turn between two. */
  #handsOverAtOnce = false
  #streamsLists: boolean
  /** The newest version ever seen. */
  #newest = '0'
  #olderLists = 0
  #cannotStream = false
  #resolveSynced: () => void = () => {}
  #rejectSynced: (error: KubeError) => void = () => {}

  constructor(options: ListWatchOptions<T, Row>) {
    this.#options = options
    this.#batch = new ChangeBatch(options.onChanges, options.batchMs ?? BATCH_MS)
    this.#retries = new RetryPause(options, this.#abort.signal)
    this.#streamsLists = options.streamsLists ?? true
    this.synced = new Promise((resolve, reject) => {
      this.#resolveSynced = resolve
      this.#rejectSynced = reject
    })
    // Whoever does not wait for it must not be crashed by close().
    this.synced.catch(() => {})
    void this.#run()
  }

  get(key: string): Row | undefined {
    return this.#known.get(key)?.row
  }

  *rows(): IterableIterator<[string, Row]> {
    for (const [key, known] of this.#known) yield [key, known.row]
  }

  retryNow(): void {
    this.#retries.end()
  }

  close(): void {
    if (this.state.phase === 'closed') return
    this.state.phase = 'closed'
    this.#abort.abort()
    this.#batch.drop()
    this.#rejectSynced(
      new KubeError('aborted', `${this.#options.resource.plural}: closed before the first list`),
    )
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort
    const { startDelayMs = 0 } = this.#options
    if (startDelayMs > 0) await sleep(startDelayMs, undefined, { signal }).catch(() => {})
    while (!signal.aborted) {
      try {
        const isListing = this.state.resourceVersion === undefined
        if (isListing && !this.#streamsLists) await this.#list()
        if (signal.aborted) return
        await this.#watch(isListing && this.#streamsLists)
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof KubeError)) throw error
        this.#noteFailure(error)
        this.state.phase = 'waiting'
        await this.#retries.pause(error, this.state.failures)
      }
    }
  }

  #noteFailure(error: KubeError): void {
    this.state.failures++
    this.state.lastError = error.message
    // Unless the server was busy or away, the next list comes in pages, whatever was the matter with this one.
    const isTemporary = isKubeError(error, 'unreachable', 'unavailable', 'too-many-requests')
    if (this.state.resourceVersion === undefined && !isTemporary) this.#streamsLists = false
    const refused = error.status !== undefined && this.state.failures % WATCH_OPENINGS_BEFORE_RELIST === 0
    if (isKubeError(error, 'gone', 'bad-response') || isFromTheFuture(error) || refused)
      this.state.resourceVersion = undefined
    this.#options.onProblem?.(error)
  }

  async #list(): Promise<void> {
    this.state.phase = 'listing'
    const { client, resource, pageSize, namespace, labelSelector, fieldSelector } = this.#options
    const listed = new Map<string, Known<Row>>()
    const version = await listPages(
      {
        ...{ client, resource, pageSize, signal: this.#abort.signal },
        query: { namespace, labelSelector, fieldSelector },
      },
      () => listed.clear(),
      (object) => this.#collect(object, listed),
    )
    await this.#takeOver(listed, version)
    // What kept a streamed list from coming may have been the server of that moment.
    this.#streamsLists = this.#options.streamsLists ?? !this.#cannotStream
  }

  #collect(object: T, into: Map<string, Known<Row>>): void {
    const row = this.#options.project(object)
    if (row !== undefined) into.set(keyOf(object), knownOf(object.metadata, row))
  }

  /** A complete list: tells the reader what differs. */
  async #takeOver(listed: ReadonlyMap<string, Known<Row>>, version: string): Promise<void> {
    const { plural } = this.#options.resource
    if (compareVersions(version, this.#newest) < 0 && this.#olderLists < OLDER_LISTS_MAX) {
      this.#olderLists += 1
      throw new KubeError('unavailable', `${plural}: a list at ${version}, older than ${this.#newest}`)
    }
    this.#olderLists = 0
    this.#newest = version
    this.#handsOverAtOnce = false
    for (const [key, now] of listed) {
      const before = this.#known.get(key)
      if (before?.uid === now.uid && before.resourceVersion === now.resourceVersion) continue
      if (before !== undefined && before.uid !== now.uid) this.#forget(key)
      this.#store(key, now)
      if (this.#batch.isFull && !(await this.#handOverSlice())) return
    }
    for (const key of this.#known.keys()) {
      if (listed.has(key)) continue
      this.#forget(key)
      if (this.#batch.isFull && !(await this.#handOverSlice())) return
    }
    if (this.#abort.signal.aborted) return
    this.state.resourceVersion = version
    this.#batch.flush()
    this.#handsOverAtOnce = true
    this.#resolveSynced()
  }

  /** @returns whether to go on: whoever closed it meanwhile is told nothing more */
  async #handOverSlice(): Promise<boolean> {
    this.#batch.flush()
    await nextTurn()
    return !this.#abort.signal.aborted
  }

  /** Reads one watch to its end, with a list at its beginning if asked. Returns when the server ended it in good order. */
  async #watch(withList: boolean): Promise<void> {
    const { plural } = this.#options.resource
    this.state.phase = withList ? 'listing' : 'watching'
    const openedMs = Date.now()
    const response = await this.#openWatch(withList)
    this.#options.onOpened?.()
    const reading: Reading<Row> = { listed: withList ? new Map() : undefined, lines: 0, workedMs: 0 }
    const end = await readLines(response, {
      what: plural,
      inactivityMs: () => this.#options.inactivityMs ?? (reading.listed ? LIST_INACTIVITY_MS : INACTIVITY_MS),
      onLines: (lines) => this.#takeLines(lines, reading),
    })
    if (reading.listed !== undefined)
      throw new KubeError('interrupted', `${plural}: a streamed list without end`)
    // Quiet or dead, nobody can tell: opening anew costs little, and finds the next server if this one is gone. But a server that
    // ends each watch at once would be asked in a tight loop.
    if (end !== 'silence' && reading.lines === 0 && Date.now() - openedMs < 1000)
      throw new KubeError('interrupted', `${plural}: the server ended the watch at once`)
    this.state.failures = 0
  }

  /** @returns what reading must wait for, if anything */
  #takeLines(lines: readonly string[], reading: Reading<Row>): Promise<void> | undefined {
    const startedMs = performance.now()
    for (let index = 0; index < lines.length; index += 1) {
      if (this.#abort.signal.aborted) return undefined
      const event = parseEvent<T>(lines[index] as string, this.#options.resource.plural)
      reading.lines += 1
      const { listed } = reading
      if (listed === undefined) {
        this.#apply(event)
        this.state.failures = 0
        this.state.lastError = undefined
      } else if (this.#isListEnd(event, listed)) return this.#endList(event, lines.slice(index + 1), reading)
    }
    reading.workedMs += performance.now() - startedMs
    if (reading.listed === undefined || reading.workedMs < LIST_STRETCH_MS) return undefined
    reading.workedMs = 0
    return nextTurn()
  }

  async #endList(end: WatchEvent<T>, more: readonly string[], reading: Reading<Row>): Promise<void> {
    await this.#takeOver(reading.listed ?? new Map(), end.object.metadata.resourceVersion ?? '0')
    if (this.#abort.signal.aborted) return
    reading.listed = undefined
    this.state.phase = 'watching'
    this.state.failures = 0
    this.state.lastError = undefined
    await this.#takeLines(more, reading)
  }

  async #openWatch(withList: boolean) {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options
    const random = this.#options.random ?? Math.random
    try {
      return await client.watch(
        resource,
        {
          namespace,
          labelSelector,
          fieldSelector,
          resourceVersion: withList ? undefined : this.state.resourceVersion,
          sendsInitialEvents: withList,
          timeoutSeconds: Math.round(WATCH_SECONDS * (1 + random())),
        },
        this.#abort.signal,
      )
    } catch (error) {
      // Servers before 1.32, or with the feature turned off, say that the option is forbidden.
      if (withList && isKubeError(error, 'invalid')) this.#cannotStream = true
      throw error
    }
  }

  /** Takes an event of a streamed list. @returns whether it ends the list */
  #isListEnd({ type, object }: WatchEvent<T>, listed: Map<string, Known<Row>>): boolean {
    const { plural } = this.#options.resource
    if (type === 'BOOKMARK') {
      if (object.metadata.annotations?.[LIST_END] === 'true') return true
      // A server that passes over options it does not know would never end the list.
      this.#cannotStream = true
      throw new KubeError('invalid', `${plural}: the server does not stream lists`)
    }
    if (type === 'DELETED') listed.delete(keyOf(object))
    else if (type === 'ADDED' || type === 'MODIFIED') this.#collect(object, listed)
    else throw new KubeError('bad-response', `${plural}: unknown watch event '${type}'`)
    return false
  }

  #apply({ type, object }: WatchEvent<T>): void {
    const version = object.metadata?.resourceVersion
    if (type === 'ADDED' || type === 'MODIFIED') this.#upsert(object)
    else if (type === 'DELETED') this.#forget(keyOf(object))
    else if (type !== 'BOOKMARK')
      throw new KubeError('bad-response', `${this.#options.resource.plural}: unknown watch event '${type}'`)
    if (version === undefined || compareVersions(version, this.state.resourceVersion ?? '0') < 0) return
    this.state.resourceVersion = version
    this.#newest = version
  }

  #upsert(object: T): void {
    const key = keyOf(object)
    const row = this.#options.project(object)
    if (row === undefined) {
      this.#forget(key)
      return
    }
    const now = knownOf(object.metadata, row)
    const before = this.#known.get(key)
    if (before?.uid === now.uid && before.resourceVersion === now.resourceVersion) return
    if (before !== undefined && before.uid !== now.uid) this.#forget(key)
    this.#store(key, now)
  }

  #store(key: string, now: Known<Row>): void {
    const before = this.#known.get(key)
    this.#known.set(key, now)
    this.#queue(
      before === undefined
        ? { type: 'add', key, row: now.row }
        : { type: 'update', key, row: now.row, previous: before.row },
    )
  }

  #forget(key: string): void {
    const before = this.#known.get(key)
    if (before === undefined) return
    this.#known.delete(key)
    this.#queue({ type: 'delete', key, previous: before.row })
  }

  #queue(change: Change<Row>): void {
    this.#batch.add(change)
    if (this.#handsOverAtOnce) this.#batch.schedule()
  }
}

function knownOf<Row>({ uid = '', resourceVersion = '' }: ObjectMeta, row: Row): Known<Row> {
  return { uid, resourceVersion, row }
}
