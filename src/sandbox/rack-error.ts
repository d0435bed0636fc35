// What can go wrong with a rack, told to its user: what failed, where, and the mend, under a stable code.

export type RackErrorCode =
  | 'bad-name'
  | 'bad-plan'
  | 'bad-usage'
  | 'busy'
  | 'command-failed'
  | 'name-too-long'
  | 'not-root'
  | 'not-up'
  | 'process-died'
  | 'rack-differs'
  | 'timeout'
  | 'unknown-host'
  | 'unknown-link'

export class RackError extends Error {
  readonly code: RackErrorCode
  /** What the user can do about it, one sentence without a final stop. */
  readonly mend: string

  /** `detail`: lines that show more, such as the end of a log. */
  constructor(
    code: RackErrorCode,
    what: string,
    mend: string,
    options: { cause?: unknown; detail?: readonly string[] } = {},
  ) {
    const lines = (options.detail ?? []).map((line) => `\n  ${line}`)
    super(
      `${what}. Mend: ${mend}.${lines.join('')}`,
      options.cause === undefined ? {} : { cause: options.cause },
    )
    this.name = 'RackError'
    this.code = code
    this.mend = mend
  }
}

/** The candidates few edits from `word` (or sharing its start), nearest first: for "did you mean". */
export function nearMatches(word: string, candidates: readonly string[], most = 3): string[] {
  const wanted = word.toLowerCase()
  const editsMax = Math.max(2, Math.floor(wanted.length / 3))
  return candidates
    .map((candidate) => ({ candidate, distance: editDistance(wanted, candidate.toLowerCase()) }))
    .filter(
      ({ candidate, distance }) =>
        distance <= editsMax || (wanted.length > 2 && candidate.startsWith(wanted)),
    )
    .sort((a, b) => a.distance - b.distance || a.candidate.localeCompare(b.candidate))
    .slice(0, most)
    .map(({ candidate }) => candidate)
}

/** Levenshtein distance by rows; words here are names of a few letters. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replace, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}
