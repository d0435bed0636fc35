// The node's default route over its uplinks: which routers are ways out, and which of them packets should take now. Pure.
//
// A way leaves the route when its link has no carrier, when BFD has lost the router, or when all sessions over its link are down while
// another link's are up (live-uplinks.ts). Where none would be left, the route stays as it is: a wrong guess must not cut a node off.

import {
  type Address,
  FAMILIES,
  type Family,
  familyOf,
  type Prefix,
  prefixContains,
} from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import { liveUplinks, type Sessions } from './live-uplinks.ts'
import type { Gateway, Uplink } from './nexthop-plan.ts'

/** A router that may be a next hop of the default route. IPv4 may go by an IPv6 router (RFC 5549). */
export type Way = Omit<Gateway, 'mac'>

export type WayPeer = Pick<BgpPeer, 'remote' | 'families' | 'multihopTtl'>

/** One uplink, whether it is up or not. */
export interface UplinkGround {
  readonly name: string
  readonly ifindex: number
  /** Networks of the addresses that it has now. A link that goes down may lose those of IPv6. */
  readonly networks: readonly Prefix[]
  /** The router on an unnumbered link, once the kernel has heard of it. */
  readonly neighbour: Address | undefined
}

export interface WayGround {
  readonly uplinks: readonly UplinkGround[]
  /** Nodes that are peers lead nowhere. */
  readonly isNode: (address: Address) => boolean
  /** The result of before: a router whose link has lost its addresses, or its neighbour, is still there. */
  readonly before: readonly Way[]
}

/** Routers that are one hop away over an uplink, in the order of the uplinks. */
export function waysOfPeers(peers: readonly WayPeer[], ground: WayGround): readonly Way[] {
  const found = peers.flatMap((peer) => waysOfPeer(peer, ground))
  const isNative = ({ family, address }: Way) => familyOf(address) === family
  const native = new Set(found.filter(isNative).map(({ family, ifindex }) => `${family} ${ifindex}`))
  const seen = new Set<string>()
  return ground.uplinks.flatMap(({ ifindex }) =>
    found.filter((way) => {
      const text = wayText(way)
      if (way.ifindex !== ifindex || seen.has(text)) return false
      seen.add(text)
      return isNative(way) || !native.has(`${way.family} ${ifindex}`)
    }),
  )
}

/** Routers named one by one: a way for their own family each. */
export function waysOfAddresses(addresses: readonly Address[], ground: WayGround): readonly Way[] {
  const peers = addresses.map((address): WayPeer => ({ remote: { kind: 'address', address }, families: [] }))
  return waysOfPeers(peers, ground)
}

function waysOfPeer({ remote, families, multihopTtl }: WayPeer, ground: WayGround): Way[] {
  if (multihopTtl !== undefined) return []
  if (remote.kind === 'interface') {
    const uplink = ground.uplinks.find(({ name }) => name === remote.interface)
    const known = ground.before.find(
      (way) => way.ifindex === uplink?.ifindex && way.address.startsWith('fe80:'),
    )
    const address = uplink?.neighbour ?? known?.address
    if (uplink === undefined || address === undefined) return []
    return FAMILIES.filter((family) => families.includes(family) || family === 'ipv6').map((family) => ({
      family,
      ifindex: uplink.ifindex,
      address,
    }))
  }
  const { address } = remote
  if (ground.isNode(address)) return []
  const onLink = ground.uplinks.find(({ networks }) =>
    networks.some((network) => prefixContains(network, address)),
  )
  const ifindex = onLink?.ifindex ?? ground.before.find((way) => way.address === address)?.ifindex
  if (ifindex === undefined) return []
  const own = familyOf(address)
  // An IPv4 session that carries IPv6 tells of no IPv6 router.
  const carried: readonly Family[] = own === 'ipv6' && families.includes('ipv4') ? ['ipv4'] : []
  return [own, ...carried].map((family) => ({ family, ifindex, address }))
}

export function wayText({ family, ifindex, address }: Way): string {
  return `${family} ${ifindex} ${address}`
}

export type Absence = 'no-carrier' | 'bfd' | 'sessions'

export interface DefaultRoutePlan {
  /** What packets should take; undefined: what is there stays. */
  readonly hops: readonly Way[] | undefined
  readonly absent: readonly { readonly way: Way; readonly why: Absence }[]
}

export interface Liveness {
  readonly uplinks: readonly Uplink[]
  readonly sessions: Sessions
  /** Undefined: BFD does not tell. */
  readonly isWayUp: (way: Way) => boolean | undefined
}

/** @param held next hops of the route that is there now; undefined: there is none */
export function planDefaultRoute(
  ways: readonly Way[],
  liveness: Liveness,
  held: readonly Way[] | undefined,
): DefaultRoutePlan {
  const { uplinks, sessions, isWayUp } = liveness
  const gateways = ways.map((way): Gateway => ({ ...way, mac: undefined }))
  const isUp = (list: readonly Uplink[], { ifindex }: Way) =>
    list.find((uplink) => uplink.ifindex === ifindex)?.isUp ?? false
  const live = liveUplinks(uplinks, gateways, sessions)
  const absent = ways.flatMap((way): DefaultRoutePlan['absent'] => {
    if (!isUp(uplinks, way)) return [{ way, why: 'no-carrier' }]
    if (isWayUp(way) === false) return [{ way, why: 'bfd' }]
    return isUp(live, way) ? [] : [{ way, why: 'sessions' }]
  })
  const gone = new Set(absent.map(({ way }) => way))
  const hops = ways.filter((way) => !gone.has(way))
  if (hops.length > 0) return { hops, absent }
  if (held !== undefined || ways.length === 0) return { hops: undefined, absent }
  // A node that has no route yet tries what might lead out.
  const withCarrier = ways.filter((way) => isUp(uplinks, way))
  return { hops: withCarrier.length > 0 ? withCarrier : undefined, absent }
}
