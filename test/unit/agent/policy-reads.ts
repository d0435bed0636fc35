// Rows of policy as the kernel would answer for them, held in plain maps.

import type { PolicyReads } from '../../../src/datapath/policy-lookup.ts'
import { PolicyMaps } from '../../../src/datapath/policy-maps.ts'
import type { PolicyTables } from '../../../src/datapath/policy-tables.ts'
import { type Address, type Prefix, prefixParts } from '../../../src/model/address.ts'
import type { PolicyDirection } from '../../../src/model/policy.ts'
import type { PeerKey, PolicyChange, PortInterval } from '../../../src/policy/compile/rows.ts'

const ROWS = 4096

function hash<Key, Value>(nameOf: (key: Key) => string) {
  const rows = new Map<string, readonly [Key, Value]>()
  const set = (key: Key, value: Value): void => void rows.set(nameOf(key), [key, value])
  return {
    get: (key: Key) => rows.get(nameOf(key))?.[1],
    entries: () => rows.values(),
    set,
    delete: (key: Key): void => void rows.delete(nameOf(key)),
    deleteMany: (keys: readonly Key[]): void => {
      for (const key of keys) rows.delete(nameOf(key))
    },
    batch: () => ({ add: set, write: () => {} }),
  }
}

function array<Value>() {
  const rows = new Map<number, Value>()
  return {
    length: ROWS,
    get: (index: number) => rows.get(index),
    entries: () => rows.entries(),
    set: (index: number, value: Value | undefined): void =>
      value === undefined ? void rows.delete(index) : void rows.set(index, value),
  }
}

/** The kernel's tables of policy, and the same to be read row by row. */
export function memoryTables(): { readonly tables: PolicyTables; readonly reads: PolicyReads } {
  const generations = new Set<number>()
  const cells = new Map<number, number>()
  const ports: PortInterval[] = []
  const prefixes = hash<Prefix, never>(String)
  const tables = {
    identities: hash<Address, never>(String),
    prefixes,
    subjects: hash<Address, never>(String),
    sets: array<never>(),
    peers: hash<PeerKey, never>(
      ({ set, direction, identity }: { set: number; direction: PolicyDirection; identity: number }) =>
        `${set} ${direction} ${identity}`,
    ),
    cells: {
      length: ROWS,
      entries: () => cells.entries(),
      get: (cell: number) => cells.get(cell) ?? 0,
      set: (cell: number, id: number): void => void (id === 0 ? cells.delete(cell) : cells.set(cell, id)),
    },
    classes: array<never>(),
    ports: {
      length: ROWS,
      read: (row: number) => ports[row] as PortInterval,
      write: (row: number, interval: PortInterval): void => {
        ports[row] = interval
      },
    },
    host: array<never>(),
    generations: {
      length: ROWS,
      isCurrent: (generation: number) => generations.has(generation),
      set: (generation: number, isCurrent: boolean): void =>
        void (isCurrent ? generations.add(generation) : generations.delete(generation)),
    },
  }
  const reads = { ...tables, prefixes: { get: (key: Prefix) => longest(prefixes.entries(), key) } }
  return { tables: tables as unknown as PolicyTables, reads: reads as unknown as PolicyReads }
}

/** What the writer makes of a compiled change. */
export function readsOf(change: PolicyChange): PolicyReads {
  const { tables, reads } = memoryTables()
  new PolicyMaps(tables, () => 0).apply(change)
  return reads
}

/** As a trie answers. */
function longest<Value>(rows: Iterable<readonly [Prefix, Value]>, key: Prefix): Value | undefined {
  const asked = prefixParts(key)
  const found = [...rows]
    .map(([prefix, value]) => ({ ...prefixParts(prefix), value }))
    .filter(
      ({ family, first, last }) => family === asked.family && first <= asked.first && asked.last <= last,
    )
    .sort((a, b) => b.length - a.length)
  return found[0]?.value
}
