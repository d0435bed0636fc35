// The address family as a parameter: which numbers a family has in the kernel, and prefixes (`10.0.0.0/8`) as
// text and bytes.

import { isIPv4 } from 'node:net'
import { AF_INET, AF_INET6, decodeAddress, encodeAddress } from '../libc/addresses.ts'
import { NetlinkError } from './errors.ts'

export type Family = 'ipv4' | 'ipv6'

export const families: readonly Family[] = ['ipv4', 'ipv6']

export function familyNumber(family: Family | undefined): number {
  if (family === undefined) return 0
  return family === 'ipv4' ? AF_INET : AF_INET6
}

/** Undefined for the families this library does not speak of (bridge, MPLS, multicast routing). */
export function familyFromNumber(number: number): Family | undefined {
  if (number === AF_INET) return 'ipv4'
  return number === AF_INET6 ? 'ipv6' : undefined
}

export function familyOfAddress(address: string): Family {
  return isIPv4(address) ? 'ipv4' : 'ipv6'
}

/** The bytes of an address that must be of the given family, where one is given. */
export function addressBytes(address: string, family?: Family): Buffer {
  const bytes = encodeAddressOrRefuse(address)
  const actual = familyOfAddress(address)
  if (family === undefined || family === actual) return bytes
  throw new NetlinkError('INVALID_INPUT', `${address} is an ${actual} address where ${family} is needed`)
}

export interface Prefix {
  readonly family: Family
  readonly bytes: Buffer
  readonly length: number
}

/**
 * Reads `ADDRESS/LENGTH`; an address alone is a host prefix. Bits beyond the length are kept: an interface
 * address has them.
 */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf('/')
  const address = slash === -1 ? text : text.slice(0, slash)
  const bytes = encodeAddressOrRefuse(address)
  const lengthText = slash === -1 ? String(bytes.length * 8) : text.slice(slash + 1)
  const length = Number(lengthText)
  if (!/^\d{1,3}$/.test(lengthText) || length > bytes.length * 8) {
    throw new NetlinkError(
      'INVALID_INPUT',
      `'${text}' is not a prefix: the length must be 0 to ${bytes.length * 8}`,
    )
  }
  return { family: familyOfAddress(address), bytes, length }
}

/** Absent bytes mean the unspecified address, as the kernel leaves out the destination of a default route. */
export function formatPrefix(family: Family, bytes: Uint8Array | undefined, length: number): string {
  const address = bytes ? decodeAddress(bytes) : family === 'ipv4' ? '0.0.0.0' : '::'
  return `${address}/${length}`
}

function encodeAddressOrRefuse(address: string): Buffer {
  try {
    return encodeAddress(address)
  } catch (cause) {
    throw new NetlinkError('INVALID_INPUT', cause instanceof Error ? cause.message : String(cause), { cause })
  }
}
