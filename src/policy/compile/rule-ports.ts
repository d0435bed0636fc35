// The ports of one rule, by protocol, as spans. Names of ports stay names here: whose they are is known only with the peer (egress) or the
// subject (ingress).

import { PORT_MAX, type PolicyPod, type PortMatch } from '../../model/policy.ts'
import { CLASS_PROTOCOLS, type ClassProtocol } from './rows.ts'
import { ALL_PORTS, joinSpans, type Span } from './spans.ts'

export type NamedPorts = PolicyPod['namedPorts']

export interface RulePorts {
  /** By `CLASS_PROTOCOLS`. */
  readonly spans: readonly (readonly Span[])[]
  readonly named: readonly Extract<PortMatch, { kind: 'named' }>[]
  /** Spans of the matches that name ports, and do not just mean a protocol as a whole. */
  readonly explicit: readonly (readonly Span[])[]
}

export const ANY_PORT: RulePorts = {
  spans: CLASS_PROTOCOLS.map(() => ALL_PORTS),
  named: [],
  explicit: CLASS_PROTOCOLS.map(() => []),
}

function protocolOf(match: Exclude<PortMatch, { kind: 'named' }>): ClassProtocol {
  if (match.kind === 'ports') return match.protocol
  return match.family === 'ipv4' ? 'icmp' : 'icmpv6'
}

function spanOf(match: Exclude<PortMatch, { kind: 'named' }>): Span {
  if (match.kind === 'ports') return { first: match.first, last: match.last }
  return { first: match.type, last: match.type }
}

function isWhole(span: Span | undefined): boolean {
  return span?.first === 0 && span.last === PORT_MAX
}

function spansByProtocol(
  matches: readonly Exclude<PortMatch, { kind: 'named' }>[],
): readonly (readonly Span[])[] {
  return CLASS_PROTOCOLS.map((protocol) => {
    const joined = joinSpans(matches.filter((match) => protocolOf(match) === protocol).map(spanOf))
    return isWhole(joined[0]) ? ALL_PORTS : joined
  })
}

/** Most rules of a cluster list the same few ports. */
const known = new Map<string, RulePorts>()
const KNOWN_MAX = 4096

export function rulePorts(ports: readonly PortMatch[] | 'any'): RulePorts {
  if (ports === 'any') return ANY_PORT
  const key = JSON.stringify(ports)
  const found = known.get(key)
  if (found) return found
  if (known.size >= KNOWN_MAX) known.clear()
  const made = readPorts(ports)
  known.set(key, made)
  return made
}

function readPorts(ports: readonly PortMatch[]): RulePorts {
  const named = ports.filter((match) => match.kind === 'named')
  const numbered = ports.filter((match) => match.kind !== 'named')
  const explicit = numbered.filter((match) => !isWhole(spanOf(match)))
  return { spans: spansByProtocol(numbered), named, explicit: spansByProtocol(explicit) }
}

/** A rule's spans for one protocol, names read as the ports of one pod. */
export function spansFor(ports: RulePorts, protocol: number, owned: NamedPorts): readonly Span[] {
  const spans = ports.spans[protocol] ?? []
  if (ports.named.length === 0 || owned.length === 0 || spans === ALL_PORTS) return spans
  const found = owned.filter(
    (port) =>
      port.protocol === CLASS_PROTOCOLS[protocol] &&
      ports.named.some(
        ({ name, protocol: wanted }) =>
          name === port.name && (wanted === undefined || wanted === port.protocol),
      ),
  )
  if (found.length === 0) return spans
  return joinSpans([...spans, ...found.map(({ port }) => ({ first: port, last: port }))])
}

/** Tells two owners of named ports apart, as far as the names matter. Empty: none of them. */
export function namedPortsKey(owned: NamedPorts, isName: (name: string) => boolean): string {
  if (owned.length === 0) return ''
  return owned
    .filter(({ name }) => isName(name))
    .map(({ name, protocol, port }) => `${name}/${protocol}/${port}`)
    .sort()
    .join(',')
}
