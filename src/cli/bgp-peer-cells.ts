// What a session's cells say, in a table or in its paragraph.

import type { PeerFamily, PeerView } from '../agent/bgp-peers-view.ts'
import { formatAge } from '../model/text-table.ts'

export function stateOf({ state, isAdminDown }: PeerView): string {
  return isAdminDown ? `${state} (admin down)` : state
}

export function upDown({ sinceMs, state }: PeerView, nowMs: number): string {
  if (sinceMs === undefined) return 'never'
  const text = formatAge(sinceMs, nowMs)
  return state === 'established' ? text : `down ${text}`
}

/** `12`, or `9 of 12` while something is missing. */
export function advertisedText({ advertised, wanted }: PeerFamily): string {
  return advertised !== wanted ? `${advertised} of ${wanted}` : String(advertised)
}

export function bfdError({ bfd }: PeerView): string {
  return bfd === undefined || bfd.state === 'up' || bfd.detail === undefined ? '' : `BFD: ${bfd.detail}`
}
