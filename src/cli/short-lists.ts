// Sentences about several things at once: which, as many as are read, and what.

import { wrapText } from '../model/text-table.ts'

const NAMES_SHOWN = 5

/** The sentence of each thing → a line for each sentence, in the order they come, with the names of what it is said of. */
export function sentences(said: readonly (readonly [name: string, text: string])[]): string[] {
  const namesOf = new Map<string, string[]>()
  for (const [name, text] of said) {
    const names = namesOf.get(text)
    if (names) names.push(name)
    else namesOf.set(text, [name])
  }
  return [...namesOf].map(([text, names]) => `${beforeColon(shortList(names))}: ${text}`)
}

/** A table that keeps its cells short, and below it what is to be said beyond them. */
export function withSentences(table: string, said: readonly string[], width: number): string {
  const below = said.map((text) => wrapText(text, width, '  '))
  return `${[table, ...(below.length > 0 ? ['', ...below] : [])].join('\n')}\n`
}

export interface Footnotes {
  /** `[1]`: what stands in the cell in the text's place; the same of the same text. */
  readonly mark: (text: string) => string
  /** What stands below the table, in the order of the marks. */
  readonly texts: () => readonly string[]
}

/** For texts that are too long for cells, and the same in many rows. */
export function footnotes(): Footnotes {
  const marks = new Map<string, string>()
  return {
    mark: (text) => {
      if (text === '') return ''
      const mark = marks.get(text) ?? `[${marks.size + 1}]`
      marks.set(text, mark)
      return mark
    },
    texts: () => [...marks].map(([text, mark]) => `${mark} ${text}`),
  }
}

function shortList(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN
  return more > 1 ? `${names.slice(0, NAMES_SHOWN).join(', ')} and ${more} more` : names.join(', ')
}

/** An IPv6 address may end in colons of its own. */
function beforeColon(text: string): string {
  return text.endsWith(':') ? `${text} ` : text
}
