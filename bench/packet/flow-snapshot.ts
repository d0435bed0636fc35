// The flow table as it was: before each measurement its flows are put back, so that cases taken in turns do not meet each other's.

import * as abi from '../../src/datapath/abi.gen.ts'
import type { LoadedDatapath } from '../../src/datapath/load.ts'

const { FLOW_TICK_BITS } = abi.AbiConstant
const TICK_MASK = 2 ** FLOW_TICK_BITS - 1

/** Rows that are not empty, and what they hold. */
export interface FlowSnapshot {
  readonly rows: Uint32Array
  readonly flows: Uint8Array
  readonly details: Uint8Array
}

/** The two mapped arrays of the flow table; rows of both have the same numbers. */
export class FlowMemory {
  readonly #flows: Uint8Array
  readonly #words: Uint32Array
  readonly #details: Uint8Array
  readonly #rowBytes: number
  readonly #detailBytes: number
  readonly #rows: number

  constructor({ map }: LoadedDatapath) {
    const [flows, details] = [map('flows'), map('flow_details')]
    this.#rows = flows.info.maxEntries
    this.#rowBytes = flows.strideBytes
    this.#detailBytes = details.strideBytes
    this.#flows = new Uint8Array(flows.mmap(), 0, this.#rows * this.#rowBytes)
    this.#words = new Uint32Array(flows.mmap(), 0, (this.#rows * this.#rowBytes) / 4)
    this.#details = new Uint8Array(details.mmap(), 0, this.#rows * this.#detailBytes)
  }

  clear(): void {
    this.#flows.fill(0)
    this.#details.fill(0)
  }

  snapshot(): FlowSnapshot {
    const rows = this.#rowsUsed()
    const flows = new Uint8Array(rows.length * this.#rowBytes)
    const details = new Uint8Array(rows.length * this.#detailBytes)
    for (const [place, row] of rows.entries()) {
      flows.set(this.#rowOf(this.#flows, this.#rowBytes, row), place * this.#rowBytes)
      details.set(this.#rowOf(this.#details, this.#detailBytes, row), place * this.#detailBytes)
    }
    return { rows, flows, details }
  }

  restore({ rows, flows, details }: FlowSnapshot): void {
    if (rows.length === this.#rows) {
      this.#flows.set(flows)
      this.#details.set(details)
      return
    }
    this.clear()
    for (let place = 0; place < rows.length; place += 1) {
      const row = rows[place] as number
      this.#flows.set(this.#rowOf(flows, this.#rowBytes, place), row * this.#rowBytes)
      this.#details.set(this.#rowOf(details, this.#detailBytes, place), row * this.#detailBytes)
    }
  }

  /** Entries that are not empty. */
  get live(): number {
    let live = 0
    for (let at = 0; at < this.#words.length; at += abi.FLOW_BYTES / 4) if (this.#words[at] !== 0) live += 1
    return live
  }

  /** What pods' own entries carry of policy: how many by generation and rule. */
  verdicts(): readonly { readonly generation: number; readonly rule: number; readonly entries: number }[] {
    const counted = new Map<string, { generation: number; rule: number; entries: number }>()
    const [flows, details] = [Buffer.from(this.#flows.buffer), Buffer.from(this.#details.buffer)]
    for (let at = 0; at < this.#words.length; at += abi.FLOW_BYTES / 4) {
      if (this.#words[at] === 0) continue
      const { kind, snatPort: generation } = abi.decodeFlow(flows, at * 4)
      if (kind !== abi.FlowKind.FLOW_POD) continue
      const { frontendId: rule } = abi.decodeFlowDetail(
        details,
        ((at * 4) / abi.FLOW_BYTES) * abi.FLOW_DETAIL_BYTES,
      )
      const known = counted.get(`${generation} ${rule}`)
      counted.set(`${generation} ${rule}`, { generation, rule, entries: (known?.entries ?? 0) + 1 })
    }
    return [...counted.values()]
  }

  /** Makes the last packet of every flow older. */
  age(ticks: number): void {
    for (let at = 0; at < this.#words.length; at += abi.FLOW_BYTES / 4) {
      const low = this.#words[at] as number
      if (low !== 0) this.#words[at] = (low & ~TICK_MASK) | ((low - ticks) & TICK_MASK)
    }
  }

  #rowOf(from: Uint8Array, bytes: number, row: number): Uint8Array {
    return from.subarray(row * bytes, (row + 1) * bytes)
  }

  #rowsUsed(): Uint32Array {
    const words = this.#rowBytes / 4
    const used: number[] = []
    for (let row = 0; row < this.#rows; row += 1)
      for (let at = row * words; at < (row + 1) * words; at += 1)
        if (this.#words[at] !== 0) {
          used.push(row)
          break
        }
    return Uint32Array.from(used)
  }
}
