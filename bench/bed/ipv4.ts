// IPv4 addresses as numbers, which count up.

import type { Address } from '../../src/model/address.ts'

export function ipv4(a: number, b: number, c: number, d: number): number {
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

export function ipv4Text(value: number): Address {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.') as Address
}
