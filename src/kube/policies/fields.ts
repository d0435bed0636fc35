// Reading a policy object strictly: a field that nobody here asked for is a fault, for what a policy says and we do not follow may be what
// keeps somebody out. Absent and null are the same, as in the API's own decoding.

import { isRecord } from '../../model/is-record.ts'
import { nearMatches } from '../../model/near-matches.ts'
import type { PolicyFault } from '../../model/policy.ts'
import { SHOWN_VALUE_MAX } from '../parts.ts'

/** One value of a list, with where it is written. */
export interface Item {
  readonly value: unknown
  readonly path: string
}

export class Fields {
  readonly path: string
  readonly faults: PolicyFault[]
  readonly #value: Readonly<Record<string, unknown>>
  readonly #asked = new Set<string>()

  /** @param path of the object: `spec.ingress[2]` */
  constructor(value: Readonly<Record<string, unknown>>, path: string, faults: PolicyFault[]) {
    this.#value = value
    this.path = path
    this.faults = faults
  }

  /** Undefined, and a fault, when the value is no object. */
  static read({ value, path }: Item, faults: PolicyFault[]): Fields | undefined {
    if (isRecord(value)) return new Fields(value, path, faults)
    addFault(faults, path, value, 'is not an object', 'write fields below it')
    return undefined
  }

  pathOf(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }

  has(name: string): boolean {
    this.#asked.add(name)
    return this.#value[name] !== undefined && this.#value[name] !== null
  }

  item(name: string): Item | undefined {
    return this.has(name) ? { value: this.#value[name], path: this.pathOf(name) } : undefined
  }

  object(name: string): Fields | undefined {
    const item = this.item(name)
    return item && Fields.read(item, this.faults)
  }

  list(name: string): readonly Item[] | undefined {
    const item = this.item(name)
    if (item === undefined) return undefined
    if (Array.isArray(item.value))
      return item.value.map((value: unknown, index) => ({ value, path: `${item.path}[${index}]` }))
    addFault(this.faults, item.path, item.value, 'is not a list', "write its items with '-' before each")
    return []
  }

  /** The objects of a list; what is none is a fault. */
  objects(name: string): readonly Fields[] | undefined {
    return this.list(name)?.flatMap((item) => Fields.read(item, this.faults) ?? [])
  }

  text(name: string): string | undefined {
    return this.#typed(name, 'string', 'is not text', 'quote it')
  }

  number(name: string): number | undefined {
    return this.#typed(name, 'number', 'is not a number', 'write it without quotes')
  }

  boolean(name: string): boolean | undefined {
    return this.#typed(name, 'boolean', 'is neither true nor false', 'write one of them')
  }

  /** One of a few words; anything else is a fault. */
  choice<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const found = words.find((word) => word === text)
    if (found === undefined)
      this.refuse(name, 'is not known', `write ${words.join(' or ')}${hintFor(text, words)}`)
    return found
  }

  /** A fault about a field, whatever it holds. */
  refuse(name: string, text: string, mend: string): void {
    addFault(this.faults, this.pathOf(name), this.#value[name], text, mend)
  }

  /** Fields that mean something which is not done here. */
  unsupported(names: readonly string[], mend: string): void {
    for (const name of names)
      if (this.has(name)) this.faults.push({ path: this.pathOf(name), text: 'is not supported', mend })
  }

  /** Every name there is; all count as asked for. */
  keys(): readonly string[] {
    const names = Object.keys(this.#value)
    this.ignore(...names)
    return names
  }

  /** What has no meaning for us: descriptions, labels. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#asked.add(name)
  }

  /** The names out of `names` of which one that nobody asked for is probably a slip. After the last field is asked for. */
  slipsOf<Name extends string>(names: readonly Name[]): readonly Name[] {
    const known = new Set<string>([...this.#asked, ...names])
    const meant = Object.keys(this.#value)
      .filter((name) => !known.has(name) && this.#value[name] !== null)
      .map((name) => nearMatches(name, [...known], 1)[0])
    return names.filter((name) => meant.includes(name))
  }

  /** After the last field: what was not asked for is a fault. */
  end(): void {
    for (const name of Object.keys(this.#value)) {
      if (this.#asked.has(name) || this.#value[name] === null) continue
      const hint = hintFor(name, [...this.#asked])
      this.faults.push({
        path: this.pathOf(name),
        text: 'is a field that is not known here',
        mend: `remove it${hint}, or run a version of Weir that knows it`,
      })
    }
  }

  #typed(name: string, type: 'string', text: string, mend: string): string | undefined
  #typed(name: string, type: 'number', text: string, mend: string): number | undefined
  #typed(name: string, type: 'boolean', text: string, mend: string): boolean | undefined
  #typed(name: string, type: string, text: string, mend: string): unknown {
    if (!this.has(name)) return undefined
    const value = this.#value[name]
    if (typeof value === type) return value
    this.refuse(name, text, mend)
    return undefined
  }
}

export function addFault(
  faults: PolicyFault[],
  path: string,
  value: unknown,
  text: string,
  mend: string,
): void {
  const json = JSON.stringify(value) ?? ''
  const shown = json.length > SHOWN_VALUE_MAX ? `${json.slice(0, SHOWN_VALUE_MAX)}…` : json
  faults.push({ path, text: `${shown} ${text}`.trim(), mend })
}

function hintFor(word: string, known: readonly string[]): string {
  const [near] = nearMatches(word, known, 1)
  return near === undefined ? '' : ` (did you mean '${near}'?)`
}
