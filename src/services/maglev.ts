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

/** FNV-1a over the text from two seeds, then the finaliser of MurmurHash3: short names differ in every output bit. */
function makeHashes(name: string): readonly [number, number] {
  let first = CLUSTER_SEED ^ FNV_BASIS
  let second = ~CLUSTER_SEED ^ FNV_BASIS
  for (let index = 0; index < name.length; index += 1) {
    const code = name.charCodeAt(index)
    first = Math.imul(first ^ code, FNV_PRIME)
    second = Math.imul(second ^ code, FNV_PRIME)
  }
  return [finish(first), finish(second)]
}

const FNV_BASIS = 0x811c9dc5
const FNV_PRIME = 0x01000193

function finish(text: number): number {
  let hash = Math.imul(text ^ (text >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Both hashes of names seen lately: of a thousand endpoints most are the ones of the table before. */
const hashes = new Map<string, readonly [number, number]>()
const HASHES_MAX = 1 << 16
/** For fewer names than this, making the hashes costs less than remembering them for ten thousand Services. */
const REMEMBERED_FROM = 64

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
 * @param contents what stands in the slots of each backend; its index when absent
 * @returns `into` cut to size; empty when there is no backend
 */
export function buildMaglevTable(
  backends: readonly MaglevBackend[],
  size: number,
  into: Uint32Array = new Uint32Array(size),
  contents?: readonly number[],
): Uint32Array {
  if (backends.length === 0) return into.subarray(0, 0)
  // The order decides who picks first, so it must not depend on the caller.
  const order = sortedOrder(backends)
  const turns = roomFor(backends.length, size)
  const hashesOf = backends.length < REMEMBERED_FROM ? makeHashes : rememberedHashes
  let isEven = true
  for (let turn = 0; turn < backends.length; turn += 1) {
    const index = order === undefined ? turn : (order[turn] as number)
    const { name, weight } = backends[index] as MaglevBackend
    const [first, second] = hashesOf(name)
    turns.next[turn] = first % size
    turns.step[turn] = (second % (size - 1)) + 1
    turns.weights[turn] = weight
    turns.contents[turn] = contents === undefined ? index : (contents[index] as number)
    isEven &&= weight === turns.weights[0]
  }
  const table = into.length === size ? into : into.subarray(0, size)
  if (isEven) fillEvenly(turns, backends.length, table)
  else fillByWeight(turns, backends.length, table)
  return table
}

/** One row per backend, in the order of their turns; and what is taken of the table. */
interface Turns {
  readonly contents: Uint32Array
  /** The slot each would like next; walks by `step`, and comes by every slot, for the size is a prime. */
  readonly next: Int32Array
  readonly step: Int32Array
  readonly weights: Uint32Array
  /** By slot, 1: taken. */
  readonly taken: Uint8Array
}

const USUAL_BACKENDS = 64
const USUAL_SIZE = 4093
const usual = makeTurns(USUAL_BACKENDS, USUAL_SIZE)

function makeTurns(count: number, size: number): Turns {
  return {
    contents: new Uint32Array(count),
    next: new Int32Array(count),
    step: new Int32Array(count),
    weights: new Uint32Array(count),
    taken: new Uint8Array(size),
  }
}

/** Nearly every table finds its room made: for a small one, making it costs as much as a third of the filling. */
function roomFor(count: number, size: number): Turns {
  if (count > USUAL_BACKENDS || size > USUAL_SIZE) return makeTurns(count, size)
  usual.taken.fill(0, 0, size)
  return usual
}

/** Rounds of turns, each backend taking the first free slot of its permutation. */
function fillEvenly(turns: Turns, count: number, table: Uint32Array): void {
  const { contents, next, step, taken } = turns
  const size = table.length
  for (let filled = 0, turn = 0; filled < size; filled += 1) {
    const slot = freeSlot(next[turn] as number, step[turn] as number, taken, size)
    taken[slot] = 1
    next[turn] = slot
    table[slot] = contents[turn] as number
    turn = turn + 1 === count ? 0 : turn + 1
  }
}

/** As `fillEvenly`; a lighter backend takes its turn less often, in proportion. */
function fillByWeight(turns: Turns, count: number, table: Uint32Array): void {
  const { contents, next, step, weights, taken } = turns
  const size = table.length
  const credit = new Uint32Array(count)
  let heaviest = 0
  for (let turn = 0; turn < count; turn += 1) heaviest = Math.max(heaviest, weights[turn] as number)
  for (let filled = 0, turn = 0; filled < size; turn = turn + 1 === count ? 0 : turn + 1) {
    const saved = (credit[turn] as number) + (weights[turn] as number)
    credit[turn] = saved < heaviest ? saved : saved - heaviest
    if (saved < heaviest) continue
    const slot = freeSlot(next[turn] as number, step[turn] as number, taken, size)
    taken[slot] = 1
    next[turn] = slot
    table[slot] = contents[turn] as number
    filled += 1
  }
}

/**
 * The first free slot of a permutation, from `slot` on. Some five are looked at for one that is found, and nothing about them can
 * be foreseen, so a branch for each is mispredicted half the time: four are looked at together, with arithmetic for branches.
 */
function freeSlot(slot: number, step: number, taken: Uint8Array, size: number): number {
  // What is added is negative; where the sum is too, its sign's bits let the size pass.
  const stride = step - size
  let first = slot
  for (;;) {
    let second = first + stride
    second += size & (second >> 31)
    let third = second + stride
    third += size & (third >> 31)
    let fourth = third + stride
    fourth += size & (fourth >> 31)
    const isFirst = taken[first] as number
    const isSecond = isFirst & (taken[second] as number)
    const isThird = isSecond & (taken[third] as number)
    if ((isThird & (taken[fourth] as number)) === 0) {
      // Each moves on to the next where all before are taken.
      first += (second - first) & -isFirst
      first += (third - first) & -isSecond
      return first + ((fourth - first) & -isThird)
    }
    first = fourth + stride
    first += size & (first >> 31)
  }
}

/** Indexes by name; undefined: they are in this order, as planners hand them over. */
function sortedOrder(backends: readonly MaglevBackend[]): Uint32Array | undefined {
  let isSorted = true
  for (let index = 1; index < backends.length && isSorted; index += 1)
    isSorted = compareNames(backends[index - 1], backends[index]) <= 0
  if (isSorted) return undefined
  const order = Uint32Array.from(backends, (_, index) => index)
  return order.sort((a, b) => compareNames(backends[a], backends[b]))
}

function compareNames(a: MaglevBackend | undefined, b: MaglevBackend | undefined): number {
  const left = a?.name ?? ''
  const right = b?.name ?? ''
  if (left === right) return 0
  return left < right ? -1 : 1
}
