// The configuration file while the agent runs: read again when it changes, a ConfigMap's swapped link included. What is refused changes
// nothing: the last good configuration stays in force, across a restart of the agent too (a copy of its text lies in the state
// directory). Only `routing` and `pools` are taken live; what else differs waits for a restart, and is named.

import { type FSWatcher, readFileSync, renameSync, unlinkSync, watch, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { equalRows } from '../tables/equal-rows.ts'
import { type AgentConfig, ConfigError, loadConfig, parseConfig } from './config.ts'

/** Editors write in several steps, and a ConfigMap swaps several links. */
const SETTLE_MS = 50
/** Where the file system tells nothing (a bind mount of one file, a network file system). */
const POLL_MS = 10_000

export const LAST_GOOD_FILE = 'agent.last-good.yaml'

export interface ConfigRefusal {
  readonly atMs: number
  readonly message: string
}

export interface ConfigFileStatus {
  readonly file: string
  readonly takenAtMs: number
  /** Why what the file says now is not in force. */
  readonly refused: ConfigRefusal | undefined
  /** Keys whose change waits for a restart of the agent. */
  readonly waitForRestart: readonly string[]
}

/** The configuration to start with: the file's, or, where that is refused, the last that was not. */
export interface LoadedConfig {
  readonly config: AgentConfig
  readonly text: string
  readonly refused: ConfigRefusal | undefined
}

/** Throws ConfigError where the file is refused and there is no copy of a good one. */
export function loadOrLastGood(file: string): LoadedConfig {
  let text = ''
  try {
    text = readText(file)
    const config = parseConfig(text, file)
    return { config, text, refused: undefined }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const copy = lastGoodOf(text)
    if (copy === undefined) throw error
    const config = parseConfig(copy.text, copy.file)
    return { config, text: copy.text, refused: { atMs: Date.now(), message: error.message } }
  }
}

/** Where the state directory is must be read from a text that is refused: its line says so. */
function lastGoodOf(refusedText: string): { readonly file: string; readonly text: string } | undefined {
  const directory = /^stateDirectory:\s*["']?(\/[^"'\s#]+)/m.exec(refusedText)?.[1]
  if (directory === undefined) return undefined
  const file = join(directory, LAST_GOOD_FILE)
  try {
    return { file, text: readFileSync(file, 'utf8') }
  } catch {
    return undefined
  }
}

/** Beside and renamed: whoever reads at the same moment has the old text or the new one. */
export function writeWhole(file: string, text: string): void {
  const part = `${file}.${process.pid}.part`
  try {
    writeFileSync(part, text, { mode: 0o600 })
    renameSync(part, file)
  } catch (error) {
    try {
      unlinkSync(part)
    } catch {
      // It was never there.
    }
    throw error
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // loadConfig has the words for it.
    loadConfig(file)
    return ''
  }
}

export interface ConfigFileOptions {
  readonly file: string
  readonly loaded: LoadedConfig
  /** Its `routing` or `pools` differ from what was in force. */
  readonly onTaken: (config: AgentConfig, text: string) => void
  readonly onRefused: (refusal: ConfigRefusal) => void
  /** Named once for each change of the file. */
  readonly onWaiting: (keys: readonly string[]) => void
  /** No copy of a good one could be kept. */
  readonly onUnkept?: (error: unknown) => void
  readonly nowMs?: () => number
}

export class ConfigFile {
  readonly #options: ConfigFileOptions
  readonly #started: AgentConfig
  readonly #watcher: FSWatcher | undefined
  readonly #poll: NodeJS.Timeout
  #soon: NodeJS.Timeout | undefined
  #current: AgentConfig
  /** What was looked at last, good or not. */
  #text: string | undefined
  #goodText: string
  #status: ConfigFileStatus

  constructor(options: ConfigFileOptions) {
    this.#options = options
    const { file, loaded } = options
    this.#started = loaded.config
    this.#current = loaded.config
    this.#goodText = loaded.text
    this.#text = loaded.refused ? undefined : loaded.text
    this.#status = { file, takenAtMs: this.#nowMs(), refused: loaded.refused, waitForRestart: [] }
    this.#keepLastGood(loaded.text)
    this.#watcher = this.#watchDirectory()
    this.#poll = setInterval(() => this.look(), POLL_MS)
    this.#poll.unref()
  }

  /** The last good one. */
  get current(): AgentConfig {
    return this.#current
  }

  get text(): string {
    return this.#goodText
  }

  /** Whether its `routing` is another one than at the start. */
  get hasOtherRouting(): boolean {
    return !equalRows(this.#started.routing, this.#current.routing)
  }

  get status(): ConfigFileStatus {
    return this.#status
  }

  close(): void {
    this.#watcher?.close()
    clearInterval(this.#poll)
    clearTimeout(this.#soon)
  }

  /** Of the directory, for the file itself is replaced. */
  #watchDirectory(): FSWatcher | undefined {
    try {
      const watcher = watch(dirname(this.#options.file), { persistent: false }, () => {
        this.#soon ??= setTimeout(() => {
          this.#soon = undefined
          this.look()
        }, SETTLE_MS)
      })
      watcher.on('error', () => watcher.close())
      return watcher
    } catch {
      return undefined
    }
  }

  /** Cheap when nothing has changed. */
  look(): void {
    const { file } = this.#options
    let text: string
    try {
      text = readText(file)
      if (text === this.#text) return
      this.#text = text
      this.#take(parseConfig(text, file), text)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.#refuse(error.message)
    }
  }

  #take(next: AgentConfig, text: string): void {
    const before = this.#current
    const waitForRestart = keysThatWait(this.#started, next)
    const isNew = waitForRestart.join() !== this.#status.waitForRestart.join()
    this.#status = { ...this.#status, takenAtMs: this.#nowMs(), refused: undefined, waitForRestart }
    this.#goodText = text
    this.#current = { ...this.#started, routing: next.routing, pools: next.pools }
    this.#keepLastGood(text)
    if (isNew && waitForRestart.length > 0) this.#options.onWaiting(waitForRestart)
    const isSame = equalRows(before.routing, next.routing) && equalRows(before.pools, next.pools)
    if (!isSame) this.#options.onTaken(this.#current, text)
  }

  /** For the next start. A disk that is full keeps no agent from its work. */
  #keepLastGood(text: string): void {
    try {
      writeWhole(join(this.#started.stateDirectory, LAST_GOOD_FILE), text)
    } catch (error) {
      this.#options.onUnkept?.(error)
    }
  }

  #refuse(message: string): void {
    if (this.#status.refused?.message === message) return
    const refused = { atMs: this.#nowMs(), message }
    this.#status = { ...this.#status, refused }
    this.#options.onRefused(refused)
  }

  #nowMs(): number {
    return (this.#options.nowMs ?? Date.now)()
  }
}

/** Sections other than `routing` and `pools`, and of `routing` what only a start can set. */
export function keysThatWait(started: AgentConfig, next: AgentConfig): readonly string[] {
  const sections = (Object.keys(next) as (keyof AgentConfig)[]).filter(
    (key) => key !== 'routing' && key !== 'pools' && !equalRows(started[key], next[key]),
  )
  const ofRouting = (['gobgp', 'mode'] as const).filter((key) => started.routing[key] !== next.routing[key])
  return [...sections, ...ofRouting.map((key) => `routing.${key}`)]
}
