// Rows on their way to one map, packed as the kernel reads them from the moment they are added: a hundred thousand rows that wait as
// objects are what the garbage collector copies.

import type { BpfMap } from '../sys/libbpf-ts/map.ts'
import type { RowBatch } from './kernel-tables.ts'
import type { Codec } from './map-codecs.ts'

/** Entries per system call: bounds the memory a flood takes in the kernel. */
const CALL_ENTRIES = 4096
const FIRST_ENTRIES = 64

export class PackedRows<Key, Value> implements RowBatch<Key, Value> {
  readonly #map: BpfMap
  readonly #key: Codec<Key>
  readonly #value: Codec<Value>
  #keys: Buffer = Buffer.alloc(0)
  #values: Buffer = Buffer.alloc(0)
  /** Rows that there is room for. */
  #capacity = 0
  #count = 0

  constructor(map: BpfMap, key: Codec<Key>, value: Codec<Value>) {
    this.#map = map
    this.#key = key
    this.#value = value
  }

  add(key: Key, value: Value): void {
    if (this.#count === this.#capacity) this.#grow()
    const { keySize, valueSize } = this.#map.info
    this.#key.encode(key, this.#keys, this.#count * keySize)
    this.#value.encode(value, this.#values, this.#count * valueSize)
    this.#count += 1
  }

  write(): void {
    const { keySize, valueSize } = this.#map.info
    for (let first = 0; first < this.#count; first += CALL_ENTRIES) {
      const end = Math.min(first + CALL_ENTRIES, this.#count)
      const keys = this.#keys.subarray(first * keySize, end * keySize)
      const values = this.#values.subarray(first * valueSize, end * valueSize)
      this.#map.updateBatch(keys, values, end - first)
    }
    this.#count = 0
  }

  #grow(): void {
    this.#capacity = Math.max(FIRST_ENTRIES, this.#capacity * 2)
    const { keySize, valueSize } = this.#map.info
    this.#keys = enlarged(this.#keys, this.#capacity * keySize)
    this.#values = enlarged(this.#values, this.#capacity * valueSize)
  }
}

/** Keys at a time, as many as of rows that are written. */
export function deletePacked<Key>(map: BpfMap, codec: Codec<Key>, keys: readonly Key[]): void {
  const { keySize } = map.info
  const packed = Buffer.alloc(Math.min(keys.length, CALL_ENTRIES) * keySize)
  for (let first = 0; first < keys.length; first += CALL_ENTRIES) {
    const piece = keys.slice(first, first + CALL_ENTRIES)
    for (const [place, key] of piece.entries()) codec.encode(key, packed, place * keySize)
    map.deleteBatch(packed.subarray(0, piece.length * keySize), piece.length)
  }
}

function enlarged(bytes: Buffer, length: number): Buffer {
  const larger = Buffer.alloc(length)
  bytes.copy(larger)
  return larger
}
