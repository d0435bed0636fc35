// What sources of routing may know of the cluster beside their own objects: this node and the others, as their Node objects say. And
// what each source gives: its part of a node's routing, which merge.ts joins.

import type { Prefix } from '../../model/address.ts'
import type { AnnounceRule, BgpPeer, NodeRouting } from '../../model/routing.ts'
import type { Node } from '../../model/service.ts'

export interface NodeFacts {
  readonly self: Node
  readonly others: readonly Node[]
}

/** What a source says that is not followed, and why; shown in status. */
export interface RoutingProblem {
  /** The object and key: `node annotation kube-router.io/peers`. */
  readonly source: string
  readonly why: string
}

export type SourceName = 'file' | 'kube-router' | 'cilium'

/** One source's part. */
export interface RoutingPart {
  readonly source: SourceName
  readonly asn?: number
  readonly routerId?: string
  readonly podCidrs?: readonly Prefix[]
  readonly listen?: NonNullable<NodeRouting['listen']>
  readonly peers: readonly BgpPeer[]
  /** Rules without peers mean all peers of this source. */
  readonly rules: readonly AnnounceRule[]
  readonly problems: readonly RoutingProblem[]
}
