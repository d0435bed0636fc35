// Where a BFD neighbour is: the link, and the address that it speaks to. Asked of the kernel's routes; an unnumbered neighbour is the
// link-local address that the kernel has a neighbour entry for.

import { type Address, parseAddress } from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'

export interface BfdPlace {
  readonly peer: Address
  readonly ifindex: number
  readonly local: Address
}

const SCOPE_LINK = 253
const LINK_LOCAL = /^fe[89ab]/

/** @returns undefined while there is no such neighbour on any link */
export async function findBfdPlace(
  netlink: Netlink,
  { remote, localAddress }: Pick<BgpPeer, 'remote' | 'localAddress'>,
): Promise<BfdPlace | undefined> {
  if (remote.kind === 'interface') return await findOnInterface(netlink, remote.interface)
  const route = await netlink.routes.resolve(remote.address)
  const [hop, ...others] = route?.nextHops ?? []
  const local = localAddress ?? parseAddress(route?.source ?? '')
  // Behind a gateway it is not on a link of ours: BFD over several hops (RFC 5883) is another protocol.
  if (route?.type !== 'unicast' || !hop || others.length > 0 || hop.gateway !== undefined) return undefined
  return hop.index === undefined || local === undefined
    ? undefined
    : { peer: remote.address, ifindex: hop.index, local }
}

/** The router among the neighbours, or the only neighbour. */
async function findOnInterface(netlink: Netlink, name: string): Promise<BfdPlace | undefined> {
  const link = await netlink.links.get(name)
  if (!link) return undefined
  const [addresses, neighbours] = await Promise.all([
    netlink.addresses.list({ family: 'ipv6', index: link.index }),
    netlink.neighbours.list({ family: 'ipv6', index: link.index }),
  ])
  const own = addresses.find(({ scope, isTentative }) => scope === SCOPE_LINK && !isTentative)?.address
  const local = parseAddress(own?.split('/')[0] ?? '')
  const others = neighbours.filter(({ address, mac }) => LINK_LOCAL.test(address) && mac !== undefined)
  const chosen = others.find(({ isRouter }) => isRouter) ?? (others.length === 1 ? others[0] : undefined)
  const peer = parseAddress(chosen?.address ?? '')
  return local === undefined || peer === undefined ? undefined : { peer, ifindex: link.index, local }
}
