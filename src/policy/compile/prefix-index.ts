// Longest prefix of a set that covers an address or a prefix: the kernel's trie, in user space. By family and length one hash.

import {
  type Address,
  addressBits,
  addressToNumber,
  type Family,
  familyOf,
  type Prefix,
  prefixParts,
} from '../../model/address.ts'

/** Where an address or prefix lies. */
export interface Place {
  readonly family: Family
  readonly length: number
  readonly first: bigint
}

export function placeOfAddress(address: Address): Place {
  const family = familyOf(address)
  return { family, length: addressBits(family), first: addressToNumber(address) }
}

export function placeOfPrefix(prefix: Prefix): Place {
  const { family, length, first } = prefixParts(prefix)
  return { family, length, first }
}

export function placeContains(outer: Place, inner: Place): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false
  const hostBits = BigInt(addressBits(outer.family) - outer.length)
  return inner.first >> hostBits === outer.first >> hostBits
}

interface Level {
  readonly hostBits: bigint
  readonly prefixes: Map<bigint, Prefix>
}

export class PrefixIndex {
  /** By family, then by length; the lengths in use, longest first. */
  readonly #levels = { ipv4: new Map<number, Level>(), ipv6: new Map<number, Level>() }
  readonly #lengths: Record<Family, readonly number[]> = { ipv4: [], ipv6: [] }

  add(prefix: Prefix): void {
    const { family, length, first } = placeOfPrefix(prefix)
    const levels = this.#levels[family]
    const level = levels.get(length) ?? {
      hostBits: BigInt(addressBits(family) - length),
      prefixes: new Map<bigint, Prefix>(),
    }
    level.prefixes.set(first >> level.hostBits, prefix)
    levels.set(length, level)
    this.#lengths[family] = [...levels.keys()].sort((a, b) => b - a)
  }

  delete(prefix: Prefix): void {
    const { family, length, first } = placeOfPrefix(prefix)
    const levels = this.#levels[family]
    const level = levels.get(length)
    if (!level) return
    level.prefixes.delete(first >> level.hostBits)
    if (level.prefixes.size > 0) return
    levels.delete(length)
    this.#lengths[family] = this.#lengths[family].filter((known) => known !== length)
  }

  /** @param below only prefixes shorter than this: for the one around a prefix */
  longest({ family, length, first }: Place, below = length + 1): Prefix | undefined {
    for (const candidate of this.#lengths[family]) {
      if (candidate >= below) continue
      const level = this.#levels[family].get(candidate)
      const found = level?.prefixes.get(first >> level.hostBits)
      if (found !== undefined) return found
    }
    return undefined
  }
}
