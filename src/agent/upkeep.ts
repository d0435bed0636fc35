// What is looked at again and again, because nobody tells: whether our programs, links, pins and rows are still what we made them.
// Somebody's `bpftool link detach` or `rm` under the pins sends no event; a round of a few system calls finds it within seconds,
// and what was lost is told once per loss, in the log and as a count.

import type { Logger } from 'pino'
import type { Loss } from '../datapath/attach.ts'

const VERIFY_MS = 3000

export interface UpkeepOptions {
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** Devices that should carry our programs and are there. */
  readonly present: () => ReadonlySet<number>
  readonly verify: (present: ReadonlySet<number>) => readonly Loss[]
  /** Makes the service loop attach again what verify() found detached. */
  readonly onLost: () => void
}

export class Upkeep {
  readonly #options: UpkeepOptions
  readonly #restored: Record<Loss['how'], number> = {
    detached: 0,
    replaced: 0,
    unpinned: 0,
    overwritten: 0,
  }
  readonly #timer: NodeJS.Timeout
  #lastError = ''

  constructor(options: UpkeepOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.verify(), VERIFY_MS)
    this.#timer.unref()
  }

  /** How often something of ours was found taken away, since the agent started. */
  get restored(): Readonly<Record<Loss['how'], number>> {
    return this.#restored
  }

  verify(): void {
    const { log, present, verify, onLost } = this.#options
    try {
      const losses = verify(present())
      for (const { what, how } of losses) {
        this.#restored[how] += 1
        log.warn({ what, how }, `${what} was ${how} by somebody else; putting it back`)
      }
      if (losses.length > 0) onLost()
      this.#lastError = ''
    } catch (error) {
      // Tried again next time; told once.
      const text = String(error)
      if (text !== this.#lastError) log.error({ err: error }, 'cannot look after programs and pins')
      this.#lastError = text
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
