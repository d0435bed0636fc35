// The bits that say which destination addresses are worth a look-up; a packet with a clear one passes after one load.
//
// Several addresses share a bit, and an address has several frontends, so holders are counted per bit. The rule that keeps a
// Service's packets from slipping by: hold before the first row of an address is written, let go after the last one's rest.
// The map lives on across restarts, its counts do not: `settle` clears what nobody holds once everything found was held.

import { ADDRESS_BYTES, type Address, addressToBytes } from '../model/address.ts'
import { AbiConstant } from './abi.gen.ts'

/** WEIR_FILTER_MULTIPLIER and the other one of bpf/abi/service.h; BTF carries no unsigned 32-bit macros. */
const MULTIPLIER = 0x9e3779b1
const MULTIPLIER_2 = 0x85ebca77
const WORD_BITS = 32
const scratch = new Uint8Array(ADDRESS_BYTES)
const FILTER_WORDS = AbiConstant.FILTER_ALL_BITS / WORD_BITS
/** A bit with so many holders is no longer counted, and stays set until the next process. */
const HOLDERS_MAX = 0xffff

/** Numbers of an address's bits, as bpf/abi/service.h defines them; two may be the same. */
export function filterBits(address: Address): readonly [number, number, number] {
  const mixed = mix(address)
  const first = (Math.imul(mixed, MULTIPLIER) >>> (32 - AbiConstant.FILTER_WORD_ORDER)) * 64
  const numbers = Math.imul(mixed, MULTIPLIER_2)
  return [first + (numbers >>> 26), first + ((numbers >>> 20) & 63), first + ((numbers >>> 14) & 63)]
}

/** The number of a network's one bit; the network is told by its first address. */
export function networkBit(network: Address): number {
  const bit = Math.imul(mix(network), MULTIPLIER) >>> (32 - AbiConstant.FILTER_NETWORK_ORDER)
  return AbiConstant.FILTER_BITS + bit
}

function mix(address: Address): number {
  const bytes = addressToBytes(address, scratch)
  let folded = 0
  for (let at = 0; at < ADDRESS_BYTES; at += 1) folded ^= (bytes[at] as number) << ((at % 4) * 8)
  return folded ^ (folded >>> 16)
}

/** What the programs ask of an address. */
export function filterAdmits(words: Uint32Array, address: Address): boolean {
  return filterBits(address).every((bit) => (((words[bit >>> 5] ?? 0) >>> (bit % WORD_BITS)) & 1) === 1)
}

export class FrontendFilter {
  readonly #words: Uint32Array
  readonly #holders = new Uint16Array(AbiConstant.FILTER_ALL_BITS)

  /** @param words the mapped array; on a little-endian machine bit b lies in bit b % 32 of 32-bit word b / 32 */
  constructor(words: Uint32Array) {
    if (words.length !== FILTER_WORDS)
      throw new RangeError(`the filter has ${words.length} words, not ${FILTER_WORDS}: run 'npm run build'`)
    this.#words = words
  }

  hold(address: Address): void {
    for (const bit of filterBits(address)) this.#hold(bit)
  }

  holdNetwork(network: Address): void {
    this.#hold(networkBit(network))
  }

  release(address: Address): void {
    for (const bit of filterBits(address)) this.#release(bit, address)
  }

  releaseNetwork(network: Address): void {
    this.#release(networkBit(network), network)
  }

  #hold(bit: number): void {
    this.#holders[bit] = Math.min((this.#holders[bit] ?? 0) + 1, HOLDERS_MAX)
    const word = bit >>> 5
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (bit % WORD_BITS))
  }

  #release(bit: number, address: Address): void {
    const holders = this.#holders[bit] ?? 0
    if (holders === 0) throw new RangeError(`the filter does not hold ${address}`)
    if (holders === HOLDERS_MAX) return
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
