// One kind, followed for ever: list in pages, watch from there, and hand the reader adds, updates and deletes in batches.
//
// What must hold: the reader never misses a change and never sees the same version twice, whatever the server does. So
//  - a watch that ends, breaks or falls silent is reopened at the last version seen (bookmarks keep that version young);
//  - 410, as HTTP status or as an ERROR event, and anything we cannot parse, leads to a new list, which is compared with
//    what the reader knows by uid and resourceVersion: it sees only differences, and an object replaced under the same
//    name is a delete and an add;
//  - every failure waits with jittered exponential backoff and then goes on; there is no terminal state but `close()`.
// Objects are projected as they are parsed, so what nobody reads is garbage at once.

import type { IncomingMessage } from 'node:http'
import { clearTimeout as clearTimer, setTimeout as setTimer } from 'node:timers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeClient } from './client.ts'
import { isKubeError, KubeError } from './errors.ts'
import { type ApiObject, keyOf, type ObjectMeta, type Resource } from './objects.ts'

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

export interface ListWatchOptions<T extends ApiObject, Row> {
  client: KubeClient
  resource: Resource<T>
  namespace?: string | undefined
  labelSelector?: string | undefined
  fieldSelector?: string | undefined
  /** Keeps what is needed of an object; undefined skips it (and deletes the row if there was one). */
  project: (object: T) => Row | undefined
  /** Called with at least one change. A throw is a bug and crashes the process. */
  onChanges: (changes: readonly Change<Row>[]) => void
  /** Called on every failure, for the log. */
  onProblem?: (error: KubeError) => void
  pageSize?: number
  /** Changes are collected this long before they are handed over. */
  batchMs?: number
  /** A watch without a single byte for this long is opened anew. API servers send a bookmark about every minute. */
  inactivityMs?: number
  backoff?: { firstMs: number; maxMs: number }
  /** The least pause after an error, for what will hardly get better soon. */
  leastPauseMs?: (error: KubeError) => number
  random?: () => number
}

export interface ListWatch<Row> {
  /** Resolves once the first list has been handed over; rejects only when closed before. */
  readonly synced: Promise<void>
  readonly state: Readonly<ListWatchState>
  get(key: string): Row | undefined
  rows(): IterableIterator<[string, Row]>
  close(): void
}

interface Known<Row> {
  uid: string
  resourceVersion: string
  row: Row
}

const PAGE_SIZE = 500
/** None: what one turn of the event loop brings is a batch. Bursts gather in sockets while a batch is worked on. */
const BATCH_MS = 0
/** A batch larger than this is handed over at once, so that a flood does not pile up. */
const BATCH_MAX_CHANGES = 2000
const INACTIVITY_MS = 90_000
const BACKOFF = { firstMs: 100, maxMs: 15_000 }
/** The server ends a watch after a while, so that load spreads again after its restart; between 5 and 10 minutes as client-go does. */
const WATCH_SECONDS = 300
/** A server may refuse our version with a status of its own; after so many failed openings in a row the version is given up. */
const WATCH_OPENINGS_BEFORE_RELIST = 3
/** One event may not be longer than this: an object is at most 1.5 MiB in etcd. */
const MAX_LINE_CHARS = 16 * 1024 * 1024

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
  #pending: Change<Row>[] = []
  #batchTimer: ReturnType<typeof setTimer> | undefined
  #batchImmediate: ReturnType<typeof setImmediate> | undefined
  #isSynced = false
  #resolveSynced: () => void = () => {}
  #rejectSynced: (error: KubeError) => void = () => {}

  constructor(options: ListWatchOptions<T, Row>) {
    this.#options = options
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

  close(): void {
    if (this.state.phase === 'closed') return
    this.state.phase = 'closed'
    this.#abort.abort()
    this.#clearBatchTimer()
    this.#pending = []
    this.#rejectSynced(
      new KubeError('aborted', `${this.#options.resource.plural}: closed before the first list`),
    )
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      try {
        if (this.state.resourceVersion === undefined) await this.#list()
        await this.#watch()
      } catch (error) {
        if (this.#abort.signal.aborted) return
        if (!(error instanceof KubeError)) throw error
        this.#noteFailure(error)
        await this.#pause(error)
      }
    }
  }

  #noteFailure(error: KubeError): void {
    this.state.failures++
    this.state.lastError = error.message
    const refused = error.status !== undefined && this.state.failures % WATCH_OPENINGS_BEFORE_RELIST === 0
    if (isKubeError(error, 'gone', 'bad-response') || isFromTheFuture(error) || refused)
      this.state.resourceVersion = undefined
    this.#options.onProblem?.(error)
  }

  async #pause(error: KubeError): Promise<void> {
    this.state.phase = 'waiting'
    const { firstMs, maxMs } = this.#options.backoff ?? BACKOFF
    const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(this.state.failures - 1, 16))
    const random = this.#options.random ?? Math.random
    const askedMs = (error.retryAfterSeconds ?? 0) * 1000
    const leastMs = this.#options.leastPauseMs?.(error) ?? 0
    const delayMs = Math.max(ceilingMs * (0.5 + random() / 2), Math.min(askedMs, maxMs), leastMs)
    await sleep(delayMs, undefined, { signal: this.#abort.signal }).catch(() => {})
  }

  async #list(): Promise<void> {
    this.state.phase = 'listing'
    const { client, resource, namespace, labelSelector, fieldSelector, project } = this.#options
    const listed = new Map<string, Known<Row>>()
    let next: string | undefined
    let resourceVersion: string | undefined
    do {
      const page = await client.list(
        resource,
        {
          namespace,
          labelSelector,
          fieldSelector,
          limit: this.#options.pageSize ?? PAGE_SIZE,
          continue: next,
        },
        this.#abort.signal,
      )
      for (const object of page.items) {
        const row = project(object)
        if (row !== undefined) listed.set(keyOf(object), knownOf(object.metadata, row))
      }
      next = page.metadata.continue || undefined
      resourceVersion = page.metadata.resourceVersion
    } while (next !== undefined)
    if (this.#abort.signal.aborted) return
    this.#applyList(listed)
    this.state.resourceVersion = resourceVersion ?? '0'
    this.#flush()
    this.#isSynced = true
    this.#resolveSynced()
  }

  #applyList(listed: ReadonlyMap<string, Known<Row>>): void {
    for (const [key, known] of this.#known) {
      if (listed.get(key)?.uid !== known.uid) this.#forget(key)
    }
    for (const [key, now] of listed) {
      if (this.#known.get(key)?.resourceVersion !== now.resourceVersion) this.#store(key, now)
    }
  }

  /** Reads one watch to its end. Returns when the server ended it in good order. */
  async #watch(): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options
    const openedMs = Date.now()
    const random = this.#options.random ?? Math.random
    const response = await client.watch(
      resource,
      {
        namespace,
        labelSelector,
        fieldSelector,
        resourceVersion: this.state.resourceVersion,
        timeoutSeconds: Math.round(WATCH_SECONDS * (1 + random())),
      },
      this.#abort.signal,
    )
    this.state.phase = 'watching'
    let lines = 0
    const end = await this.#readLines(response, (line) => {
      lines++
      this.#applyLine(line)
      this.state.failures = 0
      this.state.lastError = undefined
    })
    // A server that ends each watch at once would otherwise be asked in a tight loop.
    if (end === 'ended' && lines === 0 && Date.now() - openedMs < 1000) {
      throw new KubeError('interrupted', `${resource.plural}: the server ended the watch at once`)
    }
    this.state.failures = 0
  }

  #readLines(response: IncomingMessage, onLine: (line: string) => void): Promise<'ended' | 'silent'> {
    const { plural } = this.#options.resource
    const inactivityMs = this.#options.inactivityMs ?? INACTIVITY_MS
    return new Promise((resolve, reject) => {
      let rest = ''
      const fail = (error: KubeError) => {
        clearTimer(timer)
        response.destroy()
        reject(error)
      }
      const timer = setTimer(() => {
        // Quiet or dead, nobody can tell: opening anew costs little, and finds the next server if this one is gone.
        resolve('silent')
        response.destroy()
      }, inactivityMs)
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        timer.refresh()
        const parts = (rest + chunk).split('\n')
        rest = parts.pop() ?? ''
        try {
          for (const line of parts) if (line.trim() !== '') onLine(line)
          if (rest.length > MAX_LINE_CHARS)
            throw new KubeError('bad-response', `${plural}: a watch event without end`)
        } catch (error) {
          if (!(error instanceof KubeError)) throw error
          fail(error)
        }
      })
      response.on('end', () => {
        clearTimer(timer)
        resolve('ended')
      })
      // Also the way out when the signal aborts: destroy() closes without 'end'.
      response.on('close', () => {
        clearTimer(timer)
        reject(new KubeError('interrupted', `${plural}: the watch broke`))
      })
      response.on('error', (error) => {
        fail(new KubeError('interrupted', `${plural}: the watch broke`, { cause: error }))
      })
    })
  }

  #applyLine(line: string): void {
    const { plural } = this.#options.resource
    const event = parseEvent<T>(line, plural)
    const version = event.object.metadata?.resourceVersion
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
        this.#upsert(event.object)
        break
      case 'DELETED':
        this.#forget(keyOf(event.object))
        break
      case 'BOOKMARK':
        break
      case 'ERROR':
        throw watchError(
          plural,
          event.object as unknown as { code?: number; reason?: string; message?: string },
        )
      default:
        throw new KubeError('bad-response', `${plural}: unknown watch event '${event.type}'`)
    }
    if (version !== undefined) this.state.resourceVersion = version
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
    this.#pending.push(change)
    if (!this.#isSynced) return
    const batchMs = this.#options.batchMs ?? BATCH_MS
    if (this.#pending.length >= BATCH_MAX_CHANGES) this.#flush()
    else if (batchMs > 0) this.#batchTimer ??= setTimer(() => this.#flush(), batchMs)
    else this.#batchImmediate ??= setImmediate(() => this.#flush())
  }

  #clearBatchTimer(): void {
    if (this.#batchTimer !== undefined) clearTimer(this.#batchTimer)
    if (this.#batchImmediate !== undefined) clearImmediate(this.#batchImmediate)
    this.#batchTimer = undefined
    this.#batchImmediate = undefined
  }

  #flush(): void {
    this.#clearBatchTimer()
    const changes = this.#pending
    this.#pending = []
    if (changes.length > 0) this.#options.onChanges(changes)
  }
}

function knownOf<Row>(metadata: ObjectMeta, row: Row): Known<Row> {
  return { uid: metadata.uid ?? '', resourceVersion: metadata.resourceVersion ?? '', row }
}

/** The server has never seen our version: it came back with an older state, and our version means nothing there. */
function isFromTheFuture(error: KubeError): boolean {
  return error.status === 504 && error.message.includes('Too large resource version')
}

function parseEvent<T>(line: string, plural: string): { type: string; object: T } {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch (error) {
    throw new KubeError('bad-response', `${plural}: a watch event is not JSON`, { cause: error })
  }
  if (typeof event === 'object' && event !== null && 'type' in event && 'object' in event) {
    return event as { type: string; object: T }
  }
  throw new KubeError('bad-response', `${plural}: a watch event lacks its type or object`)
}

function watchError(plural: string, status: { code?: number; reason?: string; message?: string }): KubeError {
  const gone = status.code === 410 || status.reason === 'Expired' || status.reason === 'Gone'
  return new KubeError(
    gone ? 'gone' : 'server-error',
    `${plural}: ${status.message ?? 'the watch ended in an error'}`,
    {
      ...(status.code === undefined ? {} : { status: status.code }),
      ...(status.reason === undefined ? {} : { reason: status.reason }),
    },
  )
}
