// What an agent tells the next one, as JSON in a file of the state directory. Who cannot read or write it goes on without, and the log says
// so: what stands there is never worth an agent that does not start.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { writeWhole } from './config-file.ts'

/** Whoever is killed in between forgets as much. */
const COALESCE_MS = 1_000

export interface StateFileOptions {
  readonly stateDirectory: string
  readonly name: string
  readonly log: Pick<Logger, 'warn'>
  /** What the log says. */
  readonly notRead: string
  readonly notWritten: string
}

export class StateFile {
  readonly #options: StateFileOptions
  readonly #file: string
  #timer: NodeJS.Timeout | undefined
  #due: (() => string) | undefined

  constructor(options: StateFileOptions) {
    this.#options = options
    this.#file = join(options.stateDirectory, options.name)
  }

  /** Undefined: there is none, or it cannot be read. @param parse may throw */
  read<T>(parse: (kept: unknown) => T): T | undefined {
    try {
      return parse(JSON.parse(readFileSync(this.#file, 'utf8')))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#options.log.warn({ err: error }, this.#options.notRead)
      return undefined
    }
  }

  /** @returns whether it stands there now */
  write(text: () => string): boolean {
    try {
      writeWhole(this.#file, text())
      return true
    } catch (error) {
      this.#options.log.warn({ err: error }, this.#options.notWritten)
      return false
    }
  }

  /** Writes it soon, as it is then; once for many. */
  writeSoon(text: () => string): void {
    this.#due = text
    this.#timer ??= setTimeout(() => this.#writeDue(), COALESCE_MS).unref()
  }

  close(): void {
    if (this.#timer) this.#writeDue()
  }

  #writeDue(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#due) this.write(this.#due)
  }
}
