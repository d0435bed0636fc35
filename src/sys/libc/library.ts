// The C library, loaded once. Every other file of src/sys declares the functions it needs on top of this.
// koffi checks neither buffer lengths nor ownership: each wrapper asserts lengths before it calls.

import { endianness } from 'node:os'
import koffi from 'koffi'

// Native integers are read and written by the LE methods of Buffer throughout src/sys.
if (endianness() !== 'LE') throw new Error('src/sys knows little-endian machines only (x86-64, arm64)')

export const libc = koffi.load('libc.so.6')

const errnoLocation = libc.func('int *__errno_location(void)')

/** The calling thread's errno. Valid only directly after a failed call, before anything else runs. */
export function lastErrno(): number {
  return koffi.decode(errnoLocation(), 'int') as number
}
