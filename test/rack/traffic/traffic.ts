// Many flows from a host of the rack, from the test's side: begun, looked at, ended.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Host } from '../../../src/sandbox/host.ts'
import { enterArgv } from '../../../src/sandbox/process.ts'
import type { FlowReport } from './client.ts'

const CLIENT = fileURLToPath(new URL('client.ts', import.meta.url))
const SERVER = fileURLToPath(new URL('server.ts', import.meta.url))

/** What a pod runs to be the far end. */
export function serverCommand(name: string, port: number): string[] {
  return [process.execPath, SERVER, name, String(port)]
}

export class Traffic {
  /** How many it is of, TCP and UDP; they begin one after another. */
  readonly flows: number
  readonly #child: ChildProcess
  readonly #lines: Interface

  /** `flows` TCP flows and as many UDP flows, dealt over the addresses. */
  constructor(host: Host, addresses: readonly string[], port: number, flows: number) {
    this.flows = 2 * flows
    const argv = [process.execPath, CLIENT, String(port), String(flows), ...addresses]
    const [command = '', ...args] = enterArgv({ namespace: host.namespace, cgroup: host.systemCgroup }, argv)
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    if (!this.#child.stdout) throw new Error('the traffic has no standard output')
    this.#lines = createInterface({ input: this.#child.stdout })
  }

  async report(): Promise<readonly FlowReport[]> {
    const line = once(this.#lines, 'line')
    this.#child.stdin?.write('report\n')
    return JSON.parse(String((await line)[0])) as FlowReport[]
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
