// Where and when a family was measured: without it no figure means anything.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Occasion {
  /** ISO 8601, to the minute. */
  readonly begunAt: string
  readonly seconds: number
  readonly machine: string
  readonly kernel: string
  /** What is to be known of the kernel's settings: the BPF JIT, defences against Spectre v2 (indirect calls cost more with them). */
  readonly settings: string
  readonly versions: Readonly<Record<string, string>>
  /** Mean number of running tasks in the minute before the first measurement. */
  readonly loadBefore: number
  /** '7 rounds' or '3 rounds, quick'. */
  readonly effort: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))

export function describeMachine(): string {
  const [cpu] = cpus()
  const virtual = /^flags.*\bhypervisor\b/m.test(readText('/proc/cpuinfo')) ? ', virtual' : ''
  const caches = ['index2', 'index3']
    .map((index) => {
      const directory = `/sys/devices/system/cpu/cpu0/cache/${index}`
      return `${readText(`${directory}/size`)} L${readText(`${directory}/level`)}`
    })
    .filter((cache) => /^\d/.test(cache))
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  return [`${cpus().length} × ${cpu?.model.trim() ?? process.arch}${virtual}`, ...caches, memory].join(', ')
}

export function describeSettings(): string {
  const jit = readText('/proc/sys/net/core/bpf_jit_enable') === '0' ? 'BPF interpreted' : 'BPF JIT'
  const spectre = readText('/sys/devices/system/cpu/vulnerabilities/spectre_v2')
  return spectre === '' ? jit : `${jit}; Spectre v2: ${spectre}`
}

/** Of Weir itself, Node and the compiler of the programs. */
export function describeVersions(): Record<string, string> {
  const commit = output('git', ['-C', root, 'rev-parse', '--short=10', 'HEAD'])
  // Not what the families before this one wrote.
  const measured = ['bpf', 'src', 'bench/*.ts', 'bench/*.c', 'bench/*.h']
  const changed = output('git', ['-C', root, 'status', '--porcelain', '--', ...measured])
  const clang = /version (\S+)/.exec(output('clang-19', ['--version']))?.[1]
  return {
    Weir: commit === '' ? 'not from a repository' : `${commit}${changed === '' ? '' : ' and changes'}`,
    Node: process.versions.node,
    ...(clang === undefined ? {} : { clang }),
  }
}

export const describeKernel = (): string => `Linux ${release()}`
export const currentLoad = (): number => loadavg()[0] ?? 0

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}

function output(command: string, args: readonly string[]): string {
  const child = spawnSync(command, args, { encoding: 'utf8' })
  return child.status === 0 ? child.stdout.trim() : ''
}
