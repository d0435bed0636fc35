// Numbers of identities: Cilium's reserved ones and its ranges by bit, so that people read them as they are used to. Unlike Cilium's, all
// numbers are this node's own: an identity never goes on the wire (a packet's peer is found by its address on whichever node judges it),
// so nodes need not agree, and no allocator stands between a new pod and its policy.

import type { IdentityId, Scope } from './rows.ts'

/** This node, where no rule tells its addresses apart. */
export const IDENTITY_HOST: IdentityId = 1
/** What the kernel takes where no prefix is found; never the case once 0.0.0.0/0 and ::/0 are written. */
export const IDENTITY_WORLD: IdentityId = 2
/** Any other node, where no rule tells them apart. */
export const IDENTITY_REMOTE_NODE: IdentityId = 6
/** API servers outside of the cluster. */
export const IDENTITY_KUBE_APISERVER: IdentityId = 7
export const IDENTITY_WORLD_IPV4: IdentityId = 9
export const IDENTITY_WORLD_IPV6: IdentityId = 10

/** Below: reserved, and 128–255 the user's. */
export const FIRST_UNRESERVED = 256
/** Bit 24: prefixes and addresses of the outside. */
const OUTSIDE_BIT = 1 << 24
/** Bit 25: nodes that a rule tells apart. */
const NODE_BIT = 1 << 25

export const IDENTITY_RANGES: Readonly<Record<Scope, { readonly first: number; readonly last: number }>> = {
  pod: { first: FIRST_UNRESERVED, last: OUTSIDE_BIT - 1 },
  outside: { first: OUTSIDE_BIT + 1, last: OUTSIDE_BIT * 2 - 1 },
  node: { first: NODE_BIT + 1, last: NODE_BIT + OUTSIDE_BIT - 1 },
}
