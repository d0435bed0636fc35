// IP addresses and prefixes as text and as numbers. GoBGP 3.10 answers OK to nonsense (a /33, host bits, a v6 address in the v4
// family) and reads a missing length as 0, so 203.0.113.9 becomes the default route. Everything sent therefore passes through here.
// The text form is canonical (RFC 5952), equal to what GoBGP prints back, so prefixes can be compared as strings.

import { isIPv4, isIPv6 } from 'node:net'

export type Family = 'ipv4' | 'ipv6'

export interface Address {
  readonly family: Family
  readonly value: bigint
  readonly text: string
}

/** A network: no bit is set beyond `length`. */
export interface Prefix {
  readonly family: Family
  readonly value: bigint
  readonly length: number
  readonly text: string
}

export function familyBits(family: Family): 32 | 128 {
  return family === 'ipv4' ? 32 : 128
}

/** Undefined when the text is no plain address (no zone, no IPv4-mapped form: neither can stand in a unicast NLRI). */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 'ipv4', value: ipv4Value(text), text }
  if (!isIPv6(text) || text.includes('%')) return undefined
  const value = ipv6Value(text)
  if (value >> 32n === 0xffffn) return undefined
  return { family: 'ipv6', value, text: formatIpv6(value) }
}

/** Undefined when the text is no prefix in CIDR form with every host bit clear. */
export function parsePrefix(text: string): Prefix | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text)
  const address = match?.[1] === undefined ? undefined : parseAddress(match[1])
  if (!address) return undefined
  const length = Number(match?.[2])
  const bits = familyBits(address.family)
  if (length > bits || address.value & ((1n << BigInt(bits - length)) - 1n)) return undefined
  return { family: address.family, value: address.value, length, text: `${address.text}/${length}` }
}

/** An address as the prefix that holds it alone; a prefix as it is. Undefined when the text is neither. */
export function parsePrefixOrAddress(text: string): Prefix | undefined {
  const address = parseAddress(text)
  return parsePrefix(address ? `${address.text}/${familyBits(address.family)}` : text)
}

function ipv4Value(text: string): bigint {
  return text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

function ipv6Value(text: string): bigint {
  // A trailing dotted quad stands for the last two groups.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  const quad = dotted ? ipv4Value(dotted[2] ?? '') : 0n
  const plain = dotted ? `${dotted[1]}${(quad >> 16n).toString(16)}:${(quad & 0xffffn).toString(16)}` : text
  const [head = '', tail] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = new Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...zeros, ...right].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  )
  const run = longestZeroRun(groups)
  if (run.length < 2) return groups.join(':')
  return `${groups.slice(0, run.start).join(':')}::${groups.slice(run.start + run.length).join(':')}`
}

/** The first of the longest runs of zero groups, as RFC 5952 §4.2 wants it. */
function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  groups.forEach((group, index) => {
    if (group !== '0') start = index + 1
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start }
  })
  return best
}
