// What the planners may ask of the cluster and the configuration: who owns an address, and what is this node's own.
//
// Answers follow the table of nodes; whoever planned by an older answer has to plan again, see dirty-keys.ts.

import {
  type Address,
  address,
  addressBits,
  addressToNumber,
  FAMILIES,
  type Family,
  familyOf,
  type Prefix,
  parseAddress,
  prefixContains,
  prefixParts,
} from '../model/address.ts'
import type { Node } from '../model/service.ts'
import { type AddressPool, isPoolAddress } from '../routing/address-pools.ts'
import type { HostPortContext } from '../services/plan-host-ports.ts'
import type { PlanContext } from '../services/plan-service.ts'
import type { Table } from '../tables/table.ts'
import type { AgentConfig } from './config.ts'
import { ownAddresses } from './config-routing.ts'
import { nodeIdentity } from './node-routing.ts'

/** Addresses and pod networks of all nodes, indexed; rebuilt when the table has changed since. */
class NodeIndex {
  readonly #nodes: Table<Node>
  #revision = -1
  readonly #byAddress = new Map<Address, string>()
  /** family and length → first address of the network → node. Nodes' networks have few lengths. */
  readonly #byNetwork = new Map<Family, Map<number, Map<bigint, string>>>()

  constructor(nodes: Table<Node>) {
    this.#nodes = nodes
  }

  nodeOf(candidate: Address): string | undefined {
    this.#refresh()
    const direct = this.#byAddress.get(candidate)
    if (direct !== undefined) return direct
    const family = familyOf(candidate)
    const lengths = this.#byNetwork.get(family)
    if (!lengths) return undefined
    const value = addressToNumber(candidate)
    for (const [length, networks] of lengths) {
      const hostBits = BigInt(addressBits(family) - length)
      const node = networks.get((value >> hostBits) << hostBits)
      if (node !== undefined) return node
    }
    return undefined
  }

  #refresh(): void {
    if (this.#revision === this.#nodes.revision) return
    this.#revision = this.#nodes.revision
    this.#byAddress.clear()
    this.#byNetwork.clear()
    for (const node of this.#nodes.values()) {
      for (const own of node.addresses) this.#byAddress.set(own, node.name)
      for (const prefix of node.podCidrs) this.#addNetwork(prefix, node.name)
    }
  }

  #addNetwork(prefix: Prefix, node: string): void {
    const { family, length, first } = prefixParts(prefix)
    const lengths = this.#byNetwork.get(family) ?? new Map<number, Map<bigint, string>>()
    this.#byNetwork.set(family, lengths)
    const networks = lengths.get(length) ?? new Map<bigint, string>()
    lengths.set(length, networks)
    networks.set(first, node)
  }
}

export interface AgentPlanContext extends PlanContext, HostPortContext {
  /** Why an externalIP is not served; undefined when it is. */
  readonly whyNotExternal: (address: Address) => string | undefined
}

/** Asked at plan time; nodes that come later are seen by the next plan of a Service. */
/** @param pools those in effect; without it the file's alone */
export function planContext(
  config: AgentConfig,
  nodes: Table<Node>,
  pools: () => readonly AddressPool[] = () => config.pools,
): AgentPlanContext {
  const configured = configuredAddresses(config)
  const index = new NodeIndex(nodes)
  const self = () => nodes.get(config.nodeName)
  const { externalIPs, nodePortAddresses, forwarding, hostPorts } = config.services
  const loopbackIps = () =>
    nodeIdentity(config, self()).loopbacks.map((prefix) => address(prefix.slice(0, prefix.indexOf('/'))))
  const nodeAddresses = () => [...new Set([...(self()?.addresses ?? []), ...loopbackIps()])]
  const whyNotExternal = (candidate: Address) => {
    if (!externalIPs.enabled) return 'services.externalIPs.enabled is false'
    if (externalIPs.allow) {
      const isAllowed = externalIPs.allow.some((prefix) => prefixContains(prefix, candidate))
      return isAllowed ? undefined : 'it is in none of the networks of services.externalIPs.allow'
    }
    // First of all by name, so that every node says the same.
    const owner = index.nodeOf(candidate)
    if (owner !== undefined) return `it belongs to node ${owner} or its pods`
    return configured.has(candidate)
      ? `node ${config.nodeName} knows it as a router's or an API server's`
      : undefined
  }
  return {
    nodeName: config.nodeName,
    forwarding,
    servesHostPorts: hostPorts,
    zone: () => self()?.zone,
    isVip: (candidate) => isPoolAddress(pools(), candidate),
    isNode: (name) => nodes.get(name) !== undefined,
    nodeOf: (candidate) => index.nodeOf(candidate),
    nodeAddresses,
    nodePortAddresses: () =>
      nodePortAddresses === 'primary'
        ? primaryAddresses(self())
        : [...nodeAddresses(), ...LOOPBACKS].filter((candidate) =>
            nodePortAddresses.some((prefix) => prefixContains(prefix, candidate)),
          ),
    mayBeExternal: (candidate) => whyNotExternal(candidate) === undefined,
    whyNotExternal,
  }
}

const LOOPBACKS: readonly Address[] = [address('127.0.0.1'), address('::1')]

/** One of each family: its InternalIP, or what it has where it has none. */
function primaryAddresses(node: Node | undefined): readonly Address[] {
  if (!node) return []
  return FAMILIES.flatMap(
    (family) =>
      node.internalIps[family] ?? node.addresses.find((candidate) => familyOf(candidate) === family) ?? [],
  )
}

/** This node's own addresses, its routers', and the API servers that are named by address. */
function configuredAddresses({ routing, kubernetes }: AgentConfig): ReadonlySet<Address> {
  const servers = kubernetes.servers.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''))
  const texts = [...ownAddresses(routing), ...servers]
  return new Set(texts.flatMap((text) => parseAddress(text) ?? []))
}
