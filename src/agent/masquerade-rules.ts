// Pod egress masquerade as nftables rules: what the table has to say. Pure.
//
// Traffic that pods of this node open to outside the cluster gets this node's address; what stays inside keeps the pod's. As
// Kubernetes' ip-masq-agent does it: pod networks, nodes, ServiceCIDRs, link-local addresses and the networks that the operator
// excepts are inside. Only the first packet of a connection asks; replies to what came in never do.
//
// Source ports come from a range of their own, above node ports, beside those of the datapath's SNAT (an answer to either would meet a
// frontend in XDP), and kept from this node's own sockets (sysctls.ts): policy on another node tells by it that a pod sends, and not the
// node whose address it has. So it does by a ping's identifier, and the node's own pings are moved out of the range. What has neither
// tells nothing. `fully-random` as kube-proxy has it.

import { type Address, FAMILIES, type Family, familyOf, type Prefix, prefixParts } from '../model/address.ts'

export const MASQUERADE_TABLE = 'weir'
/** The node's own sockets have what is below, above the API server's default range of node ports; where nothing is left, they share that. */
const PORT_MINS = [49_152, 32_768]
const PORT_MAX = 65_535
/** Fewer than this are used up by one busy destination. */
const PORTS_MIN = 1024

const LINK_LOCAL: readonly Prefix[] = ['169.254.0.0/16' as Prefix, 'fe80::/10' as Prefix]

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** The larger part of what the datapath's SNAT leaves; undefined when neither is worth it. The same on every node of one configuration. */
export function masqueradePorts(snat: PortRange | undefined): PortRange | undefined {
  const size = ({ first, last }: PortRange) => last - first + 1
  return PORT_MINS.map((min) => {
    const parts: PortRange[] = snat
      ? [
          { first: min, last: Math.min(PORT_MAX, snat.first - 1) },
          { first: Math.max(min, snat.last + 1), last: PORT_MAX },
        ]
      : [{ first: min, last: PORT_MAX }]
    return parts.sort((a, b) => size(b) - size(a))[0]
  }).find((best) => best && size(best) >= PORTS_MIN)
}

export interface MasqueradeFacts {
  readonly families: readonly Family[]
  /** This node's own, by family; a family without one is left alone. */
  readonly nodeAddress: Readonly<Partial<Record<Family, Address>>>
  /** Pod networks of this node. */
  readonly podCidrs: readonly Prefix[]
  /** What counts as inside: networks, and single addresses. */
  readonly inside: readonly (Prefix | Address)[]
  /** Undefined: the kernel's choice; the configuration refuses to come to this. */
  readonly ports: PortRange | undefined
}

/** One transaction: the table is replaced as a whole, and packets meet the old or the new one. */
export function masqueradeScript(facts: MasqueradeFacts): string {
  const families = FAMILIES.filter(
    (family) =>
      facts.families.includes(family) && facts.nodeAddress[family] && ofFamily(facts.podCidrs, family).length,
  )
  return [
    `table inet ${MASQUERADE_TABLE}`,
    `delete table inet ${MASQUERADE_TABLE}`,
    `table inet ${MASQUERADE_TABLE} {`,
    ...families.flatMap((family) => [
      ...set(`pods_${family}`, family, ofFamily(facts.podCidrs, family)),
      ...set(`inside_${family}`, family, ofFamily([...facts.inside, ...LINK_LOCAL], family)),
    ]),
    '  chain egress {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...families.map((family) => ownPings(family, facts)),
    ...families.map((family) => rule(family, facts)),
    '  }',
    '}',
    '',
  ].join('\n')
}

/** Out of the identifiers by which a pod's are known. */
function ownPings(family: Family, { ports }: MasqueradeFacts): string {
  if (ports === undefined) return ''
  const icmp = family === 'ipv4' ? 'icmp' : 'icmpv6'
  const isOne = `${icmp} type echo-request ${icmp} id ${ports.first}-${ports.last}`
  return `    fib saddr type local ${isOne} snat to :1-${ports.first - 1} fully-random`
}

function rule(family: Family, { nodeAddress, ports }: MasqueradeFacts): string {
  const [match, target] = family === 'ipv4' ? ['ip', nodeAddress.ipv4] : ['ip6', `[${nodeAddress.ipv6}]`]
  const where = `${match} saddr @pods_${family} ${match} daddr != @inside_${family}`
  const ported = `snat ${match} to ${target}${ports ? `:${ports.first}-${ports.last}` : ''} fully-random`
  const icmp = family === 'ipv4' ? 'icmp' : 'ipv6-icmp'
  // Ports exist in these only, and an identifier in ICMP's queries.
  return [
    `    ${where} fib daddr type != { local, multicast, broadcast } meta l4proto { tcp, udp, sctp, ${icmp} } ${ported}`,
    `    ${where} fib daddr type != { local, multicast, broadcast } snat ${match} to ${family === 'ipv4' ? target : nodeAddress.ipv6}`,
  ].join('\n')
}

function set(name: string, family: Family, members: readonly string[]): string[] {
  return [
    `  set ${name} {`,
    `    type ${family}_addr; flags interval; auto-merge`,
    ...(members.length > 0 ? [`    elements = { ${members.join(', ')} }`] : []),
    '  }',
  ]
}

function ofFamily(networks: readonly (Prefix | Address)[], family: Family): string[] {
  const is = (one: string) =>
    one.includes('/') ? prefixParts(one as Prefix).family === family : familyOf(one as Address) === family
  return [...new Set(networks.filter(is))].sort()
}
