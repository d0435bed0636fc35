// One case once: its flows put back, a look at all of them, the timed packets, and the driver alone with the same packets.

import type { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'
import { type Case, FLOWS, hookOf } from './cases.ts'
import { type Driver, type Hook, untilWhole } from './driver.ts'
import { type PacketList, reordered, scrambled } from './packet-list.ts'
import type { Populations } from './population.ts'

/**
 * A sample is the lowest of so many windows: what else runs on the machine comes in bursts, and only adds. The windows of a sample are
 * alike: so many packets of known flows (whole turns of few flows), or equal parts of all new flows that there are.
 */
export interface Runs {
  readonly known: { readonly windows: number; readonly packets: number }
  readonly fresh: { readonly windows: number }
  readonly idle: { readonly windows: number; readonly packets: number }
}
export const FULL_RUNS: Runs = {
  known: { windows: 20, packets: 4 * FLOWS.few },
  fresh: { windows: 8 },
  idle: { windows: 20, packets: 10_000 },
}
export const QUICK_RUNS: Runs = {
  ...FULL_RUNS,
  known: { windows: 8, packets: 4 * FLOWS.few },
  idle: { windows: 8, packets: 10_000 },
}
/** Even of one flow: the program's code has to be in the caches too. */
const WARM_PACKETS_MIN = 1000

/** A look at every flow in another order than that of measuring: the first packet of a tick costs more, and is not what is meant. */
export const WARM_ORDER = 0x7f4a7c15

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
  const restore = () => populations.restore(of)
  return measureTimed(
    { hook, driver, program, packets, warm, isFresh: of.phase === 'new', restore },
    runs,
    meter,
  )
}

/** What is timed, whatever it is. */
export interface Timed {
  readonly driver: Driver
  readonly hook: Hook
  readonly program: BpfProgram
  readonly packets: PacketList
  /** Looked at before, untimed. */
  readonly warm: PacketList | undefined
  /** Each packet is the first of its flow: none is sent twice. */
  readonly isFresh: boolean
  /** Makes the flow table what it begins with. */
  restore(): void
}

export function measureTimed(timed: Timed, runs: Runs, meter?: Meter): number {
  const { driver, hook, program, packets, warm } = timed
  const measure = meter ?? ((at, count) => driver.run(at, count))
  return untilWhole(() => {
    timed.restore()
    if (warm) {
      driver.select(hook, program, warm)
      driver.run(hook, Math.max(warm.count, WARM_PACKETS_MIN))
    }
    const lowest = (windows: number, count: number) =>
      Math.min(...Array.from({ length: windows }, () => measure(hook, count)))
    driver.select(hook, program, packets)
    // New flows go on through their list, each packet once.
    const { windows } = runs.fresh
    const gross = timed.isFresh
      ? lowest(windows, Math.floor(packets.count / windows))
      : lowest(runs.known.windows, runs.known.packets)
    driver.select(hook, driver.idle(hook), packets)
    driver.run(hook, Math.min(packets.count, FLOWS.few))
    return gross - lowest(runs.idle.windows, runs.idle.packets)
  })
}
