// Watches what can be full. Sweeps the flow table and counts sockets in slices of well under a millisecond, and warns of tables that are nearly
// full and of flows that were refused: once when it begins, and again only after a while.

import type { Logger } from 'pino'
import { describeFill, isNearlyFull, type MapFill } from '../datapath/map-fill.ts'

const SLICE_MS = 100
/** A whole sweep takes this long; the shortest idle time of a flow is a minute. */
const SWEEP_MS = 10_000
const LOOK_MS = 5000
const REPEAT_WARNING_MS = 600_000

export interface CapacityWatchOptions {
  readonly log: Pick<Logger, 'warn' | 'info'>
  readonly flows: { readonly capacity: number; sweep(count: number): number }
  readonly sockets: { readonly capacity: number; look(count: number): void }
  readonly fills: () => readonly MapFill[]
  /** Packets of new flows that found no place, since the node came up. */
  readonly refusedFlows: () => number
  readonly nowMs: () => number
}

export class CapacityWatch {
  readonly #options: CapacityWatchOptions
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #warnedAtMs = new Map<string, number>()
  #refused: number
  #sweptFlows = 0

  constructor(options: CapacityWatchOptions) {
    this.#options = options
    this.#refused = options.refusedFlows()
    this.#timers = [setInterval(() => this.sweep(), SLICE_MS), setInterval(() => this.look(), LOOK_MS)]
    for (const timer of this.#timers) timer.unref()
  }

  /** Flows freed because their idle time was over, since the agent started. */
  get sweptFlows(): number {
    return this.#sweptFlows
  }

  sweep(): void {
    const { flows, sockets } = this.#options
    const share = (capacity: number) => Math.ceil((capacity * SLICE_MS) / SWEEP_MS)
    this.#sweptFlows += flows.sweep(share(flows.capacity))
    sockets.look(share(sockets.capacity))
  }

  look(): void {
    const { fills, refusedFlows } = this.#options
    for (const fill of fills()) {
      if (isNearlyFull(fill)) this.#warn(fill.map, { map: fill.map }, describeFill(fill))
      else this.#warnedAtMs.delete(fill.map)
    }
    const refused = refusedFlows()
    const more = refused - this.#refused
    this.#refused = refused
    if (more > 0) {
      const mend = 'raise datapath.capacities.flows and restart the agent'
      this.#warn(
        'refused',
        { refused: more },
        `the flow table had no place for ${more} packets of new flows; ${mend}`,
      )
    }
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  #warn(subject: string, details: object, message: string): void {
    const nowMs = this.#options.nowMs()
    const warnedAtMs = this.#warnedAtMs.get(subject)
    if (warnedAtMs !== undefined && nowMs - warnedAtMs < REPEAT_WARNING_MS) return
    this.#warnedAtMs.set(subject, nowMs)
    this.#options.log.warn(details, message)
  }
}
