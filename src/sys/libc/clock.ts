// The kernel's tick, the time since boot, and what a thread has used of its CPU.
//
// The tick: its configuration (/boot, /proc/config.gz) is often out of a container's sight; the coarse clocks advance
// once a tick, and tell everybody so.

import { succeed } from './errors.ts'
import { libc } from './library.ts'

const clockGetres = libc.func('int clock_getres(int clock, void *resolution)') as (
  clock: number,
  resolution: Buffer,
) => number

const clockGettime = libc.func('int clock_gettime(int clock, void *time)') as (
  clock: number,
  time: Buffer,
) => number

const CLOCK_THREAD_CPUTIME_ID = 3
const CLOCK_MONOTONIC_COARSE = 6
const CLOCK_BOOTTIME = 7
/** sizeof(struct timespec) where time_t has 64 bits. */
const TIMESPEC_BYTES = 16
const NANOSECONDS = 1_000_000_000
const MILLISECONDS = 1_000
const NS_PER_MS = 1_000_000

/** Jiffies in a second (CONFIG_HZ). */
export function kernelHertz(): number {
  const resolution = Buffer.alloc(TIMESPEC_BYTES)
  succeed(clockGetres(CLOCK_MONOTONIC_COARSE, resolution), 'ask how often the kernel ticks')
  return Math.round(NANOSECONDS / Number(resolution.readBigInt64LE(8)))
}

/** CPU time of the calling thread, to the nanosecond; /proc tells it as of the last tick. */
export function threadCpuNs(): number {
  const { seconds, nanoseconds } = readClock(CLOCK_THREAD_CPUTIME_ID, 'ask for the CPU time of this thread')
  return seconds * NANOSECONDS + nanoseconds
}

/** Goes on while the machine is suspended, and nobody can set it. */
export function sinceBootMs(): number {
  const { seconds, nanoseconds } = readClock(CLOCK_BOOTTIME, 'ask for the time since boot')
  return seconds * MILLISECONDS + Math.floor(nanoseconds / NS_PER_MS)
}

function readClock(clock: number, action: string): { seconds: number; nanoseconds: number } {
  const time = Buffer.alloc(TIMESPEC_BYTES)
  succeed(clockGettime(clock, time), action)
  return { seconds: Number(time.readBigInt64LE(0)), nanoseconds: Number(time.readBigInt64LE(8)) }
}
