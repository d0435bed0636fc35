// A sender of probes on a host of the rack, from the test's side.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Host } from '../../../src/sandbox/host.ts'
import { enterArgv } from '../../../src/sandbox/process.ts'

const SENDER = fileURLToPath(new URL('sender.ts', import.meta.url))

export class Sender {
  readonly #child: ChildProcess
  readonly #lines: Interface

  constructor(host: Host, port: number, perSecond: number, addresses: readonly string[]) {
    const argv = [process.execPath, SENDER, String(port), String(perSecond), ...addresses]
    const [command = '', ...args] = enterArgv({ namespace: host.namespace, cgroup: host.systemCgroup }, argv)
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    if (!this.#child.stdout) throw new Error('the sender has no standard output')
    this.#lines = createInterface({ input: this.#child.stdout })
  }

  async sent(): Promise<Readonly<Record<'tcp' | 'udp', number>>> {
    const line = once(this.#lines, 'line')
    this.#child.stdin?.write('sent\n')
    return JSON.parse(String((await line)[0])) as Record<'tcp' | 'udp', number>
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
