// Windows as figures: cost, packets a core, ratios with their bars, programming time. Pure.

import type { Figure, Plot } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { ratio } from '../frame/statistics.ts'
import {
  FIXED_FLOWS,
  FLAT,
  MANY_FLOWS,
  type Phase,
  ratioBound,
  SIDE_TITLES,
  SIDES,
  type Side,
} from './cases.ts'
import type { Programming } from './measure.ts'

const NS_PER_SECOND = 1e9
const OURS = 'Weir XDP'

export interface Sampled {
  readonly phase: Phase | 'fixed' | 'spread' | 'full'
  readonly side: Side
  readonly title: string
  readonly size: number
  readonly isPeer: boolean
  /** CPU nanoseconds a packet, by round. */
  readonly cpuNs: readonly number[]
}

export const servicesText = (size: number): string => `${numberText(size)} Services`

const PHASE_TITLES: Readonly<Record<Phase, string>> = {
  established: `${numberText(MANY_FLOWS)} established flows`,
  new: 'new flows',
}

const costTable = (phase: Phase, side: Side): string =>
  `CPU a packet, ${PHASE_TITLES[phase]} ${SIDE_TITLES[side]}`
const rateTable = (phase: Phase, side: Side): string =>
  `Packets a second and core, ${PHASE_TITLES[phase]} ${SIDE_TITLES[side]}`

export function figuresOf(
  sizes: readonly number[],
  sampled: readonly Sampled[],
  programming: readonly Programming[],
): Figure[] {
  const pairs = (['established', 'new'] as const).flatMap((phase) => SIDES.map((side) => ({ phase, side })))
  return [
    ...ratioFigures(sampled),
    ...pairs.flatMap(({ phase, side }) => costFigures(sampled, phase, side)),
    ...pairs.flatMap(({ phase, side }) => rateFigures(sampled, phase, side)),
    ...sizeFigures(sizes, sampled),
    ...programmingFigures(programming),
  ]
}

function placed(sample: Sampled): Pick<Figure, 'column' | 'x'> {
  return { column: servicesText(sample.size), x: sample.size }
}

const packetsPerSecond = (cpuNs: readonly number[]) => cpuNs.map((ns) => NS_PER_SECOND / ns)

/** New flows in a full table beside those in an empty one. */
function rowsOf(sampled: readonly Sampled[], phase: Phase, side: Side): { row: string; sample: Sampled }[] {
  return sampled.flatMap((sample) => {
    if (sample.side !== side) return []
    if (sample.phase === phase) return [{ row: sample.title, sample }]
    return phase === 'new' && sample.phase === 'full'
      ? [{ row: `${sample.title}, flow table full`, sample }]
      : []
  })
}

function costFigures(sampled: readonly Sampled[], phase: Phase, side: Side): Figure[] {
  return rowsOf(sampled, phase, side).map(({ row, sample }) => ({
    table: costTable(phase, side),
    row,
    ...placed(sample),
    unit: 'ns',
    samples: sample.cpuNs,
    isPeer: sample.isPeer,
  }))
}

function rateFigures(sampled: readonly Sampled[], phase: Phase, side: Side): Figure[] {
  return rowsOf(sampled, phase, side).map(({ row, sample }) => ({
    table: rateTable(phase, side),
    row,
    ...placed(sample),
    unit: 'packets/s',
    samples: packetsPerSecond(sample.cpuNs),
    isPeer: sample.isPeer,
  }))
}

/** Packets a core, ours over the rivals', by round. */
function ratioFigures(sampled: readonly Sampled[]): Figure[] {
  return ['iptables mode', 'nftables mode'].flatMap((rival) =>
    (['established', 'new'] as const).flatMap((phase) =>
      SIDES.flatMap((side) =>
        rowsOf(sampled, phase, side).flatMap(({ row, sample }): Figure[] => {
          const other = sampled.find(
            (one) =>
              one.phase === phase && one.side === side && one.title === rival && one.size === sample.size,
          )
          if (sample.isPeer || !other) return []
          const bound = row === OURS ? ratioBound(rival, phase, side, sample.size) : undefined
          const place = {
            table: `Packets a core, against ${rival}`,
            row: `${row}: ${PHASE_TITLES[phase]} ${SIDE_TITLES[side]}`,
            ...placed(sample),
          }
          return [
            ratio(
              { samples: other.cpuNs },
              { samples: sample.cpuNs },
              { ...place, ...(bound ? { bound } : {}) },
            ),
          ]
        }),
      ),
    ),
  )
}

const SIZE_TABLE = 'Weir XDP against the number of Services'

function sizeFigures(sizes: readonly number[], sampled: readonly Sampled[]): Figure[] {
  const titles = {
    fixed: `${numberText(FIXED_FLOWS)} flows over 32 Services`,
    spread: `${numberText(MANY_FLOWS)} flows over all Services`,
  } as const
  return (['fixed', 'spread'] as const).flatMap((phase) =>
    SIDES.flatMap((side) => {
      const ofSide = sampled.filter((one) => one.phase === phase && one.side === side)
      const row = `${titles[phase]} ${SIDE_TITLES[side]}`
      const costs = ofSide.map(
        (sample): Figure => ({
          table: SIZE_TABLE,
          row,
          ...placed(sample),
          unit: 'ns',
          samples: sample.cpuNs,
        }),
      )
      const [first, last] = [sizes[0], sizes.at(-1)].map((size) => ofSide.find((one) => one.size === size))
      if (!first || !last || first === last) return costs
      const place = {
        table: `${SIZE_TABLE}: packets a second at the most over those at the fewest`,
        row,
        column: `${servicesText(last.size)} over ${servicesText(first.size)}`,
        ...(phase === 'fixed' ? { bound: FLAT } : {}),
      }
      return [...costs, ratio({ samples: first.cpuNs }, { samples: last.cpuNs }, place)]
    }),
  )
}

function programmingFigures(programming: readonly Programming[]): Figure[] {
  const one = (table: string, { title, size, isPeer }: Programming, samples: readonly number[]): Figure => ({
    table,
    row: title,
    column: servicesText(size),
    x: size,
    unit: 'ms',
    samples,
    isPeer,
  })
  return [
    ...programming.map((entry) => one('Programming the kernel: all Services', entry, [entry.loadMs])),
    ...programming.map((entry) => one('Programming the kernel: one endpoint changed', entry, entry.changeMs)),
  ]
}

export function plotsOf(): Plot[] {
  const costs = (['established', 'new'] as const).flatMap((phase) =>
    SIDES.map((side) => ({ table: costTable(phase, side), file: `forward-${phase}-${side}` })),
  )
  const others = [
    { table: SIZE_TABLE, file: 'forward-size' },
    { table: 'Programming the kernel: all Services', file: 'forward-load' },
    { table: 'Programming the kernel: one endpoint changed', file: 'forward-change' },
  ]
  return [...costs, ...others].map(({ table, file }) => ({
    table,
    file,
    abscissa: 'Services',
    scale: /size|established/.test(file) ? 'linear' : 'logarithmic',
  }))
}
