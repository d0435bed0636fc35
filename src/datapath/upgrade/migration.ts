// Moving pinned state to maps of another layout or capacity, without a packet lost on the way:
//
//   1 copy       the new maps are filled from the old ones, which the attached programs go on using
//   2 switch     attach.ts replaces the programs on their links; each is on the new maps from that moment
//   3 catch up   flows and affinities that programs made in the old maps between 1 and 2 are copied too
//   4 unpin      the old maps go
//
// Between 1 and 2 lie a few milliseconds plus what the agent waits for its sources; a flow that begins then and sends a packet
// between 2 and 3 is judged anew, and lands on the same backend unless the Service changed or its source was masqueraded.
//
// Killed anywhere, the next process finds which maps are in force by what attached programs use (map-pins.ts): before 2 it
// begins again, after 2 it goes on with 3. A process of the earlier version finds its own maps until 4.

import { BpfMap as Bpf, type BpfMap, F_MMAPABLE, unpin } from '../../sys/libbpf-ts/index.ts'
import { type Convert, conversion } from './conversions.ts'
import { copyFlows, type FlowCopy } from './flow-copy.ts'
import { type MapPins, mapVersion, type PinPlan } from './map-pins.ts'

/** Nothing to copy: sockets' storage cannot be walked, events are not kept, and timers are set anew with the next packet. */
const NOT_COPIED: ReadonlySet<string> = new Set(['sock_reverse', 'events', 'answers', 'bfd_timers'])
/** Written by programs, so worth a second look after the switch. */
const FLOWS = 'flows'
const FLOW_DETAILS = 'flow_details'
const AFFINITY = 'affinity'
const POLICY_PEERS = 'policy_peers'
const POLICY_CELLS = 'policy_cells'

export class MigrationError extends Error {
  readonly code = 'TOO_SMALL'
}

export interface Moved {
  readonly map: string
  readonly from: string
  readonly rows: number
  readonly lost: number
}

export class Migration {
  readonly #plans: ReadonlyMap<string, PinPlan>
  readonly #map: (name: string) => BpfMap
  readonly #secret: readonly bigint[]

  /** @param map finds a loaded map by its name in bpf/maps.h */
  constructor(pins: MapPins, map: (name: string) => BpfMap, secret: readonly bigint[]) {
    this.#plans = pins.plans
    this.#map = map
    this.#secret = secret
  }

  /** Step 1. Throws MigrationError when a smaller array would lose rows in use; the old maps are as they were. */
  copy(): Moved[] {
    const moved: Moved[] = []
    for (const [name, { source }] of this.#plans) {
      if (!source || name === FLOW_DETAILS || NOT_COPIED.has(name)) continue
      const convert = conversion(name, source.version, mapVersion(name))
      if (!convert) continue
      const from = Bpf.openPinned(source.path)
      try {
        if (name === POLICY_PEERS && source.version === 1) makeCells(from, this.#map(POLICY_CELLS))
        const result = name === FLOWS ? this.#copyFlows(from) : copyRows(name, from, this.#map(name), convert)
        moved.push({ map: name, from: source.path, ...result })
      } finally {
        from.close()
      }
    }
    return moved
  }

  /** Steps 3 and 4, when every program has been replaced. */
  finish(): void {
    for (const name of [FLOWS, AFFINITY]) {
      for (const { path, version } of this.#plans.get(name)?.earlier ?? []) {
        const convert = conversion(name, version, mapVersion(name))
        if (!convert) continue
        const from = Bpf.openPinned(path)
        if (name === FLOWS) this.#copyFlows(from)
        else copyMissing(from, this.#map(name), convert)
        from.close()
      }
    }
    for (const { earlier } of this.#plans.values()) for (const { path } of earlier) unpin(path)
  }

  #copyFlows(from: BpfMap): Omit<Moved, 'map' | 'from'> {
    const to = this.#map(FLOWS)
    const details = this.#plans
      .get(FLOW_DETAILS)
      ?.earlier.map(({ path }) => Bpf.openPinned(path))
      .find((map) => map.info.maxEntries === from.info.maxEntries)
    const result: FlowCopy = copyFlows(
      { flows: from.mmap(), details: details?.mmap(), sets: from.info.maxEntries },
      { flows: to.mmap(), details: this.#map(FLOW_DETAILS).mmap(), sets: to.info.maxEntries },
      this.#secret,
    )
    details?.close()
    return { rows: result.copied, lost: result.lost }
  }
}

/** Rows of the first version name classes: a cell of the same number names each. */
function makeCells(peers: BpfMap, cells: BpfMap): void {
  const words = new Uint32Array(cells.mmap())
  const stride = cells.strideBytes / Uint32Array.BYTES_PER_ELEMENT
  for (const { value } of peers.entries()) {
    const id = value.readUInt32LE()
    if (id < cells.info.maxEntries) words[id * stride] = id
  }
}

function copyRows(name: string, from: BpfMap, to: BpfMap, convert: Convert): Omit<Moved, 'map' | 'from'> {
  const isArray = from.info.type.endsWith('array')
  if (isArray && (from.info.flags & F_MMAPABLE) !== 0) return copyMapped(name, from, to)
  let rows = 0
  for (const { key, value } of from.entries()) {
    if (isArray && value.every((byte) => byte === 0)) continue
    if (isArray && key.readUInt32LE() >= to.info.maxEntries) throw tooSmall(name, key.readUInt32LE(), to)
    const converted = convert(value)
    if (!converted) continue
    to.update(key, converted)
    rows += 1
  }
  return { rows, lost: 0 }
}

/** Rows of mapped arrays never changed their form, only their number. */
function copyMapped(name: string, from: BpfMap, to: BpfMap): Omit<Moved, 'map' | 'from'> {
  const before = new Uint8Array(from.mmap(), 0, from.info.maxEntries * from.strideBytes)
  const after = new Uint8Array(to.mmap(), 0, to.info.maxEntries * to.strideBytes)
  const cut = before.subarray(after.length)
  const last = cut.findLastIndex((byte) => byte !== 0)
  if (last >= 0) throw tooSmall(name, Math.floor((after.length + last) / from.strideBytes), to)
  after.set(before.subarray(0, after.length))
  return { rows: Math.min(from.info.maxEntries, to.info.maxEntries), lost: 0 }
}

function copyMissing(from: BpfMap, to: BpfMap, convert: Convert): void {
  for (const { key, value } of from.entries()) {
    const converted = convert(value)
    if (converted) to.update(key, converted, 'noexist')
  }
}

function tooSmall(name: string, row: number, to: BpfMap): MigrationError {
  return new MigrationError(
    `map ${name} would have ${to.info.maxEntries} rows, but row ${row} is in use: ` +
      `raise datapath.capacities.${name} above it; the agent of before goes on with its own maps`,
  )
}
