// The kernel's counters of this thread (perf_event_open): the processor's own where it has any and lets us see them, and the kernel's.
// Virtual machines often have none. Only benchmarks ask.

import { closeSync, readSync } from 'node:fs'
import { errnoName, SystemError } from './errors.ts'
import { lastErrno, libc } from './library.ts'

const perfEventOpen = libc.func(
  'long syscall(long number, const void *attributes, int pid, int cpu, int group, unsigned long flags)',
) as (
  number: number,
  attributes: Buffer,
  pid: number,
  cpu: number,
  group: number,
  flags: number,
) => number | bigint

const SYSCALL: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 298, arm64: 241 }
const FLAG_CLOEXEC = 8
const THIS_THREAD = 0
const ANY_CPU = -1
const NO_GROUP = -1
/** PERF_ATTR_SIZE_VER5. */
const ATTRIBUTES_BYTES = 112
const EXCLUDE_HYPERVISOR = 1n << 6n

/** Type and number of each event in linux/perf_event.h. */
const EVENTS = {
  cycles: { type: 0, config: 0 },
  instructions: { type: 0, config: 1 },
  'cache misses': { type: 0, config: 3 },
  'branch misses': { type: 0, config: 5 },
  /** Nanoseconds on a processor: counted by the kernel, so always there. */
  'task clock': { type: 1, config: 1 },
} as const
export type PerfEvent = keyof typeof EVENTS

/** Errnos that mean that there is no such counter here, or none for us. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'EOPNOTSUPP', 'ENODEV', 'EACCES', 'EPERM', 'ENOSYS'])

/** Counts from the moment it is made, in the kernel and out of it, this thread alone. */
export class PerfCounter {
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  read(): bigint {
    const value = Buffer.alloc(8)
    readSync(this.#fd, value)
    return value.readBigUInt64LE()
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** @returns the counter, or why there is none: the errno's name */
export function openPerfCounter(event: PerfEvent): PerfCounter | string {
  const number = SYSCALL[process.arch]
  if (number === undefined) return 'ENOSYS'
  const { type, config } = EVENTS[event]
  const attributes = Buffer.alloc(ATTRIBUTES_BYTES)
  attributes.writeUInt32LE(type, 0)
  attributes.writeUInt32LE(ATTRIBUTES_BYTES, 4)
  attributes.writeBigUInt64LE(BigInt(config), 8)
  attributes.writeBigUInt64LE(EXCLUDE_HYPERVISOR, 40)
  const fd = Number(perfEventOpen(number, attributes, THIS_THREAD, ANY_CPU, NO_GROUP, FLAG_CLOEXEC))
  if (fd >= 0) return new PerfCounter(fd)
  const errno = lastErrno()
  if (ABSENT.has(errnoName(errno))) return errnoName(errno)
  throw new SystemError({ action: `open the counter of ${event}`, errno })
}
