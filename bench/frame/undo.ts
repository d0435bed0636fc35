// What a measurement set up and must take down: at its end, when it fails, and when the user interrupts it.

import { constants } from 'node:os'

type Undo = () => void | Promise<void>

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export class UndoStack {
  readonly #undos: Undo[] = []
  #isInterrupted = false
  /** Resolves when nobody is undoing any more. */
  #undone: Promise<void> = Promise.resolve()

  /** A signal came: nothing more must be begun, and what fails now fails because it is being taken down. */
  get isInterrupted(): boolean {
    return this.#isInterrupted
  }

  push(undo: Undo): void {
    this.#undos.push(undo)
  }

  /**
   * Newest first, one after another, whoever asks: a family that ends while a signal takes it down asks too. One that fails is told on
   * standard error and does not keep the others from running.
   */
  run(): Promise<void> {
    this.#undone = this.#undone.then(() => this.#undoAll())
    return this.#undone
  }

  async #undoAll(): Promise<void> {
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop())
      try {
        await undo()
      } catch (error) {
        process.stderr.write(
          `weir: while cleaning up: ${error instanceof Error ? error.message : String(error)}\n`,
        )
      }
  }

  /** Ends the process after the undoing, with the status a shell expects. A second signal does not wait. */
  onSignals(): void {
    for (const signal of SIGNALS)
      process.once(signal, () => {
        const end = () => process.exit(128 + constants.signals[signal])
        this.#isInterrupted = true
        process.once(signal, end)
        void this.run().then(end)
      })
    // Whoever read what is printed has gone (`| head`): as when a terminal is closed.
    let isRead = true
    process.stdout.on('error', () => {
      if (isRead) process.kill(process.pid, 'SIGHUP')
      isRead = false
    })
  }
}
