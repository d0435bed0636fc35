// The planner's memory of VIPs on disk, for the next agent. Written when it changes, at most once a second: whoever is killed in between
// forgets a second. Another boot of the node begins anew, for its routes have gone with gobgpd.

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { readMemories, type VipMemories, writeMemories } from '../routing/vip-memory.ts'

export const VIP_MEMORY_FILE = 'vip-memory.json'

const COALESCE_MS = 1_000

export interface VipMemoryFileOptions {
  readonly stateDirectory: string
  readonly log: Pick<Logger, 'warn'>
  /** The planner's. */
  readonly nowMs: () => number
  /** Since the boot that `bootId` names. */
  readonly sinceBootMs?: () => number
  readonly bootId?: () => string
}

export class VipMemoryFile {
  readonly #options: VipMemoryFileOptions
  readonly #file: string
  readonly #sinceBootMs: () => number
  readonly #bootId: string
  #timer: NodeJS.Timeout | undefined
  #due: (() => VipMemories) | undefined

  constructor(options: VipMemoryFileOptions) {
    this.#options = options
    this.#file = join(options.stateDirectory, VIP_MEMORY_FILE)
    this.#sinceBootMs = options.sinceBootMs ?? (() => Number(process.hrtime.bigint() / 1_000_000n))
    this.#bootId = (options.bootId ?? readBootId)()
  }

  /** What an earlier agent of this boot left; empty where there is none, or what is there cannot be read. */
  read(): VipMemories {
    try {
      const { bootId, vips } = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, unknown>
      return readMemories(bootId === this.#bootId ? vips : {}, -this.#shiftMs())
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#options.log.warn({ err: error }, 'what was remembered of flapping VIPs cannot be read')
      return new Map()
    }
  }

  /** Writes it down soon, as it is then. */
  keep(memories: () => VipMemories): void {
    this.#due = memories
    this.#timer ??= setTimeout(() => this.#write(), COALESCE_MS)
    this.#timer.unref()
  }

  close(): void {
    if (this.#timer) this.#write()
  }

  #shiftMs(): number {
    return this.#sinceBootMs() - this.#options.nowMs()
  }

  /** A reader finds the old text or the new, never half. */
  #write(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const memories = this.#due?.() ?? new Map()
    try {
      const text = JSON.stringify({ bootId: this.#bootId, vips: writeMemories(memories, this.#shiftMs()) })
      writeFileSync(`${this.#file}.part`, `${text}\n`, { mode: 0o600 })
      renameSync(`${this.#file}.part`, this.#file)
    } catch (error) {
      this.#options.log.warn({ err: error }, 'flapping VIPs were not written down for the next agent')
    }
  }
}

function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}
