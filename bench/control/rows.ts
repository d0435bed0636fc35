// What one round measured, as the frame's figures: which rows, in which table, held against what.

import type { Bound, Figure } from '../frame/figure.ts'
import { type ClusterSize, endpointsOf, sizeName } from './cluster.ts'
import type { RoundFigures } from './measure.ts'

export const TABLES = {
  sync: 'From objects to the kernel, everything at once',
  change: 'From objects to the kernel, one endpoint changed',
  rest: 'Memory, and the processor at rest',
} as const

interface Row {
  readonly table: string
  readonly name: string
  readonly unit: 'ms' | 's' | 'MB' | '%'
  readonly value: (round: RoundFigures) => number
  /** undefined: none is set for this size. */
  readonly most?: (size: ClusterSize) => number | undefined
  /** The table's plot shows it. */
  readonly isDrawn?: boolean
}

/** The bars are set for a cluster of so many Services, and for what is smaller. */
const LARGE = { services: 10_000, endpoints: 100_000 } as const
const SMALL_SERVICES = 1000
const BYTES_PER_MB = 1e6

const always = (value: number) => () => value
const upToLarge = (value: number) => (size: ClusterSize) =>
  endpointsOf(size) <= LARGE.endpoints ? value : undefined

const SYNC: readonly Omit<Row, 'table'>[] = [
  {
    name: 'first list request → kernel holds everything',
    unit: 'ms',
    value: ({ syncMs }) => syncMs,
    most: upToLarge(2000),
    isDrawn: true,
  },
  { name: '… of that: tables → maps', unit: 'ms', value: ({ tablesToMapsMs }) => tablesToMapsMs },
  { name: '… processor time of the agent', unit: 'ms', value: ({ syncCpuMs }) => syncCpuMs },
  {
    name: '… longest stretch on the processor without giving way',
    unit: 'ms',
    value: ({ syncBusyMs }) => syncBusyMs,
    most: always(50),
  },
  {
    name: '… longest delay of a timer',
    unit: 'ms',
    value: ({ syncLoopDelayMs }) => syncLoopDelayMs,
    most: always(50),
  },
  {
    name: 'restart with everything pinned: first list request → done',
    unit: 'ms',
    value: ({ adoptSyncMs }) => adoptSyncMs,
    isDrawn: true,
  },
  { name: '… process start → done', unit: 'ms', value: ({ adoptStartMs }) => adoptStartMs },
]

const CHANGE: readonly Omit<Row, 'table'>[] = [
  {
    name: 'one endpoint changed → kernel, p50',
    unit: 'ms',
    value: ({ change }) => change.p50,
    most: always(1),
    isDrawn: true,
  },
  {
    name: 'one endpoint changed → kernel, p99',
    unit: 'ms',
    value: ({ change }) => change.p99,
    most: always(5),
    isDrawn: true,
  },
  { name: '… processor time of the agent', unit: 'ms', value: (round) => round.churnCpuPerChangeMs },
  {
    name: '… its main thread waiting for a processor',
    unit: 'ms',
    value: (round) => round.churnWaitPerChangeMs,
  },
  {
    name: '… longest stretch on the processor without giving way',
    unit: 'ms',
    value: ({ churnBusyMs }) => churnBusyMs,
    most: always(50),
  },
  {
    name: '… longest delay of a timer',
    unit: 'ms',
    value: ({ churnLoopDelayMs }) => churnLoopDelayMs,
    most: always(50),
  },
  {
    name: '1 000 Services (or all) changed at once → kernel, p50',
    unit: 'ms',
    value: ({ burst }) => burst.p50,
  },
  { name: '… p99', unit: 'ms', value: ({ burst }) => burst.p99 },
]

const REST: readonly Omit<Row, 'table'>[] = [
  {
    name: 'RssAnon at rest',
    unit: 'MB',
    value: ({ rssIdleBytes }) => rssIdleBytes / BYTES_PER_MB,
    most: ({ services }) => (services <= SMALL_SERVICES ? 150 : 400),
  },
  {
    name: 'RssAnon, highest during the sync',
    unit: 'MB',
    value: ({ rssPeakBytes }) => rssPeakBytes / BYTES_PER_MB,
  },
  {
    name: 'kernel holds everything → at rest: every status written',
    unit: 's',
    value: ({ restMs }) => restMs / 1000,
  },
  { name: 'processor at rest', unit: '%', value: ({ idlePercent }) => idlePercent, most: always(1) },
]

const ROWS: readonly Row[] = [
  ...SYNC.map((row) => ({ ...row, table: TABLES.sync })),
  ...CHANGE.map((row) => ({ ...row, table: TABLES.change })),
  ...REST.map((row) => ({ ...row, table: TABLES.rest })),
]

/** @param measured the rounds of each size, in the order of the columns */
export function figuresOf(measured: ReadonlyMap<ClusterSize, readonly RoundFigures[]>): Figure[] {
  return ROWS.flatMap((row) =>
    [...measured].map(([size, rounds]): Figure => {
      const must = row.most?.(size)
      const bound: Bound | undefined = must === undefined ? undefined : { sense: 'at most', must }
      return {
        table: row.table,
        row: row.name,
        column: sizeName(size),
        unit: row.unit,
        samples: rounds.map(row.value),
        ...(row.isDrawn && size.external === 100 ? { x: size.services } : {}),
        ...(bound ? { bound } : {}),
      }
    }),
  )
}
