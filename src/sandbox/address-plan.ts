// The address plan: every address, ASN and MTU of a rack as a pure function of a few base prefixes and the number of
// nodes. Router configuration, interfaces, the agents' configuration, the API server's Node objects and `status` all
// read it here and nowhere else.
//
//   spine ── tor1, tor2 ── node1 … nodeN        one link from each node to each ToR, one from each ToR to the spine
//   spine ── client1, client2                   outside clients, one subnet each
//
// Point-to-point links are /31 (RFC 3021) and /127 (RFC 6164): the end nearer the spine has the even address. Where uplinks are
// unnumbered, links between nodes and ToRs have none: their ends have MACs of the plan, and link-local addresses that follow from them.

import { formatAddress, formatNetwork, type Network, nthAddress, nthSubnet } from './ip-arithmetic.ts'
import { linkInterface } from './names.ts'

/** One value per family. */
export interface Pair<T> {
  readonly ipv4: T
  readonly ipv6: T
}

/** Node N has ASN nodeAsn + N, or all have nodeAsn. */
export type NodeAsnMode = 'per-node' | 'shared'

/** What a plan file may override. Bases are where counting starts; see the functions below for how. */
export interface PlanBases {
  /** Node N's loopback is the N-th address: its InternalIP and BGP router id. */
  readonly loopbacks: Pair<Network>
  /** Node N's podCIDR is the N-th /24; for IPv6 the first /64 of the N-th /48. */
  readonly pods: Pair<Network>
  /** Links of ToR T are taken from the T-th /24 (/48), those from ToRs to the spine from the 250th. */
  readonly links: Pair<Network>
  /** Client C's subnet is the C-th /24; for IPv6 the first /64 of the C-th /48. */
  readonly clients: Pair<Network>
  /** ClusterIPs are allocated from these; they are never announced. */
  readonly services: Pair<Network>
  /** LoadBalancer VIPs are allocated from these. */
  readonly pools: Pair<Network>
  readonly asns: {
    readonly spine: number
    readonly tor1: number
    readonly tor2: number
    readonly node: number
  }
  readonly mtu: { readonly fabric: number; readonly edge: number }
}

export type Family = 'ipv4' | 'ipv6'

export interface NodePlan {
  readonly name: string
  /** Those that the node speaks; addresses of the others are planned and not given. */
  readonly families: readonly Family[]
  readonly index: number
  readonly asn: number
  /** Plain addresses; the routes to them are /32 and /128. */
  readonly loopback: Pair<string>
  readonly podCidr: Pair<string>
  readonly uplinks: readonly UplinkPlan[]
}

/** A node's way to one ToR. */
export interface UplinkPlan {
  readonly tor: string
  readonly torAsn: number
  readonly interface: string
  /** The node's end and the ToR's end, plain addresses. */
  readonly local: Pair<string>
  readonly peer: Pair<string>
}

export interface RouterPlan {
  readonly name: string
  readonly asn: number
  readonly routerId: string
}

export interface ClientPlan {
  readonly name: string
  readonly address: Pair<string>
  readonly gateway: Pair<string>
  readonly subnet: Pair<string>
}

export interface LinkEnd {
  readonly host: string
  readonly interface: string
  /** With prefix length, as `ip address add` takes it. */
  readonly address: Pair<string>
  /** Of an unnumbered link. */
  readonly mac?: string
}

/** A cable. `upper` is the end nearer the spine. */
export interface LinkPlan {
  readonly upper: LinkEnd
  readonly lower: LinkEnd
  readonly mtu: number
  readonly kind: 'node-tor' | 'tor-spine' | 'client-spine'
  /** Of the addresses that its ends are given; none of an unnumbered link. */
  readonly families: readonly Family[]
}

export interface AddressPlan {
  readonly bases: PlanBases
  readonly nodeAsnMode: NodeAsnMode
  /** Nodes of one family, by name; the others speak both. */
  readonly singleFamily: Readonly<Record<string, Family>>
  /** Uplinks without addresses: one session over link-local addresses carries both families (RFC 8950). */
  readonly isUnnumbered: boolean
  /** Sections of the agents' configuration file that go over what the plan makes: `services`, `datapath`, … */
  readonly agent: Readonly<Record<string, unknown>>
  readonly spine: RouterPlan
  readonly tors: readonly RouterPlan[]
  readonly nodes: readonly NodePlan[]
  readonly clients: readonly ClientPlan[]
  readonly links: readonly LinkPlan[]
}

export const NODES_DEFAULT = 3
const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']
/** The routers' ECMP limit: a VIP has one next hop per node. */
export const NODES_MAX = 64
const CLIENTS = 2
const TOR_SPINE_INDEX = 250
const CLIENT_HOST_NUMBER = 10

function network(family: 'ipv4' | 'ipv6', base: bigint, length: number): Network {
  return { family, base, length }
}

/** `a.b.0.0/16` and `fd00:g::/32`, the shape of most bases. */
function bases(secondOctet: number, secondGroup: bigint): Pair<Network> {
  return {
    ipv4: network('ipv4', (10n << 24n) | (BigInt(secondOctet) << 16n), 16),
    ipv6: network('ipv6', (0xfd00n << 112n) | (secondGroup << 96n), 32),
  }
}

export const DEFAULT_BASES: PlanBases = {
  loopbacks: bases(255, 0x255n),
  pods: bases(244, 0x244n),
  links: bases(254, 0x254n),
  clients: bases(253, 0x253n),
  services: { ipv4: bases(96, 0n).ipv4, ipv6: network('ipv6', (0xfd00n << 112n) | (0x96n << 96n), 112) },
  pools: {
    ipv4: network('ipv4', 0xcb007100n, 24),
    ipv6: network('ipv6', (0x20010db8n << 96n) | (0x113n << 80n), 112),
  },
  asns: { spine: 65000, tor1: 65001, tor2: 65002, node: 65100 },
  mtu: { fabric: 9000, edge: 1500 },
}

/** Subnets are told apart at this bit: the third octet, the third group. */
const SUBNET_BITS: Pair<number> = { ipv4: 24, ipv6: 48 }

/** Computes the whole plan for `nodeCount` nodes. */
export function makeAddressPlan(
  nodeCount: number = NODES_DEFAULT,
  nodeAsnMode: NodeAsnMode = 'per-node',
  planBases: PlanBases = DEFAULT_BASES,
  agent: AddressPlan['agent'] = {},
  singleFamily: AddressPlan['singleFamily'] = {},
  isUnnumbered = false,
): AddressPlan {
  const tors = [
    { name: 'tor1', asn: planBases.asns.tor1, routerId: nth(planBases.loopbacks.ipv4, 251) },
    { name: 'tor2', asn: planBases.asns.tor2, routerId: nth(planBases.loopbacks.ipv4, 252) },
  ]
  const nodes = indexes(nodeCount).map((index) => nodePlan(planBases, nodeAsnMode, tors, index, singleFamily))
  const clients = indexes(CLIENTS).map((index) => clientPlan(planBases, index))
  return {
    bases: planBases,
    nodeAsnMode,
    agent,
    singleFamily,
    isUnnumbered,
    spine: { name: 'spine', asn: planBases.asns.spine, routerId: nth(planBases.loopbacks.ipv4, 250) },
    tors,
    nodes,
    clients,
    links: [
      ...tors.map((tor, index) => torSpineLink(planBases, tor, index)),
      ...clients.map((client) => clientLink(planBases, client)),
      ...nodes.flatMap((node) =>
        node.uplinks.map((uplink, tor) => {
          const link = nodeLink(planBases, node, uplink)
          return isUnnumbered ? withoutAddresses(link, node.index, tor + 1) : link
        }),
      ),
    ],
  }
}

/** Every host of the rack by name, in the order they are brought up. */
export function hostNames(plan: AddressPlan): string[] {
  return [plan.spine, ...plan.tors, ...plan.clients, ...plan.nodes].map((host) => host.name)
}

function nodePlan(
  planBases: PlanBases,
  mode: NodeAsnMode,
  tors: readonly RouterPlan[],
  index: number,
  singleFamily: AddressPlan['singleFamily'],
): NodePlan {
  const name = `node${index}`
  const only = singleFamily[name]
  return {
    name,
    families: only ? [only] : FAMILIES,
    index,
    asn: mode === 'shared' ? planBases.asns.node : planBases.asns.node + index,
    loopback: both((family) => nth(planBases.loopbacks[family], index)),
    podCidr: both((family) => formatNetwork(edgeSubnet(planBases.pods[family], index))),
    uplinks: tors.map((tor, torIndex) => {
      const ends = linkEnds(planBases, torIndex + 1, index - 1)
      return {
        tor: tor.name,
        torAsn: tor.asn,
        interface: linkInterface(tor.name),
        local: ends.lower,
        peer: ends.upper,
      }
    }),
  }
}

function clientPlan(planBases: PlanBases, index: number): ClientPlan {
  const subnet = both((family) => edgeSubnet(planBases.clients[family], index))
  return {
    name: `client${index}`,
    address: both((family) => nth(subnet[family], CLIENT_HOST_NUMBER)),
    gateway: both((family) => nth(subnet[family], 1)),
    subnet: both((family) => formatNetwork(subnet[family])),
  }
}

function nodeLink(planBases: PlanBases, node: NodePlan, uplink: UplinkPlan): LinkPlan {
  return {
    upper: { host: uplink.tor, interface: linkInterface(node.name), address: pointToPoint(uplink.peer) },
    lower: { host: node.name, interface: uplink.interface, address: pointToPoint(uplink.local) },
    mtu: planBases.mtu.fabric,
    kind: 'node-tor',
    families: node.families,
  }
}

/** The planned addresses stay planned. */
function withoutAddresses(link: LinkPlan, node: number, tor: number): LinkPlan {
  const mac = (end: number): string => `02:00:00:${[end, tor, node].map(hexByte).join(':')}`
  return {
    ...link,
    families: [],
    upper: { ...link.upper, mac: mac(1) },
    lower: { ...link.lower, mac: mac(0) },
  }
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0')
}

/** What the kernel makes of a MAC: the universal bit turned and two bytes put in the middle (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [first = 0, ...rest] = mac.split(':').map((part) => Number.parseInt(part, 16))
  const bytes = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)]
  return formatAddress('ipv6', (0xfe80n << 112n) | BigInt(`0x${bytes.map(hexByte).join('')}`))
}

function torSpineLink(planBases: PlanBases, tor: RouterPlan, index: number): LinkPlan {
  const ends = linkEnds(planBases, TOR_SPINE_INDEX, index)
  return {
    upper: { host: 'spine', interface: linkInterface(tor.name), address: pointToPoint(ends.upper) },
    lower: { host: tor.name, interface: linkInterface('spine'), address: pointToPoint(ends.lower) },
    mtu: planBases.mtu.fabric,
    kind: 'tor-spine',
    families: FAMILIES,
  }
}

function clientLink(planBases: PlanBases, client: ClientPlan): LinkPlan {
  return {
    upper: {
      host: 'spine',
      interface: linkInterface(client.name),
      address: { ipv4: `${client.gateway.ipv4}/24`, ipv6: `${client.gateway.ipv6}/64` },
    },
    lower: {
      host: client.name,
      interface: linkInterface('spine'),
      address: { ipv4: `${client.address.ipv4}/24`, ipv6: `${client.address.ipv6}/64` },
    },
    mtu: planBases.mtu.edge,
    kind: 'client-spine',
    families: FAMILIES,
  }
}

/** The two addresses of point-to-point link `link` in subnet `subnet` of the links' base. */
function linkEnds(
  planBases: PlanBases,
  subnet: number,
  link: number,
): { upper: Pair<string>; lower: Pair<string> } {
  const of = (offset: number): Pair<string> =>
    both((family) => nth(subnetOf(planBases.links[family], subnet), 2 * link + offset))
  return { upper: of(0), lower: of(1) }
}

/** The `index`-th /24, or the first /64 of the `index`-th /48. */
function edgeSubnet(base: Network, index: number): Network {
  const subnet = subnetOf(base, index)
  return base.family === 'ipv4' ? subnet : { ...subnet, length: 64 }
}

function subnetOf(base: Network, index: number): Network {
  return nthSubnet(base, SUBNET_BITS[base.family], readable(base, index))
}

function nth(base: Network, index: number): string {
  return nthAddress(base, readable(base, index))
}

/** IPv6 numbers keep the decimal digits, so that node 10 is `::10` and not `::a`. Parity, and so /127 pairs, survive. */
function readable(base: Network, index: number): number {
  return base.family === 'ipv6' ? Number(`0x${index}`) : index
}

function pointToPoint(address: Pair<string>): Pair<string> {
  return { ipv4: `${address.ipv4}/31`, ipv6: `${address.ipv6}/127` }
}

function both<T>(of: (family: 'ipv4' | 'ipv6') => T): Pair<T> {
  return { ipv4: of('ipv4'), ipv6: of('ipv6') }
}

/** 1 … count. */
function indexes(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1)
}
