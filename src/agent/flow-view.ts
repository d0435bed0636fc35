// Flows as the local API shows them: entries of the kernel's table with their numbers named, and picked by what is asked for.

import { setImmediate } from 'node:timers/promises'
import type { FlowEntry } from '../datapath/flow-table.ts'
import type { FlowNames } from '../datapath/maps.ts'
import { endText, parseAddress } from '../model/address.ts'
import { RequestError } from './local-api.ts'

export interface FlowView {
  /** TO_LOCAL, TO_REMOTE, REPLY, …: see enum flow_kind. */
  readonly kind: string
  /** HALF_OPEN, ESTABLISHED, CLOSING, …: see enum flow_state. */
  readonly state: string
  readonly protocol: string
  readonly client: string
  /** `address:port`, IPv6 in brackets; undefined: its Service is gone. */
  readonly frontend: string | undefined
  readonly backend: string | undefined
  readonly idleSeconds: number
  /** The source port that the backend sees; undefined: the client's own. */
  readonly snatPort: number | undefined
}

export interface FlowFilter {
  /** Client, frontend or backend. */
  readonly address: string | undefined
  readonly port: number | undefined
  readonly protocol: string | undefined
  readonly limit: number
}

/** What one answer holds at most. */
const FLOWS_MAX = 10_000
const FLOWS_DEFAULT = 1000
const PROTOCOLS = new Map([
  [6, 'TCP'],
  [17, 'UDP'],
  [132, 'SCTP'],
])

/** Throws RequestError. */
export function readFlowFilter(query: URLSearchParams): FlowFilter {
  const text = query.get('address')
  const address = text === null ? undefined : parseAddress(text)
  if (text !== null && address === undefined)
    throw new RequestError(400, `address '${text}' is none; write one like 10.0.0.1 or 2001:db8::1`)
  const protocol = query.get('protocol')?.toUpperCase()
  if (protocol !== undefined && ![...PROTOCOLS.values()].includes(protocol))
    throw new RequestError(400, `protocol '${protocol}' is not balanced; write one of tcp, udp, sctp`)
  return {
    address,
    protocol,
    port: readNumber(query, 'port', 65_535),
    limit: readNumber(query, 'limit', FLOWS_MAX) ?? FLOWS_DEFAULT,
  }
}

export function readNumber(query: URLSearchParams, name: string, max: number): number | undefined {
  const text = query.get(name)
  if (text === null) return undefined
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1 || number > max)
    throw new RequestError(400, `${name} '${text}' is out of range; write a whole number from 1 to ${max}`)
  return number
}

/** Entries looked at in one turn of the event loop: some milliseconds when every one is a flow. */
const ENTRIES_PER_TURN = 1024

export interface FlowSource {
  readonly capacity: number
  entries(first: number, count: number): Iterable<FlowEntry>
}

interface FlowList {
  readonly flows: readonly FlowView[]
  /** There are more. */
  readonly isCut: boolean
}

/**
 * Walks the table in turns of the event loop: it is large, and flows come and go meanwhile in any case.
 * @param tickSeconds how long a flow's tick takes
 */
export async function listFlows(
  table: FlowSource,
  names: FlowNames,
  filter: FlowFilter,
  tickSeconds: number,
): Promise<FlowList> {
  const flows: FlowView[] = []
  const known = rememberNames(names)
  for (let first = 0; first < table.capacity; first += ENTRIES_PER_TURN) {
    for (const entry of table.entries(first, ENTRIES_PER_TURN)) {
      const view = viewIfAskedFor(entry, known, filter, tickSeconds)
      if (view === undefined) continue
      if (flows.length === filter.limit) return { flows, isCut: true }
      flows.push(view)
    }
    await setImmediate()
  }
  return { flows, isCut: false }
}

/** Many flows name the same few rows, and each look-up is a system call. */
function rememberNames(names: FlowNames): FlowNames {
  const remembered = <Row>(lookUp: (id: number) => Row | undefined) => {
    const rows = new Map<number, Row | undefined>()
    return (id: number) => {
      if (!rows.has(id)) rows.set(id, lookUp(id))
      return rows.get(id)
    }
  }
  return { frontend: remembered(names.frontend), backend: remembered(names.backend) }
}

function viewIfAskedFor(
  entry: FlowEntry,
  names: FlowNames,
  filter: FlowFilter,
  tickSeconds: number,
): FlowView | undefined {
  const protocol = PROTOCOLS.get(entry.protocol) ?? String(entry.protocol)
  if (filter.protocol !== undefined && filter.protocol !== protocol) return undefined
  const frontend = names.frontend(entry.frontendId)
  const backend = entry.backendId === undefined ? undefined : names.backend(entry.backendId)
  const client = { address: entry.client, port: entry.clientPort }
  if (!isAskedFor(filter, [client, frontend, backend])) return undefined
  return {
    kind: entry.kind,
    state: entry.state,
    protocol,
    client: endText(client.address, client.port),
    frontend: frontend && endText(frontend.address, frontend.port),
    backend: backend && endText(backend.address, backend.port),
    idleSeconds: Math.round(entry.idleTicks * tickSeconds),
    snatPort: entry.snatPort === 0 ? undefined : entry.snatPort,
  }
}

interface End {
  readonly address: string
  readonly port: number
}

/** One and the same end has the address and the port. */
function isAskedFor({ address, port }: FlowFilter, ends: readonly (End | undefined)[]): boolean {
  return ends.some(
    (end) =>
      end !== undefined &&
      (address === undefined || end.address === address) &&
      (port === undefined || end.port === port),
  )
}
