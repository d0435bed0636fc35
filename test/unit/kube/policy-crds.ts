// The kinds of policy that an API server gets as CRDs.

import { ciliumCrd, openCrd } from './open-crds.ts'

export const POLICY_CRDS = [
  openCrd('policy.networking.k8s.io', 'v1alpha2', 'ClusterNetworkPolicy', 'clusternetworkpolicies'),
  openCrd('cilium.io', 'v2', 'CiliumNetworkPolicy', 'ciliumnetworkpolicies', 'Namespaced'),
  openCrd('cilium.io', 'v2', 'CiliumClusterwideNetworkPolicy', 'ciliumclusterwidenetworkpolicies'),
  ciliumCrd('CiliumCIDRGroup'),
]
