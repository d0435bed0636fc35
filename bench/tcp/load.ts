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
    const softirqBefore = softirqNs()
    const words = (await this.#program.ask(`${kind} ${count} ${atOnce}`, 'done')).split(' ').map(Number)
    const softirq = softirqNs() - softirqBefore
    const [wall = 0, client = 0, server = 0, p50 = 0, p99 = 0] = words
    return {
      perSecond: (count * 1e9) / wall,
      cpuUs: (client + server + softirq) / count / 1000,
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

/** Run time of the kernel's threads for packets that no task carries further itself. */
function softirqNs(): number {
  softirqThreads ??= readdirSync('/proc').filter((entry) => {
    const name = /^\d+$/.test(entry) ? readOrEmpty(`/proc/${entry}/comm`) : ''
    return name === `ksoftirqd/${CLIENT_CPU}\n` || name === `ksoftirqd/${SERVER_CPU}\n`
  })
  const runNs = softirqThreads.map((pid) => Number(readOrEmpty(`/proc/${pid}/schedstat`).split(' ')[0] ?? 0))
  return runNs.reduce((sum, ns) => sum + ns, 0)
}

let softirqThreads: string[] | undefined

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
