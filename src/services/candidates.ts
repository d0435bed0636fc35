// The endpoints of one Service port, gathered from its slices: once each, placed on a node, in an order of their own.

import type { Address, Family } from '../model/address.ts'
import type { Endpoint, EndpointSlice, ServicePort, SlicePort } from '../model/service.ts'
import { backendName } from './desired.ts'

export interface Candidate {
  /** Its `backendName`: what makes it one endpoint, and the order of all. */
  readonly name: string
  readonly address: Address
  readonly port: number
  readonly nodeName: string | undefined
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
  readonly forZones: readonly string[]
  readonly forNodes: readonly string[]
  readonly weight: number
}

/** The slices of one family, in an order that does not depend on how they came. */
export function slicesOf(slices: readonly EndpointSlice[], family: Family): EndpointSlice[] {
  const chosen = slices.filter((slice) => slice.family === family)
  return chosen.length > 1 ? chosen.sort((a, b) => compareText(a.key, b.key)) : chosen
}

/**
 * The port is matched by name and protocol, and the number is the slice's: pods may resolve a named port differently.
 * @param slices as `slicesOf` gives them
 * @param nodeOf the node that claims an address, for endpoints that do not name theirs
 */
export function gatherCandidates(
  slices: readonly EndpointSlice[],
  { name, protocol }: ServicePort,
  nodeName: string,
  nodeOf: (address: Address) => string | undefined,
): Candidate[] {
  const found: Candidate[] = []
  for (const slice of slices) {
    for (const port of slice.ports) {
      if (port.name !== name || port.protocol !== protocol) continue
      for (const endpoint of slice.endpoints) found.push(toCandidate(endpoint, port, slice.weight, nodeOf))
    }
  }
  found.sort((a, b) => compareText(a.name, b.name))
  return onlyBest(found, nodeName)
}

/** One of each name. @param sorted copies beside each other, in the order of their slices */
function onlyBest(sorted: Candidate[], nodeName: string): Candidate[] {
  let count = 0
  for (const candidate of sorted) {
    const known = sorted[count - 1]
    if (known?.name !== candidate.name) {
      sorted[count] = candidate
      count += 1
    } else if (isBetterCopy(candidate, known, nodeName)) sorted[count - 1] = candidate
  }
  sorted.length = count
  return sorted
}

function toCandidate(
  { address, nodeName, ready, serving, terminating, forZones, forNodes }: Endpoint,
  { port, protocol }: SlicePort,
  weight: number,
  nodeOf: (address: Address) => string | undefined,
): Candidate {
  return {
    name: backendName({ address, port, protocol }),
    address,
    port,
    nodeName: nodeName ?? nodeOf(address),
    ready,
    serving,
    terminating,
    forZones,
    forNodes,
    weight,
  }
}

/**
 * While an endpoint moves between slices both hold it. A copy on this node wins, as with kube-proxy; then one that is ready,
 * for a stale copy must not hide it; then one that serves.
 */
function isBetterCopy(candidate: Candidate, known: Candidate, nodeName: string): boolean {
  const rank = (copy: Candidate) =>
    (copy.nodeName === nodeName ? 4 : 0) + (copy.ready ? 2 : 0) + (copy.serving ? 1 : 0)
  return rank(candidate) > rank(known)
}

function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
