// Gathers what datapath/neighbours/ finds, from the kernel, the API and what is served.

import type { Datapath } from '../datapath/datapath.ts'
import {
  findAddressOwners,
  findNodeAddress,
  type LocalAddress,
  type ServiceAddress,
} from '../datapath/neighbours/addresses.ts'
import type { Finding } from '../datapath/neighbours/finding.ts'
import { findClassifiers, findPrograms } from '../datapath/neighbours/programs.ts'
import { findProxies } from '../datapath/neighbours/proxies.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import { type Address, parseAddress } from '../model/address.ts'
import type { Node } from '../model/service.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import type { Nftables } from '../sys/node-netlink/nftables.ts'
import type { ServedService } from './service-loop.ts'

export interface NeighbourSources {
  readonly netlink: Netlink
  readonly nftables: Nftables
  readonly datapath: Pick<Datapath, 'programIds'>
  readonly network: Pick<NetworkView, 'devices'>
  readonly cgroup: string
  readonly served: () => Iterable<ServedService>
  readonly node: () => Node | undefined
  readonly tunnelAddresses: readonly Address[]
}

export async function findNeighbours(sources: NeighbourSources): Promise<Finding[]> {
  const { netlink, nftables, datapath, network, cgroup, served, node, tunnelAddresses } = sources
  const places = { devices: network.devices(), cgroup, ours: datapath.programIds }
  return [
    ...findPrograms(places),
    ...(await findClassifiers(places, netlink.trafficControl)),
    ...(await findProxies(nftables)),
    ...findAddressOwners(await localAddresses(netlink), serviceAddresses(served())),
    ...findNodeAddress(tunnelAddresses, Object.values(node()?.internalIps ?? {})),
  ]
}

async function localAddresses({ links, addresses }: Netlink): Promise<LocalAddress[]> {
  const names = new Map((await links.list()).map(({ index, name }) => [index, name]))
  return (await addresses.list()).flatMap((row) => {
    const address = parseAddress(row.address.slice(0, row.address.indexOf('/')))
    return address === undefined ? [] : [{ address, link: names.get(row.index) ?? String(row.index) }]
  })
}

/** Node ports are left out: they are this node's own addresses. */
function* serviceAddresses(served: Iterable<ServedService>): Generator<ServiceAddress> {
  for (const { service, held } of served) {
    const own = [...service.clusterIps, ...service.loadBalancerIps, ...service.externalIps]
    for (const address of own) if (held.includes(address)) yield { address, service: service.key }
  }
}
