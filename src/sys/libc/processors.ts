// Which processors a thread may run on. Benchmarks stay on one, for its caches.

import { succeed } from './errors.ts'
import { libc } from './library.ts'

type AffinityCall = (thread: number, bytes: number, mask: Buffer) => number
const callGet = libc.func('int sched_getaffinity(int thread, size_t bytes, void *mask)') as AffinityCall
const callSet = libc.func('int sched_setaffinity(int thread, size_t bytes, const void *mask)') as AffinityCall

/** Room for 8192 processors; the kernel wants at least as much as it has. */
const MASK_BYTES = 1024
const THIS_THREAD = 0

/** Keeps the calling thread on the last processor that it may use. @returns what lets it go again, and the processor's number */
export function stayOnOneProcessor(): { readonly processor: number; readonly release: () => void } {
  const before = Buffer.alloc(MASK_BYTES)
  succeed(callGet(THIS_THREAD, MASK_BYTES, before), 'ask which processors this thread may use')
  const byte = before.findLastIndex((bits) => bits !== 0)
  const processor = byte * 8 + 31 - Math.clz32(before[byte] ?? 1)
  const one = Buffer.alloc(MASK_BYTES)
  one[byte] = 1 << (processor % 8)
  succeed(callSet(THIS_THREAD, MASK_BYTES, one), `stay on processor ${processor}`)
  return {
    processor,
    release: () => {
      succeed(callSet(THIS_THREAD, MASK_BYTES, before), 'use every processor again')
    },
  }
}
