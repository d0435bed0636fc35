// Address arithmetic for ClusterIP ranges: parsing, membership, and a free address.

import { isIP } from 'node:net'

export type Family = 'IPv4' | 'IPv6'

export interface AddressRange {
  readonly text: string
  readonly family: Family
  readonly base: bigint
  readonly size: bigint
}

export function familyOf(address: string): Family | undefined {
  const version = isIP(address)
  return version === 4 ? 'IPv4' : version === 6 ? 'IPv6' : undefined
}

export function parseAddress(address: string): bigint {
  if (isIP(address) === 4) return address.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
  return parseIpv6(address)
}

function parseIpv6(address: string): bigint {
  // A dotted tail is two groups written as IPv4.
  const text = address.replace(/(\d+\.\d+\.\d+\.\d+)$/, (tail) => {
    const value = parseAddress(tail)
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
  })
  const [head = '', tail] = text.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const left = groups(head)
  const right = groups(tail ?? '')
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  const all = tail === undefined ? left : [...left, ...zeros, ...right]
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n)
}

export function formatAddress(value: bigint, family: Family): string {
  if (family === 'IPv4') return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.')
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - 16 * index)) & 0xffffn)
  return compress(groups.map((group) => group.toString(16)))
}

/** RFC 5952: the longest run of zero groups, if longer than one, becomes "::". */
function compress(groups: readonly string[]): string {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < groups.length; start++) {
    let length = 0
    while (groups[start + length] === '0') length++
    if (length > best.length) best = { start, length }
  }
  if (best.length < 2) return groups.join(':')
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`
}

/** One spelling per address, for comparison. */
export function canonicalAddress(address: string): string {
  const family = familyOf(address)
  return family === undefined ? address : formatAddress(parseAddress(address), family)
}

export function parseRange(text: string): AddressRange {
  const [address = '', length = ''] = text.split('/')
  const family = familyOf(address)
  if (family === undefined || !/^\d+$/.test(length))
    throw new Error(`service range ${text} is not a prefix such as 10.96.0.0/16`)
  const size = 1n << (BigInt(family === 'IPv4' ? 32 : 128) - BigInt(length))
  return { text, family, base: (parseAddress(address) / size) * size, size }
}

/** The network address itself, and IPv4's last one, are not for use. */
export function isUsable(range: AddressRange, address: string): boolean {
  if (familyOf(address) !== range.family) return false
  const offset = parseAddress(address) - range.base
  return offset >= 1n && offset < range.size - (range.family === 'IPv4' ? 1n : 0n)
}

/** Large ranges are searched in this many first addresses only. */
const searchLimit = 65_536n
const randomTries = 32

/**
 * A free address: at random above the part of the range that is left to hand-chosen addresses (its first 1/16, 16 to 256 of them),
 * then the first free one anywhere.
 */
export function freeAddress(
  range: AddressRange,
  isTaken: (address: string) => boolean,
  randomBytes: (count: number) => Uint8Array,
): string | undefined {
  const last = (range.size < searchLimit ? range.size : searchLimit) - (range.family === 'IPv4' ? 2n : 1n)
  const share = last / 16n
  const reserved = share < 16n ? (last > 32n ? 16n : 0n) : share > 256n ? 256n : share
  const span = last - reserved
  for (let attempt = 0; attempt < randomTries && span > 0n; attempt++) {
    const random = randomBytes(4).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    const address = formatAddress(range.base + reserved + 1n + (random % span), range.family)
    if (!isTaken(address)) return address
  }
  for (let offset = 1n; offset <= last; offset++) {
    const address = formatAddress(range.base + ((offset + reserved - 1n) % last) + 1n, range.family)
    if (!isTaken(address)) return address
  }
  return undefined
}
