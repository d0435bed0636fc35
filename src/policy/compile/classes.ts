// Classes by content: the same verdicts are one class, whoever they are for. Counted by the rows that refer to them; a number that is
// free again rests.

import type { ClassContent } from './flatten.ts'
import type { NumberPool } from './number-pool.ts'
import type { ClassId, ClassRow } from './rows.ts'

export interface PolicyClass extends ClassRow {
  /** Rows and defaults that refer to it. */
  uses: number
  readonly key: string
}

/** Content and its key, made once for all the peers that share it. */
export interface KeyedContent {
  readonly key: string
  readonly content: ClassContent
}

export function keyedContent(content: ClassContent): KeyedContent {
  const shown = content.uniform ? [[content.uniform]] : content.protocols
  const key = shown
    .map((intervals) =>
      intervals
        .map(
          ({ first, isAllowed, rule, wouldBeRule, keepsExisting }) =>
            `${first}${isAllowed ? '+' : keepsExisting ? '~' : '-'}${rule},${wouldBeRule}`,
        )
        .join(' '),
    )
    .join('|')
  return { key, content }
}

export class Classes {
  readonly #byKey = new Map<string, PolicyClass>()
  readonly #numbers: NumberPool
  readonly #closed: PolicyClass
  /** Not handed to the datapath yet. */
  #fresh: PolicyClass[] = []
  readonly #unused = new Map<string, PolicyClass>()

  /** @param closed what number 0 says: takes the place of what finds no number any more */
  constructor(numbers: NumberPool, closed: ClassContent) {
    this.#numbers = numbers
    this.#closed = { class: 0, uses: 0, key: '', ...closed }
  }

  /** One more use of a class. */
  take({ key, content }: KeyedContent, now: number): PolicyClass {
    const known = this.#byKey.get(key)
    if (known) {
      known.uses += 1
      if (known.uses === 1) this.#unused.delete(key)
      return known
    }
    const number = this.#numbers.take(now)
    if (number === undefined) return this.#closed
    const made = { class: number, uses: 1, key, ...content }
    this.#byKey.set(key, made)
    this.#fresh.push(made)
    return made
  }

  give(unit: PolicyClass): void {
    if (unit === this.#closed) return
    unit.uses -= 1
    if (unit.uses === 0) this.#unused.set(unit.key, unit)
  }

  /** New ones since the last call: to be written before any row that refers to them. */
  takeFresh(): readonly ClassRow[] {
    const fresh = this.#fresh
    this.#fresh = []
    return fresh.map(({ class: number, protocols, uniform }) => ({ class: number, protocols, uniform }))
  }

  /** Those that no row refers to any more: to be removed after the last row that did. */
  takeUnused(now: number): readonly ClassId[] {
    const gone = [...this.#unused].map(([key, unit]) => {
      this.#byKey.delete(key)
      this.#numbers.give(unit.class, now)
      return unit.class
    })
    this.#unused.clear()
    return gone
  }

  get size(): number {
    return this.#byKey.size
  }
}
