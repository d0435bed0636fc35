// Several items by one key, and by prefixes: then also those whose prefix lies around a place, or in it.

import type { Prefix } from '../../model/address.ts'
import { type Place, PrefixIndex } from './prefix-index.ts'

/** Sets by key; empty ones go. */
export class Grouped<Key, Item> {
  readonly #groups = new Map<Key, Set<Item>>()

  add(key: Key, item: Item): void {
    const group = this.#groups.get(key)
    if (group) group.add(item)
    else this.#groups.set(key, new Set([item]))
  }

  delete(key: Key, item: Item): void {
    const group = this.#groups.get(key)
    if (group?.delete(item) && group.size === 0) this.#groups.delete(key)
  }

  get(key: Key): ReadonlySet<Item> {
    return this.#groups.get(key) ?? new Set()
  }

  count(key: Key): number {
    return this.#groups.get(key)?.size ?? 0
  }

  keys(): IterableIterator<Key> {
    return this.#groups.keys()
  }
}

/** Sets by prefix. */
export class ByPrefix<Item> {
  readonly #items = new Grouped<Prefix, Item>()
  readonly #prefixes = new PrefixIndex()

  add(prefix: Prefix, item: Item): void {
    if (this.#items.count(prefix) === 0) this.#prefixes.add(prefix)
    this.#items.add(prefix, item)
  }

  delete(prefix: Prefix, item: Item): void {
    this.#items.delete(prefix, item)
    if (this.#items.count(prefix) === 0) this.#prefixes.delete(prefix)
  }

  /** Those whose prefix a place is in. */
  *around(place: Place): Iterable<Item> {
    for (const prefix of this.#prefixes.around(place)) yield* this.#items.get(prefix)
  }

  /** Those whose prefix lies in a place. */
  *within(place: Place): Iterable<Item> {
    for (const prefix of this.#prefixes.within(place)) yield* this.#items.get(prefix)
  }
}
