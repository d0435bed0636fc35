// Which endpoints a Service port uses: the Cluster set and the Local set.
//
//   ready                 ready, terminating or not (publishNotReadyAddresses arrives as ready)
//   serving-terminating   not ready, serving and terminating
//   unusable              the rest
//
// Cluster set: the ready ones; if there is none anywhere, the serving-terminating ones.
// Local set:   the ready ones of this node; if there is none here, the serving-terminating ones of this node.
// The two fall-backs do not look at each other (KEP-1669).

import type { Address } from '../model/address.ts'

export interface Candidate {
  readonly address: Address
  readonly port: number
  readonly nodeName: string | undefined
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
}

export interface Selection {
  readonly cluster: readonly Candidate[]
  readonly local: readonly Candidate[]
  /** Some node has a usable endpoint, so an empty Local set means DROP and not REJECT. */
  readonly any: boolean
}

function usable(candidates: readonly Candidate[]): readonly Candidate[] {
  const ready = candidates.filter((candidate) => candidate.ready)
  if (ready.length > 0) return ready
  return candidates.filter((candidate) => candidate.serving && candidate.terminating)
}

/** Narrows a port's endpoints to the two sets; keeps their order. */
export function selectEndpoints(candidates: readonly Candidate[], nodeName: string): Selection {
  const cluster = usable(candidates)
  const local = usable(candidates.filter((candidate) => candidate.nodeName === nodeName))
  return { cluster, local, any: cluster.length > 0 || local.length > 0 }
}
