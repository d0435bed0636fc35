// How long a kind's watch has brought nothing: from the first of failures in a row until one stays open for a while, or brings something. Of a
// server that lets each watch begin and breaks it off nothing comes.

import type { ListWatchState } from '../kube/list-watch.ts'

/** Longer than a server takes to say that it cannot go on. */
const STAYS_OPEN_MS = 1_000

export class Outage {
  #sinceMs: number | undefined
  #openedMs: number | undefined
  #isTold = false

  /** @param failures in a row, this one included */
  failed(nowMs: number, failures: number): void {
    if (failures === 1 || this.#stayedOpen(nowMs)) this.end()
    this.#sinceMs ??= nowMs
    this.#openedMs = undefined
  }

  opened(nowMs: number): void {
    this.#openedMs = nowMs
  }

  /** Also where it is not the kind that is out. */
  end(): void {
    this.#sinceMs = undefined
    this.#isTold = false
  }

  /** 0: there is none. */
  lastsMs(nowMs: number, { phase, failures }: Pick<ListWatchState, 'phase' | 'failures'>): number {
    const isOver = failures === 0 || (phase === 'watching' && this.#stayedOpen(nowMs))
    return this.#sinceMs === undefined || isOver ? 0 : nowMs - this.#sinceMs
  }

  /** Once for each. */
  tellOnce(): boolean {
    const isNew = !this.#isTold
    this.#isTold = true
    return isNew
  }

  #stayedOpen(nowMs: number): boolean {
    return this.#openedMs !== undefined && nowMs - this.#openedMs >= STAYS_OPEN_MS
  }
}
