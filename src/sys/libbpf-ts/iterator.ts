// Iterators: programs that the kernel runs once per object of a kind (`SEC("iter/udp")`), writing to whoever reads. Those over
// sockets see the network namespace in which the reader opened them.

import { readSync } from 'node:fs'
import { check } from './errors.ts'
import { ATTACH_TYPES } from './kernel-names.ts'
import * as native from './native.ts'
import type { BpfProgram } from './program.ts'

const LINK_CREATE_OPTIONS_BYTES = 16
/** The kernel writes at most what its own buffer of 8 pages holds at a time. */
const READ_BYTES = 32 << 10
/** More than any table of sockets gives: a program that never ends must not fill our memory. */
const OUTPUT_BYTES_MAX = 64 << 20

export class BpfIterator {
  readonly #link: number
  readonly #name: string
  #closed = false

  /** Throws when the kernel lacks this kind of iterator. */
  constructor(program: BpfProgram) {
    const options = Buffer.alloc(LINK_CREATE_OPTIONS_BYTES)
    options.writeBigUInt64LE(BigInt(options.length), 0)
    const result = native.linkCreate(program.fd, 0, ATTACH_TYPES.trace_iter, options)
    this.#name = program.name
    this.#link = check(result, 'attaching the iterator', program.name)
  }

  /**
   * Begins a run in the calling thread's network namespace, which the run keeps: it may be read after the thread has left.
   * @returns a descriptor for `read`
   */
  open(): number {
    return check(native.iterCreate(this.#link), 'opening the iterator', this.#name)
  }

  /** Runs it to its end and closes the descriptor. @returns all that the program wrote */
  read(fd: number): Buffer {
    const parts: Buffer[] = []
    let bytes = 0
    try {
      for (;;) {
        const part = Buffer.allocUnsafe(READ_BYTES)
        const length = readSync(fd, part)
        if (length === 0) return Buffer.concat(parts)
        bytes += length
        if (bytes > OUTPUT_BYTES_MAX)
          throw new RangeError(`iterator ${this.#name} wrote more than ${OUTPUT_BYTES_MAX} bytes`)
        parts.push(part.subarray(0, length))
      }
    } finally {
      native.closeDescriptor(fd)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    native.closeDescriptor(this.#link)
  }
}
