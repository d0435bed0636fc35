// The body of a watch: one JSON event a line, for as long as the server likes. Lines come in the pieces that the network brings, and
// no piece is read before the last one has been worked on, so a reader may take its time.

import type { IncomingMessage } from 'node:http'
import { clearTimeout as clearTimer, setTimeout as setTimer } from 'node:timers'
import { KubeError } from './errors.ts'

/** One event may not be longer than this: an object is at most 1.5 MiB in etcd. */
const MAX_LINE_CHARS = 16 * 1024 * 1024

export interface LineOptions {
  /** Names the watch in errors. */
  readonly what: string
  /** Without a byte for this long the reading ends; asked whenever it matters. */
  readonly inactivityMs: () => number
  readonly onSilence: () => void
}

/** Ends with the body, or after a silence; throws KubeError when the connection breaks. */
export async function* readLines(
  response: IncomingMessage,
  { what, inactivityMs, onSilence }: LineOptions,
): AsyncGenerator<string[]> {
  let rest = ''
  let isSilent = false
  let lastMs = performance.now()
  let timer: ReturnType<typeof setTimer>
  const check = () => {
    const leftMs = lastMs + inactivityMs() - performance.now()
    isSilent = leftMs <= 0
    if (isSilent) response.destroy()
    else timer = setTimer(check, leftMs + 1)
  }
  timer = setTimer(check, inactivityMs())
  response.setEncoding('utf8')
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      lastMs = performance.now()
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      if (rest.length > MAX_LINE_CHARS)
        throw new KubeError('bad-response', `${what}: a watch event without end`)
      const lines = parts.filter((line) => line.trim() !== '')
      if (lines.length > 0) yield lines
    }
  } catch (error) {
    if (error instanceof KubeError) throw error
    if (!isSilent) throw new KubeError('interrupted', `${what}: the watch broke`, { cause: error })
    onSilence()
  } finally {
    clearTimer(timer)
  }
}

export interface WatchEvent<T> {
  readonly type: string
  readonly object: T
}

export function parseEvent<T>(line: string, what: string): WatchEvent<T> {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch (error) {
    throw new KubeError('bad-response', `${what}: a watch event is not JSON`, { cause: error })
  }
  if (typeof event !== 'object' || event === null || !('type' in event) || !('object' in event))
    throw new KubeError('bad-response', `${what}: a watch event lacks its type or object`)
  const { type, object } = event as WatchEvent<T>
  if (type === 'ERROR') throw watchError(what, object as Status)
  return { type, object }
}

interface Status {
  readonly code?: number
  readonly reason?: string
  readonly message?: string
}

function watchError(what: string, status: Status): KubeError {
  const gone = status.code === 410 || status.reason === 'Expired' || status.reason === 'Gone'
  return new KubeError(
    gone ? 'gone' : 'server-error',
    `${what}: ${status.message ?? 'the watch ended in an error'}`,
    {
      ...(status.code === undefined ? {} : { status: status.code }),
      ...(status.reason === undefined ? {} : { reason: status.reason }),
    },
  )
}
