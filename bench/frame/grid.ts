// Figures as tables: the same grid on the screen and on the page.

import type { Bound, Figure } from './figure.ts'
import { type Standing, standingOf, summarize } from './statistics.ts'

export interface Grid {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export const MARKS: Readonly<Record<Standing, string>> = {
  'aim reached': '✓✓',
  met: '✓',
  unclear: '≈',
  missed: '✗',
}

/** One grid a table, tables, rows and columns in the order in which the figures first name them. */
export function gridsOf(figures: readonly Figure[]): Grid[] {
  return namesOf(figures, ({ table }) => table).map((title) => {
    const inTable = figures.filter(({ table }) => table === title)
    const columns = namesOf(inTable, ({ column }) => column)
    const rows = namesOf(inTable, ({ row }) => row).map((name) => {
      const inRow = inTable.filter(({ row }) => row === name)
      const cells = columns.map((column) => cellOf(inRow.find((figure) => figure.column === column)))
      return [name, ...cells, boundsOf(inRow)]
    })
    // A table in which nothing is held against anything needs no column for it.
    if (rows.every((row) => row.at(-1) === ''))
      return { title, columns: ['', ...columns], rows: rows.map((row) => row.slice(0, -1)) }
    return { title, columns: ['', ...columns, 'must (aim)'], rows }
  })
}

function namesOf(figures: readonly Figure[], name: (figure: Figure) => string): string[] {
  return [...new Set(figures.map(name))]
}

function cellOf(figure: Figure | undefined): string {
  if (figure === undefined || figure.samples.length === 0) return '–'
  const standing = standingOf(figure)
  return [valueText(figure), standing === undefined ? '' : MARKS[standing]].join(' ').trimEnd()
}

/** '78 [76–81] ns'; of a single round, or rounds that agree, the value alone. */
export function valueText({ samples, unit }: Pick<Figure, 'samples' | 'unit'>): string {
  const { median, lowest, highest } = summarize(samples)
  const [middle, low, high] = [median, lowest, highest].map((value) => numberText(value))
  const spread = low === high ? '' : ` [${low}–${high}]`
  return unit === '×' ? `${middle}×${spread}` : `${middle}${spread} ${unit}`
}

/** Three significant digits, more where the number is whole and large. */
export function numberText(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
  if (size >= 10) return trimmed(value.toFixed(1))
  return trimmed(value.toFixed(2))
}

const trimmed = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)

export function boundText({ sense, must, aim }: Bound, unit: string): string {
  const sign = sense === 'at most' ? '≤' : '≥'
  const suffix = unit === '×' ? '×' : ` ${unit}`
  const bars = [
    must === undefined ? '' : `${sign} ${numberText(must)}${suffix}`,
    aim === undefined ? '' : `(${numberText(aim)})`,
  ]
  return bars.filter((bar) => bar !== '').join(' ')
}

/** The bounds of a row, in the order of its columns where they differ. */
function boundsOf(figures: readonly Figure[]): string {
  const texts = figures.flatMap(({ bound, unit }) => (bound === undefined ? [] : [boundText(bound, unit)]))
  return [...new Set(texts)].join('; ')
}

export function screenText({ title, columns, rows }: Grid): string {
  const lines = [columns, ...rows]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)))
  const text = lines.map((line) =>
    line
      .map((cell, index) =>
        index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
  return [title, ...text.map((line) => `  ${line}`)].join('\n')
}

export function markdownText({ title, columns, rows }: Grid): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const rule = columns.map((_, index) => (index === 0 ? '---' : '---:'))
  return [`**${title}**`, '', line(columns), line(rule), ...rows.map(line)].join('\n')
}
