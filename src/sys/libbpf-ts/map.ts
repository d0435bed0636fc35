// A map in the kernel, held by its own descriptor: look up, write, walk, in single steps and in batches.
//
// Keys and values are Buffers made by generated codecs. Their length is asserted before every call, because C trusts it.
// What one expects to happen (no such key, already there) is a result; everything else throws.

import { constants } from 'node:os'
import { mapMemory, PAGE_BYTES } from '../libc/memory.ts'
import { BpfError, check, checkBytes } from './errors.ts'
import { type MapInfo, readMapInfo, readMapMemoryBytes } from './info.ts'
import { MAP_TYPES, type MapType, PER_CPU_MAP_TYPES } from './kernel-names.ts'
import * as native from './native.ts'

const { ENOENT, EEXIST } = constants.errno
const UPDATE_MODES = { any: 0, noexist: 1, exist: 2 } as const
export type UpdateMode = keyof typeof UPDATE_MODES

export const F_NO_PREALLOC = 1
export const F_MMAPABLE = 1 << 10
/** Entries fetched per system call of a walk. */
const WALK_BATCH_ENTRIES = 4096
const BATCH_OPTIONS_BYTES = 24

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step

export const POSSIBLE_CPUS = check(native.possibleCpuCount(), 'counting', 'possible CPUs')

export interface MapEntry {
  readonly key: Buffer
  readonly value: Buffer
}

function batchOptions(): Buffer {
  const options = Buffer.alloc(BATCH_OPTIONS_BYTES)
  options.writeBigUInt64LE(BigInt(BATCH_OPTIONS_BYTES), 0)
  return options
}

export class BpfMap {
  readonly fd: number
  readonly info: MapInfo
  /** Bytes of a value as system calls carry it: per-CPU maps have one 8-byte-rounded value per possible CPU. */
  readonly valueBytes: number
  /** Whether load() found it pinned and took it over instead of creating it. */
  readonly adopted: boolean
  /** Distance of two values in the mapped memory of an mmapable array, and per CPU: rounded to 8 by the kernel. */
  readonly strideBytes: number
  readonly isPerCpu: boolean
  #closed = false
  #view: ArrayBuffer | undefined

  /** Takes over the descriptor. */
  constructor(fd: number, adopted = false) {
    this.fd = fd
    this.adopted = adopted
    this.info = readMapInfo(fd)
    this.isPerCpu = PER_CPU_MAP_TYPES.has(this.info.type)
    this.strideBytes = roundUp(this.info.valueSize, 8)
    this.valueBytes = this.isPerCpu ? this.strideBytes * POSSIBLE_CPUS : this.info.valueSize
  }

  static openPinned(path: string): BpfMap {
    return new BpfMap(check(native.objectGet(path), 'opening the pinned map', path))
  }

  /** Like openPinned, but undefined when nothing is pinned there. */
  static openPinnedIfAny(path: string): BpfMap | undefined {
    const fd = native.objectGet(path)
    return fd === -ENOENT ? undefined : new BpfMap(check(fd, 'opening the pinned map', path))
  }

  static fromId(id: number): BpfMap {
    return new BpfMap(check(native.mapFdById(id), 'opening', `map ${id}`))
  }

  get name(): string {
    return this.info.name
  }

  /** What it takes in the kernel at this moment. */
  get memoryBytes(): number {
    this.#checkOpen()
    return readMapMemoryBytes(this.fd)
  }

  /** The value, or undefined when there is no such key. */
  lookup(key: Uint8Array): Buffer | undefined {
    const value = Buffer.allocUnsafe(this.valueBytes)
    return this.lookupInto(key, value) ? value : undefined
  }

  /** Like lookup, into a Buffer of the caller's. */
  lookupInto(key: Uint8Array, value: Uint8Array): boolean {
    this.#checkKey(key)
    this.#checkValue(value)
    const result = native.mapLookup(this.fd, key, value)
    if (result === 0) return true
    if (result === -ENOENT) return false
    throw this.#error('looking up in', result)
  }

  /** False only when the mode forbids it: `noexist` found the key, or `exist` did not. */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): boolean {
    this.#checkKey(key)
    this.#checkValue(value)
    const result = native.mapUpdate(this.fd, key, value, UPDATE_MODES[mode])
    if (result === 0) return true
    if (mode === 'noexist' && result === -EEXIST) return false
    if (mode === 'exist' && result === -ENOENT) return false
    throw this.#error('updating', result)
  }

  /** False when there was no such key. */
  delete(key: Uint8Array): boolean {
    this.#checkKey(key)
    const result = native.mapDelete(this.fd, key)
    if (result === 0) return true
    if (result === -ENOENT) return false
    throw this.#error('deleting from', result)
  }

  /** The key after this one; the first for undefined; undefined at the end. An unknown key counts as undefined. */
  nextKey(key?: Uint8Array): Buffer | undefined {
    if (key) this.#checkKey(key)
    else this.#checkOpen()
    const next = Buffer.allocUnsafe(this.info.keySize)
    const result = native.mapNextKey(this.fd, key ?? null, next)
    if (result === 0) return next
    if (result === -ENOENT) return undefined
    throw this.#error('walking', result)
  }

  /** Writes `count` entries from packed keys and values. Overwrites. Returns how many the kernel took when it throws none. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    this.#checkBatch(keys, values, count)
    if (count === 0) return
    const done = native.u32Buffer(count)
    const result = native.mapUpdateBatch(this.fd, keys, values, done, batchOptions())
    if (result !== 0)
      throw this.#error(`updating ${count} entries (stopped after ${done.readUInt32LE()}) of`, result)
  }

  /** Deletes `count` packed keys; those that are not there are passed over. Returns how many were there. */
  deleteBatch(keys: Uint8Array, count: number): number {
    const { keySize } = this.info
    this.#checkOpen()
    checkBytes(keys, count * keySize, 'batch of keys', this.#label())
    let deleted = 0
    for (let at = 0; at < count; ) {
      const done = native.u32Buffer(count - at)
      const result = native.mapDeleteBatch(this.fd, keys.subarray(at * keySize), done, batchOptions())
      if (result !== 0 && result !== -ENOENT) throw this.#error('deleting a batch from', result)
      deleted += done.readUInt32LE()
      // A missing key ends the kernel's batch: go on behind it.
      at += done.readUInt32LE() + (result === 0 ? 0 : 1)
    }
    return deleted
  }

  /** All entries, in packed pieces. Entries changed meanwhile may be seen in either state, or not at all if new. */
  *batches(batchEntries = WALK_BATCH_ENTRIES): Generator<{ keys: Buffer; values: Buffer; count: number }> {
    const { keySize } = this.info
    let size = Math.min(batchEntries, this.info.maxEntries)
    // The position is a bucket number for hashes, a key for arrays: room for either.
    let from: Buffer | null = null
    for (;;) {
      this.#checkOpen()
      const next = Buffer.alloc(Math.max(keySize, 8))
      const keys = Buffer.allocUnsafe(size * keySize)
      const values = Buffer.allocUnsafe(size * this.valueBytes)
      const found = native.u32Buffer(size)
      const result = native.mapLookupBatch(this.fd, from, next, keys, values, found, batchOptions())
      if (result === -constants.errno.ENOSPC && size < this.info.maxEntries) {
        // A hash bucket holds more than fits: the kernel wants room for a whole one.
        size = Math.min(size * 2, this.info.maxEntries)
        continue
      }
      if (result !== 0 && result !== -ENOENT) throw this.#error('reading a batch of', result)
      const count = found.readUInt32LE()
      if (count > 0) {
        yield {
          keys: keys.subarray(0, count * keySize),
          values: values.subarray(0, count * this.valueBytes),
          count,
        }
      }
      if (result === -ENOENT) return
      from = next
    }
  }

  /** All entries, one by one. Uses batches where the map type has them (hashes, arrays, LPM tries). */
  *entries(): Generator<MapEntry> {
    try {
      for (const { keys, values, count } of this.batches()) {
        for (let index = 0; index < count; index += 1) {
          yield {
            key: keys.subarray(index * this.info.keySize, (index + 1) * this.info.keySize),
            value: values.subarray(index * this.valueBytes, (index + 1) * this.valueBytes),
          }
        }
      }
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== 'unsupported') throw error
      yield* this.#entriesByKey()
    }
  }

  *#entriesByKey(): Generator<MapEntry> {
    for (let key = this.nextKey(); key; key = this.nextKey(key)) {
      const value = this.lookup(key)
      if (value) yield { key, value }
    }
  }

  /** Cuts a per-CPU value into the values of each possible CPU. */
  splitPerCpu(value: Buffer): Buffer[] {
    checkBytes(value, this.valueBytes, 'per-CPU value', this.#label())
    const { valueSize } = this.info
    return Array.from({ length: this.isPerCpu ? POSSIBLE_CPUS : 1 }, (_, cpu) =>
      value.subarray(cpu * this.strideBytes, cpu * this.strideBytes + valueSize),
    )
  }

  /**
   * The memory of an array made with BPF_F_MMAPABLE: value i at i * strideBytes, shared with the programs. Mapped once per BpfMap,
   * and unmapped when nothing refers to it any more. Stores of up to 8 aligned bytes are seen whole by programs.
   */
  mmap(): ArrayBuffer {
    this.#checkOpen()
    if ((this.info.flags & F_MMAPABLE) === 0) {
      throw new BpfError({
        action: 'mapping',
        object: this.#label(),
        code: 'unsupported',
        reason: 'it was made without BPF_F_MMAPABLE',
        mend: 'give the map that flag in C',
      })
    }
    const lengthBytes = roundUp(this.strideBytes * this.info.maxEntries, PAGE_BYTES)
    this.#view ??= mapMemory({ fd: this.fd, lengthBytes, writable: true })
    return this.#view
  }

  pin(path: string): void {
    this.#checkOpen()
    check(native.objectPin(this.fd, path), `pinning ${this.#label()} at`, path)
  }

  /** Gives the descriptor up; a pinned or otherwise used map lives on. Closing twice is fine. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    native.closeDescriptor(this.fd)
  }

  #label(): string {
    return `map ${this.info.name} (id ${this.info.id})`
  }

  #error(action: string, result: number): BpfError {
    return new BpfError({ action, object: this.#label(), errno: -result })
  }

  #checkOpen(): void {
    if (!this.#closed) return
    throw new BpfError({ action: 'using', object: this.#label(), code: 'closed', reason: 'it is closed' })
  }

  #checkKey(key: Uint8Array): void {
    this.#checkOpen()
    checkBytes(key, this.info.keySize, 'key', this.#label())
  }

  #checkValue(value: Uint8Array): void {
    checkBytes(value, this.valueBytes, 'value', this.#label())
  }

  #checkBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    this.#checkOpen()
    checkBytes(keys, count * this.info.keySize, 'batch of keys', this.#label())
    checkBytes(values, count * this.valueBytes, 'batch of values', this.#label())
  }
}

export interface MapDefinition {
  readonly name: string
  readonly type: MapType
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly flags?: number
}

/** A map without an object, and without BTF: for probes and tests. */
export function createMap(definition: MapDefinition): BpfMap {
  const { name, type, keySize, valueSize, maxEntries, flags = 0 } = definition
  const options = Buffer.alloc(64)
  options.writeBigUInt64LE(64n, 0)
  options.writeUInt32LE(flags, 28)
  const fd = native.mapCreate(MAP_TYPES.indexOf(type), name, keySize, valueSize, maxEntries, options)
  return new BpfMap(check(fd, 'creating', `map ${name}`))
}
