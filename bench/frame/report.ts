// One family's figures, kept: results/<family>.json is the source, RESULTS.md is written from all of them.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Family, Figure, Measured } from './figure.ts'
import { boundText, gridsOf, markdownText, valueText } from './grid.ts'
import type { Occasion } from './machine.ts'
import { drawPlot } from './plot.ts'
import { type Standing, standingOf } from './statistics.ts'

/** What one run of one family left behind. */
export interface Report extends Measured, Pick<Family, 'name' | 'title' | 'about'> {
  readonly occasion: Occasion
}

const PREFACE = `# Figures

Written by \`npm run bench\`; do not edit. What was tried to reach them, and what did not help, is in \`NOTES.md\`.

A cell is the median of the rounds, in brackets the lowest and the highest. What is compared is measured in turns within one run, and a
ratio (×) is taken round by round. ✓ clears its bar in every round, ✓✓ its median reaches the aim too, ✗ misses in every round; ≈ means
that rounds fell on both sides, so the figure is noisier than the claim and decides nothing. Absolute values are this machine's;
ratios are what carries over to another.
`

/** @returns the files written, JSON first */
export async function keepReport(report: Report, directory: string): Promise<string[]> {
  const results = join(directory, 'results')
  mkdirSync(results, { recursive: true })
  const json = join(results, `${report.name}.json`)
  writeFileSync(json, `${JSON.stringify(report, undefined, 1)}\n`)
  const files = [json]
  for (const plot of report.plots) {
    const svg = await drawPlot(plot, report.figures)
    if (svg === undefined) continue
    const file = join(results, `${plot.file}.svg`)
    writeFileSync(file, `${svg}\n`)
    files.push(file)
  }
  return files
}

/**
 * Writes RESULTS.md from every report kept in the directory, known families first and in their order.
 * @returns its path
 */
export function writePage(directory: string, order: readonly string[]): string {
  const results = join(directory, 'results')
  const reports = readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .map((file): Report => JSON.parse(readFileSync(join(results, file), 'utf8')))
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const page = join(directory, 'RESULTS.md')
  const sections = reports.map((report) => sectionOf(report, results))
  writeFileSync(page, [PREFACE, standingsOf(reports), ...sections].join('\n'))
  return page
}

/** Of every figure that is held against a bar: how many clear it, and which do not. */
function standingsOf(reports: readonly Report[]): string {
  const lines = reports.map((report) => {
    const counts = countStandings(report.figures)
    const text = [...counts].map(([standing, count]) => `${count} ${standing}`).join(', ')
    return `- [${report.title}](#${anchorOf(report.title)}): ${text === '' ? 'held against nothing' : text}`
  })
  return `${lines.join('\n')}\n`
}

const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')

export function countStandings(figures: readonly Figure[]): Map<Standing, number> {
  const counts = new Map<Standing, number>()
  for (const standing of ['aim reached', 'met', 'unclear', 'missed'] as const) {
    const count = figures.filter((figure) => standingOf(figure) === standing).length
    if (count > 0) counts.set(standing, count)
  }
  return counts
}

/** A sentence for each figure that does not clear its bar. */
export function shortfallsOf(figures: readonly Figure[]): string[] {
  return figures.flatMap((figure) => {
    const standing = standingOf(figure)
    if (figure.bound === undefined || (standing !== 'missed' && standing !== 'unclear')) return []
    const place = `${figure.table}: ${figure.row}, ${figure.column}`
    return [`${standing}: ${place}: ${valueText(figure)}, wanted ${boundText(figure.bound, figure.unit)}`]
  })
}

function sectionOf(report: Report, results: string): string {
  const { occasion } = report
  const versions = { ...occasion.versions, ...report.versions }
  const where = [
    `${occasion.begunAt.replace('T', ' ')}, ${occasion.kernel}, ${occasion.machine}.`,
    `${occasion.settings}.`,
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    `${occasion.effort}, ${Math.round(occasion.seconds)} s, load before ${occasion.loadBefore.toFixed(1)}.`,
  ].join(' ')
  const shortfalls = shortfallsOf(report.figures)
  const plots = report.plots
    .filter(({ file }) => existsSync(join(results, `${file}.svg`)))
    .map(({ table, file }) => `![${table}](results/${file}.svg)`)
  return [
    `## ${report.title}`,
    report.about.trim(),
    where,
    ...gridsOf(report.figures).map(markdownText),
    ...plots,
    report.remarks.map((remark) => `- ${remark}`).join('\n'),
    shortfalls.length === 0 ? '' : `Not reached:\n\n${shortfalls.map((line) => `- ${line}`).join('\n')}`,
    '',
  ]
    .filter((part, index, parts) => part !== '' || index === parts.length - 1)
    .join('\n\n')
}
