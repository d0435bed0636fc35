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

/** The neighbour that is spoken to on an interface. */
export interface NeighbourInUse {
  readonly address: string
  /** Its session is up, or has not been down for long. */
  readonly isAlive: boolean
}

export interface LinkView {
  /** Our global address of the family on the link that leads directly to the peer; undefined where there is none. */
  readonly ownAddress: (peer: Address, family: Family) => Address | undefined
  /** The router on an unnumbered link; undefined when the kernel knows none, or several that could be. */
  readonly neighbourOn: (interfaceName: string, inUse: NeighbourInUse | undefined) => Address | undefined
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
    neighbourOn: (name, inUse) => {
      const index = indexOf(name)
      const mine = new Set(own.filter((row) => row.index === index).map(({ address }) => address))
      const known = neighbours.flatMap((row) => {
        const address = parseAddress(row.address)
        if (row.index !== index || address === undefined || !isLinkLocal(address)) return []
        return mine.has(address) || row.state === 'failed' ? [] : [{ ...row, address }]
      })
      return choose(known, inUse)
    },
  }
}

/** Entries that say nothing of the neighbour itself, or that it is gone. */
const UNPROVEN: ReadonlySet<string> = new Set(['failed', 'incomplete', 'permanent', 'noarp', 'none'])

/** By address: how long ago a neighbour last proved to be there. */
export async function readNeighbourAges(netlink: Netlink): Promise<ReadonlyMap<string, number>> {
  const rows = await netlink.neighbours.list()
  return new Map(
    rows.flatMap(({ address, state, confirmedMs }) => {
      const known = parseAddress(address)
      return known === undefined || confirmedMs === undefined || UNPROVEN.has(state)
        ? []
        : [[known, confirmedMs] as const]
    }),
  )
}

interface KnownNeighbour {
  readonly address: Address
  readonly isRouter: boolean
  readonly state: string
}

/** Who lives stays, whoever else may be there; who is dead gives way to another. */
function choose(known: readonly KnownNeighbour[], inUse: NeighbourInUse | undefined): Address | undefined {
  const current = known.find(({ address }) => address === inUse?.address)?.address
  if (current !== undefined && inUse?.isAlive) return current
  const others = known.filter(({ address }) => address !== current)
  return onlyOne(others) ?? current
}

/** A router that was replaced stays in the table for a while: of several, the one that calls itself a router, or answers. */
function onlyOne(known: readonly KnownNeighbour[]): Address | undefined {
  const isAlive = ({ state }: KnownNeighbour) => state === 'reachable' || state === 'permanent'
  for (const found of [known, known.filter(({ isRouter }) => isRouter), known.filter(isAlive)]) {
    const addresses = new Set(found.map(({ address }) => address))
    if (addresses.size === 1) return [...addresses][0]
  }
  return undefined
}

export function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/.test(address)
}
