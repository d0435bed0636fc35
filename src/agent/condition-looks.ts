// Conditions in the status of users' objects, by the one agent that gives out addresses, for every agent would say the same. Looks at all
// objects now and then, so that what an earlier agent wrote, or somebody took away, is put right too.

import type { Logger } from 'pino'
import { isKubeError } from '../kube/errors.ts'

/** At a look; the rest follows at the next ones. */
const WRITES_MAX = 100

export interface DueCondition {
  /** The object's kind and name, for the log. */
  readonly of: Readonly<Record<string, string>>
  readonly write: () => Promise<unknown>
}

export interface ConditionLooksOptions {
  readonly everyMs: number
  readonly isLeader: () => boolean
  /** Conditions that are not as they should be. Walked as far as a look gets. */
  readonly due: () => Iterable<DueCondition>
  readonly log: Pick<Logger, 'warn'>
}

export class ConditionLooks {
  readonly #options: ConditionLooksOptions
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(options: ConditionLooksOptions) {
    this.#options = options
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.look())
    }, options.everyMs)
    this.#timer.unref()
  }

  async look(): Promise<void> {
    const { isLeader, due } = this.#options
    if (!isLeader()) return
    let writes = 0
    for (const condition of due()) {
      if (this.#isClosed || writes >= WRITES_MAX) return
      writes += 1
      if (!(await this.#write(condition))) return
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#looking
  }

  /** False: the API server is away. */
  async #write({ of, write }: DueCondition): Promise<boolean> {
    try {
      await write()
    } catch (error) {
      // It has gone meanwhile, or its kind has no status: the next look tries again.
      if (!isKubeError(error, 'not-found'))
        this.#options.log.warn({ err: error, ...of }, 'a condition was not written')
      return !isKubeError(error, 'unreachable', 'timeout')
    }
    return true
  }
}
