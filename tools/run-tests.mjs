// Runs tap over the tests: a line per file as it ends, what failed and where, tap's own summary, and last the plain line
// `N passed, N failed` that CI readers look for. Arguments are passed on: files to run, or any flag of `tap run`.
//
// Three files run at a time, also on two cores: most of them wait, for routers and timers, far longer than they work, and none proves
// anything by how long it took. What they start (agents, commands, probers: a thousand processes in all) shares Node's cache of compiled
// code, which halves what each spends until it begins. Everything they write to the temporary directory goes into one of this process's own; racks, namespaces and the
// like are named after the pid of the test that made them, so that a run removes what a killed earlier run has left.

import { spawn, spawnSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { followTap } from './tap-report.mjs'
import { removeTestLeftovers } from './test-leftovers.ts'
import { TEST_DIRECTORY_PREFIX } from './test-names.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const tap = `${root}node_modules/.bin/tap`
const output = `${root}build/test-results.tap`
/** Of Node alone, which knows by the text of a file whether what it kept of it still holds. */
const compiled = `${root}build/compiled`

function printFile({ path, ok, ms, counts, failures }) {
  const seconds = `${(ms / 1000).toFixed(1)} s`
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  const failed = counts.failed > 0 ? `, ${counts.failed} failed` : ''
  process.stdout.write(
    `${ok ? 'ok    ' : 'FAILED'} ${path.padEnd(56)} ${seconds.padStart(7)}  ${counts.passed} passed${failed}${skipped}\n`,
  )
  for (const { name, detail } of failures)
    process.stdout.write(`\n  ${name}\n${detail.map((line) => `    ${line}\n`).join('')}\n`)
}

/**
 * As installed, tap loads a TypeScript compiler of its own into every test; package.json leaves that plug-in out, for Node runs
 * TypeScript by itself. tap rebuilds itself when it notices, but that run's tests still get the old one.
 */
function buildTap() {
  const built = `${root}node_modules/@tapjs/test/test-built/dist/esm/index.js`
  if (!readFileSync(built, 'utf8').includes('@tapjs/typescript')) return
  const { status, stdout, stderr } = spawnSync(tap, ['build'], { cwd: root, encoding: 'utf8' })
  if (status !== 0)
    throw new Error(`tap cannot build itself without its TypeScript plug-in:\n${stdout}${stderr}`)
}

/**
 * Resolves to the exit status; the results are in `output` then. What this process is told to end by (a CI's time limit) ends tap
 * and its tests too.
 * @param onOutput takes tap's standard output; without it, a reporter of the caller's writes to the screen
 */
function runTap(args, directory, onOutput) {
  const child = spawn(
    tap,
    // tap writes the results into a file only beside a reporter of another kind: of TAP itself it would print everything twice.
    ['run', '--jobs=3', onOutput ? '--reporter=tap' : `--output-file=${output}`, ...args],
    {
      cwd: root,
      stdio: ['inherit', onOutput ? 'pipe' : 'inherit', 'inherit'],
      env: { ...process.env, TMPDIR: directory, NODE_COMPILE_CACHE: compiled },
    },
  )
  if (onOutput) {
    child.stdout.setEncoding('utf8').on('data', onOutput)
    child.stdout.pipe(createWriteStream(output))
  }
  // An interrupt from a terminal reaches tap by itself.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]))
  })
}

function printSummary(counts, summary) {
  const said = summary.filter((line) => !/^# (Subtest|No coverage)/.test(line))
  if (said.length > 0) process.stdout.write(`\n${said.join('\n')}\n`)
  if (counts.failed > 0) process.stdout.write(`\nEverything the tests said: ${output}\n`)
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
}

async function main(args) {
  mkdirSync(`${root}build`, { recursive: true })
  rmSync(output, { force: true })
  buildTap()
  const removed = await removeTestLeftovers()
  if (removed.length > 0) process.stdout.write(`Removed what a killed run left: ${removed.join(', ')}\n\n`)
  const directory = mkdtempSync(join(tmpdir(), `${TEST_DIRECTORY_PREFIX}${process.pid}-`))
  const hasOwnReporter = args.some((arg) => /^(-R|--reporter)/.test(arg))
  const { parser, counts, summary } = followTap(hasOwnReporter ? () => {} : printFile)
  try {
    const status = await runTap(args, directory, hasOwnReporter ? undefined : (text) => parser.write(text))
    parser.end(hasOwnReporter && existsSync(output) ? readFileSync(output, 'utf8') : '')
    // What tap calls a failure is never to be read as a pass, should the count have missed it.
    if (status !== 0 && counts.failed === 0) counts.failed = 1
    printSummary(counts, hasOwnReporter ? [] : summary)
    return counts.failed === 0 && counts.passed > 0 ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
    await removeTestLeftovers()
  }
}

process.exitCode = await main(process.argv.slice(2))
