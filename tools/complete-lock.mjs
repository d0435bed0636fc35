// Makes package-lock.json name every optional package of every platform, so that `npm ci` accepts it.
//
// npm leaves out optional packages that its registry does not have, and mirrors often carry those of one platform alone. `npm ci`
// then refuses the lock ("Missing: … from lock file") on the very machine that wrote it. What npm wants to know of a package that
// it will never install here is its version and for which platform it is, and both follow from the parent's list and the name.
// Also drops "resolved", which names the registry of whoever wrote the lock. Run after every change of dependencies:
//
//   node tools/complete-lock.mjs [--check]

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const lockFile = fileURLToPath(new URL('../package-lock.json', import.meta.url))

const SYSTEMS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const CPUS = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']

/**
 * For which platform a package is, as its name tells: `@scope/tool-linux-arm64-musl`.
 * @returns undefined when the name holds no system and CPU
 */
export function platformOf(name) {
  const words = name.split('/').at(-1).split('-')
  const os = SYSTEMS.find((system) => words.includes(system))
  const cpu = CPUS.find((one) =>
    words.some((word) => word === one || (one === 'arm' && word.startsWith('armv'))),
  )
  if (!os || !cpu) return undefined
  if (os !== 'linux') return { os: [os], cpu: [cpu] }
  const libc = words.some((word) => word.startsWith('musl'))
    ? ['musl']
    : words.some((word) => word.startsWith('gnu'))
      ? ['glibc']
      : []
  return { os: [os], cpu: [cpu], ...(libc.length > 0 ? { libc } : {}) }
}

/** Whether a package at `path` of the lock finds `name` in a node_modules at its own level or above. */
function isResolved(packages, path, name) {
  for (let level = path; ; level = level.slice(0, level.lastIndexOf('node_modules/')).replace(/\/$/, '')) {
    if (packages[`${level === '' ? '' : `${level}/`}node_modules/${name}`]) return true
    if (level === '') return false
  }
}

/**
 * The lock with the missing optional packages added, its keys in npm's order, and without "resolved".
 * @param {{packages: Record<string, any>}} lock
 * @returns {{lock: {packages: Record<string, any>}, added: string[]}}
 */
export function completeLock(lock) {
  const packages = Object.fromEntries(
    Object.entries(lock.packages).map(([path, { resolved, ...entry }]) => [path, entry]),
  )
  const added = []
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const platform = platformOf(name)
      if (isResolved(packages, path, name) || !platform || !/^\d+\.\d+\.\d+$/.test(version)) continue
      const dev = entry.dev ? { dev: true } : {}
      packages[`node_modules/${name}`] = {
        version,
        cpu: platform.cpu,
        ...dev,
        ...(platform.libc ? { libc: platform.libc } : {}),
        optional: true,
        os: platform.os,
      }
      added.push(name)
    }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
  return { lock: { ...lock, packages: Object.fromEntries(sorted) }, added }
}

function main(isCheck) {
  const text = readFileSync(lockFile, 'utf8')
  const { lock, added } = completeLock(JSON.parse(text))
  const complete = `${JSON.stringify(lock, null, 2)}\n`
  if (complete === text) return 0
  if (isCheck) {
    process.stderr.write('package-lock.json lacks what `npm ci` needs. Mend: node tools/complete-lock.mjs\n')
    return 1
  }
  writeFileSync(lockFile, complete)
  process.stdout.write(`package-lock.json: ${added.length} packages of other platforms added\n`)
  return 0
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = main(process.argv.includes('--check'))
