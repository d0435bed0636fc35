// Whatever a test or a benchmark names by its pid is found by the next run, should this one be killed.

import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { TEST_NAMES, testRackName } from '../../tools/test-names.ts'

const ROOT = join(import.meta.dirname, '../..')
const PID = '123456'
const BY_PID = /`[^`\n]*\$\{process\.pid\}[^`\n]*`/g
/**
 * Not things of the machine: an entry of /proc, what is written into a file, an address, a device that goes with
 * its peer's namespace, and a file that is renamed where it lies.
 */
const NO_NAMES = [
  /^`\/proc\//,
  /^`\$\{process\.pid\}/,
  /^`169\.254\./,
  /^`wt\$/,
  /\.part\$\{process\.pid\}`$/,
]

function listSources(directory: string): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
}

function namesIn(path: string): string[] {
  const literals = readFileSync(path, 'utf8').match(BY_PID) ?? []
  return literals
    .filter((literal) => !NO_NAMES.some((pattern) => pattern.test(literal)))
    .map((literal) =>
      literal
        .slice(1, -1)
        .replaceAll(/\$\{process\.pid\}/g, PID)
        .replaceAll(/\$\{[^}]*\}/g, 'x'),
    )
}

t.test('names by pid are those that are looked for after a killed run', async (t) => {
  const files = ['test', 'bench'].flatMap(listSources).filter((path) => path !== import.meta.filename)
  const found = files.flatMap((path) => namesIn(path).map((name) => ({ path, name })))
  t.ok(found.length > 20, 'the sources are read')
  for (const { path, name } of found) {
    const pids = Object.values(TEST_NAMES).map((pattern) => pattern.exec(basename(name))?.[1])
    t.ok(pids.includes(PID), `${name} of ${path.slice(ROOT.length)}`)
  }
})

t.test('racks of tests are told from those of people', async (t) => {
  t.equal(TEST_NAMES.rack.exec(testRackName('gates'))?.[1], `${process.pid}`)
  for (const name of ['weir', 'rack2', 'rack2024', 'test100', 'pods2']) t.notMatch(name, TEST_NAMES.rack)
})
