// A plot of one table: cost against size, a series a row, ours drawn full and peers’ dashed, with the spread of the rounds.

import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Figure, Plot } from './figure.ts'
import { summarize } from './statistics.ts'

const SIZE = { width: 640, height: 360 } as const

interface Point {
  readonly series: string
  readonly whose: 'ours' | 'a peer’s'
  readonly x: number
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

/** @returns the text of an SVG file; undefined when fewer than two points have an abscissa */
export async function drawPlot(plot: Plot, figures: readonly Figure[]): Promise<string | undefined> {
  const drawn = figures.filter(
    ({ table, x, samples }) => table === plot.table && x !== undefined && samples.length,
  )
  if (new Set(drawn.map(({ x }) => x)).size < 2) return undefined
  const points = drawn.map(
    ({ row, x = 0, samples, isPeer }): Point => ({
      series: row,
      whose: isPeer ? 'a peer’s' : 'ours',
      x,
      ...summarize(samples),
    }),
  )
  const view = new View(parse(compile(specification(plot, points, drawn[0]?.unit ?? '')).spec), {
    renderer: 'none',
  })
  try {
    return await view.toSVG()
  } finally {
    view.finalize()
  }
}

function specification(plot: Plot, points: readonly Point[], unit: string): TopLevelSpec {
  const series = [...new Set(points.map((point) => point.series))]
  const ticks = [...new Set(points.map((point) => point.x))]
  // A linear scale starts at zero, so that heights can be compared; a logarithmic one has none.
  const scale = plot.scale === 'logarithmic' ? { type: 'log' as const } : { zero: true }
  return {
    ...SIZE,
    title: plot.table,
    background: 'white',
    padding: 12,
    data: { values: [...points] },
    encoding: {
      x: {
        field: 'x',
        type: 'quantitative',
        scale: { type: 'log' },
        axis: { title: plot.abscissa, values: ticks, format: ',' },
      },
      color: {
        field: 'series',
        type: 'nominal',
        scale: { domain: series },
        legend: { title: null, labelLimit: 400 },
      },
    },
    layer: [
      {
        mark: { type: 'line', point: true },
        encoding: {
          y: { field: 'median', type: 'quantitative', scale, axis: { title: unit, format: '~s' } },
          strokeDash: {
            field: 'whose',
            type: 'nominal',
            scale: { domain: ['ours', 'a peer’s'], range: [[], [6, 4]] },
            legend: { title: null, symbolType: 'stroke', symbolSize: 400 },
          },
        },
      },
      {
        mark: { type: 'rule', strokeWidth: 1.5 },
        encoding: { y: { field: 'lowest', type: 'quantitative' }, y2: { field: 'highest' } },
      },
    ],
  }
}
