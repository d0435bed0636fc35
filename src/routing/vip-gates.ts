// Whether one Service gives a VIP reason to be announced from this node now. Each gate is asked in turn; the first that is shut
// holds the VIP back and says what would open it. Pure.
//
// Readiness of the API object alone is never enough: the datapath must hold the VIP. Endpoints count as
//   - Local:   those ready on this node; while none is ready on any node, those here that serve on while they terminate;
//   - Cluster: those the datapath would choose from, anywhere.
// When the last one goes, a Local VIP is to be withdrawn at once, for other nodes serve it; a Cluster VIP after a grace period: no node
// serves it better, so a rollout's gap of a second need not reach every router. Until then the datapath refuses connections by itself.

import type { Address, Family } from '../model/address.ts'
import type { AnnounceKind, RoutingGates } from '../model/routing.ts'
import type { Service, TrafficPolicy } from '../model/service.ts'

export const CLUSTER_WITHDRAW_DELAY_MS = 2_000

/** One VIP of one Service, as the datapath and the endpoints stand now. */
export interface VipFact {
  readonly vip: Address
  readonly service: Pick<Service, 'key' | 'uid' | 'labels' | 'announcing'>
  /** What the address is to this Service. */
  readonly kinds: readonly AnnounceKind[]
  /** The datapath has this VIP's frontends and backends loaded. */
  readonly isHeld: boolean
  readonly usableAnywhere: number
  readonly usableLocal: number
  /** The one that governs the address: internal for a ClusterIP, external for the others. */
  readonly policy: TrafficPolicy
}

/** What holds for every VIP of the node. */
export interface NodeState {
  /** Families that the datapath is attached and has a way out for; nothing is announced of the others. */
  readonly serving: ReadonlySet<Family>
  /** The Node has the label node.kubernetes.io/exclude-from-external-load-balancers. */
  readonly isExcluded: boolean
  /** Its traffic has gone elsewhere: no VIP is announced any more. */
  readonly isDrained: boolean
}

export type GateName =
  | 'drained'
  | 'excluded'
  | 'family-down'
  | 'not-held'
  | 'no-endpoint'
  | 'no-local-endpoint'
  | 'no-rule'
  | 'hold-down'
  | 'suppressed'

/** What holds a VIP back. */
export interface ShutGate {
  readonly gate: GateName
  /** With the object's name. */
  readonly why: string
  readonly mend: string
}

/** Gates that are shut although this node could serve the VIP. */
const BY_WISH: ReadonlySet<GateName> = new Set(['drained', 'excluded', 'no-rule'])

export function isByWish({ gate }: ShutGate): boolean {
  return BY_WISH.has(gate)
}

export type VipVerdict =
  | { readonly kind: 'open'; readonly why: string }
  /** Cluster, and without an endpoint. */
  | { readonly kind: 'lost'; readonly shut: ShutGate; readonly keep: boolean }
  | { readonly kind: 'shut'; readonly shut: ShutGate }

export function judgeFact(fact: VipFact, node: NodeState, family: Family, gates: RoutingGates): VipVerdict {
  const shut = datapathGate(fact, node, family)
  if (shut) return { kind: 'shut', shut }
  const verdict = judgeEndpoints(fact, gates)
  if (verdict.kind === 'shut') return verdict
  const wish = nodeGate(node)
  if (!wish) return verdict
  // What could not be served anyway must not wait with what is withdrawn by wish.
  return { kind: 'shut', shut: verdict.kind === 'lost' && !verdict.keep ? verdict.shut : wish }
}

function judgeEndpoints(fact: VipFact, gates: RoutingGates): VipVerdict {
  const subject = `Service ${fact.service.key}`
  if (fact.policy === 'Local') {
    if (fact.usableLocal > 0)
      return { kind: 'open', why: `${subject} has ${countEndpoints(fact.usableLocal)} on this node` }
    return { kind: 'shut', shut: noLocalEndpoint(fact, subject) }
  }
  if (fact.usableAnywhere > 0)
    return { kind: 'open', why: `${subject} has ${countEndpoints(fact.usableAnywhere)}` }
  const keep = (fact.service.announcing?.withoutEndpoints ?? gates.withoutEndpoints) === 'keep'
  return {
    kind: 'lost',
    keep,
    shut: {
      gate: 'no-endpoint',
      why: `${subject} has no usable endpoint on any node`,
      mend: 'make a pod of it ready, or keep the VIP regardless with the annotation weir.network/bgp-without-endpoints: keep',
    },
  }
}

/** The Node's own wish, which no Service can overrule. */
function nodeGate({ isDrained, isExcluded }: NodeState): ShutGate | undefined {
  if (isDrained)
    return { gate: 'drained', why: 'this node is drained', mend: "end that with 'weir undrain NODE'" }
  if (isExcluded)
    return {
      gate: 'excluded',
      why: 'the Node has the label node.kubernetes.io/exclude-from-external-load-balancers',
      mend: 'remove the label',
    }
  return undefined
}

function datapathGate(fact: VipFact, node: NodeState, family: Family): ShutGate | undefined {
  if (!node.serving.has(family))
    return {
      gate: 'family-down',
      why: `this node cannot serve ${family} now`,
      mend: "see 'weir status': an uplink with carrier, our program and a default route, and this node's Node object are needed",
    }
  if (fact.isHeld) return undefined
  return {
    gate: 'not-held',
    why: `the datapath does not hold ${fact.vip} for Service ${fact.service.key}`,
    mend: `see 'weir service show ${fact.service.key}': its ports and problems`,
  }
}

function noLocalEndpoint(fact: VipFact, subject: string): ShutGate {
  const elsewhere = fact.usableAnywhere > 0 ? `; other nodes have ${fact.usableAnywhere}` : ''
  return {
    gate: 'no-local-endpoint',
    why: `${subject} has no ready endpoint on this node, and its traffic policy is Local${elsewhere}`,
    mend: 'a ready pod of it on this node, or externalTrafficPolicy: Cluster',
  }
}

function countEndpoints(count: number): string {
  return count === 1 ? '1 usable endpoint' : `${count} usable endpoints`
}
