// `toPorts` and `icmps` of Cilium's policies. Ports are followed; what is to be done above them (L7 rules, TLS, listeners) is not yet.

import type { Family } from '../../model/address.ts'
import { PORT_MAX, PORT_PROTOCOLS, type PortMatch } from '../../model/policy.ts'
import { isPort } from '../parts.ts'
import { addFault, type Fields } from './fields.ts'
import { type Placed, placed, wholeProtocol } from './parts.ts'

const PROTOCOL_WORDS = ['ANY', 'TCP', 'UDP', 'SCTP'] as const
const PORTS_MAX = 40
const ICMP_TYPE_MAX = 255
const ABOVE_PORTS = ['rules', 'terminatingTLS', 'originatingTLS', 'serverNames', 'listener']

/** Numbers of IANA's registries, by the names that Cilium takes. */
const ICMP_TYPES: Readonly<Record<Family, Readonly<Record<string, number>>>> = {
  ipv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  ipv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequest: 144,
    HomeAgentAddressDiscoveryReply: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
}

/** 'any' when the rule says nothing of ports or messages. */
export function readPorts(rule: Fields): readonly Placed<PortMatch>[] | 'any' {
  const toPorts = rule.objects('toPorts') ?? []
  const icmps = rule.objects('icmps') ?? []
  if (toPorts.length > 0 && icmps.length > 0)
    addFault(rule.faults, rule.path, undefined, 'has toPorts beside icmps', 'make two rules of it')
  if (toPorts.length === 0 && icmps.length === 0) return 'any'
  return [...toPorts.flatMap(readPortRule), ...icmps.flatMap(readIcmpRule)]
}

function readPortRule(rule: Fields): readonly Placed<PortMatch>[] {
  const ports = rule.objects('ports') ?? []
  rule.unsupported(ABOVE_PORTS, 'remove it; what goes beyond ports is not enforced yet')
  rule.end()
  if (ports.length === 0)
    addFault(rule.faults, rule.pathOf('ports'), undefined, 'is empty', 'list ports, or remove the item')
  checkCount(rule, 'ports', ports)
  return ports.flatMap((port) => placed(port.path, ...readPort(port)))
}

function checkCount(rule: Fields, name: string, items: readonly unknown[]): void {
  if (items.length > PORTS_MAX)
    addFault(
      rule.faults,
      rule.pathOf(name),
      items.length,
      `items are more than ${PORTS_MAX}`,
      'make several rules of it',
    )
}

function readPort(port: Fields): PortMatch[] {
  const text = String(port.item('port')?.value ?? '')
  const endPort = port.number('endPort') ?? 0
  const word = port.choice('protocol', PROTOCOL_WORDS) ?? 'ANY'
  port.end()
  const protocols =
    word === 'ANY' ? PORT_PROTOCOLS : PORT_PROTOCOLS.filter((one) => one === word.toLowerCase())
  if (text !== '' && !/^\d+$/.test(text)) return readNamedPort(port, text, word, endPort)
  const first = Number(text)
  if (text === '0' && endPort === 0) return protocols.map(wholeProtocol)
  if (text === '' || !isPort(first, 0)) {
    port.refuse('port', 'is not a port', `write a number up to ${PORT_MAX} (0: all of them) or a name`)
    return []
  }
  if (endPort !== 0 && !isPort(endPort, first)) {
    port.refuse('endPort', `is not a port from ${first} to ${PORT_MAX}`, 'write the last port of the range')
    return []
  }
  return protocols.map((protocol) => ({ kind: 'ports', protocol, first, last: endPort || first }))
}

function readNamedPort(
  port: Fields,
  name: string,
  word: (typeof PROTOCOL_WORDS)[number],
  endPort: number,
): PortMatch[] {
  if (endPort !== 0) port.refuse('endPort', 'does not go with a named port', 'remove it')
  return [{ kind: 'named', protocol: PORT_PROTOCOLS.find((one) => one === word.toLowerCase()), name }]
}

function readIcmpRule(rule: Fields): readonly Placed<PortMatch>[] {
  const fields = rule.objects('fields') ?? []
  rule.end()
  if (fields.length === 0)
    addFault(rule.faults, rule.pathOf('fields'), undefined, 'is empty', 'list types, or remove the item')
  checkCount(rule, 'fields', fields)
  return fields.flatMap((field): readonly Placed<PortMatch>[] => {
    const family = field.choice('family', ['IPv4', 'IPv6']) === 'IPv6' ? 'ipv6' : 'ipv4'
    const value = field.item('type')?.value
    field.end()
    const type = icmpType(family, value)
    if (type !== undefined) return placed(field.path, { kind: 'icmp', family, type })
    const names = Object.keys(ICMP_TYPES[family]).join(', ')
    field.refuse('type', 'is no type of message', `write 0–${ICMP_TYPE_MAX} or one of ${names}`)
    return []
  })
}

function icmpType(family: Family, value: unknown): number | undefined {
  const names = ICMP_TYPES[family]
  const text = String(value)
  const type = Object.hasOwn(names, text) ? names[text] : /^\d+$/.test(text) ? Number(text) : undefined
  return type !== undefined && type <= ICMP_TYPE_MAX ? type : undefined
}
