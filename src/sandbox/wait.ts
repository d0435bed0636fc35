// Waiting for a condition with a deadline, and without waiting for the dead.

import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, type ProcessIdentity } from './process.ts'
import { RackError } from './rack-error.ts'

const POLL_MS = 20
const LOG_LINES_SHOWN = 8

export interface Watched {
  /** If this process ends, waiting ends too. */
  readonly identity: ProcessIdentity
  readonly logFile: string
}

/** Resolves when `isReady` answers true; rejects after `timeoutMs`, or as soon as the watched process has ended. */
export async function waitUntil(
  what: string,
  timeoutMs: number,
  isReady: () => boolean | Promise<boolean>,
  watched?: Watched,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await isReady())) {
    if (watched && !isAlive(watched.identity)) {
      throw new RackError('process-died', `${what} ended while starting`, `see ${watched.logFile}`, {
        detail: lastLines(watched.logFile),
      })
    }
    if (performance.now() > deadline) {
      const mend = watched ? `see ${watched.logFile}` : "see 'weir sandbox status' and 'weir sandbox logs'"
      throw new RackError('timeout', `${what} was not ready after ${timeoutMs / 1000} s`, mend, {
        detail: watched ? lastLines(watched.logFile) : [],
      })
    }
    await sleep(POLL_MS)
  }
}

function lastLines(logFile: string): string[] {
  if (!existsSync(logFile)) return []
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-LOG_LINES_SHOWN)
}
