// ClusterIP ranges: membership, and a free address. The arithmetic is model/address.ts; here are the API's family names and rules.

import { isIP } from 'node:net'
import { addressBits, addressFromNumber, addressToNumber, parseAddress } from '../../../model/address.ts'

export type Family = 'IPv4' | 'IPv6'
const modelFamily = { IPv4: 'ipv4', IPv6: 'ipv6' } as const

export interface AddressRange {
  readonly text: string
  readonly family: Family
  readonly first: bigint
  readonly last: bigint
}

export function familyOf(address: string): Family | undefined {
  const version = isIP(address)
  return version === 4 ? 'IPv4' : version === 6 ? 'IPv6' : undefined
}

/** One spelling per address, for comparison. */
export function canonicalAddress(address: string): string {
  return parseAddress(address) ?? address
}

/** Host bits are ignored, as the API does for the blocks of policies. */
export function parseRange(text: string): AddressRange {
  const [base = '', length = ''] = text.split('/')
  const parsed = parseAddress(base)
  const family = parsed === undefined ? undefined : familyOf(parsed)
  if (parsed === undefined || family === undefined || !/^\d+$/.test(length))
    throw new Error(`${text} is not a prefix such as 10.96.0.0/16`)
  const hostBits = BigInt(addressBits(modelFamily[family])) - BigInt(length)
  const first = (addressToNumber(parsed) >> hostBits) << hostBits
  return { text, family, first, last: first + (1n << hostBits) - 1n }
}

/** Whether every address of `inner` is one of `outer`. */
export function rangeHolds(outer: AddressRange, inner: AddressRange): boolean {
  return inner.family === outer.family && inner.first >= outer.first && inner.last <= outer.last
}

/** The network address itself, and IPv4's last one, are not for use. */
export function isUsable(range: AddressRange, address: string): boolean {
  const parsed = parseAddress(address)
  if (parsed === undefined || familyOf(parsed) !== range.family) return false
  const value = addressToNumber(parsed)
  return value > range.first && value <= range.last - (range.family === 'IPv4' ? 1n : 0n)
}

const addressAt = ({ family, first }: AddressRange, offset: bigint): string =>
  addressFromNumber(modelFamily[family], first + offset)

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
  const size = range.last - range.first + 1n
  const last = (size < searchLimit ? size : searchLimit) - (range.family === 'IPv4' ? 2n : 1n)
  const share = last / 16n
  const reserved = share < 16n ? (last > 32n ? 16n : 0n) : share > 256n ? 256n : share
  const span = last - reserved
  for (let attempt = 0; attempt < randomTries && span > 0n; attempt++) {
    const random = randomBytes(4).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
    const address = addressAt(range, reserved + 1n + (random % span))
    if (!isTaken(address)) return address
  }
  for (let offset = 1n; offset <= last; offset++) {
    const address = addressAt(range, ((offset + reserved - 1n) % last) + 1n)
    if (!isTaken(address)) return address
  }
  return undefined
}
