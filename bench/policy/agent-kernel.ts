// What the kernel holds of policy, seen from outside the agent: its pinned maps, opened by path.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MapName } from '../../src/datapath/maps.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { type KernelRuling, lookUpPolicy, type PolicyQuestion } from '../../src/datapath/policy-lookup.ts'
import type { Address } from '../../src/model/address.ts'
import type { BpfMap } from '../../src/sys/libbpf-ts/map.ts'
import { openPinnedMap } from '../control/kernel-view.ts'

const PAUSE_MS = 0.02
/** A change that is not there after so long never comes. */
const GIVE_UP_MS = 10_000
/** When nothing has moved for so long, what moved last was the end of it. */
const QUIET_MS = 25

export class PolicyKernelView {
  readonly tables: ReturnType<typeof policyTables>
  readonly #maps = new Map<string, BpfMap>()
  /** Every set whose verdicts change gets another generation when all of its rows are written. */
  readonly #generations: Buffer
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4))

  constructor(pins: string) {
    // Else the kernel lets the short pauses between two looks grow (PR_SET_TIMERSLACK), and those would be in every figure.
    writeFileSync('/proc/self/timerslack_ns', '1')
    const open = (name: MapName) => {
      const map = this.#maps.get(name) ?? openPinnedMap(join(pins, 'maps'), name)
      this.#maps.set(name, map)
      return map
    }
    this.tables = policyTables(open)
    this.#generations = Buffer.from(open('policy_generations').mmap())
  }

  close(): void {
    for (const map of this.#maps.values()) map.close()
  }

  ruling(question: PolicyQuestion): KernelRuling {
    return lookUpPolicy(this.tables, question)
  }

  /** For `awaitVerdicts`: how it stands before what is to be awaited. */
  generations(): Buffer {
    return Buffer.from(this.#generations)
  }

  /**
   * Looks, without giving way to anything else in this process, until verdicts have changed and change no more.
   * @param isThere whether the change is among them: on a busy machine the agent may pause between two of its writes
   * @returns when the last changed
   */
  awaitVerdicts(before: Buffer, isThere: () => boolean): bigint {
    const known = Buffer.from(before)
    const deadline = performance.now() + GIVE_UP_MS
    let last: { readonly atNs: bigint; readonly atMs: number } | undefined
    for (;;) {
      if (!this.#generations.equals(known)) {
        last = { atNs: process.hrtime.bigint(), atMs: performance.now() }
        this.#generations.copy(known)
      } else if (last && performance.now() - last.atMs > QUIET_MS && isThere()) return last.atNs
      if (performance.now() > deadline) throw new Error('a change of policy never reached the kernel')
      Atomics.wait(this.#sleeper, 0, 0, PAUSE_MS)
    }
  }

  /** The same until an address has an identity, or has none. */
  awaitIdentity(address: Address, isThere: boolean): bigint {
    const deadline = performance.now() + GIVE_UP_MS
    while ((this.tables.identities.get(address) !== undefined) !== isThere) {
      if (performance.now() > deadline)
        throw new Error(`the identity of ${address} never ${isThere ? 'reached' : 'left'} the kernel`)
      Atomics.wait(this.#sleeper, 0, 0, PAUSE_MS)
    }
    return process.hrtime.bigint()
  }
}
