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
  /** Given the whole lines of each piece as it comes. What it throws, or rejects with, ends the reading. */
  readonly onLines: (lines: readonly string[]) => Promise<void> | undefined
}

/** Resolves with what ended it; rejects with KubeError when the connection breaks. */
export async function readLines(response: IncomingMessage, options: LineOptions): Promise<'end' | 'silence'> {
  const { what, inactivityMs } = options
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
  try {
    const end = await consume(response, options, () => {
      lastMs = performance.now()
    })
    if (end.isWhole) return 'end'
    if (!isSilent) throw new KubeError('interrupted', `${what}: the watch broke`, { cause: end.cause })
    return 'silence'
  } finally {
    clearTimer(timer)
  }
}

/**
 * Lines are handed over in the very turn in which their bytes come: an async iterator would cost a change several more. Resolves
 * when the body is over and all that came of it has been worked on.
 */
function consume(
  response: IncomingMessage,
  { what, onLines }: LineOptions,
  onBytes: () => void,
): Promise<{ readonly isWhole: boolean; readonly cause?: unknown }> {
  let rest = ''
  let working: Promise<void> | undefined
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      reject(error)
      response.destroy()
    }
    const finish = (isWhole: boolean, cause?: unknown) => {
      const settle = () => resolve({ isWhole, cause })
      if (working) working.then(settle, fail)
      else settle()
    }
    const take = (chunk: string) => {
      onBytes()
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      if (rest.length > MAX_LINE_CHARS)
        throw new KubeError('bad-response', `${what}: a watch event without end`)
      const lines = parts.filter((line) => line.trim() !== '')
      working = lines.length > 0 ? onLines(lines) : undefined
      if (working === undefined) return
      response.pause()
      working.then(() => response.resume(), fail)
    }
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      try {
        take(chunk)
      } catch (error) {
        fail(error)
      }
    })
    response.on('end', () => finish(true))
    response.on('error', (cause) => finish(false, cause))
    response.on('close', () => finish(false))
  })
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
