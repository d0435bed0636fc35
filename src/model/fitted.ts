// Arrays that are kept by the ten thousand.

/** The same without spare room: an array that grew by pushing, filtering or flattening has at least 17 places. */
export function fitted<Item>(items: readonly Item[]): Item[] {
  return items.slice()
}
