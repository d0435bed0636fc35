// A process that makes system calls of sockets and tells what they cost: connect_loop.c, in a cgroup and a network namespace.

import { fileURLToPath } from 'node:url'
import { AskedProgram } from '../frame/asked-program.ts'
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
  readonly #program: AskedProgram

  /** The shell enters the cgroup first: a socket belongs to the cgroup it was made in. */
  constructor({ cgroup, namespace, cpu }: Place) {
    const script = 'echo $$ > "$1/cgroup.procs" && exec nsenter --net="$2" "$3" "$4"'
    const argv = ['-c', script, 'sh', cgroup, namespace, compile(SOURCE), String(cpu)]
    this.#program = new AskedProgram('connect_loop', ['sh', ...argv])
  }

  /** Whom to call from now on, a line "address port" each. */
  async aim(file: string): Promise<void> {
    await this.#program.ask(`targets ${file}`, 'ok')
  }

  async call(action: Action, batches: number, sockets: number, first: number): Promise<Called> {
    const [spent, calls] = (await this.#program.ask(`${action} ${batches} ${sockets} ${first}`, 'ns')).split(
      ' ',
    )
    return { ns: Number(spent) / sockets, calls: Number(calls) }
  }

  /** What getpeername() says of a socket that was connected to a target. */
  async shown(first: number): Promise<string> {
    return this.#program.ask(`shown ${first}`, 'peer')
  }

  close(): Promise<void> {
    return this.#program.close()
  }
}
