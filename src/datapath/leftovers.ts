// Rows that an earlier process left in a table, until somebody claims them or all others are known to be nobody's.

export class Leftovers<Key> {
  readonly #nameOf: (key: Key) => string | number
  readonly #keys = new Map<string | number, Key>()

  constructor(keys: Iterable<Key>, nameOf: (key: Key) => string | number) {
    this.#nameOf = nameOf
    for (const key of keys) this.#keys.set(nameOf(key), key)
  }

  claim(key: Key): void {
    if (this.#keys.size > 0) this.#keys.delete(this.#nameOf(key))
  }

  /** Those that nobody claimed; afterwards there are none. */
  take(): readonly Key[] {
    const keys = [...this.#keys.values()]
    this.#keys.clear()
    return keys
  }
}
