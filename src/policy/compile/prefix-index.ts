// A set of prefixes, and which of them cover an address or a prefix, and lie in one: the kernel's trie, in user space.
//
// By family a binary trie without the nodes of one child: a node stands for the bits that all below it begin with, and carries a prefix
// or has two children. So nothing costs more than the length of a prefix, however many others there are.

import {
  ADDRESS_BYTES,
  type Address,
  addressBits,
  addressToBytes,
  type Family,
  familyOf,
  type Prefix,
} from '../../model/address.ts'

/** Where an address or prefix lies. */
export interface Place {
  readonly family: Family
  readonly length: number
  /** The bits, 32 at a time as the operators on bits have them (signed): one of IPv4, four of IPv6. */
  readonly words: readonly number[]
}

const WORD_BITS = 32
const WORD_BYTES = 4
const scratch = new Uint8Array(ADDRESS_BYTES)
const scratchView = new DataView(scratch.buffer)

export function placeOfAddress(address: Address): Place {
  const family = familyOf(address)
  return { family, length: addressBits(family), words: wordsOf(address, family) }
}

export function placeOfPrefix(prefix: Prefix): Place {
  const slash = prefix.indexOf('/')
  const family = familyOf(prefix)
  // Canonical, so is its address, and the bits behind the length are zero.
  const words = wordsOf(prefix.slice(0, slash) as Address, family)
  return { family, length: Number(prefix.slice(slash + 1)), words }
}

function wordsOf(address: Address, family: Family): readonly number[] {
  addressToBytes(address, scratch)
  const word = (index: number) => scratchView.getInt32(index * WORD_BYTES)
  return family === 'ipv4' ? [word(3)] : [word(0), word(1), word(2), word(3)]
}

/** Bits that both begin with, at most so many. */
function sharedBits(a: Place, b: Place, most: number): number {
  for (let index = 0; index * WORD_BITS < most; index += 1) {
    const differing = (a.words[index] ?? 0) ^ (b.words[index] ?? 0)
    if (differing !== 0) return Math.min(most, index * WORD_BITS + Math.clz32(differing))
  }
  return most
}

/** Both of one family. */
function contains(outer: Place, inner: Place): boolean {
  return outer.length <= inner.length && sharedBits(outer, inner, outer.length) === outer.length
}

function isSetAt({ words }: Place, bit: number): boolean {
  return (((words[Math.floor(bit / WORD_BITS)] ?? 0) >>> (WORD_BITS - 1 - (bit % WORD_BITS))) & 1) === 1
}

interface Node {
  readonly place: Place
  prefix: Prefix | undefined
  /** Where the bit behind its own is 0, and 1. */
  low: Node | undefined
  high: Node | undefined
}

/** @returns the node that takes its place */
function grown(node: Node | undefined, place: Place, prefix: Prefix): Node {
  if (!node) return { place, prefix, low: undefined, high: undefined }
  const shared = sharedBits(node.place, place, Math.min(node.place.length, place.length))
  if (shared === node.place.length) {
    if (shared === place.length) node.prefix = prefix
    else if (isSetAt(place, shared)) node.high = grown(node.high, place, prefix)
    else node.low = grown(node.low, place, prefix)
    return node
  }
  const isAround = shared === place.length
  const above: Node = isAround
    ? { place, prefix, low: undefined, high: undefined }
    : { place: { ...place, length: shared }, prefix: undefined, low: undefined, high: undefined }
  const beside = isAround ? undefined : grown(undefined, place, prefix)
  const isHigh = isSetAt(node.place, shared)
  above.low = isHigh ? beside : node
  above.high = isHigh ? node : beside
  return above
}

/** @returns the node that takes its place, if any is left */
function pruned(node: Node | undefined, place: Place): Node | undefined {
  if (!node || !contains(node.place, place)) return node
  if (node.place.length === place.length) node.prefix = undefined
  else if (isSetAt(place, node.place.length)) node.high = pruned(node.high, place)
  else node.low = pruned(node.low, place)
  return node.prefix !== undefined || (node.low && node.high) ? node : (node.low ?? node.high)
}

export class PrefixIndex {
  readonly #roots: Record<Family, Node | undefined> = { ipv4: undefined, ipv6: undefined }

  constructor(prefixes: Iterable<Prefix> = []) {
    for (const prefix of prefixes) this.add(prefix)
  }

  add(prefix: Prefix): void {
    const place = placeOfPrefix(prefix)
    this.#roots[place.family] = grown(this.#roots[place.family], place, prefix)
  }

  delete(prefix: Prefix): void {
    const place = placeOfPrefix(prefix)
    this.#roots[place.family] = pruned(this.#roots[place.family], place)
  }

  /** @param below only prefixes shorter than this: for the one around a prefix */
  longest(place: Place, below = place.length + 1): Prefix | undefined {
    let found: Prefix | undefined
    let node = this.#roots[place.family]
    while (node && node.place.length < below && contains(node.place, place)) {
      found = node.prefix ?? found
      node = isSetAt(place, node.place.length) ? node.high : node.low
    }
    return found
  }

  /** Whether a place is in any of them. */
  covers(place: Place): boolean {
    let node = this.#roots[place.family]
    while (node && contains(node.place, place)) {
      if (node.prefix !== undefined) return true
      node = isSetAt(place, node.place.length) ? node.high : node.low
    }
    return false
  }

  /** Those that a place is in, the shortest first. */
  *around(place: Place): Iterable<Prefix> {
    let node = this.#roots[place.family]
    while (node && contains(node.place, place)) {
      if (node.prefix !== undefined) yield node.prefix
      node = isSetAt(place, node.place.length) ? node.high : node.low
    }
  }

  /** Those that lie in a place, in order. */
  *within(place: Place): Iterable<Prefix> {
    let node = this.#roots[place.family]
    while (node && node.place.length < place.length && contains(node.place, place))
      node = isSetAt(place, node.place.length) ? node.high : node.low
    const rest = node && contains(place, node.place) ? [node] : []
    for (let next = rest.pop(); next; next = rest.pop()) {
      if (next.prefix !== undefined) yield next.prefix
      if (next.high) rest.push(next.high)
      if (next.low) rest.push(next.low)
    }
  }

  /** Those that lie in no other. */
  *outermost(): Iterable<Prefix> {
    for (const root of [this.#roots.ipv4, this.#roots.ipv6]) {
      const rest = root ? [root] : []
      for (let next = rest.pop(); next; next = rest.pop()) {
        if (next.prefix !== undefined) yield next.prefix
        else {
          if (next.high) rest.push(next.high)
          if (next.low) rest.push(next.low)
        }
      }
    }
  }
}
