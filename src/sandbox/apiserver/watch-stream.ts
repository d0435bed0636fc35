// A watch as an HTTP response: one JSON line per event, shaped as the client accepts (objects, table rows, metadata), ended by
// timeoutSeconds with a last bookmark.

import type { KindDefinition, KubeObject } from './kind.ts'
import type { LineSink } from './request.ts'
import { partial, type Shaping, tableOf } from './table.ts'
import type { WatchEvent, Watcher, WatchHandle } from './watcher.ts'

/** Without timeoutSeconds a watch ends after 30 to 60 minutes, spread so that clients do not all return at once. */
const defaultTimeoutSeconds = (): number => 1800 + Math.floor(Math.random() * 1800)
/** A client that does not read is cut off when this much waits for it in memory; it resumes from its last resourceVersion. */
export const maxBufferedBytes = 32 * 1024 * 1024

/** Of what a watch begins with, which may be as large as the cluster, so much is written at a time. */
const pieceChars = 64 * 1024
/** Changes that come before the beginning is out wait for it; a client that reads too slowly for so many is cut off. */
const maxWaitingEvents = 100_000

/** Serialised objects are shared between watches: with many clients on one kind, an event is encoded once. */
const encoded = new WeakMap<KubeObject, string>()

const encode = (object: KubeObject): string => {
  let text = encoded.get(object)
  if (text === undefined) {
    text = JSON.stringify(object)
    encoded.set(object, text)
  }
  return text
}

const timeoutOf = (query: URLSearchParams): number => {
  const asked = Number(query.get('timeoutSeconds') ?? '0')
  return Number.isFinite(asked) && asked > 0 ? asked : defaultTimeoutSeconds()
}

export const streamWatch = (
  watcher: Watcher,
  kind: KindDefinition,
  namespace: string | undefined,
  query: URLSearchParams,
  shaping: () => Shaping,
): ((sink: LineSink) => () => void) => {
  let pending: WatchEvent[] = []
  let beginning = Number.POSITIVE_INFINITY
  let sink: LineSink | undefined
  let sentColumns = false
  let stopped = false
  let timer: NodeJS.Timeout | undefined

  const lineOf = ({ type, object }: WatchEvent): string => {
    const { shape, version, include, nowMs } = shaping()
    if (shape === 'Object') return `{"type":"${type}","object":${encode(object)}}\n`
    if (shape !== 'Table') return `${JSON.stringify({ type, object: partial(object, version) })}\n`
    const rows = type === 'BOOKMARK' ? [] : [object]
    const metadata = { resourceVersion: object.metadata.resourceVersion ?? '' }
    const table = tableOf(kind, rows, metadata, { include, nowMs, version, withColumns: !sentColumns })
    sentColumns = true
    if (type === 'BOOKMARK')
      return `${JSON.stringify({ type, object: { ...table, rows: [{ cells: [], object }] } })}\n`
    return `${JSON.stringify({ type, object: table })}\n`
  }

  // Errors (410) must become an HTTP status, so the watch starts before the response does; what it has to say waits for the sink.
  const handle: WatchHandle = watcher.watch(kind, namespace, query, {
    event: (event) => {
      if (stopped) return
      if (sink) {
        if (!sink.write(lineOf(event))) stop(true)
      } else if (pending.push(event) > beginning + maxWaitingEvents) stop(true)
    },
  })

  let end = (): void => undefined
  const stop = (closesSink: boolean): void => {
    if (stopped) return
    stopped = true
    pending = []
    clearTimeout(timer)
    handle.stop()
    if (closesSink) end()
  }

  /** Lets others have their turn between pieces, and the client read one while the next is made. */
  const sendWaiting = (given: LineSink, from: number): void => {
    if (stopped) return
    let next = from
    let piece = ''
    while (next < pending.length && piece.length < pieceChars) {
      piece += lineOf(pending[next] as WatchEvent)
      next += 1
    }
    if (piece !== '' && !given.write(piece)) stop(true)
    else if (next < pending.length) given.whenReady(() => sendWaiting(given, next))
    else {
      pending = []
      sink = given
    }
  }

  return (given) => {
    end = () => given.end()
    beginning = pending.length
    timer = setTimeout(() => {
      handle.bookmark()
      stop(true)
    }, timeoutOf(query) * 1000)
    timer.unref()
    sendWaiting(given, 0)
    return () => stop(false)
  }
}
