// Ranges of addresses, both ends included: what is neither a prefix nor a single address, as pools are written.

import {
  type Address,
  addressBits,
  addressFromNumber,
  addressToNumber,
  type Family,
  familyOf,
  type Prefix,
  parseAddress,
  prefixParts,
} from './address.ts'

/** Both of one family, the first not above the last. */
export interface AddressRange {
  readonly first: Address
  readonly last: Address
}

/** A range taken apart for comparisons and counting. */
export interface RangeParts {
  readonly family: Family
  readonly first: bigint
  readonly last: bigint
}

/** @returns undefined when the ends are of different families or in the wrong order */
export function rangeBetween(first: Address, last: Address): AddressRange | undefined {
  if (familyOf(first) !== familyOf(last) || addressToNumber(first) > addressToNumber(last)) return undefined
  return { first, last }
}

/** Reads `first-last`. @returns undefined when the text is no range */
export function parseRange(text: string): AddressRange | undefined {
  const [first = '', last = '', ...rest] = text.split('-')
  const ends = [parseAddress(first), parseAddress(last)]
  if (rest.length > 0 || ends[0] === undefined || ends[1] === undefined) return undefined
  return rangeBetween(ends[0], ends[1])
}

export function rangeText({ first, last }: AddressRange): string {
  return `${first}-${last}`
}

export function rangeParts({ first, last }: AddressRange): RangeParts {
  return { family: familyOf(first), first: addressToNumber(first), last: addressToNumber(last) }
}

export function prefixRange(prefix: Prefix): AddressRange {
  const { family, first, last } = prefixParts(prefix)
  return { first: addressFromNumber(family, first), last: addressFromNumber(family, last) }
}

/** A prefix without its first and last address, where it has more than two: some routers and hosts take these for no host's. */
export function innerRange(prefix: Prefix, without: 'both' | 'network-and-broadcast'): AddressRange {
  const { family, length, first, last } = prefixParts(prefix)
  if (addressBits(family) - length < 2) return prefixRange(prefix)
  // IPv6 has no broadcast; its first address is any router's (RFC 4291 §2.6.1).
  const keepsLast = family === 'ipv6' && without === 'network-and-broadcast'
  return {
    first: addressFromNumber(family, first + 1n),
    last: addressFromNumber(family, keepsLast ? last : last - 1n),
  }
}

/** The fewest prefixes that hold the range's addresses and no others, in order. */
export function rangePrefixes(range: AddressRange): Prefix[] {
  const { family, first, last } = rangeParts(range)
  const bits = addressBits(family)
  const prefixes: Prefix[] = []
  for (let at = first; at <= last; ) {
    let hostBits = 0
    // As large as the start is aligned to, and as there is room for.
    while (hostBits < bits) {
      const size = 1n << BigInt(hostBits + 1)
      if (at % size !== 0n || at + size - 1n > last) break
      hostBits += 1
    }
    prefixes.push(`${addressFromNumber(family, at)}/${bits - hostBits}` as Prefix)
    at += 1n << BigInt(hostBits)
  }
  return prefixes
}

export function rangesOverlap(a: RangeParts, b: RangeParts): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last
}
