// Mapped memory: a file descriptor's pages as an ArrayBuffer.
//
// V8 can't take memory back from an ArrayBuffer that someone may still read, so there is no unmap call here: a mapping
// lives as long as its ArrayBuffer is reachable from anywhere, and is unmapped after that has been collected.

import koffi from 'koffi'
import { lastErrno, libc } from './library.ts'

const mmap = libc.func(
  'void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
)
const munmap = libc.func('int munmap(void *address, size_t length)')
const sysconf = libc.func('long sysconf(int name)')

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const SC_PAGESIZE = 30
const MAP_FAILED = 0xffff_ffff_ffff_ffffn

export const PAGE_BYTES = Number(sysconf(SC_PAGESIZE))

export interface Mapping {
  readonly fd: number
  /** Bytes to map; rounded up to whole pages by the kernel, so the view may be shorter than the mapping. */
  readonly lengthBytes: number
  /** A multiple of the page size. */
  readonly offsetBytes?: number
  readonly writable: boolean
}

export class MemoryMapError extends Error {
  override readonly name = 'MemoryMapError'
  readonly errno: number

  constructor(mapping: Mapping, errno: number) {
    const { fd, lengthBytes, offsetBytes = 0 } = mapping
    super(`mapping ${lengthBytes} bytes at ${offsetBytes} of descriptor ${fd} failed with errno ${errno}`)
    this.errno = errno
  }
}

const unmapped = new FinalizationRegistry<{ address: bigint; lengthBytes: number }>(
  ({ address, lengthBytes }) => {
    munmap(address, lengthBytes)
  },
)

/** Maps shared memory. Writing to a mapping made with `writable: false` ends the process. */
export function mapMemory(mapping: Mapping): ArrayBuffer {
  const { fd, lengthBytes, offsetBytes = 0, writable } = mapping
  if (lengthBytes <= 0 || offsetBytes % PAGE_BYTES !== 0) throw new RangeError('mapping is not page-aligned')
  const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
  const pointer: unknown = mmap(null, lengthBytes, protection, MAP_SHARED, fd, offsetBytes)
  const errno = lastErrno()
  const address = BigInt.asUintN(64, koffi.address(pointer))
  if (address === MAP_FAILED) throw new MemoryMapError(mapping, errno)
  const view = koffi.view(pointer, lengthBytes)
  unmapped.register(view, { address, lengthBytes })
  return view
}
