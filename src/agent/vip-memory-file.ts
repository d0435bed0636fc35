// The planner's memory of VIPs on disk, for the next agent. Written when it changes, at most once a second: whoever is killed in between
// forgets a second. Another boot of the node begins anew, for its routes have gone with gobgpd.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { readMemories, type VipMemories, writeMemories } from '../routing/vip-memory.ts'
import { BOOT_CLOCK, type BootClock } from './boot-clock.ts'
import { writeWhole } from './config-file.ts'

export const VIP_MEMORY_FILE = 'vip-memory.json'

const COALESCE_MS = 1_000

export interface VipMemoryFileOptions {
  readonly stateDirectory: string
  readonly log: Pick<Logger, 'warn'>
  /** The planner's. */
  readonly nowMs: () => number
  readonly clock?: BootClock
}

export class VipMemoryFile {
  readonly #options: VipMemoryFileOptions
  readonly #file: string
  readonly #clock: BootClock
  #timer: NodeJS.Timeout | undefined
  #due: (() => VipMemories) | undefined

  constructor(options: VipMemoryFileOptions) {
    this.#options = options
    this.#file = join(options.stateDirectory, VIP_MEMORY_FILE)
    this.#clock = options.clock ?? BOOT_CLOCK
  }

  /** What an earlier agent of this boot left; empty where there is none, or what is there cannot be read. */
  read(): VipMemories {
    try {
      const { bootId, vips } = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, unknown>
      return readMemories(bootId === this.#clock.bootId() ? vips : {}, -this.#shiftMs())
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
    return this.#clock.nowMs() - this.#options.nowMs()
  }

  #write(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const memories = this.#due?.() ?? new Map()
    try {
      const vips = writeMemories(memories, this.#shiftMs())
      writeWhole(this.#file, `${JSON.stringify({ bootId: this.#clock.bootId(), vips })}\n`)
    } catch (error) {
      this.#options.log.warn({ err: error }, 'flapping VIPs were not written down for the next agent')
    }
  }
}
