// Runs every test file in which a test's name begins with a conformance id, and writes the table of ids: to the screen, and
// to CONFORMANCE.md between its markers. Exit status 1 when a row of priority 0 or 1 fails.
//
//   npm run conformance                 run, print, write
//   npm run conformance -- --from FILE  print and write from the TAP of an earlier run (build/test-results.tap)

import { spawn } from 'node:child_process'
import { createReadStream, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Parser } from 'tap-parser'
import { CONFORMANCE_ROWS } from '../test/rack/conformance/rows.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const page = join(root, 'CONFORMANCE.md')
const MARKERS = ['<!-- table: written by npm run conformance -->', '<!-- end of table -->']
/** `SVC-001`, or several: `SVC-001, SVC-002 …`. */
const IDS = /^((?:[A-Z]{2,3}-\d{3})(?:, [A-Z]{2,3}-\d{3})*)\b/
const ID_IN_SOURCE = /['"`]((?:[A-Z]{2,3}-\d{3})(?:, [A-Z]{2,3}-\d{3})*) /g

const CASES_IMPORT = /from '(\.[^']*\/cases\/[^']+\.ts)'/g

/** @typedef {{passed: number, failed: string[], files: Set<string>}} Shown */

function testFiles(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return testFiles(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

function filesWithIds() {
  return testFiles(join(root, 'test'))
    .map((path) => relative(root, path))
    .filter((path) => idsInSource(path).length > 0)
}

/** Of a test, and of the cases that it runs: names of tests may stand there. */
function idsInSource(file) {
  const source = readFileSync(join(root, file), 'utf8')
  const cases = [...source.matchAll(CASES_IMPORT)].map(([, path]) =>
    readFileSync(join(root, dirname(file), path), 'utf8'),
  )
  return [source, ...cases].flatMap((text) =>
    [...text.matchAll(ID_IN_SOURCE)].flatMap((match) => match[1].split(', ')),
  )
}

/** A file that broke off, or could not even begin, has not shown what its other tests would have: these rows fail. */
function noteBroken(file, shown) {
  for (const id of idsInSource(file)) {
    const row = shown.get(id) ?? { passed: 0, failed: [], files: new Set() }
    if (row.files.has(file)) continue
    row.failed.push(`${file} broke off`)
    row.files.add(file)
    shown.set(id, row)
  }
}

/** Collects results of tests named by ids from a whole run's TAP. @returns {{parser: Parser, shown: Map<string, Shown>}} */
function collect() {
  /** @type {Map<string, Shown>} */
  const shown = new Map()
  const parser = new Parser()
  follow(parser, undefined, shown)
  return { parser, shown }
}

function follow(parser, file, shown) {
  parser.on('child', (child) => follow(child, file ?? child.name, shown))
  parser.on('assert', (point) => {
    if (file === undefined) {
      if (!point.ok && point.name.endsWith('.test.ts')) noteBroken(point.name, shown)
      return
    }
    const ids = IDS.exec(point.name)?.[1]
    if (ids === undefined || point.skip || point.todo) return
    for (const id of ids.split(', ')) {
      const row = shown.get(id) ?? { passed: 0, failed: [], files: new Set() }
      if (point.ok) row.passed += 1
      else row.failed.push(point.name)
      row.files.add(file)
      shown.set(id, row)
    }
  })
}

async function results(args) {
  const { parser, shown } = collect()
  const from = args[0] === '--from' ? args[1] : undefined
  if (from !== undefined) {
    for await (const text of createReadStream(from, 'utf8')) parser.write(text)
    parser.end()
    return shown
  }
  const output = join(root, 'build/test-results.tap')
  const child = spawn(process.execPath, [join(root, 'tools/run-tests.mjs'), ...filesWithIds()], {
    stdio: 'inherit',
    cwd: root,
  })
  await new Promise((resolve) => child.once('close', resolve))
  return await results(['--from', output])
}

function standing(row, shown) {
  const result = shown.get(row.id)
  if (!result) return row.remark ?? 'not yet: no test shows it'
  return result.failed.length > 0 ? 'FAIL' : 'pass'
}

function table(shown) {
  const lines = []
  let section
  for (const row of CONFORMANCE_ROWS) {
    if (row.section !== section) {
      section = row.section
      lines.push(
        '',
        `### ${section}`,
        '',
        '| id | P | behaviour | stands | shown by |',
        '|---|---|---|---|---|',
      )
    }
    const files = [...(shown.get(row.id)?.files ?? [])].map((file) => `\`${file.replace(/^test\//, '')}\``)
    lines.push(
      `| ${row.id} | ${row.priority} | ${row.behaviour} | ${standing(row, shown)} | ${files.join(' ')} |`,
    )
  }
  return lines.join('\n')
}

function writePage(text) {
  const before = readFileSync(page, 'utf8')
  const [start, end] = MARKERS.map((marker) => before.indexOf(marker))
  if (start === -1 || end === -1) throw new Error(`CONFORMANCE.md lacks its markers ${MARKERS.join(' and ')}`)
  writeFileSync(page, `${before.slice(0, start + MARKERS[0].length)}\n${text}\n\n${before.slice(end)}`)
}

async function main(args) {
  const shown = await results(args)
  for (const row of CONFORMANCE_ROWS)
    process.stdout.write(`${row.id}  P${row.priority}  ${standing(row, shown).padEnd(8)}  ${row.behaviour}\n`)
  const count = (wanted) => CONFORMANCE_ROWS.filter((row) => standing(row, shown) === wanted).length
  const others = CONFORMANCE_ROWS.length - count('pass') - count('FAIL')
  process.stdout.write(`\n${count('pass')} pass, ${count('FAIL')} fail, ${others} without a pass/fail test\n`)
  const known = new Set(CONFORMANCE_ROWS.map((row) => row.id))
  const unknown = [...shown.keys()].filter((id) => !known.has(id))
  if (unknown.length > 0) process.stdout.write(`tests name ids that no row has: ${unknown.join(', ')}\n`)
  writePage(table(shown))
  return CONFORMANCE_ROWS.some((row) => row.priority < 2 && standing(row, shown) === 'FAIL') ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
