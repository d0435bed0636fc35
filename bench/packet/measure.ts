// One case once: its flows put back, a look at all of them, the timed packets, and the driver alone with the same packets.

import { summarize } from '../frame/statistics.ts'
import { type Case, FLOWS, hookOf } from './cases.ts'
import { type Hook, untilWhole } from './driver.ts'
import { type PacketList, reordered, scrambled } from './packet-list.ts'
import type { Populations } from './population.ts'

/** Packets of a timed run; of new flows the runs share all that there are. */
export interface Runs {
  /** Of a sample's runs the median counts: what disturbs the machine comes in bursts. */
  readonly repeats: number
  readonly known: number
  readonly idle: number
}
export const FULL_RUNS: Runs = { repeats: 5, known: 70_000, idle: 40_000 }
export const QUICK_RUNS: Runs = { repeats: 3, known: 40_000, idle: 40_000 }
/** Even of one flow: the program's code has to be in the caches too. */
const WARM_PACKETS_MIN = 1000

/** A look at every flow in another order than that of measuring: the first packet of a tick costs more, and is not what is meant. */
const WARM_ORDER = 0x7f4a7c15

export interface Prepared {
  readonly of: Case
  readonly populations: Populations
  readonly packets: PacketList
  readonly warm: PacketList | undefined
}

export function prepare(of: Case, populations: Populations): Prepared {
  const packets = populations.packets(of)
  const warm = of.phase === 'new' ? undefined : reordered(packets, scrambled(packets.count, WARM_ORDER))
  return { of, populations, packets, warm }
}

/** What so many packets through the selected program cost each, in whatever is measured. */
export type Meter = (hook: Hook, packets: number) => number

/** A packet's cost, the driver's taken off. @param meter nanoseconds by the kernel's own count when absent */
export function measureOnce(prepared: Prepared, runs: Runs, meter?: Meter): number {
  const { of, populations, packets, warm } = prepared
  const hook = hookOf(of)
  const { driver } = populations
  const program = populations.program(hook)
  const measure = meter ?? ((at, count) => driver.run(at, count))
  return untilWhole(() => {
    populations.restore(of)
    if (warm) {
      driver.select(hook, program, warm)
      driver.run(hook, Math.max(warm.count, WARM_PACKETS_MIN))
    }
    const repeated = (repeats: number, count: number) =>
      summarize(Array.from({ length: repeats }, () => measure(hook, count))).median
    driver.select(hook, program, packets)
    // New flows go on through their list, each packet once.
    const count = of.phase === 'new' ? Math.floor(packets.count / runs.repeats) : runs.known
    const gross = repeated(runs.repeats, count)
    driver.select(hook, driver.idle(hook), packets)
    driver.run(hook, Math.min(packets.count, FLOWS.few))
    return gross - repeated(runs.repeats, runs.idle)
  })
}
