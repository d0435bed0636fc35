// Reads a stream of TAP (the whole suite's, one subtest per file) and tells what happened in it: counts of assertions, and each
// file's outcome as it ends. Pure: text in, numbers and records out.
//
// Leaf assertions are counted: a test point that stands for a subtest says nothing new when the subtest's own points say the
// same, so it counts only where they don't: a subtest without any point (it ran and did not throw), one that failed although
// all its points passed (its process was killed, its plan was not kept), a file that broke before its first assertion.

import { Parser } from 'tap-parser'

/**
 * @typedef {{passed: number, failed: number, skipped: number}} Counts
 * @typedef {{name: string, detail: string[]}} Failure `name` holds the parents' names too, outermost first
 * @typedef {{path: string, ok: boolean, ms: number, counts: Counts, failures: Failure[]}} FileOutcome
 */

/** Lines of a failure's diagnostics that are shown; the rest stands in the file of results. */
const DETAIL_LINES_MAX = 40
/** Diagnostics that repeat what the failure's other lines tell, or how every file is run. */
const DETAILS_LEFT_OUT = new Set(['at', 'args', 'command', 'compare', 'cwd', 'externalID', 'stdio'])

/**
 * Follows TAP that is written to the parser it returns. After the parser's `end`, `counts` and `summary` (tap's own last words)
 * are complete.
 * @param {(outcome: FileOutcome) => void} [onFile] told of each file as it ends
 */
export function followTap(onFile = () => {}) {
  const parser = new Parser()
  const whole = newTally()
  /** @type {string[]} */
  const summary = []
  followPoints(parser, whole, [], onFile)
  parser.on('comment', (text) => {
    summary.push(text.trim())
  })
  parser.on('bailout', (reason) => {
    whole.counts.failed += 1
    summary.push(`Bail out! ${reason}`)
  })
  return { parser, counts: whole.counts, summary }
}

/** @returns {{name: string, counts: Counts, failures: Failure[]}} */
function newTally(name = '') {
  return { name, counts: { passed: 0, failed: 0, skipped: 0 }, failures: [] }
}

/** Adds up a parser's points, with those of the subtests inside it, in `into`; `onPoint` hears of its direct points. */
function followPoints(parser, into, parents, onPoint = () => {}) {
  // A subtest's point follows its points at once, so one tally at a time is open at each level.
  let inside
  parser.on('child', (child) => {
    inside = newTally(child.name)
    followPoints(child, inside, [...parents, child.name])
  })
  parser.on('assert', (point) => {
    const tally = inside ?? newTally(point.name)
    inside = undefined
    countPoint(point, tally, parents)
    for (const key of Object.keys(into.counts)) into.counts[key] += tally.counts[key]
    into.failures.push(...tally.failures)
    onPoint({
      path: tally.name,
      ok: point.ok && tally.counts.failed === 0,
      ms: Number(point.time ?? 0),
      counts: tally.counts,
      failures: tally.failures,
    })
  })
}

/** Counts a point itself, unless the points of the subtest it stands for (in `tally`) already say the same. */
function countPoint(point, { name, counts, failures }, parents) {
  const hasOwnPoints = counts.passed + counts.failed + counts.skipped > 0
  // tap lets a file without tests pass; here it is a mistake, such as an import that ends the process.
  const isEmptyFile = point.skip === 'no tests found'
  if ((!point.ok && !point.todo && !point.skip) || isEmptyFile) {
    if (counts.failed > 0) return
    counts.failed += 1
    const title = point.name === name ? name : `${name}: ${point.name}`
    failures.push({
      name: [...parents, isEmptyFile ? `${title}: no tests found` : title].join(' > '),
      detail: detailOf(point.diag),
    })
  } else if (!hasOwnPoints) {
    counts[point.skip || point.todo ? 'skipped' : 'passed'] += 1
  }
}

function detailOf(diag) {
  const lines = Object.entries(diag ?? {})
    .filter(([key]) => !DETAILS_LEFT_OUT.has(key))
    .flatMap(([key, value]) => {
      const [first, ...more] = (typeof value === 'string' ? value.trimEnd() : JSON.stringify(value)).split(
        '\n',
      )
      return more.length === 0
        ? [`${key}: ${first}`]
        : [`${key}:`, ...[first, ...more].map((line) => `  ${line}`)]
    })
  return lines.slice(0, DETAIL_LINES_MAX)
}
