// The TCP client and server of tcp_load.c, asked one measurement after another.

import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type Bed, CLIENT_ADDRESS } from '../bed/topology.ts'
import { AskedProgram } from '../frame/asked-program.ts'
import { compile } from '../frame/compile.ts'

/** The way to the server is the client's processor's work, the way back the server's. */
const CLIENT_CPU = 0
const SERVER_CPU = cpus().length - 1
const CPUS = [...new Set([CLIENT_CPU, SERVER_CPU])]
const SOURCE = fileURLToPath(new URL('./tcp_load.c', import.meta.url))

/** Addresses that the client speaks from, the bed's first: connections that are over block their ports for a minute. */
export const SOURCES = 16

export interface LoadPlace {
  readonly bed: Bed
  /** That the client is in; undefined: it does not matter. */
  readonly cgroup: string | undefined
  /** A file of lines "address port". */
  readonly targets: string
  /** Where the server listens: "first-last". */
  readonly ports: string
}

export interface Taken {
  /** Connections (short) or requests (kept) a second. */
  readonly perSecond: number
  /** As many as the busier of the two processors had time for, whoever else took some of it. */
  readonly perBusierSecond: number
  /** Processor time of client, server and the node's ksoftirqd, microseconds each. */
  readonly cpuUs: number
  readonly p50Us: number
  readonly p99Us: number
}

export class Load {
  readonly #program: AskedProgram

  constructor({ bed, cgroup, targets, ports }: LoadPlace) {
    const script = '[ -z "$1" ] || echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
    const client = [String(CLIENT_CPU), bed.path('client')]
    const server = [String(SERVER_CPU), bed.path('backend'), ports]
    const program = [compile(SOURCE), ...client, ...server, targets, CLIENT_ADDRESS, String(SOURCES)]
    const argv = ['-c', script, 'sh', cgroup ?? '', ...program]
    this.#program = new AskedProgram('tcp_load', ['sh', ...argv])
  }

  async take(kind: 'short' | 'kept', count: number, atOnce: number): Promise<Taken> {
    const before = CPUS.map(softirqNs)
    const words = (await this.#program.ask(`${kind} ${count} ${atOnce}`, 'done')).split(' ').map(Number)
    const softirq = CPUS.map((cpu, index) => [cpu, softirqNs(cpu) - (before[index] ?? 0)] as const)
    const [wall = 0, client = 0, server = 0, p50 = 0, p99 = 0] = words
    const { total, busiest } = processorTime([[CLIENT_CPU, client], [SERVER_CPU, server], ...softirq])
    return {
      perSecond: (count * 1e9) / wall,
      perBusierSecond: (count * 1e9) / busiest,
      cpuUs: total / count / 1000,
      p50Us: p50 / 1000,
      p99Us: p99 / 1000,
    }
  }

  /** What getpeername() says of a connection to the first target. */
  shown(): Promise<string> {
    return this.#program.ask('shown', 'peer')
  }

  close(): Promise<void> {
    return this.#program.close()
  }
}

/** @param spent [processor, nanoseconds]; on a machine of one they are of the same */
export function processorTime(spent: readonly (readonly [cpu: number, ns: number])[]): {
  readonly total: number
  readonly busiest: number
} {
  const byCpu = new Map<number, number>()
  for (const [cpu, ns] of spent) byCpu.set(cpu, (byCpu.get(cpu) ?? 0) + ns)
  const sums = [...byCpu.values()]
  return { total: sums.reduce((sum, ns) => sum + ns, 0), busiest: Math.max(...sums) }
}

/** Run time of the kernel's thread for packets that no task of this processor carries further itself. */
function softirqNs(cpu: number): number {
  softirqThreads ??= new Map(
    readdirSync('/proc').flatMap((entry) => {
      const name = /^\d+$/.test(entry) ? readOrEmpty(`/proc/${entry}/comm`) : ''
      const number = /^ksoftirqd\/(\d+)\n$/.exec(name)?.[1]
      return number === undefined ? [] : [[Number(number), entry] as const]
    }),
  )
  return Number(readOrEmpty(`/proc/${softirqThreads.get(cpu)}/schedstat`).split(' ')[0] ?? 0)
}

let softirqThreads: ReadonlyMap<number, string> | undefined

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
