// Whether the kernel keeps up with the API: unhealthy when a change has waited longer than a limit without a round that finished. Not
// having heard from the API server is no fault of the datapath, and nothing waits then.
//
// Both families are written in one round, so they lag together. An object that fails on its own does not hold up the round: it
// is told of by its own means, and takes no other Service down with it.

export interface Health {
  /** When a round last finished; undefined: none has. */
  readonly lastUpdatedMs: number | undefined
  readonly isHealthy: boolean
}

export interface SyncHealthOptions {
  readonly limitMs: number
  /** Milliseconds since the epoch that never jump. */
  readonly nowMs: () => number
}

export class SyncHealth {
  readonly #limitMs: number
  readonly #nowMs: () => number
  /** When the oldest change came that no round has taken up. */
  #queuedMs: number | undefined
  /** When the oldest change came that the running round took up, or one that failed. */
  #takenMs: number | undefined
  #updatedMs: number | undefined

  constructor({ limitMs, nowMs }: SyncHealthOptions) {
    this.#limitMs = limitMs
    this.#nowMs = nowMs
  }

  queued(): void {
    this.#queuedMs ??= this.#nowMs()
  }

  started(): void {
    this.#takenMs ??= this.#queuedMs
    this.#queuedMs = undefined
  }

  finished(): void {
    this.#takenMs = undefined
    this.#updatedMs = this.#nowMs()
  }

  get state(): Health {
    const oldestMs = this.#takenMs ?? this.#queuedMs
    return {
      lastUpdatedMs: this.#updatedMs,
      isHealthy: oldestMs === undefined || this.#nowMs() - oldestMs <= this.#limitMs,
    }
  }
}
