// Pod egress masquerade as nftables rules: what the table has to say. Pure.
//
// Traffic that pods of this node open to outside the cluster gets this node's address; what stays inside keeps the pod's. As
// Kubernetes' ip-masq-agent does it: pod networks, nodes, ServiceCIDRs, link-local addresses and the networks that the operator
// excepts are inside. Only the first packet of a connection asks; replies to what came in never do.
//
// Source ports come from a range of their own, above node ports and beside those of the datapath's SNAT: an answer to another
// range would meet a frontend in XDP. `fully-random` as kube-proxy has it.

import { type Address, FAMILIES, type Family, familyOf, type Prefix, prefixParts } from '../model/address.ts'

export const MASQUERADE_TABLE = 'weir'
/** Above the API server's default range of node ports. */
const PORT_MIN = 32_768
const PORT_MAX = 65_535
/** Fewer than this are used up by one busy destination. */
const PORTS_MIN = 1024

const LINK_LOCAL: readonly Prefix[] = ['169.254.0.0/16' as Prefix, 'fe80::/10' as Prefix]

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** The larger part of what the datapath's SNAT leaves above node ports; undefined when neither is worth it. */
export function masqueradePorts(snat: PortRange | undefined): PortRange | undefined {
  const parts: PortRange[] = snat
    ? [
        { first: PORT_MIN, last: Math.min(PORT_MAX, snat.first - 1) },
        { first: Math.max(PORT_MIN, snat.last + 1), last: PORT_MAX },
      ]
    : [{ first: PORT_MIN, last: PORT_MAX }]
  const size = ({ first, last }: PortRange) => last - first + 1
  const best = parts.sort((a, b) => size(b) - size(a))[0]
  return best && size(best) >= PORTS_MIN ? best : undefined
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
    ...families.map((family) => rule(family, facts)),
    '  }',
    '}',
    '',
  ].join('\n')
}

function rule(family: Family, { nodeAddress, ports }: MasqueradeFacts): string {
  const [match, target] = family === 'ipv4' ? ['ip', nodeAddress.ipv4] : ['ip6', `[${nodeAddress.ipv6}]`]
  const where = `${match} saddr @pods_${family} ${match} daddr != @inside_${family}`
  const ported = `snat ${match} to ${target}${ports ? `:${ports.first}-${ports.last}` : ''} fully-random`
  // Ports exist in these only; an echo request has an id, which the kernel picks by itself.
  return [
    `    ${where} fib daddr type != { local, multicast, broadcast } meta l4proto { tcp, udp, sctp } ${ported}`,
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
