// Identities that an earlier agent gave, read back from the kernel. Until the new rows are there, packets are judged by the old ones, and
// both know addresses by number only. So whoever is still told apart from the same others keeps the number, and no number of before is
// given to anybody else.
//
// A number that nobody can keep (its pods are told apart now, or are gone) is stray: it stays on its addresses until the new sets are in
// force, which therefore need rows for it for so long.

import type { Prefix } from '../../model/address.ts'
import { type Identity, type IdentityTraits, reservedNumber, traitsKey } from './identities.ts'
import { FIRST_UNRESERVED } from './identity-numbers.ts'
import { type Place, PrefixIndex } from './prefix-index.ts'
import type { IdentityId, IdentityKey, IdentityRow } from './rows.ts'

export type EarlierIdentityRow = Pick<IdentityRow, 'kind' | 'text' | 'identity'>

export class EarlierIdentities {
  readonly #byText = new Map<string, EarlierIdentityRow>()
  readonly #prefixes = new PrefixIndex()
  /** Rows of the outside that are new, by the number that their addresses had. */
  readonly #carved = new Map<IdentityId, IdentityKey[]>()

  constructor(rows: Iterable<EarlierIdentityRow>) {
    for (const row of rows) {
      this.#byText.set(row.text, row)
      if (row.kind === 'prefix') this.#prefixes.add(row.text as Prefix)
    }
  }

  /**
   * The outside is told apart more finely: where a new row takes addresses from an earlier prefix, that prefix keeps no number.
   * @returns reserved numbers that are so lost
   */
  carve(rows: Iterable<IdentityKey & { readonly place: Place }>): readonly IdentityId[] {
    for (const { kind, text, place } of rows) {
      if (this.#byText.has(text)) continue
      const around = this.#prefixes.longest(place)
      const number = around === undefined ? undefined : this.#byText.get(around)?.identity
      if (number !== undefined)
        this.#carved.set(number, [...(this.#carved.get(number) ?? []), { kind, text }])
    }
    return [...this.#carved.keys()].filter((number) => number < FIRST_UNRESERVED)
  }

  numbers(): readonly IdentityId[] {
    return [...this.#byText.values()].map(({ identity }) => identity)
  }

  /** A prefix is an identity of its own. */
  ofPrefix(prefix: string): IdentityId | undefined {
    const number = this.#byText.get(prefix)?.identity
    return number === undefined || this.#carved.has(number) ? undefined : number
  }

  /**
   * Reserved numbers on addresses that are told apart now: who would have such a number now needs another.
   * @param traitsAt what an address is now; undefined: nobody of its own
   */
  outlived(traitsAt: (address: string) => IdentityTraits | undefined): readonly IdentityId[] {
    return [...this.#byText.values()].flatMap(({ kind, text, identity }) => {
      if (kind === 'prefix' || identity >= FIRST_UNRESERVED) return []
      const traits = traitsAt(text)
      return traits && reservedNumber(traits) !== identity ? [identity] : []
    })
  }

  /** Numbers to keep, by key of the identity. */
  kept(traitsAt: (address: string) => IdentityTraits | undefined): ReadonlyMap<string, IdentityId> {
    const keys = new Map<IdentityId, string | undefined>()
    for (const { kind, text, identity } of this.#byText.values()) {
      if (kind === 'prefix') continue
      const traits = traitsAt(text)
      const key = traits && traitsKey(traits)
      const isOther = keys.has(identity) && keys.get(identity) !== key
      keys.set(identity, isOther ? undefined : key)
    }
    const kept = new Map<string, IdentityId>()
    for (const [identity, key] of keys) if (key !== undefined && !kept.has(key)) kept.set(key, identity)
    return kept
  }

  /**
   * @param found what an address or prefix is now
   * @param used numbers of today
   */
  strays(
    found: (key: IdentityKey) => Identity | undefined,
    used: ReadonlySet<IdentityId>,
  ): ReadonlyMap<IdentityId, ReadonlySet<Identity | undefined>> {
    const strays = new Map<IdentityId, Set<Identity | undefined>>()
    const note = (identity: IdentityId, key: IdentityKey) => {
      if (used.has(identity)) return
      const known = strays.get(identity)
      if (known) known.add(found(key))
      else strays.set(identity, new Set([found(key)]))
    }
    for (const row of this.#byText.values()) note(row.identity, row)
    for (const [identity, keys] of this.#carved) for (const key of keys) note(identity, key)
    return strays
  }

  /** Rows without a successor. */
  gone(isThere: (key: IdentityKey) => boolean): readonly IdentityKey[] {
    return [...this.#byText.values()].filter((row) => !isThere(row)).map(({ kind, text }) => ({ kind, text }))
  }
}
