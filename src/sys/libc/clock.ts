// The kernel's tick. Its configuration (/boot, /proc/config.gz) is often out of a container's sight; the coarse clocks advance
// once a tick, and tell everybody so.

import { succeed } from './errors.ts'
import { libc } from './library.ts'

const clockGetres = libc.func('int clock_getres(int clock, void *resolution)') as (
  clock: number,
  resolution: Buffer,
) => number

const CLOCK_MONOTONIC_COARSE = 6
/** sizeof(struct timespec) where time_t has 64 bits. */
const TIMESPEC_BYTES = 16
const NANOSECONDS = 1_000_000_000

/** Jiffies in a second (CONFIG_HZ). */
export function kernelHertz(): number {
  const resolution = Buffer.alloc(TIMESPEC_BYTES)
  succeed(clockGetres(CLOCK_MONOTONIC_COARSE, resolution), 'ask how often the kernel ticks')
  return Math.round(NANOSECONDS / Number(resolution.readBigInt64LE(8)))
}
