// Changes on their way to the reader: what one piece of a watch brings is handed over together, as soon as that has been read.

import { clearTimeout as clearTimer, setTimeout as setTimer } from 'node:timers'
import type { Change } from './list-watch.ts'

/** A batch larger than this is handed over at once, so that a flood does not pile up, nor a slice of a list take long. */
const BATCH_MAX_CHANGES = 500

export class ChangeBatch<Row> {
  readonly #onChanges: (changes: readonly Change<Row>[]) => void
  readonly #batchMs: number
  #pending: Change<Row>[] = []
  #timer: ReturnType<typeof setTimer> | undefined
  #isDue = false

  /** @param batchMs changes are collected this long; 0: until the piece that brought them has been worked on */
  constructor(onChanges: (changes: readonly Change<Row>[]) => void, batchMs: number) {
    this.#onChanges = onChanges
    this.#batchMs = batchMs
  }

  get isFull(): boolean {
    return this.#pending.length >= BATCH_MAX_CHANGES
  }

  /** Without a time of its own: whoever adds flushes. */
  add(change: Change<Row>): void {
    this.#pending.push(change)
  }

  /** Sees to it that what was added is handed over soon. */
  schedule(): void {
    if (this.isFull) this.flush()
    else if (this.#batchMs > 0) this.#timer ??= setTimer(() => this.flush(), this.#batchMs)
    else if (!this.#isDue) {
      this.#isDue = true
      // After the whole piece, and before the event loop turns again: a change waits for nothing else.
      process.nextTick(() => this.flush())
    }
  }

  flush(): void {
    const changes = this.#pending
    this.drop()
    if (changes.length > 0) this.#onChanges(changes)
  }

  drop(): void {
    if (this.#timer !== undefined) clearTimer(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    this.#pending = []
  }
}
