// One case once: its flows put back, a look at all of them, the timed packets, and the driver alone with the same packets.

import { type Case, FLOWS, hookOf } from './cases.ts'
import { untilWhole } from './driver.ts'
import { type PacketList, reordered, scrambled } from './packet-list.ts'
import type { Populations } from './population.ts'

/** Packets of a timed run; new flows have as many as the case has flows. */
export interface Runs {
  readonly known: number
  readonly idle: number
}
export const FULL_RUNS: Runs = { known: 300_000, idle: 200_000 }

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

/** Nanoseconds a packet, the driver's taken off. */
export function measureOnce({ of, populations, packets, warm }: Prepared, runs: Runs): number {
  const hook = hookOf(of)
  const { driver } = populations
  const program = populations.program(hook)
  return untilWhole(() => {
    populations.restore(of)
    if (warm) {
      driver.select(hook, program, warm)
      driver.run(hook, Math.max(warm.count, 1000))
    }
    driver.select(hook, program, packets)
    const gross = driver.run(hook, of.phase === 'new' ? packets.count : Math.max(runs.known, packets.count))
    driver.select(hook, driver.idle(hook), packets)
    driver.run(hook, Math.min(packets.count, FLOWS.few))
    return gross - driver.run(hook, runs.idle)
  })
}
