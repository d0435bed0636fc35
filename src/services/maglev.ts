// Maglev consistent hashing (Eisenbud et al., NSDI 2016): a table of slots in which every backend holds almost the same
// share, and a change of one backend moves few slots besides its own.
//
// The table is a pure function of the backends' names, their weights and the table size, so every node of a cluster builds
// the same one from the same EndpointSlices, whatever order they arrive in. The datapath indexes it by the flow's hash.

/** Primes, each at least four times the one before: a Service crosses a step rarely, and a step reshuffles its flows. */
const TABLE_SIZES = [251, 1021, 4093, 16381, 65521, 262139, 1048573] as const
const SLOTS_PER_BACKEND_MIN = 100

/** Changing this constant reshuffles every flow of every cluster that upgrades. */
const CLUSTER_SEED = 0x57656972

export interface MaglevBackend {
  /** Identifies the backend on every node alike: `address port`. */
  readonly name: string
  /** 1 is normal; a backend of weight 2 holds twice the share. */
  readonly weight: number
}

/** The smallest table that gives every backend about one percent granularity. */
export function tableSizeFor(backendCount: number): number {
  const wanted = backendCount * SLOTS_PER_BACKEND_MIN
  return TABLE_SIZES.find((size) => size >= wanted) ?? TABLE_SIZES[TABLE_SIZES.length - 1] ?? 0
}

/** FNV-1a over the text, then the finaliser of MurmurHash3: short names differ in every output bit. */
function hashName(name: string, seed: number): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0
  for (let index = 0; index < name.length; index += 1)
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Both hashes of names seen lately: of a thousand endpoints most are the ones of the table before. */
const hashes = new Map<string, readonly [number, number]>()
const HASHES_MAX = 1 << 16
/** For fewer names than this, making the hashes costs less than remembering them for ten thousand Services. */
const REMEMBERED_FROM = 64

function makeHashes(name: string): readonly [number, number] {
  return [hashName(name, CLUSTER_SEED), hashName(name, ~CLUSTER_SEED >>> 0)]
}

function rememberedHashes(name: string): readonly [number, number] {
  const known = hashes.get(name)
  if (known) return known
  if (hashes.size >= HASHES_MAX) hashes.clear()
  const made = makeHashes(name)
  hashes.set(name, made)
  return made
}

/**
 * Fills a table.
 * @param backends in any order; names must differ
 * @param size a prime of TABLE_SIZES
 * @param into where to; its first `size` elements are overwritten
 * @returns `into` cut to size: for each slot the index into `backends`; empty when there is no backend
 */
export function buildMaglevTable(
  backends: readonly MaglevBackend[],
  size: number,
  into: Uint32Array = new Uint32Array(size),
): Uint32Array {
  if (backends.length === 0) return into.subarray(0, 0)
  // The order decides who picks first, so it must not depend on the caller.
  const order = sortedOrder(backends)
  const next = new Uint32Array(order.length)
  const step = new Uint32Array(order.length)
  const weights = new Uint32Array(order.length)
  const hashesOf = order.length < REMEMBERED_FROM ? makeHashes : rememberedHashes
  for (let turn = 0; turn < order.length; turn += 1) {
    const { name, weight } = backends[order[turn] as number] as MaglevBackend
    const [first, second] = hashesOf(name)
    next[turn] = first % size
    step[turn] = (second % (size - 1)) + 1
    weights[turn] = weight
  }
  const table = into.subarray(0, size)
  const permutations = { order, next, step, weights }
  if (weights.every((weight) => weight === weights[0])) fillEvenly(permutations, table)
  else fillByWeight(permutations, table)
  return table
}

/** One row per backend, in the order of their turns. */
interface Permutations {
  readonly order: Uint32Array
  /** The slot each would like next; walks by `step`, and comes by every slot, for the size is a prime. */
  readonly next: Uint32Array
  readonly step: Uint32Array
  readonly weights: Uint32Array
}

/**
 * Rounds of turns, each backend taking the first free slot of its permutation. Toward the end most slots looked at are taken,
 * about `size × ln(size)` in all, so what is taken is kept in bits: they stay in the processor's nearest cache.
 */
function fillEvenly({ order, next, step }: Permutations, table: Uint32Array): void {
  const taken = new Uint32Array((table.length >>> 5) + 1)
  const count = order.length
  for (let filled = 0, turn = 0; filled < table.length; filled += 1) {
    takeSlot(turn, next, step, taken, table.length)
    table[next[turn] as number] = order[turn] as number
    turn = turn + 1 === count ? 0 : turn + 1
  }
}

/** As `fillEvenly`; a lighter backend takes its turn less often, in proportion. */
function fillByWeight({ order, next, step, weights }: Permutations, table: Uint32Array): void {
  const taken = new Uint32Array((table.length >>> 5) + 1)
  const credit = new Uint32Array(order.length)
  const heaviest = weights.reduce((most, weight) => Math.max(most, weight), 0)
  for (let filled = 0, turn = 0; filled < table.length; turn = (turn + 1) % order.length) {
    const saved = (credit[turn] as number) + (weights[turn] as number)
    credit[turn] = saved < heaviest ? saved : saved - heaviest
    if (saved < heaviest) continue
    takeSlot(turn, next, step, taken, table.length)
    table[next[turn] as number] = order[turn] as number
    filled += 1
  }
}

/** Moves a backend on to its next free slot, and marks that taken. */
function takeSlot(
  turn: number,
  next: Uint32Array,
  step: Uint32Array,
  taken: Uint32Array,
  size: number,
): void {
  const stride = step[turn] as number
  let slot = next[turn] as number
  while (((taken[slot >>> 5] as number) & (1 << (slot & 31))) !== 0) {
    slot += stride
    if (slot >= size) slot -= size
  }
  taken[slot >>> 5] = (taken[slot >>> 5] as number) | (1 << (slot & 31))
  next[turn] = slot
}

/** Indexes by name. Planners hand backends over in this order already, which takes one look to see. */
function sortedOrder(backends: readonly MaglevBackend[]): Uint32Array {
  const order = new Uint32Array(backends.length)
  let isSorted = true
  for (let index = 0; index < order.length; index += 1) {
    order[index] = index
    isSorted &&= index === 0 || compareNames(backends[index - 1], backends[index]) <= 0
  }
  return isSorted ? order : order.sort((a, b) => compareNames(backends[a], backends[b]))
}

function compareNames(a: MaglevBackend | undefined, b: MaglevBackend | undefined): number {
  const left = a?.name ?? ''
  const right = b?.name ?? ''
  if (left === right) return 0
  return left < right ? -1 : 1
}
