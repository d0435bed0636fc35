// The cluster of objects.ts as policy's model has it: read by what reads it in the agent.

import type { Pod } from '../../src/kube/objects.ts'
import { toClusterNetworkPolicy } from '../../src/kube/policies/cluster-network-policy.ts'
import { toNetworkPolicy } from '../../src/kube/policies/network-policy.ts'
import { toNamespaceLabels, toPolicyPod } from '../../src/kube/policies/world.ts'
import type { Policy, PolicyPod, PolicyWorld } from '../../src/model/policy.ts'
import { COMPILER_LIMITS, type CompilerLimits, PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { nodeAddress, nodeName, OWN_NODE } from '../control/cluster.ts'
import {
  CLUSTER_POLICIES,
  CLUSTER_POLICY_VERSION,
  clusterPolicyObject,
  NAMESPACES,
  namespaceName,
  namespaceObject,
  networkPolicyObject,
  type PolicyClusterSize,
  podObject,
} from './objects.ts'

export const BENCH_NODE = nodeName(OWN_NODE)

/** As an agent makes it that is told nothing of labels and fail-safe ports. */
export function benchCompiler(node: string, limits: Partial<CompilerLimits> = {}): PolicyCompiler {
  return new PolicyCompiler({
    node,
    existingConnections: 'recheck',
    labels: { include: [], exclude: [] },
    failSafe: { ingress: [], egress: [] },
    limits: { ...COMPILER_LIMITS, ...limits },
  })
}

export function benchPod(index: number, size: PolicyClusterSize): PolicyPod {
  return toPolicyPod(podObject(index, size) as unknown as Pod)
}

/** `variant` changes one of its ports. */
export function benchPolicy(index: number, variant = 0): Policy {
  return sound(toNetworkPolicy(networkPolicyObject(index, variant)))
}

/** `variant` changes one of its ports. */
export function benchClusterPolicy(index: number, variant = 0): Policy {
  return sound(toClusterNetworkPolicy(clusterPolicyObject(index, variant), CLUSTER_POLICY_VERSION))
}

function sound(policy: Policy): Policy {
  if (policy.faults.length > 0) throw new Error(`${policy.key}: ${JSON.stringify(policy.faults)}`)
  return policy
}

export function benchWorld(size: PolicyClusterSize): PolicyWorld {
  const nodes = Math.ceil(size.identities / size.podsPerNode)
  return {
    policies: [
      ...Array.from({ length: CLUSTER_POLICIES }, (_, index) => benchClusterPolicy(index)),
      ...Array.from({ length: size.policies - CLUSTER_POLICIES }, (_, index) => benchPolicy(index)),
    ],
    pods: Array.from({ length: size.identities }, (_, index) => benchPod(index, size)),
    namespaces: new Map(
      Array.from({ length: NAMESPACES }, (_, index) => [
        namespaceName(index),
        toNamespaceLabels(namespaceObject(index)),
      ]),
    ),
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: nodeName(index),
      labels: { role: 'worker' },
      addresses: [nodeAddress(index)],
    })),
    networkGroups: [],
    services: [],
    apiServers: ['192.168.255.1'],
  }
}
