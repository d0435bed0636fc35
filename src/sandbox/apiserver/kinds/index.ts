// The kinds a cluster has from the start. Left out: events.k8s.io (core Events serve), admissionregistration (no webhooks are
// called).

import type { KindDefinition } from '../kind.ts'
import { clusterRoleBindingKind, clusterRoleKind, roleBindingKind, roleKind } from './access.ts'
import { eventKind, leaseKind, namespaceKind, nodeKind } from './cluster.ts'
import { configMapKind, persistentVolumeClaimKind, secretKind, serviceAccountKind } from './configuration.ts'
import { customResourceDefinitionKind } from './custom-resource-definition.ts'
import { endpointSliceKind, endpointsKind } from './endpoint-slice.ts'
import {
  ingressClassKind,
  ingressKind,
  ipAddressKind,
  networkPolicyKind,
  podDisruptionBudgetKind,
  serviceCidrKind,
} from './networking.ts'
import { podKind } from './pod.ts'
import { serviceKind } from './service.ts'
import { cronJobKind, flowSchemaKind, persistentVolumeKind } from './unattended.ts'
import {
  daemonSetKind,
  deploymentKind,
  jobKind,
  replicaSetKind,
  replicationControllerKind,
  statefulSetKind,
} from './workloads.ts'

export const builtinKinds: readonly KindDefinition[] = [
  namespaceKind,
  nodeKind,
  podKind,
  serviceKind,
  endpointsKind,
  configMapKind,
  secretKind,
  serviceAccountKind,
  eventKind,
  replicationControllerKind,
  persistentVolumeClaimKind,
  deploymentKind,
  replicaSetKind,
  daemonSetKind,
  statefulSetKind,
  endpointSliceKind,
  networkPolicyKind,
  ingressKind,
  ingressClassKind,
  ipAddressKind,
  serviceCidrKind,
  leaseKind,
  roleKind,
  clusterRoleKind,
  roleBindingKind,
  clusterRoleBindingKind,
  customResourceDefinitionKind,
  podDisruptionBudgetKind,
  jobKind,
  cronJobKind,
  persistentVolumeKind,
  flowSchemaKind,
]
