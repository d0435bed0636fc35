// How many endpoints a planned Service has. The best port decides: an address is worth announcing while any of its ports can be served.

import type { Family } from '../model/address.ts'
import type { DesiredPort } from './desired.ts'

export interface EndpointCounts {
  readonly anywhere: number
  /** On this node. */
  readonly here: number
}

/** Everything that new flows may go to, also what serves on while it terminates. */
export function countUsable(desired: readonly DesiredPort[]): EndpointCounts {
  return {
    anywhere: Math.max(0, ...desired.map((port) => port.cluster.length)),
    here: Math.max(0, ...desired.map((port) => port.local.length)),
  }
}

/**
 * For whose sake a family's addresses are announced. On this node terminating endpoints count only while none is ready anywhere: otherwise
 * other nodes serve better, and what terminates here serves on for those who are here already.
 */
export function countServable(desired: readonly DesiredPort[], family: Family): EndpointCounts {
  const ports = desired.filter((port) => port.family === family)
  return {
    anywhere: Math.max(0, ...ports.map((port) => port.cluster.length)),
    here: Math.max(0, ...ports.map(countHere)),
  }
}

function countHere({ cluster, local, backends }: DesiredPort): number {
  const isReady = (index: number) => backends[index]?.state === 'active'
  const ready = local.filter(isReady).length
  return ready > 0 || cluster.some(isReady) ? ready : local.length
}
