// The same programs again, built so that they count their accesses to maps (count.h), on the maps of a bed.

import { mkdirSync } from 'node:fs'
import { nodeConfig } from '../../src/datapath/load.ts'
import { type BpfMap, type BpfProgram, type LoadedObject, openObject } from '../../src/sys/libbpf-ts/index.ts'
import type { Bed } from './bed.ts'
import { compileBpf, type Hook, ROOT } from './driver.ts'

const SOURCES: Readonly<Record<Hook, { readonly file: string; readonly program: string }>> = {
  xdp: { file: 'weir_xdp', program: 'weir_uplink_xdp' },
  tc: { file: 'weir_tc', program: 'weir_pod_tc' },
}

/** A packet's accesses to maps. */
export interface Accesses {
  /** Look-ups in arrays, which the kernel inlines. */
  readonly arrays: number
  /** Look-ups in hashes and tries, which are calls. */
  readonly calls: number
  readonly writes: number
  /** Of the look-ups those that ask for a frontend. */
  readonly frontends: number
}
/** enum counted_access. */
const KINDS = 4

export class CountedPrograms {
  readonly #objects: Readonly<Record<Hook, LoadedObject>>

  constructor(bed: Bed) {
    this.#objects = { xdp: loadCounted(bed, 'xdp'), tc: loadCounted(bed, 'tc') }
  }

  close(): void {
    for (const object of Object.values(this.#objects)) object.close()
  }

  program(hook: Hook): BpfProgram {
    return this.#objects[hook].program(SOURCES[hook].program)
  }

  /** @param packets how many `send` sends */
  count(hook: Hook, packets: number, send: () => void): Accesses {
    const counters = this.#counters(hook)
    const row = Buffer.alloc(4)
    counters.update(row, Buffer.alloc(counters.valueBytes))
    send()
    const counted = counters.lookup(row) ?? Buffer.alloc(counters.valueBytes)
    const [arrays = 0, calls = 0, writes = 0, frontends = 0] = Array.from(
      { length: KINDS },
      (_, kind) => Number(counted.readBigUInt64LE(kind * 8)) / packets,
    )
    return { arrays, calls, writes, frontends }
  }

  #counters(hook: Hook): BpfMap {
    const found = [...this.#objects[hook].maps].find(([name]) => name.endsWith('.bss'))
    if (!found) throw new Error(`${SOURCES[hook].file} was built without its counters`)
    return found[1]
  }
}

function loadCounted(bed: Bed, hook: Hook): LoadedObject {
  const { file, program } = SOURCES[hook]
  mkdirSync(`${ROOT}build/bench`, { recursive: true })
  const object = `${ROOT}build/bench/counted_${file}.bpf.o`
  compileBpf(`${ROOT}bpf/${file}.bpf.c`, object, [
    `-I${ROOT}bpf`,
    '-include',
    `${ROOT}bench/packet/count.h`,
    '-Wno-address-of-packed-member',
  ])
  const spec = openObject(object)
  for (const map of spec.maps.values())
    if (!map.isInternal && map.name !== 'secrets')
      map.reuse(bed.datapath.map(map.name as Parameters<typeof bed.datapath.map>[0]))
  spec.loadOnly([program])
  spec.setConstant('node_config', nodeConfig(bed.loadOptions))
  if (spec.hasConstant('uses_frontend_filter')) spec.setConstant('uses_frontend_filter', 1)
  return spec.load()
}
