// `weir flow`: connections in this node's flow table, and packets that were dropped.

import type { Drop } from '../agent/drop-log.ts'
import type { FlowView } from '../agent/flow-view.ts'
import type { RuleLine } from '../agent/policy-lines.ts'
import { endText } from '../model/address.ts'
import { formatAge, formatSeconds, formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import { timeText } from '../model/time-text.ts'
import { type Action, type ActionSet, runAction, type ValuesOf } from './actions.ts'
import { AGENT_OPTIONS, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { lineSentences } from './rule-lines.ts'
import { footnotes, withSentences } from './short-lists.ts'

interface FlowAnswer {
  /** Seen last first. */
  readonly flows: readonly FlowView[]
  /** How many more there are. */
  readonly more: number
}

interface DropAnswer {
  /** Oldest first. */
  readonly drops: readonly Drop[]
  /** From when on they are listed; older agents do not say. */
  readonly sinceMs: number | undefined
  /** Packets dropped or refused since the maps were made. */
  readonly counted: number
  /** Where the rules are written that drops name; older agents do not say. */
  readonly lines?: readonly RuleLine[]
}

const OPTIONS = {
  ...AGENT_OPTIONS,
  service: { type: 'string' },
  client: { type: 'string' },
  frontend: { type: 'string' },
  backend: { type: 'string' },
  address: { type: 'string' },
  port: { type: 'string' },
  protocol: { type: 'string' },
  limit: { type: 'string' },
} as const

type Values = ValuesOf<typeof OPTIONS>

const FILTERS = ['service', 'client', 'frontend', 'backend', 'address', 'port', 'protocol'] as const

const GET: Action<Values> = {
  takes: '[--service NAMESPACE/NAME] [--client A] [--backend A] [--protocol P] [--limit N]',
  words: 0,
  summary: "connections in this node's flow table, seen last first",
  about: `Connections in this node's flow table, those seen last first. Filters join: what all of them admit
    is shown. Connections from pods to Services are translated at the socket and stand here only where
    they are balanced per packet.`,
  example: 'weir flow get --service shop/web --client 198.51.100.7',
  optionsHelp: `  --service NAMESPACE/NAME     of this Service
  --client, --frontend, --backend ADDRESS[:PORT]    with this end, as the table shows it
  --address ADDRESS, --port PORT    with an end, whichever it is, of this address, this port or both
  --protocol tcp|udp|sctp
  --limit N        how many at most (default 100; 0: as many as one answer holds, 50000)
  -o wide          also the Service, and the port that a masqueraded flow's backend sees
`,
  options: [...FILTERS, 'limit'],
  run: async (values) => {
    const answer = await askAgent<FlowAnswer>(values, `/v1/flows?${queryOf(values)}`)
    const isFiltered = FILTERS.some((name) => values[name] !== undefined)
    printAnswer(
      values,
      answer,
      (shown, width) => formatFlows(shown, { width, isFiltered }),
      (shown) => formatFlows(shown, { isFiltered, isWide: true }),
    )
    return 0
  },
}

const DROPS: Action<Values> = {
  takes: '[--limit N]',
  words: 0,
  summary: 'the last packets dropped or refused, with the reason',
  about: `The last packets dropped or refused, the newest at the end: how long ago, why, who, and of which Service, or by
    which rule of policy (numbered, below the table). Pods stand by their workloads. Of a flood a sample.`,
  example: 'weir flow drops --limit 20',
  optionsHelp: `  --limit N        how many at most (default 100; 0: all that are kept, 1000)
  -o wide          times as they are, and addresses in place of names
`,
  options: ['limit'],
  run: async (values) => {
    printAnswer(
      values,
      await askAgent<DropAnswer>(values, `/v1/drops?${queryOf(values)}`),
      (shown, width) => formatDrops(shown, { width }),
      (shown) => formatDrops(shown, { width: Number.POSITIVE_INFINITY, isWide: true }),
    )
    return 0
  },
}

export const FLOW_ACTIONS: ActionSet<typeof OPTIONS> = {
  command: 'weir flow',
  options: OPTIONS,
  actions: { get: GET, drops: DROPS },
}

export const flowCommand: Command = {
  summary: "this node's connections and dropped packets",
  run: (args) => runAction(FLOW_ACTIONS, args),
}

function queryOf(values: Values): URLSearchParams {
  const query = new URLSearchParams()
  for (const name of [...FILTERS, 'limit'] as const)
    if (values[name] !== undefined) query.set(name, values[name])
  return query
}

interface FlowLayout {
  readonly width?: number
  readonly isWide?: boolean
  /** Whether only some were asked for. */
  readonly isFiltered?: boolean
}

export function formatFlows(
  { flows, more }: FlowAnswer,
  { width = PAGE_WIDTH, isWide = false, isFiltered = false }: FlowLayout = {},
): string {
  if (flows.length === 0)
    return isFiltered
      ? 'No flow of this node is like that.\n'
      : 'No flows: no connection to a Service is in the table of this node.\n'
  const rows = flows.map((flow) => [
    flow.protocol,
    flow.client,
    flow.frontend ?? '<gone>',
    // An entry of the way back names no backend.
    flow.backend ?? (flow.kind.endsWith('REPLY') ? '' : '<gone>'),
    flow.kind,
    flow.state,
    formatSeconds(flow.idleSeconds),
    ...(isWide ? [flow.service ?? '<gone>', flow.snatPort === undefined ? '' : String(flow.snatPort)] : []),
  ])
  const header = ['PROTOCOL', 'CLIENT', 'FRONTEND', 'BACKEND', 'KIND', 'STATE', 'IDLE']
  const table = isWide
    ? formatTable([...header, 'SERVICE', 'SNAT PORT'], rows)
    : formatTable(header, rows, { width, flexible: [] })
  return `${table}\n${more > 0 ? `${more} more; --limit 0 for all, or narrow them: --service, --client, --backend.\n` : ''}`
}

interface DropLayout {
  readonly width?: number
  readonly nowMs?: number
  /** Whole times, and addresses in place of names. */
  readonly isWide?: boolean
}

export function formatDrops(
  { drops, counted, sinceMs, lines = [] }: DropAnswer,
  { width = PAGE_WIDTH, nowMs = Date.now(), isWide = false }: DropLayout = {},
): string {
  if (drops.length === 0) {
    const since = sinceMs === undefined ? 'of late' : `since ${timeText(sinceMs)}`
    const before = counted > 0 ? `, and ${counted} before that: weir_packets_total has them by reason` : ''
    return `No packets dropped or refused ${since}${before}.\n`
  }
  const rules = footnotes()
  const rows = drops.map((drop) => [
    isWide ? new Date(drop.timeMs).toISOString() : formatAge(drop.timeMs, nowMs),
    drop.reason,
    drop.protocol,
    isWide ? endText(drop.source, drop.sourcePort) : namedEnd(drop.sourceName, drop.source, drop.sourcePort),
    isWide
      ? endText(drop.destination, drop.destinationPort)
      : namedEnd(drop.destinationName, drop.destination, drop.destinationPort),
    drop.service ?? rules.mark(drop.rule ?? ''),
  ])
  const last = drops.some(({ rule }) => rule !== undefined) ? 'SERVICE OR RULE' : 'SERVICE'
  const header = [isWide ? 'TIME' : 'AGE', 'REASON', 'PROTOCOL', 'SOURCE', 'DESTINATION', last]
  const table = isWide
    ? formatTable(header, rows)
    : formatTable(header, rows, { width, flexible: ['SOURCE', 'DESTINATION'] })
  const rest = `The newest ${drops.length} of ${counted}; of a flood a sample is listed, weir_packets_total has all by reason.`
  const below = [...rules.texts(), ...lineSentences(lines), ...(counted > drops.length ? [rest] : [])]
  return below.length > 0 ? withSentences(table, below, width) : `${table}\n`
}

/** A workload's name says more than its address. */
function namedEnd(name: string | undefined, address: string, port: number): string {
  if (name === undefined) return endText(address, port)
  return port === 0 ? name : `${name}:${port}`
}
