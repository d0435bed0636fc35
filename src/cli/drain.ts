// `weir drain` and `weir undrain`: tells the wish to the agent of this node, which writes it on the Node object, and prints state by state
// how far it has come.

import { setTimeout as sleep } from 'node:timers/promises'
import type { DrainAnswer } from '../agent/drain-requests.ts'
import type { DrainView } from '../agent/node-drain.ts'
import { AGENT_OPTIONS, AGENT_OPTIONS_HELP, askAgent, checkOutput, tellAgent } from './ask-agent.ts'
import type { Command } from './main.ts'
import { parseOptions, UsageError } from './options.ts'

const POLL_MS = 250
const OPTIONS = { ...AGENT_OPTIONS, 'no-wait': { type: 'boolean' } } as const

const DRAIN_USAGE = `Usage: weir drain NODE [--no-wait]

Cordons the node and asks its agent to send its traffic elsewhere: routers are told to prefer other nodes
(graceful-shutdown, 65535:0), and once the datapath has counted no client's packet to an announced address for a while,
or time is up, the VIPs are withdrawn. What comes to node ports is told beside that: no drain moves it. Prints each
state until the node is drained. Interrupting it does not end the drain; 'weir undrain' does. Pods stay: 'kubectl drain'
moves them.

Example: weir drain node2

  --no-wait        only ask for it
${AGENT_OPTIONS_HELP}`

const UNDRAIN_USAGE = `Usage: weir undrain NODE [--no-wait]

Ends a drain in whatever state it is: VIPs are announced again, without the mark. A cordon that 'weir drain' made ends
too; one that was there before stays.

Example: weir undrain node2

  --no-wait        only ask for it
${AGENT_OPTIONS_HELP}`

export const drainCommand: Command = {
  summary: 'send the traffic of a node elsewhere, and wait until it has gone',
  run: (args) => run('drain', DRAIN_USAGE, args, 'drained'),
}

export const undrainCommand: Command = {
  summary: 'let a node take its share of traffic again',
  run: (args) => run('undrain', UNDRAIN_USAGE, args, 'active'),
}

async function run(
  verb: 'drain' | 'undrain',
  usage: string,
  args: readonly string[],
  last: DrainView['phase'],
): Promise<number> {
  const { values, positionals } = parseOptions(`weir ${verb}`, args, OPTIONS)
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  const [node, surplus] = positionals
  if (node === undefined || surplus !== undefined)
    throw new UsageError(`name one node. Mend: weir ${verb} NODE; 'weir ${verb} --help' tells more`)
  checkOutput(values.output ?? 'table', ['json', 'table'])
  const isJson = values.output === 'json'
  const query = `node=${encodeURIComponent(node)}`
  const answer = await tellAgent<DrainAnswer>(values, `/v1/${verb}?${query}`)
  if (answer.caveat !== undefined) process.stderr.write(`weir ${verb}: ${answer.caveat}\n`)
  let view: DrainView = answer
  for (let printed = ''; ; ) {
    const text = isJson ? JSON.stringify(view) : formatDrain(view)
    const isNews = isJson ? `${view.phase}` !== printed : text !== printed
    if (isNews) process.stdout.write(`${text}\n`)
    printed = isJson ? view.phase : text
    if (values['no-wait'] || isDone(view, last)) return 0
    await sleep(POLL_MS)
    view = await askAgent<DrainView>(values, `/v1/drain?${query}`)
  }
}

/** Undraining is done when nobody wants the drain any more; a Node that nobody ever drained has told nothing. */
function isDone(view: DrainView, last: DrainView['phase']): boolean {
  return view.phase === last && (last === 'drained') === (view.wantedBy !== undefined)
}

export function formatDrain({ node, phase, message }: DrainView): string {
  return `${node}: ${phase}: ${message}`
}
