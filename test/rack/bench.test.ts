// Every family of figures measures what it says, at its smallest: each checks by itself that its packets and connections take the path
// that is named, and fails when they don't. No figure is held against a bar here.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FAMILIES } from '../../bench/families.ts'
import type { Report } from '../../bench/frame/report.ts'
import { cgroupMount, listNamespaces } from '../../src/sandbox/host.ts'
import { BPFFS_MOUNT } from '../../src/sandbox/names.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const FAMILY_MS = 240_000

t.setTimeout(Object.keys(FAMILIES).length * FAMILY_MS)

/**
 * @param terminateAt a line of its output: then it gets SIGTERM
 * @returns exit status and everything it printed
 */
function bench(
  args: readonly string[],
  terminateAt?: RegExp,
): Promise<{ status: number | null; output: string; pid: number | undefined }> {
  const child = spawn(process.execPath, [`${root}bench/run.ts`, ...args], { cwd: root })
  t.teardown(() => void child.kill())
  let output = ''
  let isTerminated = false
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes) => {
      output += String(bytes)
      // Once: a second signal does not wait for the cleaning up.
      if (!isTerminated && terminateAt?.test(output)) isTerminated = child.kill('SIGTERM')
    })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, output, pid: child.pid }))
  })
}

const directory = mkdtempSync(join(tmpdir(), 'weir-bench-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

t.test('help', async (t) => {
  const { status, output } = await bench(['--help'])
  t.match({ status, output }, { status: 0, output: /--rounds N / })
})

for (const name of Object.keys(FAMILIES))
  t.test(`family ${name}`, async (t) => {
    const args = [name, '--quick', '--services', '10', '--rounds', '1', '--out', directory]
    const { status, output } = await bench(args)
    t.equal(status, 0, output)
    const kept = join(directory, 'results', `${name}.json`)
    if (!existsSync(kept)) {
      t.fail(`nothing was kept:\n${output}`)
      return
    }
    const { figures }: Report = JSON.parse(readFileSync(kept, 'utf8'))
    t.ok(figures.length > 0)
    t.strictSame(
      figures.filter(({ samples }) => samples.some((sample) => !Number.isFinite(sample))),
      [],
      'every sample is a number',
    )
    t.match(readFileSync(join(directory, 'RESULTS.md'), 'utf8'), /✓ clears its bar in every round/)
  })

t.test('a mistyped family is refused with the names there are', async (t) => {
  const { status, output } = await bench(['pakcet'])
  t.equal(status, 2)
  t.match(output, /no family of figures is called pakcet; there are .*packet/)
})

t.test('a mistyped option is refused with the options there are', async (t) => {
  const { status, output } = await bench(['--round', '3'])
  t.equal(status, 2)
  t.match(output, /^weir: Unknown option '--round': there are .*--rounds/)
})

t.test('an interrupted run takes away what it made', async (t) => {
  const { status, output, pid } = await bench(
    ['socket', '--quick', '--services', '10', '--rounds', '1', '--out', directory],
    /to the ClusterIPs/,
  )
  t.equal(status, 143)
  t.notMatch(output, /Error|wrote/, 'what fails while it is taken down is no fault of the measurement')
  const places = [...readdirSync(BPFFS_MOUNT), ...readdirSync(cgroupMount()), ...readdirSync(tmpdir())]
  t.strictSame(
    [...listNamespaces(), ...places].filter((name) => name.includes(`${pid}`)),
    [],
  )
})
