// What a mistyped word was probably meant to be. Pure.

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
