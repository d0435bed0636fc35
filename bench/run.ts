// Measures families of figures and keeps them.
//
//   npm run bench [-- FAMILY…] [--quick] [--services 10,1000] [--rounds N] [--out DIRECTORY] [--strict]
//   npm run bench -- --list
//   npm run bench -- --page                  writes RESULTS.md anew from the results that are kept
//
// A full run writes bench/results/<family>.json, its plots, and bench/RESULTS.md; a quick one, or one of chosen sizes, writes the same
// under build/bench. Exit status: 1 when something could not be measured, with --strict also when a bar is not cleared.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { FAMILIES } from './families.ts'
import type { Effort, Family } from './frame/figure.ts'
import { gridsOf, screenText } from './frame/grid.ts'
import {
  currentLoad,
  describeKernel,
  describeMachine,
  describeSettings,
  describeVersions,
} from './frame/machine.ts'
import { countStandings, keepReport, type Report, shortfallsOf, writePage } from './frame/report.ts'
import { UndoStack } from './frame/undo.ts'

const FULL = { services: [10, 1000, 10_000, 100_000], rounds: 7 } as const
const QUICK = { services: [10, 1000], rounds: 3 } as const
/** Above it other work shares the cores, and wall-clock figures mean little. */
const BUSY_LOAD = 0.5

const here = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
const say = (line: string) => void process.stdout.write(`${line}\n`)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    services: { type: 'string' },
    rounds: { type: 'string' },
    out: { type: 'string' },
    strict: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
  },
})

class UsageError extends Error {}

function wholeNumber(option: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new UsageError(`--${option} ${text}: write whole numbers above 0`)
}

function chosenFamilies(): string[] {
  const known = Object.keys(FAMILIES)
  const unknown = positionals.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new UsageError(`no family of figures is called ${unknown}; there are ${known.join(', ')}`)
  return positionals.length > 0 ? known.filter((name) => positionals.includes(name)) : known
}

function chosenEffort(): Pick<Effort, 'services' | 'rounds' | 'isQuick'> {
  const usual = values.quick ? QUICK : FULL
  const services = values.services?.split(',').map((text) => wholeNumber('services', text.trim()))
  return {
    services: services === undefined ? usual.services : [...new Set(services)].sort((a, b) => a - b),
    rounds: values.rounds === undefined ? usual.rounds : wholeNumber('rounds', values.rounds),
    isQuick: values.quick,
  }
}

/** The repository's page holds full runs only. */
function outputDirectory(): string {
  if (values.out !== undefined) return values.out
  return values.quick || values.services !== undefined ? here('../build/bench') : here('.')
}

async function measureFamily(family: Family, undo: UndoStack): Promise<Report> {
  const effort = chosenEffort()
  const begun = Date.now()
  const loadBefore = currentLoad()
  say(`\n${family.title}`)
  if (loadBefore > BUSY_LOAD)
    say(`  the machine is busy (load ${loadBefore.toFixed(1)}): expect wide spreads`)
  const measured = await family.measure({
    ...effort,
    say: (line) => say(`  ${line}`),
    defer: (action) => undo.push(action),
  })
  return {
    name: family.name,
    title: family.title,
    about: family.about,
    ...measured,
    occasion: {
      begunAt: new Date(begun).toISOString().slice(0, 16),
      seconds: (Date.now() - begun) / 1000,
      machine: describeMachine(),
      kernel: describeKernel(),
      settings: describeSettings(),
      versions: describeVersions(),
      loadBefore,
      effort: `${effort.rounds} rounds${effort.isQuick ? ', quick' : ''}`,
    },
  }
}

/** @returns whether every bar was cleared */
function show(report: Report): boolean {
  for (const grid of gridsOf(report.figures)) say(`\n${screenText(grid)}`)
  for (const remark of report.remarks) say(`  note: ${remark}`)
  const shortfalls = shortfallsOf(report.figures)
  for (const line of shortfalls) say(`  ${line}`)
  const counts = [...countStandings(report.figures)].map(([standing, count]) => `${count} ${standing}`)
  if (counts.length > 0) say(`  held against their bars: ${counts.join(', ')}`)
  return shortfalls.length === 0
}

/** @returns the exit status */
async function run(names: readonly string[], directory: string): Promise<number> {
  const undo = new UndoStack()
  undo.onSignals()
  let status = 0
  for (const name of names) {
    try {
      const family = await FAMILIES[name]?.()
      if (family === undefined) continue
      const report = await measureFamily(family, undo)
      if (!show(report) && values.strict) status = 1
      for (const file of await keepReport(report, directory)) say(`  wrote ${file}`)
    } catch (error) {
      // The other families can still be measured, and what was kept of this one stays.
      say(`weir: ${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      status = 1
    } finally {
      await undo.run()
    }
  }
  return status
}

try {
  const names = chosenFamilies()
  const directory = outputDirectory()
  mkdirSync(join(directory, 'results'), { recursive: true })
  if (values.list) for (const name of names) say(`${name.padEnd(12)} ${(await FAMILIES[name]?.())?.title}`)
  else {
    if (!values.page) process.exitCode = await run(names, directory)
    say(`wrote ${writePage(directory, Object.keys(FAMILIES))}`)
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`weir: ${error.message}\n`)
  process.exitCode = 2
}
