// Makes the rack's nodes known to the API server: addresses, pod networks, labels, and a Ready condition without a heartbeat
// (a namespace has no kubelet to fall silent; nothing here may wake the machine for no reason). What users put on a
// node (labels, taints, cordon) is kept.

import type { KubeClient } from '../../kube/client.ts'
import { isKubeError } from '../../kube/errors.ts'
import type { Node } from '../../kube/objects.ts'
import { NODES } from '../../kube/objects.ts'
import { withCondition } from './objects.ts'
import { patchStatus } from './owned.ts'
import { timeText } from './pod-status.ts'
import type { Controller, ControllerContext } from './store.ts'

export interface NodeFacts {
  name: string
  /** One per family, IPv4 first. */
  addresses: readonly string[]
  podCidrs: readonly string[]
  zone: string
}

const PODS_MAX = '250'
/** A deleted Node comes back after this, as by a kubelet that its service manager starts again. */
const NODE_RETURN_MS = 10_000

/** Keeps the rack's nodes registered. */
export function createNodeRegistration(
  { client, stores, nowMs, log }: ControllerContext,
  nodes: readonly NodeFacts[],
): Controller {
  const timers = new Map<string, NodeJS.Timeout>()
  const expectReturn = (facts: NodeFacts) => {
    clearTimeout(timers.get(facts.name))
    const timer = setTimeout(() => {
      registerNode(client, facts, nowMs()).catch((error: unknown) => {
        log(`registering ${facts.name}: ${String(error)}`)
        expectReturn(facts)
      })
    }, NODE_RETURN_MS)
    timers.set(facts.name, timer)
  }
  stores.nodes.subscribe((changes) => {
    for (const change of changes) {
      const facts = nodes.find(({ name }) => change.type === 'delete' && name === change.key)
      if (facts) expectReturn(facts)
    }
  })
  return {
    start: () => {},
    close: () => {
      for (const timer of timers.values()) clearTimeout(timer)
    },
  }
}

export async function registerNode(client: KubeClient, facts: NodeFacts, nowMs: number): Promise<void> {
  const wanted = nodeObject(facts)
  let node: Node
  try {
    node = await client.create(NODES, wanted)
  } catch (error) {
    if (!isKubeError(error, 'already-exists')) throw error
    const before = await client.get(NODES, { name: facts.name })
    // The user's zone label wins over ours.
    const labels = { ...wanted.metadata.labels, ...before.metadata.labels }
    node = await client.patch(NODES, { name: facts.name }, { metadata: { labels } }, { kind: 'merge' })
  }
  await patchStatus(client, NODES, node, nodeStatus(facts, node, nowMs))
}

function nodeObject({ name, podCidrs, zone }: NodeFacts): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': process.arch === 'x64' ? 'amd64' : process.arch,
        'topology.kubernetes.io/zone': zone,
      },
    },
    spec: { podCIDR: podCidrs[0] ?? '', podCIDRs: [...podCidrs] },
  }
}

function nodeStatus(facts: NodeFacts, node: Node, nowMs: number): NonNullable<Node['status']> {
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'RackNodeUp',
    message: "the node's namespace is up",
  } as const
  return {
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.name },
    ],
    conditions: withCondition(node.status?.conditions, ready, timeText(nowMs)),
    capacity: { pods: PODS_MAX, cpu: '2', memory: '8Gi' },
    allocatable: { pods: PODS_MAX, cpu: '2', memory: '8Gi' },
    nodeInfo: {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      operatingSystem: 'linux',
      osImage: 'network namespace',
      kernelVersion: '',
      kubeletVersion: 'v1.35.0-weir',
      kubeProxyVersion: '',
      containerRuntimeVersion: 'weir://1',
      machineID: '',
      systemUUID: '',
      bootID: '',
    },
  }
}
