// From a bare machine to a built checkout, then on to what was asked: one of GOALS.
// Runs on whatever Node is there, with no dependency: checks the machine, installs Debian packages without
// starting their daemons, installs npm packages (Node 24 among them), builds, and hands over to Node 24.

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { installMissingPackages, lastLines } from './packages.mjs'
import { unmetNeeds } from './preflight.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const node = `${root}node_modules/.bin/node`
const stampFile = `${root}node_modules/.weir-installed`
const started = Date.now()

/** What figures are held against (iptables, ipset) and what the benchmarks' client is compiled with. */
const BENCH_PACKAGES = ['iptables', 'ipset', 'libc6-dev', 'binutils']
/** Packages that only some goals need. The tests look at gobgpd's messages, and at every family of figures. */
const PACKAGES_OF = { test: ['golang-github-osrg-gobgp-dev', ...BENCH_PACKAGES], bench: BENCH_PACKAGES }

const GOALS = {
  sandbox: (args) => handOver('tools/weir.mjs', ['sandbox', 'demo', ...args]),
  test: (args) => handOver('tools/run-tests.mjs', args),
  build: () => 0,
  conformance: (args) => handOver('tools/conformance.mjs', args),
  'test-kernels': (args) => handOver('tools/kernel-matrix.mjs', args),
  bench: (args) => handOver('bench/run.ts', args),
  'fuzz-policy': (args) => handOver('test/policy/fuzz.ts', args),
  'fuzz-frames': (args) => handOver('test/frames/fuzz.ts', args),
}

function refuse(sentence) {
  process.stderr.write(`\n${sentence}\n`)
  process.exit(1)
}

/** Runs one step and prints its name, its result in a few words, and its time. */
function step(name, action) {
  const begun = Date.now()
  process.stdout.write(`  ${name.padEnd(34)}`)
  let outcome
  try {
    outcome = action()
  } catch (error) {
    process.stdout.write('failed\n')
    refuse(`weir: ${name}: ${error.message}`)
  }
  process.stdout.write(`${outcome.padEnd(36)} ${((Date.now() - begun) / 1000).toFixed(1)} s\n`)
}

/** Resolves to the exit status of the program that took over. */
function handOver(script, args) {
  const child = spawn(node, [`${root}${script}`, ...args], {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      PATH: `${root}node_modules/.bin:${process.env.PATH}`,
      WEIR_STARTED_MS: String(started),
    },
  })
  // A terminal's interrupt reaches the child by itself, and it decides what to undo; this parent waits.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]))
  })
}

function installNpmPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(`${root}package-lock.json`))
    .digest('hex')
  if (existsSync(node) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === lock)
    return 'up to date'
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'], {
    cwd: root,
    encoding: 'utf8',
  })
  if (npm.error) throw new Error(`cannot run npm (${npm.error.message}). Mend: apt-get install npm`)
  if (npm.status !== 0)
    throw new Error(
      `'npm ci' failed. Mend: see below what npm lacks (most often the registry is out of reach), then run the same again.\n` +
        lastLines(`${npm.stdout}${npm.stderr}`),
    )
  if (!existsSync(node))
    throw new Error(
      `npm brought no Node 24 for ${process.arch}. Mend: install Node 24 and link it as ${node}`,
    )
  // Written last: an interrupted installation has no stamp and is done anew.
  writeFileSync(stampFile, lock)
  return 'installed, Node 24 included'
}

function build() {
  mkdirSync(`${root}build`, { recursive: true })
  const child = spawnSync(node, [`${root}tools/build.mjs`], { cwd: root, encoding: 'utf8' })
  if (child.status !== 0) throw new Error(`the build failed.\n${child.stdout}${child.stderr}`)
  return child.stdout.trim().split('\n').at(-1) || 'up to date'
}

const [goal, ...args] = process.argv.slice(2)
if (!Object.hasOwn(GOALS, goal ?? ''))
  refuse(`weir: unknown goal ${goal ?? '(none)'}. One of: ${Object.keys(GOALS).join(', ')}.`)
const unmet = unmetNeeds()
if (unmet.length > 0) refuse(unmet.join('\n'))

process.stdout.write('Preparing this machine\n')
step('Debian packages', () => {
  if (process.env.WEIR_SKIP_APT === '1') return 'skipped (WEIR_SKIP_APT=1)'
  const installed = installMissingPackages(PACKAGES_OF[goal] ?? [])
  return installed.length === 0 ? 'all there' : `installed ${installed.length}`
})
step('npm packages', installNpmPackages)
step('BPF objects and codecs', build)
process.stdout.write('\n')
process.exitCode = await GOALS[goal](args)
