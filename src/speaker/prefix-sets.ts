// Members of gobgpd's prefix sets. gobgpd looks a prefix up by its *longest* covering member alone: with 10.0.0.0/8 (lengths 8–32) and
// 10.1.0.0/16 (16–16) in one set, 10.1.2.0/24 matches nothing. So members are written out here: each one inherits the lengths that
// wider members around it allow.

import type { PrefixSetMember } from '../../bgp/client/gobgp-grpc-client.ts'
import { addressBits, type Prefix, prefixParts } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'

export function writeOutMembers(rows: readonly Omit<AllowedPrefix, 'family'>[]): readonly PrefixSetMember[] {
  const parts = rows.map((row) => ({ ...row, ...prefixParts(row.prefix) }))
  const members = parts.flatMap((inner) =>
    parts
      .filter(
        (outer) =>
          outer.family === inner.family &&
          outer.length <= inner.length &&
          outer.first <= inner.first &&
          outer.last >= inner.last &&
          outer.lengthMax >= inner.length,
      )
      .map((outer) => ({
        prefix: inner.prefix,
        lengthMin: Math.max(outer.lengthMin, inner.length),
        lengthMax: outer.lengthMax,
      })),
  )
  return [...new Map(members.map((member) => [memberKey(member), member])).values()]
}

/** Every network inside the prefix, itself too. */
export function anyLength(prefix: Prefix): Omit<AllowedPrefix, 'family'> {
  const { family, length } = prefixParts(prefix)
  return { prefix, lengthMin: length, lengthMax: addressBits(family) }
}

export function memberKey({ prefix, lengthMin, lengthMax }: PrefixSetMember): string {
  return `${prefix} ${lengthMin} ${lengthMax}`
}
