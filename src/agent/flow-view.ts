// Flows as the local API shows them: entries of the kernel's table with their numbers named, and picked by what is asked for.

import type { FlowEntry } from '../datapath/flow-table.ts'
import type { FlowNames } from '../datapath/maps.ts'
import { parseAddress } from '../model/address.ts'
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

/** @param tickSeconds how long a flow's tick takes */
export function listFlows(
  entries: Iterable<FlowEntry>,
  names: FlowNames,
  filter: FlowFilter,
  tickSeconds: number,
): { readonly flows: readonly FlowView[]; readonly isCut: boolean } {
  const flows: FlowView[] = []
  for (const entry of entries) {
    const protocol = PROTOCOLS.get(entry.protocol) ?? String(entry.protocol)
    if (filter.protocol !== undefined && filter.protocol !== protocol) continue
    const frontend = names.frontend(entry.frontendId)
    const backend = entry.backendId === undefined ? undefined : names.backend(entry.backendId)
    const client = { address: entry.client, port: entry.clientPort }
    if (!isAskedFor(filter, [client, frontend, backend])) continue
    if (flows.length === filter.limit) return { flows, isCut: true }
    flows.push({
      kind: entry.kind,
      state: entry.state,
      protocol,
      client: endText(client),
      frontend: frontend && endText(frontend),
      backend: backend && endText(backend),
      idleSeconds: Math.round(entry.idleTicks * tickSeconds),
      snatPort: entry.snatPort === 0 ? undefined : entry.snatPort,
    })
  }
  return { flows, isCut: false }
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

function endText({ address, port }: End): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
