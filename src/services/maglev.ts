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

/**
 * Fills a table.
 * @param backends in any order; names must differ
 * @param size a prime of TABLE_SIZES
 * @returns for each slot the index into `backends`; empty when there is no backend
 */
export function buildMaglevTable(backends: readonly MaglevBackend[], size: number): Uint32Array {
  if (backends.length === 0) return new Uint32Array(0)
  // The order decides who picks first, so it must not depend on the caller.
  const order = backends.map((_, index) => index).sort((a, b) => compareNames(backends[a], backends[b]))
  const state = order.map((index) => {
    const { name, weight } = backends[index] as MaglevBackend
    return {
      index,
      weight,
      next: hashName(name, CLUSTER_SEED) % size,
      step: (hashName(name, ~CLUSTER_SEED >>> 0) % (size - 1)) + 1,
      credit: 0,
    }
  })
  const heaviest = Math.max(...state.map(({ weight }) => weight))
  const table = new Uint32Array(size)
  const taken = new Uint8Array(size)
  let filled = 0
  while (filled < size) {
    for (const backend of state) {
      // A lighter backend takes its turn less often, in proportion.
      backend.credit += backend.weight
      if (backend.credit < heaviest) continue
      backend.credit -= heaviest
      while (taken[backend.next] === 1) backend.next = (backend.next + backend.step) % size
      table[backend.next] = backend.index
      taken[backend.next] = 1
      filled += 1
      if (filled === size) break
    }
  }
  return table
}

function compareNames(a: MaglevBackend | undefined, b: MaglevBackend | undefined): number {
  const left = a?.name ?? ''
  const right = b?.name ?? ''
  if (left === right) return 0
  return left < right ? -1 : 1
}
