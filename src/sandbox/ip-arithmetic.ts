// Arithmetic for an address plan: addresses as numbers, the n-th subnet, overlaps. Pure. What an address is, the model says.

import * as model from '../model/address.ts'

export type Family = model.Family

export interface Network {
  readonly family: Family
  /** The first address as a number. */
  readonly base: bigint
  readonly length: number
}

export const addressBits: (family: Family) => number = model.addressBits

export function familyOf(text: string): Family {
  return text.includes(':') ? 'ipv6' : 'ipv4'
}

/** Parses an address; undefined when it is none. */
export function parseAddress(text: string): bigint | undefined {
  const parsed = model.parseAddress(text)
  return parsed === undefined ? undefined : model.addressToNumber(parsed)
}

export function formatAddress(family: Family, value: bigint): string {
  return model.addressFromNumber(family, value)
}

/** Parses `address/length` without host bits; undefined when it is none. */
export function parseNetwork(text: string): Network | undefined {
  const prefix = text.includes('/') ? model.parsePrefix(text) : undefined
  if (prefix === undefined) return undefined
  const { family, first, length } = model.prefixParts(prefix)
  return { family, base: first, length }
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
