// The clock that deadlines of a trial, and the memory of flapping VIPs, lie on: since boot, suspended time included. Nobody sets it, so it
// never jumps; every process of one boot reads the same; and of another boot it says nothing, so that a reading is told with the boot it
// is of.

import { readFileSync } from 'node:fs'
import { sinceBootMs } from '../sys/libc/clock.ts'

export interface BootClock {
  readonly bootId: () => string
  readonly nowMs: () => number
}

/** A container sees the host's, too. */
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

export const BOOT_CLOCK: BootClock = {
  bootId: () => readFileSync(BOOT_ID_FILE, 'utf8').trim(),
  nowMs: sinceBootMs,
}
