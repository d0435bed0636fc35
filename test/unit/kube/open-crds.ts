// Others' kinds as far as an API server has to know them: their objects may hold anything.

const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }

export function openCrd(
  group: string,
  version: string,
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
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: 'object', properties } },
        },
      ],
    },
  }
}

/** @param kind as `CiliumLoadBalancerIPPool`: of the whole cluster */
export function ciliumCrd(kind: string) {
  return openCrd('cilium.io', 'v2', kind, `${kind.toLowerCase()}s`)
}
