// Prefixes as people read them: IPv4 first, then by number. Pure.

import { type Family, parsePrefix, prefixParts } from './address.ts'

/** There may be ten thousand: each is taken apart once, and text compared. */
export function inPrefixOrder<T extends { readonly prefix: string; readonly family: Family }>(
  rows: readonly T[],
): T[] {
  const keyed = rows.map((row) => ({ row, key: `${row.family} ${numberText(row.prefix)} ${row.prefix}` }))
  return keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ row }) => row)
}

/** What is no prefix comes last, as it is. */
function numberText(text: string): string {
  const prefix = parsePrefix(text)
  return prefix === undefined ? text : prefixParts(prefix).first.toString(16).padStart(32, '0')
}
