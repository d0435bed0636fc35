// What the service planner may ask of the cluster and the configuration: who owns an address.

import { type Address, parseAddress, prefixContains } from '../model/address.ts'
import type { Node } from '../model/service.ts'
import { isPoolAddress } from '../routing/allocate-addresses.ts'
import type { PlanContext } from '../services/plan-service.ts'
import type { Table } from '../tables/table.ts'
import type { AgentConfig } from './config.ts'

/** Asked at plan time; nodes that come later are seen by the next plan of a Service. */
export function planContext(config: AgentConfig, nodes: Table<Node>): PlanContext {
  const own = configuredAddresses(config)
  const nodeOf = (address: Address): string | undefined => {
    for (const node of nodes.values()) if (holds(node, address)) return node.name
    return undefined
  }
  return {
    nodeName: config.nodeName,
    isVip: (address) => isPoolAddress(config.pools, address),
    nodeOf,
    isForbidden: (address) => own.has(address) || nodeOf(address) !== undefined,
  }
}

function holds(node: Node, address: Address): boolean {
  return (
    Object.values(node.internalIps).includes(address) ||
    node.podCidrs.some((prefix) => prefixContains(prefix, address))
  )
}

/** This node's own addresses, its routers', and the API servers that are named by address. */
function configuredAddresses({ routing, kubernetes }: AgentConfig): ReadonlySet<Address> {
  const servers = kubernetes.servers.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''))
  const texts = [
    routing.routerId,
    ...routing.loopbacks.map((prefix) => prefix.slice(0, prefix.indexOf('/'))),
    ...routing.peers.flatMap((peer) => [peer.address, peer.localAddress ?? peer.address]),
    ...servers,
  ]
  return new Set(texts.flatMap((text) => parseAddress(text) ?? []))
}
