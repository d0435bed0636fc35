// The README tells a few figures: they are those of the results that are kept, or the README is stale.

import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Report } from '../../../bench/frame/report.ts'
import { summarize } from '../../../bench/frame/statistics.ts'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** A figure of the README may be rounded, and a run differs from the one before: less than this decides nothing. */
const TOLERANCE = 0.15

/** Row of the README → table and row of the family `forward`. */
const ROWS = {
  'established, to a pod of the node, by iptables mode': [
    'Packets a core, against iptables mode',
    'Weir XDP: 65 536 established flows to a pod of the node',
  ],
  'established, on to another node, by iptables mode': [
    'Packets a core, against iptables mode',
    'Weir XDP: 65 536 established flows leaving the node',
  ],
  'new flows to a pod of the node, by iptables mode': [
    'Packets a core, against iptables mode',
    'Weir XDP: new flows to a pod of the node',
  ],
  '– by nftables mode': ['Packets a core, against nftables mode', 'Weir XDP: new flows to a pod of the node'],
} as const

t.test('the ratios that the README tells are those that were measured', async (t) => {
  const { figures }: Report = JSON.parse(read('bench/results/forward.json'))
  const lines = read('README.md').split('\n')
  for (const [title, [table, row]] of Object.entries(ROWS)) {
    const cells = lines.find((line) => line.startsWith(`| ${title} |`))?.split('|') ?? []
    const told = cells.slice(2, 5).map(Number.parseFloat)
    const measured = [10, 1000, 10_000].map((services) => {
      const figure = figures.find((one) => one.table === table && one.row === row && one.x === services)
      return summarize(figure?.samples ?? []).median
    })
    for (const [index, value] of measured.entries())
      t.ok(
        Math.abs((told[index] ?? Number.NaN) / value - 1) < TOLERANCE,
        `${title}: ${told[index]} is told, ${value} was measured`,
      )
  }
})
