// The same packets by other clocks: the kernel's run statistics of BPF programs, and the processor's own counters where there are any.
// Both see the program that feeds and what it calls as one; what feeding alone costs is taken off as in every other figure.

import { setImmediate } from 'node:timers/promises'
import { enableRunTimeStats } from '../../src/sys/libbpf-ts/index.ts'
import { openPerfCounter, PerfCounter, type PerfEvent } from '../../src/sys/libc/perf-events.ts'
import type { Figure } from '../frame/figure.ts'
import { interleave, type Measurement } from '../frame/interleave.ts'
import type { Driver } from './driver.ts'
import { rowOf } from './figures.ts'
import { type Meter, measureOnce, type Prepared, type Runs } from './measure.ts'

/** The kernel reads a clock twice a run for them: dear, but it falls out with the driver's share. */
function statisticsMeter(driver: Driver): Meter {
  return (hook, packets) => {
    const before = driver.feeder(hook).info()
    driver.run(hook, packets)
    const after = driver.feeder(hook).info()
    return Number(after.runTimeNs - before.runTimeNs) / Number(after.runCount - before.runCount)
  }
}

/** Each case by test run and by run statistics, in turns. */
export async function checkByStatistics(
  cases: readonly Prepared[],
  runs: Runs,
  rounds: number,
): Promise<Figure[]> {
  const measurements = new Map<string, Measurement>()
  for (const prepared of cases) {
    const meter = statisticsMeter(prepared.populations.driver)
    measurements.set(`${prepared.of.id} test run`, () =>
      setImmediate().then(() => measureOnce(prepared, runs)),
    )
    measurements.set(`${prepared.of.id} statistics`, () => {
      const disable = enableRunTimeStats()
      try {
        return measureOnce(prepared, runs, meter)
      } finally {
        disable()
      }
    })
  }
  const measured = await interleave(measurements, rounds)
  const table = 'Cross-check by the run statistics of BPF programs'
  return cases.flatMap(({ of }) =>
    (['test run', 'statistics'] as const).map((column) => ({
      table,
      row: rowOf(of),
      column: column === 'test run' ? 'by test run' : 'by run statistics',
      unit: 'ns',
      samples: measured.get(`${of.id} ${column}`) ?? [],
    })),
  )
}

const HARDWARE: readonly PerfEvent[] = ['instructions', 'cycles', 'cache misses', 'branch misses']

/** What the processor counts a packet. @returns figures, and a remark where it counts nothing that we may see */
export function countByHardware(
  cases: readonly Prepared[],
  runs: Runs,
  rounds: number,
): { readonly figures: Figure[]; readonly remarks: string[] } {
  const figures: Figure[] = []
  const absent: string[] = []
  for (const event of HARDWARE) {
    const counter = openPerfCounter(event)
    if (!(counter instanceof PerfCounter)) {
      absent.push(`${event} (${counter})`)
      continue
    }
    for (const prepared of cases) {
      const { driver } = prepared.populations
      const meter: Meter = (hook, packets) => {
        const before = counter.read()
        driver.run(hook, packets)
        return Number(counter.read() - before) / packets
      }
      const samples = Array.from({ length: rounds }, () => measureOnce(prepared, runs, meter))
      figures.push({
        table: 'Counted by the processor',
        row: rowOf(prepared.of),
        column: event,
        unit: '',
        samples,
      })
    }
    counter.close()
  }
  if (absent.length === 0) return { figures, remarks: [] }
  return {
    figures,
    remarks: [`This machine's processor lets nobody count ${absent.join(', ')}: perf_event_open has none.`],
  }
}
