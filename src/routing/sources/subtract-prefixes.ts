// Networks without others: import rules say what may come, and have no word for what may not. Pure.

import { liesWithin, type Prefix, prefixParts } from '../../model/address.ts'
import type { ImportRules } from '../../model/routing.ts'

type ImportRow = ImportRules['prefixes'][number]

/** The networks that are given, exactly, but none that lies in one of `rejected`. */
export function subtractPrefixes(
  given: readonly Prefix[],
  rejected: readonly Prefix[],
): readonly ImportRow[] {
  const without = rejected.map(prefixParts)
  return [...new Set(given)].flatMap((prefix): ImportRow[] => {
    const parts = prefixParts(prefix)
    if (without.some((one) => liesWithin(parts, one))) return []
    return [{ prefix, family: parts.family, lengthMin: parts.length, lengthMax: parts.length }]
  })
}
