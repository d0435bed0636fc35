// What policy says, whichever kind said it: one model behind NetworkPolicy, ClusterNetworkPolicy, CiliumNetworkPolicy and
// CiliumClusterwideNetworkPolicy. `kube/policies/` makes it of objects, `policy/` judges by it.
//
// Each direction is judged on its own: egress at the source, ingress at the destination, both must allow. In one direction:
//   1. the admin tier: policies by priority (lower first), then by name; a policy's rules in written order. The first that matches decides:
//      allow and deny finally, pass leaves the tier.
//   2. the normal tier, in which order means nothing: a deny that matches, else an allow that matches, else denied if any policy that
//      selects the subject isolates it.
//   3. the baseline tier, judged as the admin tier.
//   4. allowed.
// Ahead of it all: whoever speaks to itself may, and so may the node to its own pods.

import type { Family, Prefix } from './address.ts'
import type { LabelSelector } from './label-selector.ts'

export type PolicyKind =
  | 'NetworkPolicy'
  | 'ClusterNetworkPolicy'
  | 'CiliumNetworkPolicy'
  | 'CiliumClusterwideNetworkPolicy'

export type PolicyTier = 'admin' | 'normal' | 'baseline'
export type PolicyDirection = 'ingress' | 'egress'
export const POLICY_DIRECTIONS: readonly PolicyDirection[] = ['ingress', 'egress']
export type RuleAction = 'allow' | 'deny' | 'pass'

/** Whom a policy protects. Pods on the host network are never selected by labels: they are their node. */
export type PolicySubject =
  | { readonly kind: 'pods'; readonly namespaces: LabelSelector; readonly pods: LabelSelector }
  | { readonly kind: 'nodes'; readonly labels: LabelSelector }

/** Names for who is not selected by labels, as Cilium has them. */
export const POLICY_ENTITIES = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'kube-apiserver',
  'ingress',
  'init',
  'health',
  'unmanaged',
  'none',
] as const
export type PolicyEntity = (typeof POLICY_ENTITIES)[number]

/**
 * One item of a rule's `from` or `to`. Namespaces are selected by their labels, and every namespace has its name as
 * `kubernetes.io/metadata.name`; pods by theirs, among which is the service account (`SERVICE_ACCOUNT_LABEL`).
 */
export type PolicyPeer =
  | { readonly kind: 'pods'; readonly namespaces: LabelSelector; readonly pods: LabelSelector }
  | {
      readonly kind: 'networks'
      readonly prefix: Prefix
      readonly except: readonly Prefix[]
      readonly covers: NetworksCover
    }
  /** Cilium's shared lists of prefixes, by name or by label. */
  | {
      readonly kind: 'network-groups'
      readonly groups: { readonly name: string } | { readonly labels: LabelSelector }
      /** What lists mean that are not there or cannot be read: of a deny everywhere; absent: nowhere. */
      readonly unread?: 'everywhere'
      readonly except: readonly Prefix[]
      readonly covers: NetworksCover
    }
  | { readonly kind: 'entity'; readonly entity: PolicyEntity }
  | { readonly kind: 'nodes'; readonly labels: LabelSelector }
  /** The endpoints of Services, by `namespace/name` or by labels of the Service. */
  | {
      readonly kind: 'services'
      readonly services:
        | { readonly key: string }
        | { readonly namespaces: LabelSelector; readonly labels: LabelSelector }
    }

/** Whether an address of a pod or node is covered like any other (Kubernetes' kinds), or prefixes speak of the outside only (Cilium's). */
export type NetworksCover = 'everything' | 'outside'

/** The label under which a pod's service account is selected. */
export const SERVICE_ACCOUNT_LABEL = 'io.cilium.k8s.policy.serviceaccount'
/** The label that holds a namespace's name. */
export const NAMESPACE_NAME_LABEL = 'kubernetes.io/metadata.name'

export type PortProtocol = 'tcp' | 'udp' | 'sctp'
export const PORT_PROTOCOLS: readonly PortProtocol[] = ['tcp', 'udp', 'sctp']
/** Of every protocol. */
export const PORT_MAX = 65_535

/** `first` to `last`, both in it. */
export interface PortRange {
  readonly protocol: PortProtocol
  readonly first: number
  readonly last: number
}

/** One item of a rule's ports. Ports are the destination's, after translation: a pod's own. */
export type PortMatch =
  /** 0 to 65535: the protocol as a whole. */
  | ({ readonly kind: 'ports' } & PortRange)
  /** A port name of the destination pod's containers; of any protocol where none is given. Whoever lacks it is not matched. */
  | { readonly kind: 'named'; readonly protocol: PortProtocol | undefined; readonly name: string }
  /** ICMP (ipv4) or ICMPv6 (ipv6) messages of one type. */
  | { readonly kind: 'icmp'; readonly family: Family; readonly type: number }

export interface PolicyRule {
  readonly action: RuleAction
  /** 'any': whoever it is. An empty list is nobody. */
  readonly peers: readonly PolicyPeer[] | 'any'
  /** 'any': every protocol, ICMP and unknown ones too. An empty list is nothing. */
  readonly ports: readonly PortMatch[] | 'any'
  /** Where it is written: `spec.ingress[2]`. */
  readonly path: string
  /** What its author calls it (ClusterNetworkPolicy). */
  readonly name?: string
  /** Where each of its peers and of its ports is, below `path`; absent: not known, or there is none. */
  readonly places?: RulePlaces
}

/** `from[2]`, `protocols[0]`: in the order of the rule's own lists. */
export interface RulePlaces {
  readonly peers: readonly string[]
  readonly ports: readonly string[]
}

export interface DirectionRules {
  /** What no rule allows is denied (in the normal tier; elsewhere false). */
  readonly isolates: boolean
  readonly rules: readonly PolicyRule[]
}

/** A field that was not understood or is not supported. The policy fails closed: see `Policy.faults`. */
export interface PolicyFault {
  /** `spec.egress[0].toFQDNs`. */
  readonly path: string
  /** What is wrong. */
  readonly text: string
  readonly mend: string
}

export interface Policy {
  readonly kind: PolicyKind
  /** `namespace/name`, or the name of a cluster-wide one. With kind and part it is unique. */
  readonly key: string
  /** Which of the object's specs (Cilium's `specs`); 0 with a single one. */
  readonly part: number
  readonly uid: string
  readonly tier: PolicyTier
  /** 0–1000 in the admin and baseline tier, lower first; 0 in the normal tier. */
  readonly priority: number
  readonly subject: PolicySubject
  /** Undefined: it says nothing about that direction. */
  readonly ingress: DirectionRules | undefined
  readonly egress: DirectionRules | undefined
  /** Not in force: what it would change is recorded only. */
  readonly isAudit: boolean
  /** What becomes of connections that it allows no more; undefined: as the cluster has it. */
  readonly existingConnections: 'recheck' | 'keep' | undefined
  /** What is told of though the policy holds: an annotation that says nothing known. */
  readonly notes?: readonly PolicyFault[]
  /** Not empty: the rules are replaced by what fails closed (nothing is allowed by it in the directions it names); what it denies may stay. */
  readonly faults: readonly PolicyFault[]
}

/** Of both directions. */
export function rulesOf({ ingress, egress }: Policy): readonly PolicyRule[] {
  return [...(ingress?.rules ?? []), ...(egress?.rules ?? [])]
}

/** A pod as far as policy sees it. */
export interface PolicyPod {
  /** `namespace/name`. */
  readonly key: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string
  /** As its cgroup is named: that of the kubelet's own, where the API server has only its image. */
  readonly uid?: string | undefined
  /** Canonical addresses; empty before it has any. */
  readonly addresses: readonly string[]
  readonly node: string
  readonly isHostNetwork: boolean
  /** Succeeded or failed: its address may belong to another by now, so it is nobody. */
  readonly isFinished: boolean
  readonly namedPorts: readonly {
    readonly name: string
    readonly protocol: PortProtocol
    readonly port: number
  }[]
}

export interface PolicyNode {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly addresses: readonly string[]
}

/** Everything that decides a verdict. */
export interface PolicyWorld {
  readonly policies: readonly Policy[]
  readonly pods: readonly PolicyPod[]
  /** Namespace → its labels, the one with its name among them. */
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>
  readonly nodes: readonly PolicyNode[]
  readonly networkGroups: readonly {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    /** Those that could be read. */
    readonly prefixes: readonly Prefix[]
    /** It holds what could not be. */
    readonly isBroken?: true
  }[]
  readonly services: readonly {
    /** `namespace/name`. */
    readonly key: string
    readonly namespace: string
    readonly labels: Readonly<Record<string, string>>
    /** Addresses of its endpoints, ready or not. */
    readonly endpoints: readonly string[]
  }[]
  /** Addresses behind the Service `default/kubernetes`. */
  readonly apiServers: readonly string[]
  /**
   * Ports at which a node stays in touch (SSH, the API server, BGP, BFD): its policies close them only by a deny that names ports, never by
   * isolation, nor by a deny of everything or of a whole protocol. Absent: none.
   */
  readonly failSafePorts?: Readonly<Record<PolicyDirection, readonly PortRange[]>>
}

/** The first packet of a connection, as it is after translation. */
export interface PolicyPacket {
  readonly source: string
  readonly destination: string
  readonly protocol: PortProtocol | 'icmp' | 'other'
  /** Destination port of tcp, udp and sctp; type of icmp; 0 for others. */
  readonly port: number
  /** The node where it is judged: its own addresses are 'host', those of others 'remote-node'. */
  readonly node: string
  /** It comes from a node's address but was masqueraded there: whoever sent it, it is the world's. */
  readonly isMasqueraded: boolean
  /** A Service led it back to the pod that sent it: then ClusterNetworkPolicy judges it, and nothing else. */
  readonly isHairpin: boolean
}
