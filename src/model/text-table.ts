// Tables as kubectl users know them: a header, columns as wide as their widest cell, two blanks apart. Where a page is too narrow, cells of
// the columns that may give way go on below themselves; nothing is ever cut off.

/** What people read without turning their head; a terminal may offer less, or more. */
export const PAGE_WIDTH = 120

const GAP = 2
/** Narrower than this, prose has a word a line. */
const PROSE_MIN = 16
/** An IPv4 network fits, and the rest of an address is found below it. */
const WORD_MIN = 18

export interface Page {
  /** Characters in a line; Infinity: as wide as it takes. */
  readonly width: number
  /** Titles of the columns that give way first, the widest of them before the others. */
  readonly flexible: readonly string[]
}

export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  page?: Page,
): string {
  const widths = header.map((title, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), title.length),
  )
  if (page) fitWidths(widths, header, page)
  return [header, ...rows].map((row) => formatRow(row, widths)).join('\n')
}

function fitWidths(widths: number[], header: readonly string[], { width, flexible }: Page): void {
  const all = header.map((_, column) => column)
  const yielding = all.filter((column) => flexible.includes(header[column] ?? ''))
  let excess = widths.reduce((sum, one) => sum + one, GAP * (widths.length - 1)) - width
  for (const [columns, least] of [
    [yielding, PROSE_MIN],
    [all, WORD_MIN],
  ] as const)
    for (; excess > 0; excess--) {
      const column = widestAbove(widths, columns, (one) => Math.max(header[one]?.length ?? 0, least))
      if (column === undefined) break
      widths[column] = (widths[column] ?? 0) - 1
    }
}

function widestAbove(
  widths: readonly number[],
  columns: readonly number[],
  least: (column: number) => number,
): number | undefined {
  let widest: number | undefined
  for (const column of columns) {
    const width = widths[column] ?? 0
    if (width > least(column) && width > (widest === undefined ? 0 : (widths[widest] ?? 0))) widest = column
  }
  return widest
}

function formatRow(row: readonly string[], widths: readonly number[]): string {
  const cells = widths.map((width, column) => breakLines(row[column] ?? '', width))
  const height = Math.max(1, ...cells.map((lines) => lines.length))
  return Array.from({ length: height }, (_, line) =>
    cells
      .map((lines, column) => (lines[line] ?? '').padEnd((widths[column] ?? 0) + GAP))
      .join('')
      .trimEnd(),
  ).join('\n')
}

/** Broken between words, and within a word that is longer than a line. */
function breakLines(text: string, width: number): string[] {
  if (text.length <= width) return [text]
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (longer.length <= width) {
      line = longer
      continue
    }
    if (line !== '') lines.push(line)
    line = word
    for (; line.length > width; line = line.slice(width)) lines.push(line.slice(0, width))
  }
  return [...lines, line]
}

/** A paragraph; every line but its first is indented. */
export function wrapText(text: string, width: number, indent = ''): string {
  const whole = text.trim()
  const [first = '', ...others] = breakLines(whole, width)
  if (others.length === 0) return first
  const rest = breakLines(whole.slice(first.length).trimStart(), width - indent.length)
  return [first, ...rest.map((line) => `${indent}${line}`)].join('\n')
}

/** `Name   value` a line, values below each other and wrapped; `lead` stands before each. */
export function formatFields(
  fields: readonly (readonly [name: string, value: string])[],
  width: number,
  lead = '',
): string {
  const column = Math.max(0, ...fields.map(([name]) => name.length)) + GAP
  return fields
    .flatMap(([name, value]) =>
      breakLines(value, Math.max(PROSE_MIN, width - lead.length - column)).map((line, index) =>
        `${lead}${(index === 0 ? name : '').padEnd(column)}${line}`.trimEnd(),
      ),
    )
    .join('\n')
}

/** How long ago it was. Who set it may have had a clock that was ahead. */
export function formatAge(sinceMs: number, nowMs: number): string {
  return formatSeconds(Math.max(0, Math.floor((nowMs - sinceMs) / 1000)))
}

/** `12s`, `5m`, `3h`, `2d`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}
