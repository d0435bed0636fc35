// ClusterNetworkPolicies as the community's cases write them, about its houses, and whom they block.

import type { PolicyDirection, PortProtocol } from '../../../src/model/policy.ts'
import {
  type CaseObject,
  type CasePod,
  type CaseProbe,
  inX,
  namespaceNamed,
  ns,
  podLabel,
  type Table,
} from './cluster.ts'

export type Action = 'Accept' | 'Deny' | 'Pass'
export type Tier = 'Admin' | 'Baseline'
export const TIERS: readonly Tier[] = ['Admin', 'Baseline']
export const WORDS = { ingress: 'Ingress', egress: 'Egress' } as const

export interface Peer {
  readonly [kind: string]: unknown
}
export interface Rule {
  readonly action: Action
  readonly peers: readonly Peer[]
  readonly protocols?: readonly object[]
}

export const RAVENCLAW: Peer = { namespaces: namespaceNamed('y') }
export const SLYTHERIN: Peer = { pods: { namespaceSelector: ns('z'), podSelector: podLabel('a') } }
export const HUFFLEPUFF: Peer = { pods: { namespaceSelector: ns('z'), podSelector: podLabel('c') } }
const GRYFFINDOR = { namespaces: ns('x') }

export const at = (protocol: PortProtocol, number: number) => ({
  [protocol]: { destinationPort: { number } },
})
export const range = (protocol: PortProtocol, start: number, end: number) => ({
  [protocol]: { destinationPort: { range: { start, end } } },
})
export const named = (name: string) => ({ destinationNamedPort: name })
export const rule = (action: Action, peer: Peer, ...protocols: object[]): Rule => ({
  action,
  peers: [peer],
  ...(protocols.length > 0 ? { protocols } : {}),
})

interface Written {
  readonly tier: Tier
  readonly priority?: number
  readonly subject?: object
  readonly ingress?: readonly Rule[]
  readonly egress?: readonly Rule[]
}

export function clusterPolicy(
  name: string,
  { tier, priority = 10, subject, ...written }: Written,
): CaseObject {
  const rulesOf = (direction: PolicyDirection) =>
    written[direction]?.map(({ peers, ...rest }) => ({
      ...rest,
      [direction === 'ingress' ? 'from' : 'to']: peers,
    }))
  return {
    apiVersion: 'policy.networking.k8s.io/v1beta1',
    kind: 'ClusterNetworkPolicy',
    metadata: { name },
    spec: {
      tier,
      priority,
      subject: subject ?? GRYFFINDOR,
      ...(written.ingress ? { ingress: rulesOf('ingress') } : {}),
      ...(written.egress ? { egress: rulesOf('egress') } : {}),
    },
  }
}

/** With two of its items changed about. */
export function swapped<Item>(items: readonly Item[], one: number, other: number): readonly Item[] {
  const moved = [...items]
  const [a, b] = [items[one], items[other]]
  if (a === undefined || b === undefined) throw new RangeError('no such item')
  moved[one] = b
  moved[other] = a
  return moved
}

/** Asks of the pod at the other end of x: who speaks to it, or is spoken to. */
export type OfOther = (other: CasePod, probe: CaseProbe) => boolean

export function towards(direction: PolicyDirection, isBlocked: OfOther): Table {
  return (from, to, probe) => {
    const [subject, other] = direction === 'ingress' ? [to, from] : [from, to]
    return inX(subject) && !inX(other) && isBlocked(other, probe)
  }
}
