// What metrics of routing are read from: gathered before a scrape, for gobgpd has to be asked, and kept for a moment, for scrapers may be
// several. A gobgpd that does not answer in time leaves the facts as they were looked at last.

import type { BgpFacts } from './metrics/bgp-readings.ts'

/** Counting what goes to four routers of 10 000 prefixes keeps gobgpd busy for a tenth of a second. */
const FRESH_MS = 5_000
/** Scrapers wait ten seconds as a rule. */
const WAIT_MS = 3_000

export class BgpFactsCache {
  readonly #gather: () => Promise<BgpFacts | undefined>
  readonly #nowMs: () => number
  #facts: BgpFacts | undefined
  #atMs = Number.NEGATIVE_INFINITY
  #gathering: Promise<void> | undefined

  constructor(gather: () => Promise<BgpFacts | undefined>, nowMs: () => number) {
    this.#gather = gather
    this.#nowMs = nowMs
  }

  get facts(): BgpFacts | undefined {
    return this.#facts
  }

  /** Never rejects. */
  async refresh(waitMs = WAIT_MS): Promise<void> {
    if (this.#nowMs() - this.#atMs < FRESH_MS) return
    this.#gathering ??= this.#look().finally(() => {
      this.#gathering = undefined
    })
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs)
    })
    await Promise.race([this.#gathering, patience])
    clearTimeout(timer)
  }

  async #look(): Promise<void> {
    try {
      this.#facts = await this.#gather()
      this.#atMs = this.#nowMs()
    } catch {
      // Then the next scrape tries again; weir_bgp_gobgpd_up is of the last look.
    }
  }
}
