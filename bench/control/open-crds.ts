// Others' kinds as far as an API server has to know them: their objects may hold anything. Tests have them from here, too.

const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }

function openCrd(
  group: string,
  versions: string | readonly [stored: string, ...others: string[]],
  kind: string,
  plural: string,
  scope: 'Namespaced' | 'Cluster' = 'Cluster',
) {
  const properties = { spec: anything, specs: { type: 'array', items: anything }, status: anything }
  const annotations =
    // Groups below k8s.io are the community's: their CRDs say who approved them.
    group.endsWith('.k8s.io')
      ? { annotations: { 'api-approved.kubernetes.io': 'unapproved, for tests' } }
      : {}
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, ...annotations },
    spec: {
      group,
      scope,
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [versions].flat().map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: 'object', properties } },
      })),
    },
  }
}

/** @param kind as `CiliumLoadBalancerIPPool`: of the whole cluster */
export function ciliumCrd(kind: string) {
  return openCrd('cilium.io', 'v2', kind, `${kind.toLowerCase()}s`)
}

export function clusterNetworkPolicyCrd(versions: readonly [stored: string, ...others: string[]]) {
  return openCrd('policy.networking.k8s.io', versions, 'ClusterNetworkPolicy', 'clusternetworkpolicies')
}

/** The kinds of policy that an API server gets as CRDs. */
export const POLICY_CRDS = [
  clusterNetworkPolicyCrd(['v1beta1', 'v1alpha2']),
  openCrd('cilium.io', 'v2', 'CiliumNetworkPolicy', 'ciliumnetworkpolicies', 'Namespaced'),
  openCrd('cilium.io', 'v2', 'CiliumClusterwideNetworkPolicy', 'ciliumclusterwidenetworkpolicies'),
  ciliumCrd('CiliumCIDRGroup'),
]
