// How many sockets have an entry in `sock_peers`, seen through its mapped memory: a share of the table at each look, for reading all
// 65 536 cookies is milliseconds of cache misses.
//
// Entries of sockets that closed while no hook told of it (somebody had detached it) are counted too, and stay until the node starts
// anew: nothing tells user space for sure that a socket of a namespace it does not know is gone, and one that is not would forget its
// Service. They cost a place each; who finds none is remembered by the kernel's storage.

import { SOCK_ENTRY_BYTES } from './abi.gen.ts'

const WORDS_PER_ENTRY = SOCK_ENTRY_BYTES / BigUint64Array.BYTES_PER_ELEMENT

export class SockPeers {
  /** The cookie is an entry's first word; 0: free. */
  readonly #words: BigUint64Array
  readonly capacity: number
  #next = 0
  #counted = 0
  #used = 0

  constructor(memory: ArrayBuffer) {
    this.#words = new BigUint64Array(memory)
    this.capacity = Math.floor(this.#words.length / WORDS_PER_ENTRY)
  }

  /** As of the last whole look; 0 before. */
  get used(): number {
    return this.#used
  }

  /** Looks at the next `count` entries. */
  look(count: number): void {
    const end = Math.min(this.#next + count, this.capacity)
    for (let entry = this.#next; entry < end; entry += 1)
      if (this.#words[entry * WORDS_PER_ENTRY] !== 0n) this.#counted += 1
    this.#next = end
    if (end < this.capacity) return
    this.#used = this.#counted
    this.#counted = 0
    this.#next = 0
  }
}
