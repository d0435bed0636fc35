// Measures families of figures and keeps them.
//
//   npm run bench [-- FAMILY…] [--quick] [--services 10,1000] [--rounds N] [--out DIRECTORY] [--strict]
//   npm run bench -- --list, or --help
//   npm run bench -- --page                  writes RESULTS.md anew from the results that are kept
//
// A full run writes bench/results/<family>.json, its plots, and bench/RESULTS.md; a quick one, one of chosen sizes, or one of fewer rounds
// writes the same under build/bench. Exit status: 1 when something could not be measured, with --strict also when a bar is not cleared;
// 2 when it was called wrongly.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { removeTestLeftovers } from '../tools/test-leftovers.ts'
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

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  services: { type: 'string' },
  rounds: { type: 'string' },
  out: { type: 'string' },
  strict: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  page: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const satisfies ParseArgsOptionsConfig

const HELP = `npm run bench [-- FAMILY…] [OPTIONS]

Measures families of figures against what else does the job on this machine, in turns, and writes them with plots to bench/ (a run with
--quick, --services or fewer rounds: to build/bench). As root, on an otherwise idle machine. All of it takes half an hour to an hour, a family
two to ten minutes.

  --list             the families, and what each is about
  --quick            ${QUICK.rounds} rounds of the small sizes
  --services N,…     sizes (default ${FULL.services.join(',')})
  --rounds N         of each comparison (default ${FULL.rounds})
  --out DIRECTORY    where it is written
  --strict           exit with 1 also when a figure does not clear its bar
  --page             write RESULTS.md anew from the results that are kept, and measure nothing
  --help             this

Exit status: 0; 1 when something could not be measured; 2 when called wrongly.

  npm run bench -- packet --quick
`

class UsageError extends Error {}

/** @throws UsageError */
function parseCommandLine() {
  try {
    return parseArgs({ allowPositionals: true, options: OPTIONS })
  } catch (error) {
    const [what] = (error as Error).message.split('. ')
    throw new UsageError(`${what}: there are --${Object.keys(OPTIONS).join(', --')}`)
  }
}
type CommandLine = ReturnType<typeof parseCommandLine>

function wholeNumber(option: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new UsageError(`--${option} ${text}: write whole numbers above 0`)
}

function chosenFamilies({ positionals }: CommandLine): string[] {
  const known = Object.keys(FAMILIES)
  const unknown = positionals.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new UsageError(`no family of figures is called ${unknown}; there are ${known.join(', ')}`)
  return positionals.length > 0 ? known.filter((name) => positionals.includes(name)) : known
}

type ChosenEffort = Pick<Effort, 'services' | 'rounds' | 'isQuick'>

function chosenEffort({ values }: CommandLine): ChosenEffort {
  const usual = values.quick ? QUICK : FULL
  const services = values.services?.split(',').map((text) => wholeNumber('services', text.trim()))
  return {
    services: services === undefined ? usual.services : [...new Set(services)].sort((a, b) => a - b),
    rounds: values.rounds === undefined ? usual.rounds : wholeNumber('rounds', values.rounds),
    isQuick: values.quick,
  }
}

/** The repository's page holds full runs only. */
function outputDirectory({ values }: CommandLine, { rounds, isQuick }: ChosenEffort): string {
  if (values.out !== undefined) return values.out
  const isFull = !isQuick && values.services === undefined && rounds >= FULL.rounds
  return isFull || values.page ? here('.') : here('../build/bench')
}

async function measureFamily(family: Family, effort: ChosenEffort, undo: UndoStack): Promise<Report> {
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
      effort: `${measured.repeated ?? `${effort.rounds} rounds`}${effort.isQuick ? ', quick' : ''}`,
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

interface Order {
  readonly names: readonly string[]
  readonly effort: ChosenEffort
  readonly directory: string
  readonly isStrict: boolean
}

/** @returns the exit status; undefined: a signal came, and whoever cleans up behind it ends the process */
async function run({ names, effort, directory, isStrict }: Order): Promise<number | undefined> {
  const undo = new UndoStack()
  undo.onSignals()
  const removed = await removeTestLeftovers()
  if (removed.length > 0) say(`removed what a killed run left: ${removed.join(', ')}`)
  let status = 0
  for (const name of names) {
    try {
      const family = await FAMILIES[name]?.()
      if (family === undefined) continue
      const report = await measureFamily(family, effort, undo)
      if (!show(report) && isStrict) status = 1
      for (const file of await keepReport(report, directory)) say(`  wrote ${file}`)
    } catch (error) {
      if (undo.isInterrupted) return undefined
      // The other families can still be measured, and what was kept of this one stays.
      say(`weir: ${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      status = 1
    } finally {
      await undo.run()
    }
    if (undo.isInterrupted) return undefined
  }
  return status
}

async function main(): Promise<number> {
  const line = parseCommandLine()
  if (line.values.help) {
    say(HELP.trimEnd())
    return 0
  }
  const names = chosenFamilies(line)
  const effort = chosenEffort(line)
  if (line.values.list) {
    for (const name of names) say(`${name.padEnd(12)} ${(await FAMILIES[name]?.())?.title}`)
    return 0
  }
  const directory = outputDirectory(line, effort)
  mkdirSync(join(directory, 'results'), { recursive: true })
  const isStrict = line.values.strict
  const status = line.values.page ? 0 : await run({ names, effort, directory, isStrict })
  if (status === undefined) return 1
  say(`wrote ${writePage(directory, Object.keys(FAMILIES))}`)
  return status
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`weir: ${error.message}\n`)
  process.exitCode = 2
}
