// The pause of a follower between a failure and the next try: jittered exponential backoff, as long as the server asks, and for what will
// hardly get better soon as long as its reader thinks right. Whoever learns that it has got better ends it.

import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeError } from './errors.ts'

export interface RetryPauseOptions {
  backoff?: { firstMs: number; maxMs: number }
  /** The least pause after an error, for what will hardly get better soon. */
  leastPauseMs?: (error: KubeError) => number
  random?: () => number
}

const BACKOFF = { firstMs: 100, maxMs: 15_000 }
/** A server that asks for more patience than this is taken to be mistaken. */
const RETRY_AFTER_MAX_MS = 120_000

export class RetryPause {
  readonly #options: RetryPauseOptions
  readonly #closed: AbortSignal
  #end = new AbortController()

  constructor(options: RetryPauseOptions, closed: AbortSignal) {
    this.#options = options
    this.#closed = closed
  }

  /** @param failures in a row, this one included */
  async pause(error: KubeError, failures: number): Promise<void> {
    const { backoff: { firstMs, maxMs } = BACKOFF, random = Math.random, leastPauseMs } = this.#options
    const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 16))
    const askedMs = (error.retryAfterSeconds ?? 0) * 1000
    const leastMs = leastPauseMs?.(error) ?? 0
    const delayMs = Math.max(ceilingMs * (0.5 + random() / 2), Math.min(askedMs, RETRY_AFTER_MAX_MS), leastMs)
    this.#end = new AbortController()
    await sleep(delayMs, undefined, { signal: AbortSignal.any([this.#closed, this.#end.signal]) }).catch(
      () => {},
    )
  }

  /** Nothing where there is none. */
  end(): void {
    this.#end.abort()
  }
}
