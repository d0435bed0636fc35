// Many writes of Services at once: while gathering, rows that only add or replace wait, and go to the kernel a table at a time, in the
// order in which a packet must never find less than a whole state: backends, their numbers, the rows that replies name, frontends
// last. A system call per row is most of what a first synchronisation costs.
//
// What takes something away (a delete, a cleared row, a backend that is gone) first writes all that waits, so its order to what was
// asked before it stays. What the kernel refuses goes on waiting, with all that comes after it, and is tried again by the next write:
// whoever asked for it counts it as written.

import type {
  BackendKey,
  BackendValue,
  BatchTables,
  FrontendAddressValue,
  FrontendKey,
  FrontendValue,
  KernelArray,
  KernelHash,
  RowBatch,
  ServiceTables,
} from './kernel-tables.ts'

/** So many rows are written without waiting for the end of the gathering. */
const WAITING_MAX = 8192

export class GatheredTables implements ServiceTables {
  readonly frontends: KernelHash<FrontendKey, FrontendValue>
  readonly frontendAddresses: KernelArray<FrontendAddressValue>
  readonly filter: ServiceTables['filter']
  readonly slots: ServiceTables['slots']
  readonly backends: KernelArray<BackendValue>
  readonly backendIds: KernelHash<BackendKey, number>
  readonly sourceRanges: ServiceTables['sourceRanges']
  readonly serviceCidrs: ServiceTables['serviceCidrs']
  /** In the order they are written. */
  readonly #waiting: readonly [
    RowBatch<number, BackendValue>,
    RowBatch<BackendKey, number>,
    RowBatch<number, FrontendAddressValue>,
    RowBatch<FrontendKey, FrontendValue>,
  ]
  #isGathering = false
  #count = 0

  constructor(tables: BatchTables) {
    const waiting = [
      tables.backends.batch(),
      tables.backendIds.batch(),
      tables.frontendAddresses.batch(),
      tables.frontends.batch(),
    ] as const
    this.#waiting = waiting
    this.backends = this.#array(tables.backends, waiting[0], ({ state }) => state === 'gone')
    this.backendIds = this.#hash(tables.backendIds, waiting[1])
    this.frontendAddresses = this.#array(tables.frontendAddresses, waiting[2], () => false)
    this.frontends = this.#hash(tables.frontends, waiting[3])
    this.filter = tables.filter
    this.slots = tables.slots
    this.sourceRanges = tables.sourceRanges
    this.serviceCidrs = tables.serviceCidrs
  }

  /** Rows wait from here on, until `finish`. */
  gather(): void {
    this.#isGathering = true
  }

  get isWaiting(): boolean {
    return this.#count > 0
  }

  /** Writes what waits. */
  flush(): void {
    if (this.#count === 0) return
    for (const waiting of this.#waiting) waiting.write()
    this.#count = 0
  }

  finish(): void {
    this.#isGathering = false
    this.flush()
  }

  /** @returns whether the row waits now; otherwise it is the caller's to write */
  #keep<Key, Value>(waiting: RowBatch<Key, Value>, key: Key, value: Value): boolean {
    if (!this.#isGathering) {
      this.flush()
      return false
    }
    if (this.#count >= WAITING_MAX) this.flush()
    waiting.add(key, value)
    this.#count += 1
    return true
  }

  #hash<Key, Value>(table: KernelHash<Key, Value>, waiting: RowBatch<Key, Value>): KernelHash<Key, Value> {
    return {
      entries: () => table.entries(),
      set: (key, value) => {
        if (!this.#keep(waiting, key, value)) table.set(key, value)
      },
      delete: (key) => {
        this.flush()
        table.delete(key)
      },
    }
  }

  #array<Value>(
    table: KernelArray<Value>,
    waiting: RowBatch<number, Value>,
    takesAway: (value: Value) => boolean,
  ): KernelArray<Value> {
    return {
      length: table.length,
      entries: () => table.entries(),
      set: (index, value) => {
        if (value !== undefined && !takesAway(value)) {
          if (!this.#keep(waiting, index, value)) table.set(index, value)
          return
        }
        this.flush()
        table.set(index, value)
      },
    }
  }
}
