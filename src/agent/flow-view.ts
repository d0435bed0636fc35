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
  /** `namespace/name`; undefined: it is gone. */
  readonly service: string | undefined
  readonly idleSeconds: number
  /** The source port that the backend sees; undefined: the client's own. */
  readonly snatPort: number | undefined
}

/** One end of a flow, or its address alone. */
interface WantedEnd {
  readonly address: string
  readonly port: number | undefined
}

/** What is undefined may be anything. */
export interface FlowFilter {
  /** Any of the three ends has this address and this port. */
  readonly address: string | undefined
  readonly port: number | undefined
  readonly client: WantedEnd | undefined
  readonly frontend: WantedEnd | undefined
  readonly backend: WantedEnd | undefined
  readonly service: string | undefined
  readonly protocol: string | undefined
  readonly limit: number
}

/** What one answer holds at most: some 15 MB, which hold the agent up for a tenth of a second. */
const FLOWS_MAX = 50_000
/** A screen or two; what was seen last is asked about most. */
const FLOWS_DEFAULT = 100
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
  const service = query.get('service')
  return {
    address,
    protocol,
    port: readNumber(query, 'port', 65_535),
    client: readEnd(query, 'client'),
    frontend: readEnd(query, 'frontend'),
    backend: readEnd(query, 'backend'),
    service: service === null || service.includes('/') ? (service ?? undefined) : `default/${service}`,
    limit: readLimit(query, FLOWS_MAX) ?? FLOWS_DEFAULT,
  }
}

/** As cells of the table say it, or the address alone. */
function readEnd(query: URLSearchParams, name: string): WantedEnd | undefined {
  const text = query.get(name)
  if (text === null) return undefined
  const alone = parseAddress(text)
  if (alone !== undefined) return { address: alone, port: undefined }
  const [, bracketed, plain = '', digits] = /^(?:\[([\da-f:.]+)\]|([\d.]+)):(\d{1,5})$/i.exec(text) ?? []
  const address = parseAddress(bracketed ?? plain)
  if (address !== undefined && Number(digits) <= 65_535) return { address, port: Number(digits) }
  throw new RequestError(
    400,
    `${name} '${text}' is no address; write one like 10.0.0.1, 10.0.0.1:80, 2001:db8::1 or [2001:db8::1]:80`,
  )
}

/** `limit`, where 0 asks for all that one answer may hold. */
export function readLimit(query: URLSearchParams, max: number): number | undefined {
  return query.get('limit') === '0' ? max : readNumber(query, 'limit', max)
}

function readNumber(query: URLSearchParams, name: string, max: number): number | undefined {
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
  /** Seen last first. */
  readonly flows: readonly FlowView[]
  /** How many more there are that were asked for. */
  readonly more: number
}

/** Names behind the numbers of flows. */
export interface FlowNaming extends FlowNames {
  readonly service: (serviceId: number) => string | undefined
}

/**
 * Walks the table in turns of the event loop: it is large, and flows come and go meanwhile in any case.
 * @param tickSeconds how long a flow's tick takes
 */
export async function listFlows(
  table: FlowSource,
  names: FlowNaming,
  filter: FlowFilter,
  tickSeconds: number,
): Promise<FlowList> {
  const known = rememberNames(names)
  const newest = new Newest(filter.limit)
  for (let first = 0; first < table.capacity; first += ENTRIES_PER_TURN) {
    for (const entry of table.entries(first, ENTRIES_PER_TURN))
      if (isAskedFor(filter, entry, endsOf(entry, known))) newest.add(entry)
    await setImmediate()
  }
  return {
    flows: newest.inOrder().map((entry) => viewOf(entry, endsOf(entry, known), tickSeconds)),
    more: newest.seen - newest.inOrder().length,
  }
}

/** The `limit` flows that were seen last, of however many: never more than twice as many are held. */
class Newest {
  readonly #limit: number
  #held: FlowEntry[] = []
  seen = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  add(entry: FlowEntry): void {
    this.seen += 1
    this.#held.push(entry)
    if (this.#held.length >= 2 * this.#limit) this.#held = this.inOrder()
  }

  inOrder(): FlowEntry[] {
    return this.#held.sort(byIdleTime).slice(0, this.#limit)
  }
}

/** Flows of one client stand together among those that were seen at the same time. */
function byIdleTime(a: FlowEntry, b: FlowEntry): number {
  if (a.idleTicks !== b.idleTicks) return a.idleTicks - b.idleTicks
  if (a.client !== b.client) return a.client < b.client ? -1 : 1
  return a.clientPort - b.clientPort
}

/** Many flows name the same few rows, and each look-up is a system call. */
function rememberNames(names: FlowNaming): FlowNaming {
  const remembered = <Row>(lookUp: (id: number) => Row | undefined) => {
    const rows = new Map<number, Row | undefined>()
    return (id: number) => {
      if (!rows.has(id)) rows.set(id, lookUp(id))
      return rows.get(id)
    }
  }
  return {
    frontend: remembered(names.frontend),
    backend: remembered(names.backend),
    service: remembered(names.service),
  }
}

interface End {
  readonly address: string
  readonly port: number
}

interface Ends {
  readonly client: End
  readonly frontend: End | undefined
  readonly backend: End | undefined
  readonly service: string | undefined
}

function endsOf(entry: FlowEntry, names: FlowNaming): Ends {
  const frontend = names.frontend(entry.frontendId)
  return {
    client: { address: entry.client, port: entry.clientPort },
    frontend,
    backend: entry.backendId === undefined ? undefined : names.backend(entry.backendId),
    service: frontend && names.service(frontend.serviceId),
  }
}

function protocolOf({ protocol }: FlowEntry): string {
  return PROTOCOLS.get(protocol) ?? String(protocol)
}

function viewOf(
  entry: FlowEntry,
  { client, frontend, backend, service }: Ends,
  tickSeconds: number,
): FlowView {
  return {
    kind: entry.kind,
    state: entry.state,
    protocol: protocolOf(entry),
    client: endText(entry.client, client.port),
    frontend: frontend && endText(frontend.address, frontend.port),
    backend: backend && endText(backend.address, backend.port),
    service,
    idleSeconds: Math.round(entry.idleTicks * tickSeconds),
    snatPort: entry.snatPort === 0 ? undefined : entry.snatPort,
  }
}

function isAskedFor(filter: FlowFilter, entry: FlowEntry, ends: Ends): boolean {
  const { address, port, protocol, service } = filter
  if (protocol !== undefined && protocol !== protocolOf(entry)) return false
  if (service !== undefined && service !== ends.service) return false
  // One and the same end has the address and the port.
  const isAny = [ends.client, ends.frontend, ends.backend].some((end) => isEnd(end, { address, port }))
  return (
    isAny &&
    (['client', 'frontend', 'backend'] as const).every(
      (name) => filter[name] === undefined || isEnd(ends[name], filter[name]),
    )
  )
}

function isEnd(
  end: End | undefined,
  { address, port }: { readonly address: string | undefined; readonly port: number | undefined },
): boolean {
  if (end === undefined) return false
  return (address === undefined || end.address === address) && (port === undefined || end.port === port)
}
