// `weir agent`: runs the node agent until it is told to stop.

import { setFlagsFromString } from 'node:v8'
import { startAgent } from '../agent/agent.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'

const USAGE = `Usage: weir agent --config FILE

Balances Services in the kernel and announces their addresses, as FILE (YAML) says. Logs JSON lines to standard output.
Stopping it changes nothing in the kernel and withdraws no route; start it again and it takes over where it was.
`

/**
 * V8 marks and sweeps beside the program, but moves objects together while it stands still: 20 to 120 ms after a first synchronisation
 * with ten thousand Services. Holes are filled by the next rows, which are of the same sizes.
 */
const NEVER_COMPACT = '--no-compact'

export const agentCommand: Command = {
  summary: 'run the node agent',
  run: async (args) => {
    const { values, positionals } = parseOptions('weir agent', args, {
      config: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    })
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (values.config === undefined || positionals.length > 0) {
      process.stderr.write(USAGE)
      return 2
    }
    setFlagsFromString(NEVER_COMPACT)
    const agent = await startAgent(values.config)
    const stopped = new Promise<void>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
    })
    await Promise.race([stopped, agent.ready.then(() => stopped)])
    await agent.close()
    return 0
  },
}
