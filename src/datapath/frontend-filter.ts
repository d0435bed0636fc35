// The bits that say which destination addresses are worth a look-up; a packet with a clear bit passes after one load.
//
// Several addresses share a bit, and an address has several frontends, so holders are counted per bit. The rule that keeps a
// Service's packets from slipping by: hold before the first row of an address is written, let go after the last one's rest.
// The map lives on across restarts, its counts do not: `settle` clears what nobody holds once everything found was held.

import { ADDRESS_BYTES, type Address, addressToBytes } from '../model/address.ts'
import { AbiConstant } from './abi.gen.ts'

/** WEIR_FILTER_MULTIPLIER of bpf/abi/service.h; BTF carries no unsigned 32-bit macros. */
const MULTIPLIER = 0x9e3779b1
const WORD_BITS = 32
const scratch = new Uint8Array(ADDRESS_BYTES)
const FILTER_WORDS = AbiConstant.FILTER_ALL_BITS / WORD_BITS

/** Number of an address's bit, as bpf/abi/service.h defines it. */
export function filterBit(address: Address): number {
  return upperBits(address, AbiConstant.FILTER_ORDER)
}

/** The same of a network, told by its first address. */
export function networkBit(network: Address): number {
  return AbiConstant.FILTER_BITS + upperBits(network, AbiConstant.FILTER_NETWORK_ORDER)
}

function upperBits(address: Address, count: number): number {
  const bytes = addressToBytes(address, scratch)
  let folded = 0
  for (let at = 0; at < ADDRESS_BYTES; at += 1) folded ^= (bytes[at] as number) << ((at % 4) * 8)
  return Math.imul(folded ^ (folded >>> 16), MULTIPLIER) >>> (WORD_BITS - count)
}

export class FrontendFilter {
  readonly #words: Uint32Array
  readonly #holders = new Uint32Array(AbiConstant.FILTER_ALL_BITS)

  /** @param words the mapped array; on a little-endian machine bit b lies in bit b % 32 of 32-bit word b / 32 */
  constructor(words: Uint32Array) {
    if (words.length !== FILTER_WORDS)
      throw new RangeError(`the filter has ${words.length} words, not ${FILTER_WORDS}: run 'npm run build'`)
    this.#words = words
  }

  hold(address: Address): void {
    this.#hold(filterBit(address))
  }

  holdNetwork(network: Address): void {
    this.#hold(networkBit(network))
  }

  release(address: Address): void {
    this.#release(filterBit(address), address)
  }

  releaseNetwork(network: Address): void {
    this.#release(networkBit(network), network)
  }

  #hold(bit: number): void {
    this.#holders[bit] = (this.#holders[bit] ?? 0) + 1
    const word = bit >>> 5
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (bit % WORD_BITS))
  }

  #release(bit: number, address: Address): void {
    const holders = this.#holders[bit] ?? 0
    if (holders === 0) throw new RangeError(`the filter does not hold ${address}`)
    this.#holders[bit] = holders - 1
    const word = bit >>> 5
    if (holders === 1) this.#words[word] = (this.#words[word] ?? 0) & ~(1 << (bit % WORD_BITS))
  }

  /** Clears the bits that an earlier process set and nobody holds now. One word at a time, held bits never blink. */
  settle(): void {
    for (let word = 0; word < FILTER_WORDS; word += 1) {
      let held = 0
      for (let bit = 0; bit < WORD_BITS; bit += 1)
        if ((this.#holders[word * WORD_BITS + bit] ?? 0) > 0) held |= 1 << bit
      if (this.#words[word] !== held >>> 0) this.#words[word] = held
    }
  }
}
