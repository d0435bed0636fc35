// Rows of `source_ranges`: who may use the load-balancer addresses of a Service. What is allowed is written before the frontends
// ask for it, and taken away after they have stopped: a client that may stay never meets a gap.

import type { Prefix } from '../model/address.ts'
import type { DesiredPort } from '../services/desired.ts'
import type { KernelHash } from './kernel-tables.ts'
import { setIfRoom } from './room.ts'

export interface SourceRangeKey {
  readonly serviceId: number
  readonly range: Prefix
}

export class SourceRanges {
  readonly #rows: KernelHash<SourceRangeKey, number>
  readonly #rangesOf = new Map<number, Set<Prefix>>()
  /** Services whose rows an earlier process left, and nobody has asked for. */
  readonly #adopted = new Set<number>()

  constructor(rows: KernelHash<SourceRangeKey, number>) {
    this.#rows = rows
    for (const [{ serviceId, range }] of rows.entries()) {
      this.#held(serviceId).add(range)
      this.#adopted.add(serviceId)
    }
  }

  get used(): number {
    let used = 0
    for (const held of this.#rangesOf.values()) used += held.size
    return used
  }

  /** @returns false: the table is full, and those left out are refused like strangers */
  allow(serviceId: number, ranges: Iterable<Prefix>): boolean {
    this.#adopted.delete(serviceId)
    for (const range of ranges) {
      const held = this.#held(serviceId)
      if (held.has(range)) continue
      if (!setIfRoom(this.#rows, { serviceId, range }, 1)) return false
      held.add(range)
    }
    return true
  }

  /** Takes away what is not among these. */
  keep(serviceId: number, ranges: ReadonlySet<Prefix>): void {
    const held = this.#rangesOf.get(serviceId)
    if (!held) return
    for (const range of held) {
      if (ranges.has(range)) continue
      this.#rows.delete({ serviceId, range })
      held.delete(range)
    }
    if (held.size === 0) this.#rangesOf.delete(serviceId)
  }

  /** After the first full plan. */
  prune(): void {
    for (const serviceId of this.#adopted) this.keep(serviceId, new Set())
    this.#adopted.clear()
  }

  #held(serviceId: number): Set<Prefix> {
    const held = this.#rangesOf.get(serviceId) ?? new Set()
    this.#rangesOf.set(serviceId, held)
    return held
  }
}

const NO_PREFIXES: ReadonlySet<Prefix> = new Set()

/** Of all of a Service's ports. */
export function rangesOf(desired: readonly DesiredPort[]): ReadonlySet<Prefix> {
  if (desired.every(({ sourceRanges }) => sourceRanges.length === 0)) return NO_PREFIXES
  return new Set(desired.flatMap((port) => port.sourceRanges))
}
