// What the kernel knows of the links that sessions run over: which of our addresses a peer's link has, and who the neighbour on an
// unnumbered link is. Asked anew in each full round; the answers are the kernel's of that moment.

import {
  type Address,
  type Family,
  familyOf,
  parseAddress,
  parseNetwork,
  prefixContains,
} from '../model/address.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'

export interface LinkView {
  /** Our global address of the family on the link that leads directly to the peer; undefined where there is none. */
  readonly ownAddress: (peer: Address, family: Family) => Address | undefined
  /** The one link-local neighbour on the interface; undefined when the kernel knows none, or several. */
  readonly neighbourOn: (interfaceName: string) => Address | undefined
  /** Index of the interface, for next hops that are link-local addresses. */
  readonly indexOf: (interfaceName: string) => number | undefined
}

/** Without the kernel's help: peers on unnumbered links and next hops of the other family stay unresolved. */
export const NO_LINKS: LinkView = {
  ownAddress: () => undefined,
  neighbourOn: () => undefined,
  indexOf: () => undefined,
}

export async function readLinks(netlink: Netlink): Promise<LinkView> {
  const [links, addresses, neighbours] = await Promise.all([
    netlink.links.list(),
    netlink.addresses.list(),
    netlink.neighbours.list({ family: 'ipv6' }),
  ])
  const indexOf = (name: string) => links.find((link) => link.name === name)?.index
  const own = addresses.map((row) => ({
    index: row.index,
    isUsable: !row.isDuplicate && !row.isTentative,
    address: parseAddress(row.address.split('/')[0] ?? ''),
    network: parseNetwork(row.address),
  }))
  return {
    indexOf,
    ownAddress: (peer, family) => {
      const index = own.find(({ network }) => network && prefixContains(network, peer))?.index
      const found = own.find(
        (row) =>
          row.index === index &&
          row.isUsable &&
          row.address !== undefined &&
          familyOf(row.address) === family &&
          !isLinkLocal(row.address),
      )
      return index === undefined ? undefined : found?.address
    },
    neighbourOn: (name) => {
      const index = indexOf(name)
      const mine = new Set(own.filter((row) => row.index === index).map(({ address }) => address))
      const found = new Set<Address>()
      for (const row of neighbours) {
        const address = parseAddress(row.address)
        if (row.index !== index || address === undefined || !isLinkLocal(address)) continue
        if (!mine.has(address) && row.state !== 'failed') found.add(address)
      }
      return found.size === 1 ? [...found][0] : undefined
    },
  }
}

export function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/.test(address)
}
