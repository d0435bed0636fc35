// What a family needs in C is compiled when it is measured: programs of the benchmark are no part of the product, nor of its build.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const CLANGS = ['clang-19', 'clang-18', 'clang-16', 'clang']
const OUTPUT = fileURLToPath(new URL('../../build/bench', import.meta.url))
const INCLUDES = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as Record<string, string>
const BPF_FLAGS = ['-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${INCLUDES[process.arch] ?? ''}`, '-c']

/**
 * Makes a program of the host of `source` (`x.c`), or an object of BPF programs (`x.bpf.c`), unless there is one that is newer.
 * @returns its path
 */
export function compile(source: string): string {
  const isBpf = source.endsWith('.bpf.c')
  const made = `${OUTPUT}/${basename(source, '.c')}${isBpf ? '.o' : ''}`
  if (existsSync(made) && statSync(made).mtimeMs > changedMs(source)) return made
  mkdirSync(OUTPUT, { recursive: true })
  const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', ...(isBpf ? BPF_FLAGS : ['-pthread'])]
  const part = `${made}.part${process.pid}`
  const result = spawnSync(findClang(), [...flags, source, '-o', part], { encoding: 'utf8' })
  if (result.status !== 0)
    throw new Error(`clang could not compile ${source}:\n${result.error?.message ?? result.stderr}`)
  renameSync(part, made)
  return made
}

/** When the source or a header that it may include, of its own folder or of the frame, was last changed. */
function changedMs(source: string): number {
  const headers = [dirname(source), import.meta.dirname].flatMap((folder) =>
    readdirSync(folder)
      .filter((file) => file.endsWith('.h'))
      .map((file) => `${folder}/${file}`),
  )
  return Math.max(...[source, ...headers].map((file) => statSync(file).mtimeMs))
}

function findClang(): string {
  const found = CLANGS.find((name) => spawnSync(name, ['--version']).status === 0)
  if (found === undefined) throw new Error(`no clang was found: install ${CLANGS[0]}`)
  return found
}
