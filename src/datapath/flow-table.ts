// The kernel's flow table seen through its mapped memory: what is in it, and taking out what has been idle for too long.
//
// Readers and the sweep keep the protocol of bpf/lib/flow.h: an entry's word is read before and after its data, and another
// version or BUSY means that the data is another flow's. Freeing is one compare-and-exchange of the word to
// {version + 1, FREE}: it fails if a packet has touched the entry meanwhile, and then the entry was not idle. Words of 64 bits
// are aligned, so Atomics on the mapped memory are the processor's own atomic instructions.
//
// The sweep reads 4 bytes per entry: the low half of a word holds the tick and the state, and 8 bits of the version.

import { type Address, formatAddress } from '../model/address.ts'
import * as abi from './abi.gen.ts'

const WORD_HALVES_PER_FLOW = abi.FLOW_BYTES / 4
const WORDS_PER_FLOW = abi.FLOW_BYTES / 8
const DETAIL_BYTES = abi.FLOW_DETAIL_BYTES
const { FLOW_STATE_SHIFT, FLOW_TICK_BITS, FLOW_VERSION_SHIFT } = abi.AbiConstant
const TICK_MASK = 2 ** FLOW_TICK_BITS - 1
const STATE_MASK = 15
/** An entry's byte can say more than there are; those count by number. */
const KINDS = 256
const INDEX_AT = 24
const KIND_AT = 28
const FLAGS_AT = 29
const MARK_AT = 30
const GENERATIONS = abi.AbiConstant.POLICY_GENERATIONS
const { FLOW_BUSY, FLOW_HALF_OPEN, FLOW_CLOSING, FLOW_ESTABLISHED } = abi.FlowState
/** The bit that both have apart. */
const ANSWERED = FLOW_ESTABLISHED & ~FLOW_HALF_OPEN
const FRONTEND_ID_AT = 20
const { FLOW_TO_REMOTE, FLOW_TO_REMOTE_SNAT, FLOW_REPLY, FLOW_SNAT_REPLY, FLOW_POD } = abi.FlowKind
/** Their index is a row of frontend_addresses, the others' one of backends. */
const NAMES_FRONTEND: ReadonlySet<number> = new Set([FLOW_REPLY, FLOW_SNAT_REPLY])
/** The others have a generation of policy in its place. */
const IS_MASQUERADED: ReadonlySet<number> = new Set([FLOW_TO_REMOTE_SNAT, FLOW_SNAT_REPLY])
const { FLOW_IS_UDP, FLOW_IS_SERVER, FLOW_FROM_HOST, FLOW_OF_HOST } = abi.FlowFlags
const PORT_BITS = 16
const PORT_MASK = 2 ** PORT_BITS - 1

/** The end whose own flow the entry is: a pod's, or the node's. */
export interface FlowPodEnd {
  /** The pod's device's; 0 of the node itself. */
  readonly ifindex: number
  /** Of a ping from the pod its identifier, of one to it the message's type. */
  readonly port: number
  /** The peer began it. */
  readonly isServer: boolean
  /** The peer is this node itself. */
  readonly isFromHost: boolean
  /** It is this node's own end, no pod's. */
  readonly isOfHost: boolean
}

export interface FlowEntry {
  /** Name of enum flow_kind without its prefix: `TO_LOCAL`, `REPLY`, … */
  readonly kind: string
  /** Name of enum flow_state without its prefix. */
  readonly state: string
  readonly idleTicks: number
  readonly client: Address
  readonly clientPort: number
  readonly protocol: number
  /** Row of frontend_addresses; 0 on a pod's own flow, which no Service translates. */
  readonly frontendId: number
  /** Row of backends; undefined on entries that name the frontend alone, or nothing. */
  readonly backendId: number | undefined
  /** 0: not masqueraded. */
  readonly snatPort: number
  /** Of a pod's own flow, where the programs said it; the peer is `client`. */
  readonly podEnd?: FlowPodEnd
}

export interface FlowCounts {
  readonly capacity: number
  /** Entries: a connection has one or two. */
  readonly live: number
  /** Those whose place no new flow may take. */
  readonly held: number
  /** Connections, by the state of their entry for the client's packets. */
  readonly byState: Readonly<Record<string, number>>
  /** Entries by kind. */
  readonly byKind: Readonly<Record<string, number>>
}

const stateName = (state: number) => nameOf(abi.FLOW_STATE_NAMES, state)
const kindName = (kind: number) => nameOf(abi.FLOW_KIND_NAMES, kind)

/** Names of an enum without their common prefix. */
function nameOf(names: ReadonlyMap<number | bigint, string>, number: number): string {
  return names.get(number)?.replace('FLOW_', '') ?? String(number)
}

/** Counts that are not zero, by name. */
function named(counts: Uint32Array, name: (index: number) => string): Record<string, number> {
  return Object.fromEntries(
    [...counts].flatMap((count, index) => (count > 0 ? [[name(index), count] as const] : [])),
  )
}

/** What of policy is on flows. */
export interface CarriedVerdicts {
  readonly generations: ReadonlySet<number>
  /** The highest number of a rule. */
  readonly rule: number
}

export interface FlowTableMemory {
  /** The mapped `flows` and `flow_details`. */
  readonly flows: ArrayBuffer
  readonly details: ArrayBuffer
  readonly sets: number
  /** Rows of `backends` and of `frontend_addresses`, whose numbers flows carry. */
  readonly backends?: number
  readonly frontends?: number
}

/** Numbers seen during a sweep, and during the one before. */
class NumbersSeen {
  #now: Uint8Array
  #before: Uint8Array | undefined

  constructor(limit: number) {
    this.#now = new Uint8Array(limit)
  }

  note(id: number): void {
    this.#now[id] = 1
  }

  endSweep(): void {
    const next = this.#before?.fill(0) ?? new Uint8Array(this.#now.length)
    this.#before = this.#now
    this.#now = next
  }

  /** Before the first whole sweep nobody knows. */
  has(id: number): boolean {
    return this.#before === undefined || this.#before[id] === 1 || this.#now[id] === 1
  }
}

export class FlowTable {
  readonly #flows: Buffer
  readonly #details: Buffer
  readonly #halves: Uint32Array
  readonly #words: BigUint64Array
  readonly #entries: number
  readonly #nowTick: () => number
  #cursor = 0
  /** Of states, connections; of kinds, entries. */
  readonly #states = new Uint32Array(STATE_MASK + 1)
  readonly #kinds = new Uint32Array(KINDS)
  #held = 0
  #counted: FlowCounts | undefined
  readonly #backendsSeen: NumbersSeen
  readonly #frontendsSeen: NumbersSeen
  readonly #generationsSeen = new NumbersSeen(GENERATIONS)
  /** Whether a backend serves a frontend's UDP; asked once for each pair during a sweep. */
  #isServing: (frontendId: number, backendId: number) => boolean = () => true
  readonly #serving = new Map<number, Map<number, boolean>>()

  /** @param nowTick what the programs call now: see weir_flow_clock */
  constructor(memory: FlowTableMemory, nowTick: () => number) {
    this.#entries = memory.sets * abi.AbiConstant.FLOW_WAYS
    const bytes = this.#entries * abi.FLOW_BYTES
    this.#flows = Buffer.from(memory.flows, 0, bytes)
    this.#halves = new Uint32Array(memory.flows, 0, bytes / 4)
    this.#words = new BigUint64Array(memory.flows, 0, bytes / 8)
    this.#details = Buffer.from(memory.details, 0, this.#entries * DETAIL_BYTES)
    this.#nowTick = nowTick
    this.#backendsSeen = new NumbersSeen(memory.backends ?? 0)
    this.#frontendsSeen = new NumbersSeen(memory.frontends ?? 0)
  }

  /** From now on sweeps free UDP flows to backends that do not serve what the flow asked for: its next packet is judged afresh. */
  endUnserved(isServing: (frontendId: number, backendId: number) => boolean): void {
    this.#isServing = isServing
  }

  namesBackend(id: number): boolean {
    return this.#backendsSeen.has(id)
  }

  namesFrontend(id: number): boolean {
    return this.#frontendsSeen.has(id)
  }

  /** Whether a flow still carries this verdict's generation, see policy-maps.ts. */
  namesGeneration(generation: number): boolean {
    return this.#generationsSeen.has(generation)
  }

  /** What flows carry of policy's verdicts now: a look at every entry, some milliseconds for a million of them. */
  verdicts(): CarriedVerdicts {
    const generations = new Set<number>()
    let rule = 0
    for (let entry = 0; entry < this.#entries; entry++) {
      const state = ((this.#halves[entry * WORD_HALVES_PER_FLOW] ?? 0) >>> FLOW_STATE_SHIFT) & STATE_MASK
      if (state <= FLOW_BUSY) continue
      const at = entry * abi.FLOW_BYTES
      const kind = this.#flows[at + KIND_AT] ?? 0
      if (!IS_MASQUERADED.has(kind)) generations.add(this.#flows.readUInt16BE(at + MARK_AT))
      if (kind === FLOW_POD)
        rule = Math.max(rule, this.#details.readUInt32LE(entry * DETAIL_BYTES + FRONTEND_ID_AT))
    }
    return { generations, rule }
  }

  get capacity(): number {
    return this.#entries
  }

  /** As of the last whole sweep; undefined before the first. */
  get counts(): FlowCounts | undefined {
    return this.#counted
  }

  /**
   * Looks at the next `count` entries, frees those that have been idle for longer than their state may be, and counts the
   * rest; starts over at the end.
   * @returns how many were freed
   */
  sweep(count: number): number {
    const now = this.#nowTick()
    const end = Math.min(this.#entries, this.#cursor + count)
    let freed = 0
    for (let entry = this.#cursor; entry < end; entry++) {
      const low = this.#halves[entry * WORD_HALVES_PER_FLOW] ?? 0
      const state = (low >>> FLOW_STATE_SHIFT) & STATE_MASK
      if (state <= FLOW_BUSY) continue
      if (this.#isOver(entry, low, state, now) && this.#free(entry, low)) freed += 1
      else {
        this.#count(entry, state)
      }
    }
    this.#cursor = end
    if (end === this.#entries) this.#finishCount()
    return freed
  }

  /** The live flows among `count` entries from `first` on, each as of the moment it is read: a few microseconds per flow. */
  *entries(first = 0, count = this.#entries): Generator<FlowEntry> {
    const now = this.#nowTick()
    const end = Math.min(this.#entries, first + count)
    for (let entry = first; entry < end; entry++) {
      const state = ((this.#halves[entry * WORD_HALVES_PER_FLOW] ?? 0) >>> FLOW_STATE_SHIFT) & STATE_MASK
      const read = state > FLOW_BUSY ? this.#read(entry, now) : undefined
      if (read) yield read
    }
  }

  #read(entry: number, now: number): FlowEntry | undefined {
    const word = Atomics.load(this.#words, entry * WORDS_PER_FLOW)
    const flow = abi.decodeFlow(this.#flows, entry * abi.FLOW_BYTES)
    const detail = abi.decodeFlowDetail(this.#details, entry * DETAIL_BYTES)
    const again = Atomics.load(this.#words, entry * WORDS_PER_FLOW)
    const version = BigInt(FLOW_VERSION_SHIFT)
    const state = Number(again >> BigInt(FLOW_STATE_SHIFT)) & STATE_MASK
    if (again >> version !== word >> version || state <= FLOW_BUSY) return undefined
    const isPods = flow.kind === FLOW_POD
    return {
      kind: kindName(flow.kind),
      state: stateName(state),
      idleTicks: idleTicks(Number(again & BigInt(TICK_MASK)), now),
      client: formatAddress(detail.client),
      clientPort: detail.clientPort,
      protocol: detail.protocol,
      frontendId: isPods ? 0 : detail.frontendId,
      backendId: isPods || NAMES_FRONTEND.has(flow.kind) ? undefined : flow.index,
      snatPort: IS_MASQUERADED.has(flow.kind) ? flow.snatPort : 0,
      ...(isPods && flow.index !== 0 ? { podEnd: podEndOf(flow, detail.ifindexHigh) } : {}),
    }
  }

  #isOver(entry: number, low: number, state: number, now: number): boolean {
    const idle = idleTicks(low & TICK_MASK, now)
    const kind = this.#flows[entry * abi.FLOW_BYTES + KIND_AT] ?? 0
    const flags = this.#flows[entry * abi.FLOW_BYTES + FLAGS_AT] ?? 0
    return idle > idleLimitTicks(state, kind, flags) || this.#isUnserved(entry, kind, flags)
  }

  #isUnserved(entry: number, kind: number, flags: number): boolean {
    if ((flags & FLOW_IS_UDP) === 0 || kind === FLOW_POD || NAMES_FRONTEND.has(kind)) return false
    const frontendId = this.#details.readUInt32LE(entry * DETAIL_BYTES + FRONTEND_ID_AT)
    const backendId = this.#flows.readUInt32LE(entry * abi.FLOW_BYTES + INDEX_AT)
    const known = this.#serving.get(frontendId) ?? new Map<number, boolean>()
    this.#serving.set(frontendId, known)
    const isServing = known.get(backendId) ?? this.#isServing(frontendId, backendId)
    known.set(backendId, isServing)
    return !isServing
  }

  #count(entry: number, state: number): void {
    const index = this.#flows.readUInt32LE(entry * abi.FLOW_BYTES + INDEX_AT)
    const kind = this.#flows[entry * abi.FLOW_BYTES + KIND_AT] ?? 0
    this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1
    if (isHeld(state)) this.#held += 1
    if (!IS_MASQUERADED.has(kind))
      this.#generationsSeen.note(this.#flows.readUInt16BE(entry * abi.FLOW_BYTES + MARK_AT))
    if (NAMES_FRONTEND.has(kind)) this.#frontendsSeen.note(index)
    else {
      this.#states[state] = (this.#states[state] ?? 0) + 1
      if (kind !== FLOW_POD) this.#backendsSeen.note(index)
    }
  }

  /** False: a packet came by, or the place has gone to another flow. */
  #free(entry: number, low: number): boolean {
    const at = entry * WORDS_PER_FLOW
    const before = Atomics.load(this.#words, at)
    if (Number(before & 0xffff_ffffn) !== low) return false
    const after = ((before >> BigInt(FLOW_VERSION_SHIFT)) + 1n) << BigInt(FLOW_VERSION_SHIFT)
    const free = BigInt.asUintN(64, after)
    return Atomics.compareExchange(this.#words, at, before, free) === before
  }

  #finishCount(): void {
    this.#counted = {
      capacity: this.#entries,
      live: this.#kinds.reduce((sum, count) => sum + count, 0),
      held: this.#held,
      byState: named(this.#states, stateName),
      byKind: named(this.#kinds, kindName),
    }
    this.#states.fill(0)
    this.#kinds.fill(0)
    this.#held = 0
    this.#backendsSeen.endSweep()
    this.#frontendsSeen.endSweep()
    this.#generationsSeen.endSweep()
    this.#serving.clear()
    this.#cursor = 0
  }
}

function podEndOf({ index, flags }: Pick<abi.Flow, 'index' | 'flags'>, ifindexHigh: number): FlowPodEnd {
  return {
    ifindex: (index >>> PORT_BITS) | (ifindexHigh << PORT_BITS),
    port: index & PORT_MASK,
    isServer: (flags & FLOW_IS_SERVER) !== 0,
    isFromHost: (flags & FLOW_FROM_HOST) !== 0,
    isOfHost: (flags & FLOW_OF_HOST) !== 0,
  }
}

/** A packet may have begun the next tick since `now` was asked for: what lies ahead of it is not idle at all. */
function idleTicks(tick: number, now: number): number {
  const idle = (now - tick) & TICK_MASK
  return idle > TICK_MASK / 2 ? 0 : idle
}

/** The opposite of flow_yields() in bpf/lib/flow_word.h. */
function isHeld(state: number): boolean {
  return (state & ANSWERED) !== 0 && state !== FLOW_CLOSING
}

/** The same as flow_idle_limit() in bpf/lib/flow_word.h. */
export function idleLimitTicks(state: number, kind: number, flags: number): number {
  if (state === FLOW_CLOSING) return abi.AbiConstant.FLOW_IDLE_CLOSING
  if (state === FLOW_HALF_OPEN && (flags & FLOW_IS_UDP) === 0) return abi.AbiConstant.FLOW_IDLE_UNANSWERED_TCP
  if ((state & ANSWERED) === 0) return abi.AbiConstant.FLOW_IDLE_HALF_OPEN
  if ((flags & FLOW_IS_UDP) !== 0) return abi.AbiConstant.FLOW_IDLE_ESTABLISHED_UDP
  if (state !== FLOW_ESTABLISHED) return abi.AbiConstant.FLOW_IDLE_HALF_CLOSED
  return kind === FLOW_TO_REMOTE
    ? abi.AbiConstant.FLOW_IDLE_ONE_SIDED_TCP
    : abi.AbiConstant.FLOW_IDLE_ESTABLISHED_TCP
}
