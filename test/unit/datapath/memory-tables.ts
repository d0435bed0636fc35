// The kernel's tables as plain Maps, to see what the writers write, and in which order.

import { AbiConstant } from '../../../src/datapath/abi.gen.ts'
import type {
  BackendKey,
  BackendValue,
  EndpointValue,
  FrontendAddressValue,
  FrontendKey,
  FrontendValue,
  KernelArray,
  KernelHash,
  NexthopValue,
  NodeValue,
  RowBatch,
} from '../../../src/datapath/kernel-tables.ts'
import type { SourceRangeKey } from '../../../src/datapath/source-ranges.ts'
import type { Address, Prefix } from '../../../src/model/address.ts'
import { BpfError } from '../../../src/sys/libbpf-ts/index.ts'

export class MemoryHash<Key, Value> implements KernelHash<Key, Value> {
  readonly rows = new Map<string, readonly [Key, Value]>()
  readonly #name: string
  readonly #journal: string[]
  /** As the kernel's max_entries. */
  capacity = Number.POSITIVE_INFINITY

  constructor(name: string, journal: string[]) {
    this.#name = name
    this.#journal = journal
  }

  entries() {
    return this.rows.values()
  }

  get(key: Key): Value | undefined {
    return this.rows.get(JSON.stringify(key))?.[1]
  }

  set(key: Key, value: Value): void {
    if (this.rows.size >= this.capacity && !this.rows.has(JSON.stringify(key))) throw fullError(this.#name)
    this.#journal.push(`${this.#name} set`)
    this.rows.set(JSON.stringify(key), [key, value])
  }

  setMany(entries: readonly (readonly [Key, Value])[]): void {
    for (const [key, value] of entries) this.set(key, value)
  }

  batch(): RowBatch<Key, Value> {
    return batchOf(this)
  }

  delete(key: Key): void {
    this.#journal.push(`${this.#name} delete`)
    this.rows.delete(JSON.stringify(key))
  }

  deleteMany(keys: readonly Key[]): void {
    for (const key of keys) this.delete(key)
  }
}

function fullError(object: string): BpfError {
  return new BpfError({ action: 'updating', object, code: 'full', reason: 'E2BIG' })
}

export class MemoryArray<Value> implements KernelArray<Value> {
  readonly rows = new Map<number, Value>()
  readonly length: number
  readonly #name: string
  readonly #journal: string[]

  constructor(name: string, journal: string[], length: number) {
    this.#name = name
    this.#journal = journal
    this.length = length
  }

  entries() {
    return this.rows.entries()
  }

  set(index: number, value: Value | undefined): void {
    this.#journal.push(`${this.#name} ${value === undefined ? 'clear' : 'set'}`)
    if (value === undefined) this.rows.delete(index)
    else this.rows.set(index, value)
  }

  setMany(entries: readonly (readonly [number, Value])[]): void {
    for (const [index, value] of entries) this.set(index, value)
  }

  batch(): RowBatch<number, Value> {
    return batchOf(this)
  }
}

function batchOf<Key, Value>(table: {
  setMany(entries: readonly (readonly [Key, Value])[]): void
}): RowBatch<Key, Value> {
  let entries: (readonly [Key, Value])[] = []
  return {
    add: (key, value) => entries.push([key, value]),
    write: () => {
      table.setMany(entries)
      entries = []
    },
  }
}

/** Hash keys are normalised to what the kernel keeps of them. */
const frontendKeyOnly = ({ address, port, protocol }: FrontendKey): FrontendKey => ({
  address,
  port,
  protocol,
})
const backendKeyOnly = ({ address, port, protocol }: BackendKey): BackendKey => ({ address, port, protocol })

class FrontendHash extends MemoryHash<FrontendKey, FrontendValue> {
  override get(key: FrontendKey) {
    return super.get(frontendKeyOnly(key))
  }
  override set(key: FrontendKey, value: FrontendValue) {
    super.set(frontendKeyOnly(key), value)
  }
  override delete(key: FrontendKey) {
    super.delete(frontendKeyOnly(key))
  }
}

class BackendHash extends MemoryHash<BackendKey, number> {
  override get(key: BackendKey) {
    return super.get(backendKeyOnly(key))
  }
  override set(key: BackendKey, value: number) {
    super.set(backendKeyOnly(key), value)
  }
  override delete(key: BackendKey) {
    super.delete(backendKeyOnly(key))
  }
}

export function memoryTables(slots = 1 << 16, rows = 1 << 12, frontends = rows) {
  const journal: string[] = []
  return {
    journal,
    frontends: new FrontendHash('frontends', journal),
    frontendAddresses: new MemoryArray<FrontendAddressValue>('frontend_addresses', journal, frontends),
    filter: new Uint32Array(AbiConstant.FILTER_ALL_BITS / 32),
    slots: new Uint32Array(slots),
    backends: new MemoryArray<BackendValue>('backends', journal, rows),
    backendIds: new BackendHash('backend_ids', journal),
    sourceRanges: new MemoryHash<SourceRangeKey, number>('source_ranges', journal),
    serviceCidrs: new MemoryHash<Prefix, number>('service_cidrs', journal),
    nexthops: new MemoryArray<NexthopValue>('nexthops', journal, rows),
    nodes: new MemoryHash<Address, NodeValue>('nodes', journal),
    endpoints: new MemoryHash<Address, EndpointValue>('endpoints', journal),
  }
}

export type MemoryTables = ReturnType<typeof memoryTables>
