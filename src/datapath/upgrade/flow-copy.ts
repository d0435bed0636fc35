// Flows from one table to another, while programs read and write either. Entries are claimed in the new table by the protocol
// of bpf/lib/flow.h: exchange the word for a busy one, write, store the live word. Those that are there already stay, for the
// programs on the new table know better.

import { AbiConstant, FLOW_BYTES, FLOW_DETAIL_BYTES, FlowState } from '../abi.gen.ts'
import { placeFlows } from './flow-place.ts'

const WAYS = AbiConstant.FLOW_WAYS
const WORDS = FLOW_BYTES / 4
const LONGS = FLOW_BYTES / 8
const STATE_MASK = (1 << AbiConstant.FLOW_STATE_BITS) - 1
const VERSION_ONE = 1n << BigInt(AbiConstant.FLOW_VERSION_SHIFT)
const VERSION_MASK = 0xffff_ffff_ffff_ffffn & ~(VERSION_ONE - 1n)
const STATE_SHIFT = BigInt(AbiConstant.FLOW_STATE_SHIFT)
const TICK_MASK = (1n << STATE_SHIFT) - 1n
/** What the states of the first two layouts are called now; no number is in both. */
const EARLIER_STATES: Readonly<Record<number, number>> = {
  2: FlowState.FLOW_HALF_OPEN,
  3: FlowState.FLOW_CLOSING,
  4: FlowState.FLOW_ESTABLISHED,
  5: FlowState.FLOW_CLIENT_CLOSED,
  6: FlowState.FLOW_BACKEND_CLOSED,
}
/** Where key and data begin in an entry, in 32-bit words. */
const KEY_WORD = 2
const KEY_WORDS = 4

/** The mapped memory of a `flows` map and its `flow_details`, which an earlier version may lack. */
export interface FlowTable {
  readonly flows: ArrayBuffer
  readonly details: ArrayBuffer | undefined
  readonly sets: number
}

export interface FlowCopy {
  readonly copied: number
  /** Their set in the new table was full. */
  readonly lost: number
}

class Entries {
  readonly words: Uint32Array
  readonly longs: BigUint64Array
  readonly details: Uint8Array | undefined
  readonly sets: number

  constructor({ flows, details, sets }: FlowTable) {
    this.words = new Uint32Array(flows)
    this.longs = new BigUint64Array(flows)
    this.details = details && new Uint8Array(details)
    this.sets = sets
  }

  state(entry: number): number {
    return ((this.words[entry * WORDS] ?? 0) >>> AbiConstant.FLOW_STATE_SHIFT) & STATE_MASK
  }

  key(entry: number): Uint32Array {
    return this.words.subarray(entry * WORDS + KEY_WORD, entry * WORDS + KEY_WORD + KEY_WORDS)
  }

  hasKey(entry: number, key: Uint32Array): boolean {
    return this.state(entry) > FlowState.FLOW_BUSY && this.key(entry).every((word, at) => word === key[at])
  }
}

/** @param secret `secrets[0]`, used when the tables have different numbers of sets */
export function copyFlows(from: FlowTable, to: FlowTable, secret: readonly bigint[]): FlowCopy {
  const source = new Entries(from)
  const target = new Entries(to)
  const setOf = placeFlows(secret, target.sets)
  let copied = 0
  let lost = 0
  for (let entry = 0; entry < source.sets * WAYS; entry += 1) {
    if (source.state(entry) <= FlowState.FLOW_BUSY) continue
    const key = source.key(entry)
    const set = source.sets === target.sets ? Math.floor(entry / WAYS) : setOf(key)
    const place = findPlace(target, set, key)
    if (place === 'there') continue
    if (place !== undefined && write(source, entry, target, place)) copied += 1
    else lost += 1
  }
  return { copied, lost }
}

function findPlace(target: Entries, set: number, key: Uint32Array): number | 'there' | undefined {
  let free: number | undefined
  for (let entry = set * WAYS; entry < (set + 1) * WAYS; entry += 1) {
    if (target.hasKey(entry, key)) return 'there'
    if (free === undefined && target.state(entry) === FlowState.FLOW_FREE) free = entry
  }
  return free
}

function write(source: Entries, entry: number, target: Entries, place: number): boolean {
  const at = place * LONGS
  const before = target.longs[at] ?? 0n
  const version = (before + VERSION_ONE) & VERSION_MASK
  const claim = version | (BigInt(FlowState.FLOW_BUSY) << STATE_SHIFT)
  if (Atomics.compareExchange(target.longs, at, before, claim) !== before) return false
  for (let long = 1; long < LONGS; long += 1)
    target.longs[at + long] = source.longs[entry * LONGS + long] ?? 0n
  if (source.details && target.details) {
    const detail = source.details.subarray(entry * FLOW_DETAIL_BYTES, (entry + 1) * FLOW_DETAIL_BYTES)
    target.details.set(detail, place * FLOW_DETAIL_BYTES)
  }
  const state = source.state(entry)
  const tick = (source.longs[entry * LONGS] ?? 0n) & TICK_MASK
  Atomics.store(target.longs, at, version | (BigInt(EARLIER_STATES[state] ?? state) << STATE_SHIFT) | tick)
  return true
}
