// Which uplinks lead anywhere, when the carrier does not tell: a link may lose every frame and keep its carrier, and the
// neighbour entry lives on. BFD knows within a second, the BGP sessions over it within the hold time. Pure.

import type { Address } from '../model/address.ts'
import type { Gateway, Uplink } from './nexthop-plan.ts'

/** By the peer's address: whether the session is established. Peers that are not listed are unknown. */
export type Sessions = ReadonlyMap<Address, boolean>

/**
 * Marks an uplink down when all sessions to its gateways are known to be down, while a session over another uplink is up.
 * Where none is up, nothing is concluded: the speaker may be the one that is away.
 */
export function liveUplinks(
  uplinks: readonly Uplink[],
  gateways: readonly Gateway[],
  sessions: Sessions,
): readonly Uplink[] {
  const states = new Map<number, readonly boolean[]>()
  for (const { ifindex } of uplinks) {
    const own = gateways.filter((gateway) => gateway.ifindex === ifindex)
    states.set(
      ifindex,
      own.flatMap(({ address }) => sessions.get(address) ?? []),
    )
  }
  const isHeard = (uplink: Uplink) => states.get(uplink.ifindex)?.includes(true) ?? false
  if (!uplinks.some((uplink) => uplink.isUp && isHeard(uplink))) return uplinks
  return uplinks.map((uplink) => {
    const known = states.get(uplink.ifindex) ?? []
    const isDeaf = known.length > 0 && !known.includes(true)
    return isDeaf ? { ...uplink, isUp: false } : uplink
  })
}

/** Leaves out gateways that BFD has lost, but for a family that would have none left. @param isUp undefined: BFD does not tell */
export function liveGateways(
  gateways: readonly Gateway[],
  isUp: (gateway: Gateway) => boolean | undefined,
): readonly Gateway[] {
  const isLive = (gateway: Gateway) => isUp(gateway) !== false
  const families = new Set(gateways.filter(isLive).map(({ family }) => family))
  return gateways.filter((gateway) => isLive(gateway) || !families.has(gateway.family))
}
