// Keys waiting to be reconciled. A key is worked on by one worker at a time; added again meanwhile, it runs once more
// afterwards; failing, it is tried again with growing delay, for ever. Adding before `start` only collects.

import { isKubeError } from '../../kube/errors.ts'

export interface WorkQueueOptions {
  name: string
  /** Brings one object in line. A number asks to be called again after so many milliseconds. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most reconcilers return nothing
  reconcile: (key: string) => Promise<number | undefined | void>
  log: (message: string) => void
  workers?: number
}

export interface WorkQueue {
  add(key: string): void
  addAfter(key: string, delayMs: number): void
  start(): void
  close(): void
}

const WORKERS = 4
const RETRY_FIRST_MS = 100
const RETRY_MAX_MS = 10_000
/** Someone else wrote in between: the next look will see it. */
const CONFLICT_RETRY_MS = 20

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const waiting = new Set<string>()
  const active = new Set<string>()
  const timers = new Map<string, { timer: NodeJS.Timeout; dueMs: number }>()
  const failures = new Map<string, number>()
  const workers = options.workers ?? WORKERS
  let isStarted = false
  let isClosed = false

  const pump = () => {
    if (!isStarted || isClosed) return
    for (const key of waiting) {
      if (active.size >= workers) return
      if (active.has(key)) continue
      waiting.delete(key)
      active.add(key)
      void work(key)
    }
  }
  const work = async (key: string) => {
    try {
      const again = await options.reconcile(key)
      failures.delete(key)
      if (typeof again === 'number') queue.addAfter(key, again)
    } catch (error) {
      retry(key, error)
    }
    active.delete(key)
    pump()
  }
  const retry = (key: string, error: unknown) => {
    if (isClosed) return
    if (isKubeError(error, 'conflict')) {
      queue.addAfter(key, CONFLICT_RETRY_MS)
      return
    }
    const count = (failures.get(key) ?? 0) + 1
    failures.set(key, count)
    options.log(
      `${options.name} ${key}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
    queue.addAfter(key, Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(count - 1, 10)))
  }
  const queue: WorkQueue = {
    add: (key) => {
      if (isClosed) return
      waiting.add(key)
      pump()
    },
    addAfter: (key, delayMs) => {
      if (isClosed) return
      const dueMs = Date.now() + delayMs
      const before = timers.get(key)
      if (before !== undefined && before.dueMs <= dueMs) return
      if (before !== undefined) clearTimeout(before.timer)
      const timer = setTimeout(() => {
        timers.delete(key)
        queue.add(key)
      }, delayMs)
      timers.set(key, { timer, dueMs })
    },
    start: () => {
      isStarted = true
      pump()
    },
    close: () => {
      isClosed = true
      for (const { timer } of timers.values()) clearTimeout(timer)
      timers.clear()
      waiting.clear()
    },
  }
  return queue
}
