// What the kernel holds, seen from outside the agent: its pinned maps, opened by path.

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeFrontendKey } from '../../src/datapath/abi.gen.ts'
import { address, addressToBytes } from '../../src/model/address.ts'
import { BpfMap } from '../../src/sys/libbpf-ts/map.ts'
import { clusterIpOf, SERVICE_PORT, vipOf } from './cluster.ts'

const TCP = 6
const PAUSE_MS = 0.02
/** A change that is not there after so long never comes. */
const GIVE_UP_MS = 30_000

export class KernelView {
  readonly #maps: string
  readonly #frontends: BpfMap
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4))

  constructor(pins: string) {
    // Else the kernel lets the short pauses between two looks grow by 50 us (PR_SET_TIMERSLACK), and those would be in every figure.
    writeFileSync('/proc/self/timerslack_ns', '1')

    this.#maps = join(pins, 'maps')
    this.#frontends = this.#open('frontends')
  }

  close(): void {
    this.#frontends.close()
  }

  /** Entries of a hash map. */
  count(name: 'frontends' | 'backend_ids' | 'nodes'): number {
    const map = this.#open(name)
    try {
      let count = 0
      for (const batch of map.batches()) count += batch.count
      return count
    } finally {
      map.close()
    }
  }

  /** How the frontend of a Service's ClusterIP stands: changes with every change of its endpoints. */
  frontend(service: number): Buffer {
    const value = this.#frontends.lookup(frontendKey(clusterIpOf(service)))
    if (!value) throw new Error(`the kernel holds no frontend ${clusterIpOf(service)}`)
    return value
  }

  /** Whether the ClusterIP, and the external address if there is one, are there, each with a table of slots. */
  holds(service: number, hasVip: boolean): boolean {
    return [clusterIpOf(service), ...(hasVip ? [vipOf(service)] : [])].every((text) => {
      const value = this.#frontends.lookup(frontendKey(text))
      return value !== undefined && value.subarray(24, 32).readUInt32LE(4) > 0
    })
  }

  /**
   * Looks, without giving way to anything else in this process, until the frontends of all these Services differ from what they were.
   * @returns for each the time (monotonic nanoseconds) when the difference was seen
   */
  awaitChanges(before: ReadonlyMap<number, Buffer>): ReadonlyMap<number, bigint> {
    const seen = new Map<number, bigint>()
    const waiting = new Map(before)
    const deadline = performance.now() + GIVE_UP_MS
    const value = Buffer.alloc(this.#frontends.valueBytes)
    while (waiting.size > 0) {
      for (const [service, old] of waiting) {
        if (!this.#frontends.lookupInto(frontendKey(clusterIpOf(service)), value) || value.equals(old))
          continue
        seen.set(service, process.hrtime.bigint())
        waiting.delete(service)
      }
      if (performance.now() > deadline) throw new Error(`${waiting.size} changes never reached the kernel`)
      Atomics.wait(this.#sleeper, 0, 0, PAUSE_MS)
    }
    return seen
  }

  #open(name: string): BpfMap {
    return openPinnedMap(this.#maps, name)
  }
}

/** Whatever its version and size. */
export function openPinnedMap(directory: string, name: string): BpfMap {
  const file = readdirSync(directory).find((entry) => entry.replace(/_v\d+_\d+$/, '') === name)
  if (file === undefined) throw new Error(`no map ${name} is pinned in ${directory}`)
  return BpfMap.openPinned(join(directory, file))
}

const keys = new Map<string, Buffer>()

function frontendKey(text: string): Buffer {
  let key = keys.get(text)
  if (!key) {
    key = encodeFrontendKey({ address: addressToBytes(address(text)), port: SERVICE_PORT, protocol: TCP })
    keys.set(text, key)
  }
  return key
}
