// Ports at which a node stays in touch whatever its policies isolate: how people, the API server, its etcd, routers and other nodes reach
// it, and what it cannot come up without. Only a deny that names such a port closes it. Which ones is configured (`policy.failSafePorts`);
// those of the API servers as they really are are among them in any case.

import { z } from 'zod'
import type { PolicyDirection, PortProtocol, PortRange } from '../model/policy.ts'
import { PORT_MAX, PORT_PROTOCOLS } from '../model/policy.ts'
import type { EndpointSlice } from '../model/service.ts'
import { equalRows } from '../tables/equal-rows.ts'

export type FailSafePorts = Readonly<Record<PolicyDirection, readonly PortRange[]>>

const PORT_RANGE = /^(\d{1,5})(?:-(\d{1,5}))?\/(tcp|udp|sctp)$/

function parsePortRange(text: string): PortRange | undefined {
  const [, from, to = from, protocol] = PORT_RANGE.exec(text) ?? []
  const [first, last] = [Number(from), Number(to)]
  if (!(first >= 1 && first <= last && last <= PORT_MAX)) return undefined
  return { protocol: protocol as PortProtocol, first, last }
}

const portRangeText = z.string().transform((text, context) => {
  const range = parsePortRange(text)
  if (range) return range
  const example = `write 22/tcp, or 2379-2380/tcp; protocols are ${PORT_PROTOCOLS.join(', ')}`
  context.addIssue({ code: 'custom', message: `'${text}' is no port or range of ports: ${example}` })
  return z.NEVER
})

/** BGP; BFD over one hop, its echoes, over several; Geneve; etcd; the API server; kubelets, which the API server asks for logs. */
const BOTH_WAYS = [
  '179/tcp',
  '3784-3785/udp',
  '4784/udp',
  '6081/udp',
  '2379-2380/tcp',
  '6443/tcp',
  '10250/tcp',
]
/** SSH, and the client's side of DHCP. */
const INGRESS = ['22/tcp', '68/udp', '546/udp', ...BOTH_WAYS]
/** Resolvers, and the servers of DHCP. */
const EGRESS = ['53/udp', '53/tcp', '67/udp', '547/udp', ...BOTH_WAYS]

export const failSafePortsSchema = z
  .strictObject({
    ingress: z.array(portRangeText).prefault(INGRESS),
    egress: z.array(portRangeText).prefault(EGRESS),
  })
  .prefault({})

const HTTPS_PORT = 443
const HTTP_PORT = 80

function portOf(server: string): number {
  const { port, protocol } = new URL(server)
  return port !== '' ? Number(port) : protocol === 'http:' ? HTTP_PORT : HTTPS_PORT
}

/** Of API servers: those that they tell themselves, and what anybody says who may write EndpointSlices of theirs. */
interface LivePorts {
  readonly sure: readonly number[]
  readonly others: readonly number[]
}

export interface FailSafePortsNow {
  /** As configured, and where the agent itself asks. */
  readonly own: FailSafePorts
  readonly live: Readonly<Record<PolicyDirection, LivePorts>>
}

type ApiSlice = Pick<EndpointSlice, 'key' | 'ports' | 'endpoints'>

/** The slice that API servers write themselves. */
const API_SLICE = 'default/kubernetes'

/**
 * @param servers as whom the agent itself asks
 * @param apiSlices what stands behind `default/kubernetes`
 * @param ownAddresses of this node: where an API server runs on it, its port is open to come in by
 */
export function failSafePorts(
  configured: FailSafePorts,
  servers: readonly string[],
  apiSlices: readonly ApiSlice[],
  ownAddresses: readonly string[],
): FailSafePortsNow {
  const here = apiSlices.filter(({ endpoints }) =>
    endpoints.some(({ address }) => ownAddresses.includes(address)),
  )
  return {
    own: { ingress: configured.ingress, egress: withPorts(configured.egress, servers.map(portOf)) },
    live: { ingress: livePorts(here), egress: livePorts(apiSlices) },
  }
}

function livePorts(slices: readonly ApiSlice[]): LivePorts {
  const portsOf = (some: readonly ApiSlice[]) =>
    some.flatMap(({ ports }) => ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => port))
  const isSure = ({ key }: ApiSlice) => key === API_SLICE
  return {
    sure: portsOf(slices.filter(isSure)),
    others: portsOf(slices.filter((slice) => !isSure(slice))),
  }
}

/** Of ports of API servers, in one direction. Servers share one or two; who may write EndpointSlices shall not open a node. */
export const LIVE_PORTS_MAX = 8
/** A server that comes and goes moves nothing. */
const GONE_MS = 300_000
/** Policy is compiled anew for them. */
const CHANGE_EVERY_MS = 60_000

/** Those in force: new ones come, gone ones go after a while, few at most, and seldom. */
export class HeldPorts {
  #ranges: FailSafePorts
  /** When each was last seen. */
  readonly #held: Readonly<Record<PolicyDirection, Map<number, number>>> = {
    ingress: new Map(),
    egress: new Map(),
  }
  #changedMs = Number.NEGATIVE_INFINITY
  #isFull = false

  constructor(first: FailSafePortsNow, nowMs: number) {
    this.#ranges = this.#rangesOf(first, nowMs)
  }

  get ranges(): FailSafePorts {
    return this.#ranges
  }

  /** Whether there are more than are held. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** @returns whether others are in force now */
  follow(now: FailSafePortsNow, nowMs: number): boolean {
    if (nowMs - this.#changedMs < CHANGE_EVERY_MS) return false
    const ranges = this.#rangesOf(now, nowMs)
    if (equalRows(ranges, this.#ranges)) return false
    this.#ranges = ranges
    this.#changedMs = nowMs
    return true
  }

  #rangesOf(now: FailSafePortsNow, nowMs: number): FailSafePorts {
    this.#isFull = false
    return { ingress: this.#rangesIn('ingress', now, nowMs), egress: this.#rangesIn('egress', now, nowMs) }
  }

  #rangesIn(direction: PolicyDirection, now: FailSafePortsNow, nowMs: number): readonly PortRange[] {
    const own = now.own[direction]
    const { sure, others } = now.live[direction]
    const held = this.#held[direction]
    const live = new Set([...sure, ...others].filter((port) => !isAmong(own, port)))
    for (const [port, seenMs] of held)
      if (live.has(port)) held.set(port, nowMs)
      else if (nowMs - seenMs >= GONE_MS) held.delete(port)
    const [known, gone] = [[...held.keys()].filter((port) => live.has(port)), [...held.keys()]]
    const wanted = [...new Set([...sure, ...known, ...others, ...gone])].filter((port) => !isAmong(own, port))
    const kept = wanted.slice(0, LIVE_PORTS_MAX)
    if (wanted.slice(LIVE_PORTS_MAX).some((port) => live.has(port))) this.#isFull = true
    const seenMs = kept.map((port) => [port, held.get(port) ?? nowMs] as const)
    held.clear()
    for (const [port, ms] of seenMs) held.set(port, ms)
    return withPorts(
      own,
      kept.toSorted((a, b) => a - b),
    )
  }
}

function isAmong(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ protocol, first, last }) => protocol === 'tcp' && first <= port && port <= last)
}

function withPorts(ranges: readonly PortRange[], ports: readonly number[]): readonly PortRange[] {
  const missing = [...new Set(ports)].filter((port) => !isAmong(ranges, port))
  return [...ranges, ...missing.map((port) => ({ protocol: 'tcp', first: port, last: port }) as const)]
}
