// A shell in the node's namespace that runs commands and tells what they took: a process of this one's size would spend longer in beginning
// another than many a command takes.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bed } from '../bed/topology.ts'
import { AskedProgram } from '../frame/asked-program.ts'

/** A command of the node, and what it reads. */
export type Command = readonly [argv: readonly string[], input?: string]

export interface Taken {
  readonly wallMs: number
  /** Of the commands' processes, user and system. */
  readonly cpuMs: number
}

const COMPLAINT_SHOWN = 1000
/** Answers with the status, the clock in microseconds before and after, and what `times` says of it and its children, before and after. */
const LOOP = `while read -r line; do
times > times; before=$(<times); begun=$EPOCHREALTIME
eval "$line" > /dev/null 2> complaint; status=$?
ended=$EPOCHREALTIME; times > times; after=$(<times)
complaint=$(head -c ${COMPLAINT_SHOWN} complaint)
echo "done $status $begun $ended $before $after \${complaint//$'\\n'/ }" | tr '\\n' ' '; echo
done`
const TIMES = 8

export class NodeShell {
  readonly #directory: string
  readonly #program: AskedProgram

  constructor(bed: Bed) {
    this.#directory = mkdtempSync(join(tmpdir(), `weir-tests-${process.pid}-`))
    const loop = `cd '${this.#directory}' || exit; ${LOOP}`
    this.#program = new AskedProgram('the shell of a node', [
      'nsenter',
      `--net=${bed.path('node')}`,
      'bash',
      '-c',
      loop,
    ])
  }

  /** One after the other. @throws when one fails */
  async run(commands: readonly Command[]): Promise<Taken> {
    const parts = commands.map(([argv, input], index) => {
      if (input === undefined) return argv.join(' ')
      const file = join(this.#directory, `input-${index}`)
      writeFileSync(file, input)
      return `${argv.join(' ')} < '${file}'`
    })
    return takenOf(await this.#program.ask(parts.join(' && '), 'done'), parts)
  }

  async close(): Promise<void> {
    await this.#program.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** @param answer 'STATUS BEGUN ENDED', then `0m0.001s` user and system of the shell and of its children, twice, then the complaint */
export function takenOf(answer: string, commands: readonly string[]): Taken {
  const [status, begun, ended, ...rest] = answer.split(' ').filter((word) => word !== '')
  if (status !== '0')
    throw new Error(`'${commands.join(' && ')}' failed (${status}): ${rest.slice(TIMES).join(' ')}`)
  const times = rest.slice(0, TIMES).map(milliseconds)
  const children = (at: number) => (times[at + 2] ?? Number.NaN) + (times[at + 3] ?? Number.NaN)
  return {
    wallMs: (Number(ended) - Number(begun)) * 1000,
    cpuMs: children(TIMES / 2) - children(0),
  }
}

/** '1m2.345s' */
function milliseconds(text: string): number {
  const [, minutes, seconds] = /^(\d+)m([\d.]+)s$/.exec(text) ?? []
  return Number(minutes) * 60_000 + Number(seconds) * 1000
}
