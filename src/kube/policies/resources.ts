// Where the kinds of policy live, and what is kept of their objects: the policies that are in force, what is wrong with the others, and
// what stands in the status already.

import type { Policy, PolicyFault, PolicyKind } from '../../model/policy.ts'
import type { AddressCondition } from '../../model/service.ts'
import type { ApiObject, Condition, Resource } from '../objects.ts'
import { toCiliumPolicies } from './cilium-policy.ts'
import { toClusterNetworkPolicy } from './cluster-network-policy.ts'
import { toNetworkPolicy } from './network-policy.ts'
import type { CidrGroup } from './world.ts'

interface WithConditions extends ApiObject {
  status?: { conditions?: Condition[] }
}

const CILIUM = { group: 'cilium.io', version: 'v2' } as const

export const POLICY_RESOURCES: Readonly<Record<PolicyKind, Resource<WithConditions>>> = {
  NetworkPolicy: {
    group: 'networking.k8s.io',
    version: 'v1',
    plural: 'networkpolicies',
    kind: 'NetworkPolicy',
    namespaced: true,
  },
  ClusterNetworkPolicy: {
    group: 'policy.networking.k8s.io',
    version: 'v1beta1',
    versions: ['v1beta1', 'v1alpha2'],
    plural: 'clusternetworkpolicies',
    kind: 'ClusterNetworkPolicy',
    namespaced: false,
  },
  CiliumNetworkPolicy: {
    ...CILIUM,
    plural: 'ciliumnetworkpolicies',
    kind: 'CiliumNetworkPolicy',
    namespaced: true,
  },
  CiliumClusterwideNetworkPolicy: {
    ...CILIUM,
    plural: 'ciliumclusterwidenetworkpolicies',
    kind: 'CiliumClusterwideNetworkPolicy',
    namespaced: false,
  },
}

export const CILIUM_CIDR_GROUPS: Resource<CidrGroup> = {
  ...CILIUM,
  versions: ['v2', 'v2alpha1'],
  plural: 'ciliumcidrgroups',
  kind: 'CiliumCIDRGroup',
  namespaced: false,
}

/** The condition that tells whether an object is followed; NetworkPolicy's status is nobody's. */
export const POLICY_CONDITIONS: Readonly<Partial<Record<PolicyKind, string>>> = {
  ClusterNetworkPolicy: 'Accepted',
  CiliumNetworkPolicy: 'Valid',
  CiliumClusterwideNetworkPolicy: 'Valid',
}

/** One object of a kind of policy. */
export interface PolicyObject {
  readonly kind: PolicyKind
  /** `namespace/name`, or the name of a cluster-wide one. */
  readonly key: string
  readonly uid: string
  /** In force; those with faults closed. */
  readonly policies: readonly Policy[]
  readonly faults: readonly PolicyFault[]
  /** What is told of though the policy holds. */
  readonly notes: readonly PolicyFault[]
  /** As its condition stands in status; undefined: it does not. */
  readonly condition: AddressCondition | undefined
}

/** A key's two parts. @returns no namespace of a cluster-wide one */
export function namesOf({ key }: Pick<PolicyObject, 'key'>): {
  readonly namespace?: string
  readonly name: string
} {
  const [first = '', second] = key.split('/')
  return second === undefined ? { name: first } : { namespace: first, name: second }
}

/** @param version as which it was read; absent: the one that is asked for first */
export function toPolicyObject(kind: PolicyKind, object: WithConditions, version?: string): PolicyObject {
  const { namespace, name = '', uid = '' } = object.metadata
  const read = readPolicies(kind, object, version ?? POLICY_RESOURCES[kind].version)
  return {
    kind,
    key: namespace ? `${namespace}/${name}` : name,
    uid,
    policies: read,
    // Once each: where it cannot be told whom a spec protects, several policies are made of it.
    faults: [...new Set(read.flatMap((policy) => policy.faults))],
    // Annotations are the object's: every part says the same of them.
    notes: read[0]?.notes ?? [],
    condition: readCondition(object, POLICY_CONDITIONS[kind]),
  }
}

function readPolicies(kind: PolicyKind, object: ApiObject, version: string): readonly Policy[] {
  switch (kind) {
    case 'NetworkPolicy':
      return [toNetworkPolicy(object)]
    case 'ClusterNetworkPolicy':
      return [toClusterNetworkPolicy(object, version)]
    case 'CiliumNetworkPolicy':
      return toCiliumPolicies(object, object.metadata.namespace ?? '')
    case 'CiliumClusterwideNetworkPolicy':
      return toCiliumPolicies(object, undefined)
  }
}

function readCondition({ status }: WithConditions, type: string | undefined): AddressCondition | undefined {
  const found = type === undefined ? undefined : status?.conditions?.find((one) => one.type === type)
  if (!found || found.status === 'Unknown') return undefined
  return { status: found.status, reason: found.reason ?? '', message: found.message ?? '' }
}
