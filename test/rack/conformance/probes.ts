// A program of the tests' own on a host (prober.ts, peer.ts, ../probes/sender.ts), from the test's side: orders go out, answers come back, many at once.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Host } from '../../../src/sandbox/host.ts'
import { enterArgv } from '../../../src/sandbox/process.ts'
import type { Order, Probe, RawPacket } from './prober.ts'

const PROBER = fileURLToPath(new URL('prober.ts', import.meta.url))

type Answer<O extends Order> = O extends { kind: 'raw' } ? readonly RawPacket[] : Probe

export class HostProgram {
  readonly #child: ChildProcess
  readonly #waiting = new Map<
    number,
    { resolve: (answer: unknown) => void; reject: (error: Error) => void }
  >()
  #lastId = 0
  #ended: Error | undefined

  /** Starts at once; `onEnd` hears of its end, whatever the reason: what is in a pod ends with its pod. */
  constructor(host: Host, script: readonly string[], onEnd = () => {}) {
    const cgroup = existsSync(host.systemCgroup) ? host.systemCgroup : undefined
    const place = { namespace: host.namespace, cgroup }
    const [command = '', ...args] = enterArgv(place, [process.execPath, '--max-semi-space-size=1', ...script])
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    const { stdout, stdin } = this.#child
    stdin?.on('error', () => {})
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.#take(line))
    const end = (why: string) => {
      this.#ended = new Error(`the program in ${host.name} ${why}`)
      for (const { reject } of this.#waiting.values()) reject(this.#ended)
      this.#waiting.clear()
      onEnd()
    }
    this.#child.once('error', (error) => end(`cannot start: ${error.message}`))
    this.#child.once('exit', (code, signal) => end(`ended (${signal ?? code})`))
  }

  ask(order: unknown): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended)
    this.#lastId += 1
    const id = this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.stdin?.write(`${JSON.stringify({ id, order })}\n`)
    })
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }

  #take(line: string): void {
    const { id, answer } = JSON.parse(line) as { id: number; answer: { error?: string } }
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (answer.error === undefined) waiting?.resolve(answer)
    else waiting?.reject(new Error(answer.error))
  }
}

export class Prober {
  readonly #program: HostProgram

  constructor(host: Host, onEnd: () => void) {
    this.#program = new HostProgram(host, [PROBER], onEnd)
  }

  order<O extends Order>(order: O): Promise<Answer<O>> {
    return this.#program.ask(order) as Promise<Answer<O>>
  }

  close(): void {
    this.#program.close()
  }
}
