// What the figures are held against, in nanoseconds a packet net of the driver.

import type { Bound } from '../frame/figure.ts'
import { type Case, FLOWS, hookOf } from './cases.ts'

const atMost = (must: number, aim: number): Bound => ({ sense: 'at most', must, aim })

/** IPv6 is held against IPv4, not against a clock. undefined: reported only. */
export function boundOf(of: Case): Bound | undefined {
  if (of.family === 'ipv6') return undefined
  switch (of.phase) {
    case 'established':
      return establishedBound(of)
    case 'reply':
      return of.kind === 'snat' && of.flows <= FLOWS.many ? atMost(250, 200) : undefined
    case 'new':
      if (of.kind === 'snat') return atMost(1000, 600)
      return of.table === 'full' ? atMost(600, 350) : atMost(475, 300)
    case 'foreign':
      return hookOf(of) === 'xdp' ? atMost(70, 50) : undefined
    case 'refused':
      return undefined
  }
}

/** To a pod here the bar is that of a packet that policy has judged, too. A masqueraded one's is the same however many flows there are. */
function establishedBound({ kind, flows }: Case): Bound | undefined {
  if (flows > FLOWS.many) return undefined
  if (kind === 'snat') return atMost(300, 220)
  if (flows > FLOWS.few) return atMost(260, 190)
  return kind === 'local' ? atMost(200, 130) : atMost(150, 100)
}

/** Known flows; of new ones the ratio is reported. */
export const FAMILY_BOUND: Bound = { sense: 'at most', must: 1.15, aim: 1.05 }

/** The largest cluster against the smallest. */
export const SIZE_BOUND: Bound = { sense: 'at most', must: 1.1 }
