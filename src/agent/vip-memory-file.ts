// The planner's memory of VIPs on disk, for the next agent. Written when it changes, at most once a second: whoever is killed in between
// forgets a second. Another boot of the node begins anew, for its routes have gone with gobgpd.

import type { Logger } from 'pino'
import { readMemories, type VipMemories, writeMemories } from '../routing/vip-memory.ts'
import { BOOT_CLOCK, type BootClock } from './boot-clock.ts'
import { StateFile } from './state-file.ts'

export const VIP_MEMORY_FILE = 'vip-memory.json'

export interface VipMemoryFileOptions {
  readonly stateDirectory: string
  readonly log: Pick<Logger, 'warn'>
  /** The planner's. */
  readonly nowMs: () => number
  readonly clock?: BootClock
}

export class VipMemoryFile {
  readonly #options: VipMemoryFileOptions
  readonly #file: StateFile
  readonly #clock: BootClock

  constructor(options: VipMemoryFileOptions) {
    const { stateDirectory, log, clock = BOOT_CLOCK } = options
    this.#options = options
    this.#clock = clock
    this.#file = new StateFile({
      ...{ stateDirectory, log, name: VIP_MEMORY_FILE },
      notRead: 'what was remembered of flapping VIPs cannot be read',
      notWritten: 'flapping VIPs were not written down for the next agent',
    })
  }

  /** What an earlier agent of this boot left; empty where there is none, or what is there cannot be read. */
  read(): VipMemories {
    const memories = this.#file.read((kept) => {
      const { bootId, vips } = kept as Record<string, unknown>
      return readMemories(bootId === this.#clock.bootId() ? vips : {}, -this.#shiftMs())
    })
    return memories ?? new Map()
  }

  /** Writes it down soon, as it is then. */
  keep(memories: () => VipMemories): void {
    this.#file.writeSoon(() => {
      const vips = writeMemories(memories(), this.#shiftMs())
      return `${JSON.stringify({ bootId: this.#clock.bootId(), vips })}\n`
    })
  }

  close(): void {
    this.#file.close()
  }

  #shiftMs(): number {
    return this.#clock.nowMs() - this.#options.nowMs()
  }
}
