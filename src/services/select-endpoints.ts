// Which endpoints a Service port uses: the Cluster set, the part of it that is near, and the Local set.
//
//   ready                 ready, terminating or not (publishNotReadyAddresses arrives as ready)
//   serving-terminating   not ready, serving and terminating
//   unusable              the rest
//
// Cluster set: the ready ones; if there is none anywhere, the serving-terminating ones.
// Local set:   the ready ones of this node; if there is none here, the serving-terminating ones of this node.
// The two fall-backs do not look at each other (KEP-1669).
//
// Nearby is the Cluster set narrowed by hints (KEP-2433, KEP-3015), looked at for ready endpoints alone:
//   1. every one has a node hint, and at least one names this node → those
//   2. else every one has a zone hint, and at least one names this node's zone → those
//   3. else all
// The Local set ignores hints.

import { fitted } from '../model/fitted.ts'
import type { Candidate } from './candidates.ts'

/** Where this node is. */
export interface Place {
  readonly nodeName: string
  readonly zone: string | undefined
}

/** Indexes into the candidates, ascending. */
export interface Selection {
  readonly cluster: readonly number[]
  /** The very same array as `cluster` where hints narrow nothing. */
  readonly nearby: readonly number[]
  readonly local: readonly number[]
}

const NOBODY: readonly number[] = []

/**
 * @param includes leaves candidates out; all of them count when it is absent
 */
export function selectEndpoints(
  candidates: readonly Candidate[],
  place: Place,
  includes?: (candidate: Candidate) => boolean,
): Selection {
  const ready: number[] = []
  const readyHere: number[] = []
  const leaving: number[] = []
  const leavingHere: number[] = []
  for (let index = 0; index < candidates.length; index += 1) {
    const candidate = candidates[index] as Candidate
    if (includes && !includes(candidate)) continue
    const isHere = candidate.nodeName === place.nodeName
    if (candidate.ready) {
      ready.push(index)
      if (isHere) readyHere.push(index)
    } else if (candidate.serving && candidate.terminating) {
      leaving.push(index)
      if (isHere) leavingHere.push(index)
    }
  }
  const local = fitted(readyHere.length > 0 ? readyHere : leavingHere)
  const cluster = fitted(ready.length > 0 ? ready : leaving)
  return { cluster, nearby: ready.length > 0 ? narrow(candidates, cluster, place) : cluster, local }
}

function narrow(
  candidates: readonly Candidate[],
  ready: readonly number[],
  { nodeName, zone }: Place,
): readonly number[] {
  const byNode = hintedFor(nodeName, candidates, ready, 'forNodes')
  if (byNode.length > 0) return byNode
  const byZone = zone === undefined ? NOBODY : hintedFor(zone, candidates, ready, 'forZones')
  return byZone.length > 0 ? byZone : ready
}

/** Who is hinted for here; nobody when any endpoint lacks a hint of this kind. */
function hintedFor(
  here: string,
  candidates: readonly Candidate[],
  ready: readonly number[],
  kind: 'forNodes' | 'forZones',
): readonly number[] {
  const chosen: number[] = []
  for (const index of ready) {
    const hints = candidates[index]?.[kind] ?? []
    if (hints.length === 0) return NOBODY
    if (hints.includes(here)) chosen.push(index)
  }
  return chosen.length === ready.length ? ready : chosen
}
