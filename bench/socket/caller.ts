// A process that makes system calls of sockets and tells what they cost: connect_loop.c, in a cgroup and a network namespace.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { compile } from '../frame/compile.ts'

export type Action = 'fresh' | 'again' | 'life' | 'send'

const SOURCE = fileURLToPath(new URL('./connect_loop.c', import.meta.url))

export interface Called {
  /** CPU time of a call. */
  readonly ns: number
  /** Calls altogether, those before the measured ones too. */
  readonly calls: number
}

export interface Place {
  /** A directory of the cgroup file system. */
  readonly cgroup: string
  /** As /run/netns/NAME. */
  readonly namespace: string
  readonly cpu: number
}

export class Caller {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  /** The shell enters the cgroup first: a socket belongs to the cgroup it was made in. */
  constructor({ cgroup, namespace, cpu }: Place) {
    const script = 'echo $$ > "$1/cgroup.procs" && exec nsenter --net="$2" "$3" "$4"'
    const argv = ['-c', script, 'sh', cgroup, namespace, compile(SOURCE), String(cpu)]
    this.#child = spawn('sh', argv, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** Whom to call from now on, a line "address port" each. */
  async aim(file: string): Promise<void> {
    await this.#ask(`targets ${file}`, 'ok')
  }

  async call(action: Action, batches: number, sockets: number, first: number): Promise<Called> {
    const [spent, calls] = (await this.#ask(`${action} ${batches} ${sockets} ${first}`, 'ns')).split(' ')
    return { ns: Number(spent) / sockets, calls: Number(calls) }
  }

  /** What getpeername() says of a socket that was connected to a target. */
  async shown(first: number): Promise<string> {
    return this.#ask(`shown ${first}`, 'peer')
  }

  async close(): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }

  async #ask(order: string, answer: string): Promise<string> {
    this.#child.stdin.write(`${order}\n`)
    const { value, done } = await this.#lines.next()
    if (done !== true && value.startsWith(`${answer} `)) return value.slice(answer.length + 1)
    throw new Error(`connect_loop, asked '${order}': ${done === true ? 'it ended' : value}`)
  }
}
