// What keeps a session down that this node can see nearer than BGP does: the link it runs over, then BFD. gobgpd only notices that its
// hold timer has run out. Undefined: nothing of the kind. Pure.

import { timeText } from '../model/time-text.ts'
import type { BfdView } from './bfd-view.ts'
import type { PeerLink } from './peer-links.ts'

export interface CauseFacts {
  readonly link: PeerLink | undefined
  readonly bfd: BfdView | undefined
  /** Since when the session is down; undefined: it is up, or never was. */
  readonly downSinceMs: number | undefined
  readonly holdSeconds: number
  readonly nowMs: number
}

/** BGP that outlives BFD by this much beyond its hold time was not ended by what ended BFD. */
const DOUBT_MS = 5_000
const MS_PER_SECOND = 1_000

export function nearestCause(facts: CauseFacts): string | undefined {
  return ofLink(facts.link) ?? ofBfd(facts)
}

function ofLink(link: PeerLink | undefined): string | undefined {
  if (!link) return undefined
  const { device, state } = link
  switch (state) {
    case 'no-carrier':
      return `no carrier on ${device}. Mend: look at the cable, and at the router's port`
    case 'down':
      return `${device} is switched off here. Mend: ip link set ${device} up`
    case 'gone':
      return `there is no link ${device} any more. Mend: see why it went`
    case 'up':
      return undefined
  }
}

/** A router that begins anew, or switches BFD off, loses nothing. */
function ofBfd({ bfd, downSinceMs, holdSeconds, nowMs }: CauseFacts): string | undefined {
  if (bfd === undefined || bfd.state !== 'down' || bfd.ups === 0) return undefined
  if (bfd.diagnostic === undefined || bfd.remote.state === 'admin-down' || bfd.stateMs === undefined)
    return undefined
  const sinceMs = nowMs - bfd.stateMs
  if (downSinceMs !== undefined && downSinceMs - sinceMs > holdSeconds * MS_PER_SECOND + DOUBT_MS)
    return undefined
  return `BFD is down since ${timeText(sinceMs)}: ${bfd.diagnostic}. Mend: see whether the router and the way to it are alive`
}
