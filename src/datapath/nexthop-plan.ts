// What the rows of `nexthops` should hold, from the state of links, routes, neighbours, nodes and pods. Pure.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { Node } from '../model/service.ts'

/** Ethernet address, 6 bytes. */
export type MacBytes = Uint8Array

export interface Uplink {
  readonly name: string
  readonly ifindex: number
  readonly mac: MacBytes
  /** Administratively up and with carrier. */
  readonly isUp: boolean
  readonly mtu: number
}

/** One next hop of the default route, with the neighbour's MAC once it is resolved. */
export interface Gateway {
  readonly family: Family
  readonly ifindex: number
  readonly address: Address
  readonly mac: MacBytes | undefined
}

export interface PodDevice {
  readonly address: Address
  readonly ifindex: number
  /** Whose port the device is. */
  readonly bridge?: number
  readonly hostMac: MacBytes
  readonly podMac: MacBytes
  readonly mtu: number
  /** The pod's end has NAPI, so redirected XDP frames arrive. */
  readonly takesRedirects: boolean
  /** Socket buffers may skip the device: its end is in another namespace, and nothing on this side shapes what goes in. */
  readonly mayBypass: boolean
  /** Where the pod's end lives; undefined when it could not be looked at. */
  readonly namespace: PodNamespace | undefined
}

export interface PodNamespace {
  /** Leads there as long as the name or process that gave it lives: compare the cookie before use. */
  readonly path: string
  readonly cookie: bigint
}

export interface Member {
  readonly ifindex: number
  readonly destination: MacBytes
  readonly source: MacBytes
}

export type PlannedNexthop =
  | { readonly kind: 'group'; readonly members: readonly Member[]; readonly mtu: number }
  | { readonly kind: 'tunnel'; readonly remote: Address; readonly mtu: number }
  | {
      readonly kind: 'device'
      readonly member: Member | undefined
      readonly redirect: boolean
      readonly bypass: boolean
      readonly mtu: number
    }

export type TunnelKind = 'geneve' | 'ipip'

/** Between the outer IP header and the inner one. UDP 8, Geneve 8, our option 40; IPIP has nothing there. */
export const TUNNEL_HEADER_BYTES: Readonly<Record<TunnelKind, number>> = { geneve: 56, ipip: 0 }
const OUTER_IP_BYTES: Readonly<Record<Family, number>> = { ipv4: 20, ipv6: 40 }
const MTU_UNKNOWN = 1500

/** Uplinks that lead out now: up, on the default route, and with a resolved neighbour. In configuration order. */
export function planUplinkGroup(
  family: Family,
  uplinks: readonly Uplink[],
  gateways: readonly Gateway[],
  membersMax: number,
): PlannedNexthop {
  const members: Member[] = []
  let mtu = Number.POSITIVE_INFINITY
  for (const uplink of uplinks) {
    const gateway = gateways.find((entry) => entry.family === family && entry.ifindex === uplink.ifindex)
    if (!uplink.isUp || !gateway?.mac || members.length === membersMax) continue
    members.push({ ifindex: uplink.ifindex, destination: gateway.mac, source: uplink.mac })
    mtu = Math.min(mtu, uplink.mtu)
  }
  return { kind: 'group', members, mtu: Number.isFinite(mtu) ? mtu : MTU_UNKNOWN }
}

/** Families with a default route over an uplink that is up: clients of the others could be heard and not answered. */
export function familiesOut(uplinks: readonly Uplink[], gateways: readonly Gateway[]): Family[] {
  const up = new Set(uplinks.filter(({ isUp }) => isUp).map(({ ifindex }) => ifindex))
  return FAMILIES.filter((family) => gateways.some((way) => way.family === family && up.has(way.ifindex)))
}

/**
 * Where tunnels between this node and another end: IPv4 where both have it, else IPv6; undefined when they share no family.
 * @param hasWayOut a family that has none now is taken only when no other is shared
 */
export function tunnelAddresses(
  self: Node,
  other: Node,
  hasWayOut: (family: Family) => boolean,
): { local: Address; remote: Address } | undefined {
  const shared = FAMILIES.flatMap((family) => {
    const local = self.internalIps[family]
    const remote = other.internalIps[family]
    return local && remote ? [{ family, local, remote }] : []
  })
  return shared.find(({ family }) => hasWayOut(family)) ?? shared[0]
}

/** A tunnel's row; its MTU is what is left of the uplinks' smallest. */
export function planTunnel(
  remote: Address,
  uplinks: readonly Uplink[],
  kind: TunnelKind = 'geneve',
): PlannedNexthop {
  const smallest = Math.min(MTU_UNKNOWN * 6, ...uplinks.map((uplink) => uplink.mtu))
  return {
    kind: 'tunnel',
    remote,
    mtu: smallest - TUNNEL_HEADER_BYTES[kind] - OUTER_IP_BYTES[familyOf(remote)],
  }
}

/** A local pod's row. Without a known device the packet is left to the host's routing after translation. */
export function planPodDevice(pod: PodDevice | undefined): PlannedNexthop {
  if (!pod) return { kind: 'device', member: undefined, redirect: false, bypass: false, mtu: MTU_UNKNOWN }
  return {
    kind: 'device',
    member: { ifindex: pod.ifindex, destination: pod.podMac, source: pod.hostMac },
    redirect: pod.takesRedirects,
    bypass: pod.mayBypass,
    mtu: pod.mtu,
  }
}
