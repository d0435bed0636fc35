// Reading a BPF ring buffer straight from its memory: no call into C and no callback per record.
//
// The kernel maps one page with the consumer's position, one with the producer's, and the data twice in a row, so that a record that
// wraps still lies in one piece. A record is a 4-byte header (length, busy bit, discard bit), 4 bytes of its own, and data
// rounded up to 8. This side stores the consumer position only after the handler has returned, so records it sees can't be overwritten
// under it; whatever it wants to keep, it copies. Losses happen on the producer's side (reserve fails on a full ring): only the
// program can count them.

import koffi from 'koffi'
import { mapMemory, PAGE_BYTES } from '../libc/memory.ts'
import { BpfError } from './errors.ts'
import type { BpfMap } from './map.ts'

const HEADER_BYTES = 8
const BUSY_BIT = 0x8000_0000
const DISCARD_BIT = 0x4000_0000
const LENGTH_MASK = 0x3fff_ffff
/** Records handed over before other work of the event loop gets its turn: about a millisecond of decoding. */
const DEFAULT_RECORDS_PER_TURN = 4096

export interface RingBatch {
  /** The ring's memory, mapped twice in a row. Valid until the handler returns. */
  readonly data: Buffer
  readonly count: number
  /** Where record i begins in `data`; only the first `count` are of this batch. */
  readonly offsets: Uint32Array
  readonly lengths: Uint32Array
}

export type RingHandler = (batch: RingBatch) => void

export interface RingOptions {
  readonly recordsPerTurn?: number
  /** Look every so often instead of waiting for wake-ups: for producers that submit with BPF_RB_NO_WAKEUP. */
  readonly intervalMs?: number
  /** Called when the handler throws; reading stops. Without it the error is thrown into the event loop. */
  readonly onError?: (error: unknown) => void
}

export class RingBuffer {
  readonly #consumer: BigInt64Array
  readonly #producer: BigInt64Array
  readonly #headers: Uint32Array
  readonly #sizeBytes: number
  readonly #batch: { data: Buffer; count: number; offsets: Uint32Array; lengths: Uint32Array }
  readonly #map: BpfMap
  #stop: (() => void) | undefined
  #turn: NodeJS.Immediate | undefined

  /** The map must stay open while the ring is read. */
  constructor(map: BpfMap, recordsPerTurn = DEFAULT_RECORDS_PER_TURN) {
    if (map.info.type !== 'ringbuf') {
      throw new BpfError({
        action: 'reading events from',
        object: `map ${map.info.name}`,
        code: 'invalid',
        reason: `it is a ${map.info.type}`,
        mend: 'pass a BPF_MAP_TYPE_RINGBUF',
      })
    }
    this.#map = map
    this.#sizeBytes = map.info.maxEntries
    const { fd } = map
    const dataBytes = 2 * this.#sizeBytes
    this.#consumer = new BigInt64Array(mapMemory({ fd, lengthBytes: PAGE_BYTES, writable: true }), 0, 1)
    // The kernel refuses writable mappings of what it writes itself.
    const lengthBytes = PAGE_BYTES + dataBytes
    const memory = mapMemory({ fd, lengthBytes, offsetBytes: PAGE_BYTES, writable: false })
    this.#producer = new BigInt64Array(memory, 0, 1)
    this.#headers = new Uint32Array(memory, PAGE_BYTES, dataBytes / 4)
    this.#batch = {
      data: Buffer.from(memory, PAGE_BYTES, dataBytes),
      count: 0,
      offsets: new Uint32Array(recordsPerTurn),
      lengths: new Uint32Array(recordsPerTurn),
    }
  }

  /** Bytes that producers have reserved and this side has not read. */
  pendingBytes(): number {
    return Number(Atomics.load(this.#producer, 0) - Atomics.load(this.#consumer, 0))
  }

  /** Hands at most one batch over, now. Returns the number of records in it; 0 when the ring is empty. */
  consume(handler: RingHandler): number {
    const batch = this.#batch
    const start = Number(Atomics.load(this.#consumer, 0))
    const end = Number(Atomics.load(this.#producer, 0))
    let position = start
    let count = 0
    while (position < end && count < batch.offsets.length) {
      const at = position % this.#sizeBytes
      const header = Atomics.load(this.#headers, at / 4)
      if ((header & BUSY_BIT) !== 0) break
      const length = header & LENGTH_MASK
      if ((header & DISCARD_BIT) === 0) {
        batch.offsets[count] = at + HEADER_BYTES
        batch.lengths[count] = length
        count += 1
      }
      position += HEADER_BYTES + Math.ceil(length / 8) * 8
    }
    if (position === start) return 0
    batch.count = count
    try {
      if (count > 0) handler(batch)
    } finally {
      Atomics.store(this.#consumer, 0, BigInt(position))
    }
    return count
  }

  /** Reads on until stop(): wakes on the kernel's signal, or every intervalMs. Between batches other work gets its turn. */
  start(handler: RingHandler, options: RingOptions = {}): void {
    if (this.#stop)
      throw new BpfError({
        action: 'reading',
        object: this.#map.info.name,
        code: 'busy',
        reason: 'already read',
      })
    const turn = () => {
      this.#turn = undefined
      try {
        const more = this.consume(handler) === this.#batch.offsets.length
        if (more && this.#stop) this.#turn ??= setImmediate(turn)
      } catch (error) {
        this.stop()
        if (!options.onError) throw error
        options.onError(error)
      }
    }
    const wake = () => {
      this.#turn ??= setImmediate(turn)
    }
    this.#stop =
      options.intervalMs === undefined ? this.#pollDescriptor(wake) : pollTimer(wake, options.intervalMs)
    // What was submitted before anyone waited gives no signal.
    wake()
  }

  stop(): void {
    this.#stop?.()
    this.#stop = undefined
    if (this.#turn) clearImmediate(this.#turn)
    this.#turn = undefined
  }

  // The handle must stay referenced: a collected one silently stops.
  #poll: ReturnType<typeof koffi.node.poll> | undefined
  #pollDescriptor(wake: () => void): () => void {
    this.#poll = koffi.node.poll(this.#map.fd, { readable: true }, wake)
    return () => {
      this.#poll?.close()
      this.#poll = undefined
    }
  }
}

function pollTimer(wake: () => void, intervalMs: number): () => void {
  const timer = setInterval(wake, intervalMs)
  return () => clearInterval(timer)
}
