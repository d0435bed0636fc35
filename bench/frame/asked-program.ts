// A program of the host that is asked one thing a line on its standard input, and answers each with a line: a word, then what it says.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

export class AskedProgram {
  readonly #name: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  /** @param name for error messages; `argv[0]` may be a shell that executes it */
  constructor(name: string, [command = '', ...args]: readonly string[]) {
    this.#name = name
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /**
   * @returns what stands behind the word `answer`
   * @throws when it answers anything else, or has ended
   */
  async ask(order: string, answer: string): Promise<string> {
    this.#child.stdin.write(`${order}\n`)
    const { value, done } = await this.#lines.next()
    if (done !== true && value.startsWith(`${answer} `)) return value.slice(answer.length + 1)
    throw new Error(`${this.#name}, asked '${order}': ${done === true ? 'it ended' : value}`)
  }

  async close(): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit')
  }
}
