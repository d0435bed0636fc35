// Equality of rows: plain data, compared by value and without making anything.

/**
 * Whether two values of plain data (no dates, maps or classes; bytes are data) hold the same. Fields that are absent and undefined are alike.
 * @param but a field of the rows themselves that does not count
 */
export function equalRows(a: unknown, b: unknown, but?: string): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) return Array.isArray(b) && equalArrays(a, b)
  // A Buffer of the same bytes is the same value.
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  return !Array.isArray(b) && equalFields(a as Fields, b as Fields, but)
}

type Fields = Readonly<Record<string, unknown>>

function equalArrays(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index += 1) if (!equalRows(a[index], b[index])) return false
  return true
}

/** `for … in` makes no list of the names; plain data inherits none. */
function equalFields(a: Fields, b: Fields, but: string | undefined): boolean {
  for (const name in a) if (name !== but && !equalRows(a[name], b[name])) return false
  for (const name in b) if (name !== but && b[name] !== undefined && !(name in a)) return false
  return true
}
