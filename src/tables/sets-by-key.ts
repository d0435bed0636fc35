// A set of values for each key. Nearly every one has a single member, which is kept as it is: of ten thousand sets that is megabytes.

export class SetsByKey<Key, Value extends string> {
  readonly #sets = new Map<Key, Value | Set<Value>>()

  add(key: Key, value: Value): void {
    const known = this.#sets.get(key)
    if (known === undefined) this.#sets.set(key, value)
    else if (known instanceof Set) known.add(value)
    else if (known !== value) this.#sets.set(key, new Set([known, value]))
  }

  /** What is not there may be deleted. */
  delete(key: Key, value: Value): void {
    const known = this.#sets.get(key)
    if (known === value) this.#sets.delete(key)
    if (!(known instanceof Set)) return
    known.delete(value)
    const [only] = known
    if (known.size === 1 && only !== undefined) this.#sets.set(key, only)
  }

  has(key: Key): boolean {
    return this.#sets.has(key)
  }

  get(key: Key): Iterable<Value> {
    const known = this.#sets.get(key)
    if (known === undefined) return []
    return known instanceof Set ? known : [known]
  }

  keys(): Iterable<Key> {
    return this.#sets.keys()
  }
}
