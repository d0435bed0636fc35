import t from 'tap'
import { type ClusterSize, sizeName } from '../../../bench/control/cluster.ts'
import type { RoundFigures } from '../../../bench/control/measure.ts'
import { percentiles } from '../../../bench/control/percentiles.ts'
import { figuresOf } from '../../../bench/control/rows.ts'

const LARGE: ClusterSize = { services: 10_000, endpoints: 10, nodes: 100, external: 100 }
const LARGEST: ClusterSize = { services: 10_000, endpoints: 15, nodes: 5000, external: 10 }

const round: RoundFigures = {
  syncMs: 1900,
  tablesToMapsMs: 1200,
  syncCpuMs: 1800,
  syncLoopDelayMs: 40,
  syncBusyMs: 30,
  restMs: 20_000,
  rssIdleBytes: 300e6,
  rssPeakBytes: 350e6,
  idlePercent: 0.5,
  change: { p50: 0.7, p99: 2.5, max: 4 },
  churnLoopDelayMs: 8,
  churnBusyMs: 5,
  churnCpuPerChangeMs: 1.1,
  churnWaitPerChangeMs: 0.1,
  burst: { p50: 300, p99: 400, max: 410 },
  adoptStartMs: 3000,
  adoptSyncMs: 1500,
}

t.test('percentiles are of the sorted values, and of nothing there are none', async (t) => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index)
  t.strictSame(percentiles(values), { p50: 101, p99: 199, max: 200 })
  t.strictSame(percentiles([7]), { p50: 7, p99: 7, max: 7 })
  t.ok(Number.isNaN(percentiles([]).p99))
})

t.test('a size is named by what sets it apart', async (t) => {
  t.equal(sizeName(LARGE), '10 000 Services × 10')
  t.equal(sizeName(LARGEST), '10 000 Services × 15, 5 000 nodes, 10 % external')
})

t.test(
  'every figure has a sample a round; the largest cluster has its own bars and is no point of the plots',
  async (t) => {
    const figures = figuresOf(
      new Map([
        [LARGE, [round, { ...round, syncMs: 2100 }]],
        [LARGEST, [round]],
      ]),
    )
    const of = (row: string, size: ClusterSize) =>
      figures.find((figure) => figure.row === row && figure.column === sizeName(size))
    const sync = 'first list request → kernel holds everything'
    t.strictSame(of(sync, LARGE)?.samples, [1900, 2100])
    t.strictSame(of(sync, LARGE)?.bound, { sense: 'at most', must: 2000 })
    t.equal(of(sync, LARGEST)?.bound, undefined)
    const change = 'one endpoint changed → kernel, p99'
    t.match(of(change, LARGE), { samples: [2.5, 2.5], unit: 'ms', x: 10_000, bound: { must: 5 } })
    t.match(of(change, LARGEST), { samples: [2.5], bound: { must: 5 } })
    t.equal(of(change, LARGEST)?.x, undefined)
    for (const table of new Set(figures.map((figure) => figure.table))) {
      const drawn = figures.filter((figure) => figure.table === table && figure.x !== undefined)
      t.ok(new Set(drawn.map(({ unit }) => unit)).size <= 1, `${table}: a plot has one unit`)
      const cells = figures
        .filter((figure) => figure.table === table)
        .map(({ row, column }) => `${row} ${column}`)
      t.equal(new Set(cells).size, cells.length, `${table}: a row is one thing`)
    }
  },
)
