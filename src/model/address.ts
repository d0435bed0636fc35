// IP addresses and prefixes: parsed once at the border, compared and hashed as canonical text inside.
//
// An `Address` is canonical text (IPv4 dotted, IPv6 per RFC 5952), so it serves as a map key as it is. The kernel's form
// is 16 bytes for both families, IPv4 as ::ffff:a.b.c.d.

export type Family = 'ipv4' | 'ipv6'
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']
/** As people, and Kubernetes' fields, have them. */
export const FAMILY_NAMES = { ipv4: 'IPv4', ipv6: 'IPv6' } as const satisfies Readonly<Record<Family, string>>

/** Canonical text of one IP address. Made only by this module. */
export type Address = string & { readonly __brand: 'Address' }

/** Canonical text of a prefix, host bits zero: `203.0.113.0/24`. */
export type Prefix = string & { readonly __brand: 'Prefix' }

/** Every address of each family. */
export const EVERYWHERE: readonly Prefix[] = ['0.0.0.0/0' as Prefix, '::/0' as Prefix]

export const ADDRESS_BYTES = 16
const IPV4_OFFSET = 12

export function familyOf(address: Address | Prefix): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}

export function addressBits(family: Family): 32 | 128 {
  return family === 'ipv4' ? 32 : 128
}

/**
 * Reads an address as Kubernetes writes it. Leading zeros in IPv4 parts are read as decimal (older objects have them);
 * zones (`%eth0`) are refused. An IPv4-mapped IPv6 address is IPv4.
 * @returns undefined when the text is not an address
 */
export function parseAddress(text: string): Address | undefined {
  if (isCanonicalIpv4(text)) return text as Address
  const bytes = parseAddressBytes(text.trim())
  return bytes ? formatAddress(bytes) : undefined
}

const DOT = 46
const ZERO = 48

/** What nearly every address of a large cluster is; reading it takes no memory. */
function isCanonicalIpv4(text: string): boolean {
  let parts = 1
  let digits = 0
  let value = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === DOT) {
      if (digits === 0 || parts === 4) return false
      parts += 1
      digits = 0
      value = 0
      continue
    }
    const digit = code - ZERO
    // A zero is a part's only digit or not its first.
    if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return false
    digits += 1
    value = value * 10 + digit
    if (value > 255) return false
  }
  return parts === 4 && digits > 0
}

/** @param text as `isCanonicalIpv4` takes it */
function writeCanonicalIpv4(text: string, bytes: Uint8Array): Uint8Array {
  bytes.fill(0, 0, 10)
  bytes[10] = 0xff
  bytes[11] = 0xff
  let at = IPV4_OFFSET
  let value = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code !== DOT) value = value * 10 + code - ZERO
    else {
      bytes[at] = value
      at += 1
      value = 0
    }
  }
  bytes[at] = value
  return bytes
}

/** As `parseAddress`, for text that this program wrote itself. Throws on anything else. */
export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new TypeError(`not an IP address: '${text}'`)
  return parsed
}

/** An end of a flow: `203.0.113.1:80`, `[2001:db8::1]:80`; port 0 is no port, and left out. */
export function endText(address: string, port: number): string {
  if (port === 0) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** The kernel's 16-byte form. @param into where to; fresh memory when absent */
export function addressToBytes(value: Address, into: Uint8Array = new Uint8Array(ADDRESS_BYTES)): Uint8Array {
  if (isCanonicalIpv4(value)) return writeCanonicalIpv4(value, into)
  const bytes = parseAddressBytes(value)
  if (!bytes) throw new TypeError(`not an IP address: '${value}'`)
  into.set(bytes)
  return into
}

/** Canonical text of the kernel's 16-byte form. */
export function formatAddress(bytes: Uint8Array): Address {
  if (bytes.length !== ADDRESS_BYTES)
    throw new TypeError(`an address has ${ADDRESS_BYTES} bytes, not ${bytes.length}`)
  if (isMappedIpv4(bytes)) return `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}` as Address
  return formatIpv6(bytes) as Address
}

function isMappedIpv4(bytes: Uint8Array): boolean {
  for (let index = 0; index < 10; index += 1) if (bytes[index] !== 0) return false
  return bytes[10] === 0xff && bytes[11] === 0xff
}

function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from(
    { length: 8 },
    (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0),
  )
  const { start, length } = longestZeroRun(groups)
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (length < 2) return hex(groups)
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start }
  }
  return best
}

function parseAddressBytes(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4Parts(text: string): number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,10}$/.test(part))) return undefined
  const numbers = parts.map(Number)
  return numbers.every((part) => part <= 255) ? numbers : undefined
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = parseIpv4Parts(text)
  if (!parts) return undefined
  const bytes = new Uint8Array(ADDRESS_BYTES)
  bytes[10] = 0xff
  bytes[11] = 0xff
  bytes.set(parts, IPV4_OFFSET)
  return bytes
}

/** 16-bit groups of one side of `::`; only the end of the whole address may be written as IPv4. */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const tail = isEnd && index === parts.length - 1 ? parseIpv4Parts(part) : undefined
      if (!tail) return undefined
      const [a = 0, b = 0, c = 0, d = 0] = tail
      groups.push((a << 8) | b, (c << 8) | d)
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined
      groups.push(Number.parseInt(part, 16))
    }
  }
  return groups
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : []
  if (!head || !tail) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail]
  const bytes = new Uint8Array(ADDRESS_BYTES)
  for (const [index, group] of groups.entries()) {
    bytes[index * 2] = group >> 8
    bytes[index * 2 + 1] = group & 0xff
  }
  return bytes
}

/** A prefix taken apart for comparisons and counting. */
export interface PrefixParts {
  readonly family: Family
  /** Bits of the family: 0–32 or 0–128. */
  readonly length: number
  readonly first: bigint
  readonly last: bigint
}

/**
 * Reads `address/length`; a bare address is its /32 or /128. Host bits are refused, for they are a typing error more
 * often than a shorthand.
 * @returns undefined when the text is not a prefix
 */
export function parsePrefix(text: string): Prefix | undefined {
  const [base = '', lengthText, ...rest] = text.trim().split('/')
  const parsed = parseAddress(base)
  if (parsed === undefined || rest.length > 0) return undefined
  const bits = addressBits(familyOf(parsed))
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) return undefined
  const length = lengthText === undefined ? bits : Number(lengthText)
  if (length > bits) return undefined
  const hostBits = BigInt(bits - length)
  if ((addressToNumber(parsed) >> hostBits) << hostBits !== addressToNumber(parsed)) return undefined
  return `${parsed}/${length}` as Prefix
}

/**
 * As `parsePrefix`, but the length must be written and host bits are cut off: how Kubernetes reads a CIDR.
 */
export function parseNetwork(text: string): Prefix | undefined {
  const match = /^(.+)\/(\d{1,3})$/.exec(text.trim())
  const parsed = parseAddress(match?.[1] ?? '')
  if (parsed === undefined) return undefined
  const family = familyOf(parsed)
  const hostBits = addressBits(family) - Number(match?.[2])
  if (hostBits < 0) return undefined
  const first = (addressToNumber(parsed) >> BigInt(hostBits)) << BigInt(hostBits)
  return `${addressFromNumber(family, first)}/${match?.[2]}` as Prefix
}

export function prefixParts(prefix: Prefix): PrefixParts {
  const slash = prefix.indexOf('/')
  const base = address(prefix.slice(0, slash))
  const family = familyOf(base)
  const length = Number(prefix.slice(slash + 1))
  const first = addressToNumber(base)
  return { family, length, first, last: first + (1n << BigInt(addressBits(family) - length)) - 1n }
}

/** Whether one run of addresses, a prefix or not, lies in another; each lies in itself. */
export function liesWithin(inner: Omit<PrefixParts, 'length'>, outer: Omit<PrefixParts, 'length'>): boolean {
  return inner.family === outer.family && outer.first <= inner.first && inner.last <= outer.last
}

/** Prefixes taken apart lately: a configuration's few are asked about every address there is. */
const parted = new Map<Prefix, PrefixParts>()
const PARTED_MAX = 1024

function rememberedParts(prefix: Prefix): PrefixParts {
  const known = parted.get(prefix)
  if (known) return known
  if (parted.size >= PARTED_MAX) parted.clear()
  const made = prefixParts(prefix)
  parted.set(prefix, made)
  return made
}

export function prefixContains(prefix: Prefix, candidate: Address): boolean {
  const parts = rememberedParts(prefix)
  if (parts.family !== familyOf(candidate)) return false
  const value = addressToNumber(candidate)
  return value >= parts.first && value <= parts.last
}

const scratch = new Uint8Array(ADDRESS_BYTES)
const scratchView = new DataView(scratch.buffer)

/** The address as a number of its own family: 32 or 128 bits. */
export function addressToNumber(value: Address): bigint {
  addressToBytes(value, scratch)
  if (familyOf(value) === 'ipv4') return BigInt(scratchView.getUint32(IPV4_OFFSET))
  return (scratchView.getBigUint64(0) << 64n) | scratchView.getBigUint64(8)
}

/** Inverse of `addressToNumber`. */
export function addressFromNumber(family: Family, value: bigint): Address {
  const bytes = new Uint8Array(ADDRESS_BYTES)
  const start = family === 'ipv4' ? IPV4_OFFSET : 0
  let rest = value
  for (let index = ADDRESS_BYTES - 1; index >= start; index -= 1) {
    bytes[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  if (family === 'ipv4') bytes.fill(0xff, 10, 12)
  return formatAddress(bytes)
}
