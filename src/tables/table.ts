// A typed in-memory table: rows by key, secondary indexes, and for every reader the set of keys that changed since it last
// looked. Readers learn keys, not old rows: they read the row as it is now, so ten changes to one row are one piece of work.

export interface TableOptions<Row> {
  readonly name: string
  /** Each index maps a row to the values it is found under. */
  readonly indexes?: Readonly<Record<string, (row: Row) => readonly string[]>>
  /** Rows that are equal in all that matters are not a change. */
  readonly equals?: (a: Row, b: Row) => boolean
}

export interface ChangeReader {
  /** Keys that changed since the last call, each once. */
  take(): ReadonlySet<string>
  /** How many `take` would give. */
  readonly pending: number
  /** Called at most once between two `take`s, when there is something to take. */
  onChange(listener: () => void): void
  close(): void
}

export class Table<Row> {
  readonly name: string
  readonly #rows = new Map<string, Row>()
  readonly #indexers: readonly (readonly [string, (row: Row) => readonly string[]])[]
  readonly #indexes = new Map<string, Map<string, Set<string>>>()
  readonly #equals: (a: Row, b: Row) => boolean
  readonly #readers = new Set<Reader>()
  #revision = 0

  constructor(options: TableOptions<Row>) {
    this.name = options.name
    this.#equals = options.equals ?? (() => false)
    this.#indexers = Object.entries(options.indexes ?? {})
    for (const [index] of this.#indexers) this.#indexes.set(index, new Map())
  }

  /** Grows by one with every change. */
  get revision(): number {
    return this.#revision
  }

  get size(): number {
    return this.#rows.size
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key)
  }

  entries(): IterableIterator<[string, Row]> {
    return this.#rows.entries()
  }

  values(): IterableIterator<Row> {
    return this.#rows.values()
  }

  /** Rows found under `value` in a secondary index. Throws on an index the table was not made with. */
  find(index: string, value: string): Row[] {
    const keys = this.#indexes.get(index)
    if (!keys) throw new TypeError(`table ${this.name} has no index '${index}'`)
    return [...(keys.get(value) ?? [])].map((key) => this.#rows.get(key) as Row)
  }

  /** @returns whether anything changed */
  set(key: string, row: Row): boolean {
    const previous = this.#rows.get(key)
    if (previous !== undefined) {
      if (this.#equals(previous, row)) return false
    }
    this.#rows.set(key, row)
    for (const [index, values] of this.#indexers) {
      const keys = this.#indexes.get(index) as Map<string, Set<string>>
      const now = values(row)
      const before = previous === undefined ? NOWHERE : values(previous)
      // Nearly always a row changes in what it is not found by.
      if (isSame(before, now)) continue
      for (const value of before) removeFrom(keys, value, key)
      for (const value of now) {
        const found = keys.get(value)
        if (found) found.add(key)
        else keys.set(value, new Set([key]))
      }
    }
    this.#changed(key)
    return true
  }

  /** @returns whether there was such a row */
  delete(key: string): boolean {
    const previous = this.#rows.get(key)
    if (previous === undefined) return false
    this.#unindex(key, previous)
    this.#rows.delete(key)
    this.#changed(key)
    return true
  }

  /** A reader that starts with every present key as changed. */
  reader(): ChangeReader {
    const reader = new Reader(this.#rows.keys(), (closed) => this.#readers.delete(closed))
    this.#readers.add(reader)
    return reader
  }

  #unindex(key: string, row: Row): void {
    for (const [index, values] of this.#indexers) {
      const keys = this.#indexes.get(index) as Map<string, Set<string>>
      for (const value of values(row)) removeFrom(keys, value, key)
    }
  }

  #changed(key: string): void {
    this.#revision += 1
    for (const reader of this.#readers) reader.mark(key)
  }
}

const NOWHERE: readonly string[] = []

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, place) => value === b[place])
}

function removeFrom(keys: Map<string, Set<string>>, value: string, key: string): void {
  const found = keys.get(value)
  found?.delete(key)
  if (found?.size === 0) keys.delete(value)
}

class Reader implements ChangeReader {
  #changed: Set<string>
  #listener: (() => void) | undefined
  readonly #onClose: (reader: Reader) => void

  constructor(present: Iterable<string>, onClose: (reader: Reader) => void) {
    this.#changed = new Set(present)
    this.#onClose = onClose
  }

  get pending(): number {
    return this.#changed.size
  }

  take(): ReadonlySet<string> {
    const taken = this.#changed
    this.#changed = new Set()
    return taken
  }

  onChange(listener: () => void): void {
    this.#listener = listener
    if (this.#changed.size > 0) listener()
  }

  mark(key: string): void {
    const wasEmpty = this.#changed.size === 0
    this.#changed.add(key)
    if (wasEmpty) this.#listener?.()
  }

  close(): void {
    this.#onClose(this)
  }
}
