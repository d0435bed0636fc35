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

/**
 * @param servers as whom the agent itself asks
 * @param apiSlices what stands behind `default/kubernetes`
 * @param ownAddresses of this node: where an API server runs on it, its port is open to come in by
 */
export function failSafePorts(
  configured: FailSafePorts,
  servers: readonly string[],
  apiSlices: readonly Pick<EndpointSlice, 'ports' | 'endpoints'>[],
  ownAddresses: readonly string[],
): FailSafePorts {
  const portsOf = (slices: typeof apiSlices) => slices.flatMap(({ ports }) => ports.map(({ port }) => port))
  const here = apiSlices.filter(({ endpoints }) =>
    endpoints.some(({ address }) => ownAddresses.includes(address)),
  )
  return {
    ingress: withPorts(configured.ingress, portsOf(here)),
    egress: withPorts(configured.egress, [...servers.map(portOf), ...portsOf(apiSlices)]),
  }
}

/** With what is new; `before` itself where nothing is. What has gone stays, so that a server that comes and goes moves nothing. */
export function withNewPorts(before: FailSafePorts, now: FailSafePorts): FailSafePorts {
  const added = (direction: PolicyDirection) =>
    now[direction].filter((range) => !before[direction].some((known) => equalRows(known, range)))
  const [ingress, egress] = [added('ingress'), added('egress')]
  if (ingress.length + egress.length === 0) return before
  return { ingress: [...before.ingress, ...ingress], egress: [...before.egress, ...egress] }
}

function withPorts(ranges: readonly PortRange[], ports: readonly number[]): readonly PortRange[] {
  const isIn =
    (port: number) =>
    ({ protocol, first, last }: PortRange) =>
      protocol === 'tcp' && first <= port && port <= last
  const missing = [...new Set(ports)].filter((port) => !ranges.some(isIn(port)))
  return [...ranges, ...missing.map((port) => ({ protocol: 'tcp', first: port, last: port }) as const)]
}
