// Work in rounds: whoever has something to do asks for a round; requests that come at once share one; rounds never overlap and keep
// a few milliseconds between them, in which a flood of requests gathers, while a lone one after a quiet time runs without delay. A
// round that fails is tried again with growing pauses. Knows neither BPF nor BGP.

import { steadyNowMs } from '../model/steady-clock.ts'

export interface RoundsOptions {
  readonly name: string
  /** From the end of one round to the start of the next: requests gather meanwhile. */
  readonly settleMs: number
  readonly retryMinMs: number
  readonly retryMaxMs: number
  /** One round. Throwing (or rejecting) means: try again later. */
  readonly run: () => Promise<void> | void
  readonly onError: (error: unknown, retryInMs: number) => void
}

export class Rounds {
  readonly #options: RoundsOptions
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #endedMs = Number.NEGATIVE_INFINITY
  #dueMs = Number.POSITIVE_INFINITY
  #running: Promise<void> | undefined
  /** Earliest time asked for while a round was running. */
  #nextDueMs = Number.POSITIVE_INFINITY
  #failures = 0
  #closed = false

  constructor(options: RoundsOptions) {
    this.#options = options
  }

  /** Asks for a round soon. Cheap; call it as often as you like. */
  request(): void {
    this.requestIn(Math.max(0, this.#endedMs + this.#options.settleMs - steadyNowMs()))
  }

  /** Asks for a round no later than `delayMs` from now, for work that becomes due by time. */
  requestIn(delayMs: number): void {
    if (this.#closed) return
    const dueMs = steadyNowMs() + delayMs
    if (this.#running) {
      this.#nextDueMs = Math.min(this.#nextDueMs, dueMs)
      return
    }
    if (this.#immediate || (this.#timer && dueMs >= this.#dueMs)) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dueMs = dueMs
    // A timer of nothing still waits a millisecond.
    if (delayMs <= 0) this.#immediate = setImmediate(() => this.#start())
    else this.#timer = setTimeout(() => this.#start(), delayMs)
  }

  /** Waits for the running round, then starts no more. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    await this.#running
  }

  #start(): void {
    this.#timer = undefined
    this.#immediate = undefined
    this.#dueMs = Number.POSITIVE_INFINITY
    this.#running = this.#runOnce()
  }

  async #runOnce(): Promise<void> {
    let retryInMs: number | undefined
    try {
      await this.#options.run()
      this.#failures = 0
    } catch (error) {
      const { retryMinMs, retryMaxMs } = this.#options
      retryInMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#failures, 16))
      this.#failures += 1
      this.#options.onError(error, retryInMs)
    }
    this.#running = undefined
    this.#endedMs = steadyNowMs()
    // After a failure the pause counts, however soon somebody wanted a round: what failed would fail again.
    const wantedInMs = retryInMs ?? this.#nextDueMs - steadyNowMs()
    this.#nextDueMs = Number.POSITIVE_INFINITY
    if (Number.isFinite(wantedInMs)) this.requestIn(Math.max(this.#options.settleMs, wantedInMs))
  }
}
