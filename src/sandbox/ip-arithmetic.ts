// Just enough address arithmetic for an address plan: text to number, number to text, the n-th subnet. Pure.

export type Family = 'ipv4' | 'ipv6'

export interface Network {
  readonly family: Family
  /** The first address as a number. */
  readonly base: bigint
  readonly length: number
}

export function addressBits(family: Family): number {
  return family === 'ipv4' ? 32 : 128
}

export function familyOf(text: string): Family {
  return text.includes(':') ? 'ipv6' : 'ipv4'
}

/** Parses an address; undefined when it is none. */
export function parseAddress(text: string): bigint | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): bigint | undefined {
  const octets = text.split('.')
  if (
    octets.length !== 4 ||
    !octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) < 256)
  ) {
    return undefined
  }
  return octets.reduce((value, octet) => (value << 8n) | BigInt(octet), 0n)
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const groups = [...head, ...Array.from({ length: missing }, () => '0'), ...tail]
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}

export function formatAddress(family: Family, value: bigint): string {
  return family === 'ipv4' ? formatIpv4(value) : formatIpv6(value)
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.')
}

/** Canonical text after RFC 5952: lower case, the longest run of zero groups (of two or more) shortened. */
function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - 16 * index)) & 0xffffn)
  let bestStart = -1
  let bestLength = 1
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0n) length++
    if (length > bestLength) {
      bestStart = start
      bestLength = length
    }
  }
  const hex = groups.map((group) => group.toString(16))
  if (bestStart < 0) return hex.join(':')
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`
}

/** Parses `address/length` without host bits; undefined when it is none. */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', lengthText = '', ...rest] = text.split('/')
  const family = familyOf(address)
  const base = parseAddress(address)
  if (base === undefined || rest.length > 0 || !/^\d{1,3}$/.test(lengthText)) return undefined
  const length = Number(lengthText)
  if (length > addressBits(family)) return undefined
  const hostBits = BigInt(addressBits(family) - length)
  return (base >> hostBits) << hostBits === base ? { family, base, length } : undefined
}

export function formatNetwork(network: Network): string {
  return `${formatAddress(network.family, network.base)}/${network.length}`
}

/** The `index`-th address of the network, counted from its first. */
export function nthAddress(network: Network, index: number): string {
  return formatAddress(network.family, network.base + BigInt(index))
}

/** The `index`-th subnet of the given length, counted from the network's first. */
export function nthSubnet(network: Network, length: number, index: number): Network {
  const step = BigInt(addressBits(network.family) - length)
  return { family: network.family, base: network.base + (BigInt(index) << step), length }
}

export function networkHolds(outer: Network, inner: Network): boolean {
  if (outer.family !== inner.family || inner.length < outer.length) return false
  const hostBits = BigInt(addressBits(outer.family) - outer.length)
  return inner.base >> hostBits === outer.base >> hostBits
}

export function networksOverlap(a: Network, b: Network): boolean {
  return networkHolds(a, b) || networkHolds(b, a)
}
