// Runs tap over the tests and closes with the plain line `N passed, N failed` that CI readers look for.
// Arguments are passed on: files to run, or any flag of `tap run`.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Parser } from 'tap-parser'

const root = fileURLToPath(new URL('..', import.meta.url))
const output = `${root}build/test-results.tap`

/** Counts leaf assertions: a test point that stands for a subtest is not counted beside its own points. */
function countPoints(text) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const follow = (parser) => {
    let childHasPoints = false
    parser.on('child', (child) => {
      childHasPoints = false
      child.on('assert', () => {
        childHasPoints = true
      })
      follow(child)
    })
    parser.on('assert', (point) => {
      const standsForChild = childHasPoints
      childHasPoints = false
      if (point.skip || point.todo) counts.skipped += 1
      else if (standsForChild) return
      else if (point.ok) counts.passed += 1
      else counts.failed += 1
    })
  }
  const parser = new Parser()
  follow(parser)
  parser.end(text)
  return counts
}

mkdirSync(`${root}build`, { recursive: true })
rmSync(output, { force: true })
const tap = spawnSync(
  `${root}node_modules/.bin/tap`,
  ['run', `--output-file=${output}`, ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
  },
)
const counts = countPoints(existsSync(output) ? readFileSync(output, 'utf8') : '')
// A file that dies before its first assertion fails in tap's eyes without a leaf point; never let that read as a pass.
if (tap.status !== 0 && counts.failed === 0) counts.failed = 1
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
process.exitCode = tap.status === 0 && counts.failed === 0 && counts.passed > 0 ? 0 : 1
