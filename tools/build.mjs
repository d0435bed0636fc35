// Compiles every bpf/*.bpf.c (and the BTF-only bpf/abi/abi.c) into build/, then generates the TypeScript codecs from its BTF.
// Only what is older than its inputs is made again. The last line printed is the summary that bootstrap shows.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const outputDirectory = join(root, 'build/bpf')
const CLANG_CANDIDATES = ['clang-19', 'clang-18', 'clang-16', 'clang']

/** -mcpu=v3 brings 32-bit jumps and ALU; everything Weir supports (6.1 and newer) verifies it. */
const FLAGS = [
  '-O2',
  '-g',
  '-target',
  'bpf',
  '-mcpu=v3',
  '-std=gnu11',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wno-address-of-packed-member',
]

function listFiles(directory, suffix) {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}

const modifiedMs = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0)

function run(command, args) {
  const child = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (child.status === 0) return
  process.stderr.write(
    `${command} ${args.join(' ')}\n${child.error?.message ?? ''}${child.stdout ?? ''}${child.stderr ?? ''}`,
  )
  process.exit(1)
}

function findClang() {
  const found = CLANG_CANDIDATES.find((name) => spawnSync(name, ['--version']).status === 0)
  if (found) return found
  process.stderr.write('no clang found. Mend: apt-get install clang-19\n')
  process.exit(1)
}

function compile(sources, newestHeaderMs) {
  let compiled = 0
  let clang
  const multiarch = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch]
  for (const source of sources) {
    const object = join(outputDirectory, source.split('/').at(-1).replace(/\.c$/, '.o'))
    if (modifiedMs(object) > Math.max(modifiedMs(source), newestHeaderMs)) continue
    clang ??= findClang()
    // Written beside and renamed, so that a killed build leaves no half object that looks new.
    run(clang, [
      ...FLAGS,
      `-I/usr/include/${multiarch}`,
      `-I${join(root, 'bpf')}`,
      '-c',
      source,
      '-o',
      `${object}.part`,
    ])
    renameSync(`${object}.part`, object)
    compiled += 1
  }
  return compiled
}

mkdirSync(outputDirectory, { recursive: true })
const headers = listFiles(join(root, 'bpf'), '.h')
const newestHeaderMs = Math.max(modifiedMs(fileURLToPath(import.meta.url)), ...headers.map(modifiedMs))
const sources = [...listFiles(join(root, 'bpf'), '.bpf.c'), ...listFiles(join(root, 'test/bpf'), '.bpf.c')]
const abiSource = join(root, 'bpf/abi/abi.c')
if (existsSync(abiSource)) sources.push(abiSource)
const compiled = compile(sources, newestHeaderMs)

const generator = join(root, 'tools/abi-gen.ts')
const generated = join(root, 'src/datapath/abi.gen.ts')
const abiObject = join(outputDirectory, 'abi.o')
const isStale = modifiedMs(generated) < Math.max(modifiedMs(abiObject), modifiedMs(generator))
if (existsSync(generator) && existsSync(abiObject) && (compiled > 0 || isStale))
  run(process.execPath, [generator, abiObject, generated])

process.stdout.write(compiled === 0 ? 'up to date\n' : `compiled ${compiled} of ${sources.length}\n`)
