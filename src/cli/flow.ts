// `weir flow`: connections in this node's flow table, and packets that were dropped.

import type { Drop } from '../agent/drop-log.ts'
import type { FlowView } from '../agent/flow-view.ts'
import { endText } from '../model/address.ts'
import { formatSeconds, formatTable } from '../model/text-table.ts'
import { AGENT_OPTIONS, AGENT_OPTIONS_HELP, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { didYouMean, parseOptions, UsageError } from './options.ts'

const USAGE = `Usage: weir flow get [--address A] [--port P] [--protocol tcp|udp|sctp] [--limit N]
       weir flow drops [--limit N]

  get              flows whose client, frontend or backend has this address and port. Connections from pods to Services are
                   translated at the socket and stand here only where they are balanced per packet
  drops            the last packets dropped or refused, with the reason

  --limit N        how many at most (get: 1000, at most 10000; drops: 100, at most 1000)
${AGENT_OPTIONS_HELP}`

interface FlowAnswer {
  readonly flows: readonly FlowView[]
  /** There are more. */
  readonly isCut: boolean
}

interface DropAnswer {
  readonly drops: readonly Drop[]
  /** Packets dropped or refused since the maps were made. */
  readonly counted: number
}

const FILTERS = ['address', 'port', 'protocol', 'limit'] as const

export const flowCommand: Command = {
  summary: "this node's connections and dropped packets",
  run: async (args) => {
    const { values, positionals } = parseOptions('weir flow', args, {
      ...AGENT_OPTIONS,
      address: { type: 'string' },
      port: { type: 'string' },
      protocol: { type: 'string' },
      limit: { type: 'string' },
    })
    const [action = ''] = positionals
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    const query = new URLSearchParams()
    for (const name of FILTERS) if (values[name] !== undefined) query.set(name, values[name])
    if (action === 'get') {
      printAnswer(values, await askAgent<FlowAnswer>(values, `/v1/flows?${query}`), formatFlows)
      return 0
    }
    if (action === 'drops') {
      printAnswer(values, await askAgent<DropAnswer>(values, `/v1/drops?${query}`), formatDrops)
      return 0
    }
    throw new UsageError(`no such action '${action}'. Mend: ${didYouMean(action, ['get', 'drops'])}`)
  },
}

export function formatFlows({ flows, isCut }: FlowAnswer): string {
  const rows = flows.map((flow) => [
    flow.protocol,
    flow.client,
    flow.frontend ?? '<gone>',
    // An entry of the way back names no backend.
    flow.backend ?? (flow.kind.endsWith('REPLY') ? '' : '<gone>'),
    flow.kind,
    flow.state,
    formatSeconds(flow.idleSeconds),
    flow.snatPort === undefined ? '' : String(flow.snatPort),
  ])
  const table = formatTable(
    ['PROTOCOL', 'CLIENT', 'FRONTEND', 'BACKEND', 'KIND', 'STATE', 'IDLE', 'SNAT PORT'],
    rows,
  )
  return `${table}\n${isCut ? 'There are more: --limit raises the number, --address and --port narrow it.\n' : ''}`
}

export function formatDrops({ drops, counted }: DropAnswer): string {
  const rows = drops.map((drop) => [
    new Date(drop.timeMs).toISOString(),
    drop.reason,
    drop.protocol,
    endText(drop.source, drop.sourcePort),
    endText(drop.destination, drop.destinationPort),
    drop.service ?? '',
  ])
  const table = formatTable(['TIME', 'REASON', 'PROTOCOL', 'SOURCE', 'DESTINATION', 'SERVICE'], rows)
  return `${table}\n${counted > drops.length ? `The newest ${drops.length} of ${counted}; of a flood a sample is listed, weir_packets_total has all by reason.\n` : ''}`
}
