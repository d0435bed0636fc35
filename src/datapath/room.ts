// Writing to a hash that may be full: one row without room must not hold up the rest of a round.

import { BpfError } from '../sys/libbpf-ts/index.ts'
import type { KernelHash } from './kernel-tables.ts'

/** @returns false: there is no room, and nothing was written */
export function setIfRoom<Key, Value>(
  table: Pick<KernelHash<Key, Value>, 'set'>,
  key: Key,
  value: Value,
): boolean {
  return fits(() => table.set(key, value))
}

/** @returns false: the kernel has no room for all of it, and some of it may be written */
export function fits(write: () => void): boolean {
  try {
    write()
    return true
  } catch (error) {
    if (error instanceof BpfError && error.code === 'full') return false
    throw error
  }
}
