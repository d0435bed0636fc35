// Figures against budgets: on the screen, and as a section of bench/RESULTS.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Figures, Percentiles } from './measure.ts'

const RESULTS = fileURLToPath(new URL('../RESULTS.md', import.meta.url))
const MARKERS = ['<!-- written by npm run bench:control -->', '<!-- end of bench:control -->'] as const

interface Row {
  readonly name: string
  readonly unit: string
  readonly value: (figures: Figures) => number
  readonly digits: number
  /** undefined: none is set for this size. */
  readonly budget?: (figures: Figures) => number | undefined
}

const LARGE_SERVICES = 10_000
const ofPercentiles = ({ p50, p99, max }: Percentiles) => ({ p50, p99, max })
const isLarge = ({ size }: Figures) => size.services >= LARGE_SERVICES
const always = (value: number) => () => value

const ROWS: readonly Row[] = [
  {
    name: 'first list request → kernel holds everything',
    unit: 'ms',
    value: ({ syncMs }) => syncMs,
    digits: 0,
    budget: ({ size }) => (size.services * size.endpoints <= 100_000 ? 2000 : undefined),
  },
  {
    name: '… of that: tables → maps',
    unit: 'ms',
    value: ({ tablesToMapsMs }) => tablesToMapsMs,
    digits: 0,
    budget: always(2000),
  },
  { name: '… processor time of the agent', unit: 'ms', value: (f) => f.syncCpuMs, digits: 0 },
  {
    name: '… longest stretch on the processor without giving way',
    unit: 'ms',
    value: (f) => f.syncBusyMs,
    digits: 0,
    budget: always(50),
  },
  { name: '… longest delay of a timer', unit: 'ms', value: (f) => f.syncLoopDelayMs, digits: 0 },
  {
    name: 'one endpoint changed → kernel, p50',
    unit: 'ms',
    value: (f) => ofPercentiles(f.change).p50,
    digits: 2,
    budget: always(1),
  },
  { name: '… p99', unit: 'ms', value: (f) => f.change.p99, digits: 2, budget: always(5) },
  {
    name: '… processor time of the agent per change',
    unit: 'ms',
    value: (f) => f.churnCpuPerChangeMs,
    digits: 2,
  },
  {
    name: '… longest stretch without giving way',
    unit: 'ms',
    value: (f) => f.churnBusyMs,
    digits: 1,
    budget: always(50),
  },
  { name: '… longest delay of a timer', unit: 'ms', value: (f) => f.churnLoopDelayMs, digits: 1 },
  { name: '1000 Services changed at once → kernel, p50', unit: 'ms', value: (f) => f.burst.p50, digits: 0 },
  { name: '… p99', unit: 'ms', value: (f) => f.burst.p99, digits: 0, budget: always(5000) },
  {
    name: 'RssAnon at rest',
    unit: 'MB',
    value: (f) => f.rssIdleBytes / 1e6,
    digits: 0,
    budget: (f) => (isLarge(f) ? 400 : 150),
  },
  { name: 'RssAnon, highest during the sync', unit: 'MB', value: (f) => f.rssPeakBytes / 1e6, digits: 0 },
  { name: 'processor at rest', unit: '%', value: (f) => f.idlePercent, digits: 2, budget: always(1) },
  {
    name: 'restart with everything pinned: process start → done',
    unit: 'ms',
    value: (f) => f.adoptStartMs,
    digits: 0,
  },
  { name: '… first list request → done', unit: 'ms', value: (f) => f.adoptSyncMs, digits: 0 },
]

function describeSize({ size }: Figures): string {
  const endpoints = size.services * size.endpoints
  const share = size.external < 100 ? `, ${size.external} % of them external` : ''
  return `${size.services} Services${share}, ${endpoints} endpoints, ${size.nodes} nodes`
}

function textOf(row: Row, figures: Figures): string {
  return `${row.value(figures).toFixed(row.digits)} ${row.unit}`
}

export function printFigures(figures: Figures, say: (line: string) => void): void {
  for (const row of ROWS) {
    const budget = row.budget?.(figures)
    const limit = budget === undefined ? '' : `(budget ${budget} ${row.unit})`
    say(`  ${row.name.padEnd(56)} ${textOf(row, figures).padStart(12)}  ${limit}`)
  }
}

/** One sentence each. */
export function missedBudgets(figures: Figures): string[] {
  return ROWS.flatMap((row) => {
    const budget = row.budget?.(figures)
    if (budget === undefined || row.value(figures) <= budget) return []
    return [`${describeSize(figures)}: ${row.name} ${textOf(row, figures)}, more than ${budget} ${row.unit}`]
  })
}

export function writeResults(measured: readonly Figures[]): void {
  const page = readFileSync(RESULTS, 'utf8')
  const [start, end] = MARKERS.map((marker) => page.indexOf(marker)) as [number, number]
  if (start < 0 || end < 0) throw new Error(`bench/RESULTS.md lacks its markers ${MARKERS.join(' and ')}`)
  writeFileSync(
    RESULTS,
    `${page.slice(0, start + MARKERS[0].length)}\n\n${section(measured)}\n\n${page.slice(end)}`,
  )
}

function section(measured: readonly Figures[]): string {
  const load = loadavg().map((value) => value.toFixed(1))
  const machine =
    `${new Date().toISOString().slice(0, 10)}; Linux ${release()}; ${cpus().length} × ${cpus()[0]?.model.trim()}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB; Node ${process.version}; load of the machine at the end ${load.join(', ')}.`
  const head = ['', ...measured.map(describeSize), 'budget']
  const rows = ROWS.map((row) => {
    const budgets = [...new Set(measured.map((figures) => row.budget?.(figures)))].filter(
      (budget) => budget !== undefined,
    )
    const limit = budgets.length === 0 ? '' : `${budgets.join(' / ')} ${row.unit}`
    return [row.name, ...measured.map((figures) => textOf(row, figures)), limit]
  })
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [machine, '', line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
