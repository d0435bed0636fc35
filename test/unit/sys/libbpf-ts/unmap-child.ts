// Run with --expose-gc by object-and-map.test.ts: maps a map a hundred times over and prints how many mappings are left.

import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createMap, F_MMAPABLE } from '../../../../src/sys/libbpf-ts/index.ts'

const ROUNDS = 100

function mapOnce(round: number): void {
  const definition = { name: 'unmap', type: 'array', keySize: 4, valueSize: 8, maxEntries: 512 } as const
  const map = createMap({ ...definition, flags: F_MMAPABLE })
  new BigUint64Array(map.mmap())[round] = 1n
  map.close()
}

const countMappings = () => readFileSync('/proc/self/maps', 'utf8').split('bpf-map').length - 1

for (let round = 0; round < ROUNDS; round += 1) mapOnce(round)
const before = countMappings()
for (let round = 0; round < ROUNDS && countMappings() > 1; round += 1) {
  globalThis.gc?.()
  await nextTurn()
}
process.stdout.write(JSON.stringify({ before, after: countMappings() }))
