// What a measurement set up and must take down: at its end, when it fails, and when the user interrupts it.

import { constants } from 'node:os'

type Undo = () => void | Promise<void>

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export class UndoStack {
  readonly #undos: Undo[] = []

  push(undo: Undo): void {
    this.#undos.push(undo)
  }

  /** Newest first. One that fails is told on standard error and does not keep the others from running. */
  async run(): Promise<void> {
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
        process.once(signal, end)
        void this.run().then(end)
      })
  }
}
