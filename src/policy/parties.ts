// Who stands behind an address: a pod, a node, or the world outside.

import type { PolicyNode, PolicyPacket, PolicyPod, PolicyWorld } from '../model/policy.ts'
import { NAMESPACE_NAME_LABEL, SERVICE_ACCOUNT_LABEL } from '../model/policy.ts'

type Labels = Readonly<Record<string, string>>

/** One end of a packet. */
export type Party =
  | {
      readonly kind: 'pod'
      readonly address: string
      readonly pod: PolicyPod
      readonly labels: Labels
      readonly namespaceLabels: Labels
    }
  | {
      readonly kind: 'node'
      readonly address: string
      readonly node: PolicyNode
      /** It is the node that judges. */
      readonly isJudge: boolean
    }
  | {
      readonly kind: 'outside'
      readonly address: string
      /** The address is a node's, which lent it to whoever sent this. */
      readonly isMasqueraded: boolean
    }

/** A namespace not heard of yet has its name at least. */
export function namespaceLabels(world: PolicyWorld, namespace: string): Labels {
  return world.namespaces.get(namespace) ?? { [NAMESPACE_NAME_LABEL]: namespace }
}

// Should two claim an address, the first by name has it, so that the order of events decides nothing.

function nodeAt(world: PolicyWorld, address: string): PolicyNode | undefined {
  return world.nodes
    .filter((node) => node.addresses.includes(address))
    .sort((a, b) => (a.name < b.name ? -1 : 1))[0]
}

function podAt(world: PolicyWorld, address: string): PolicyPod | undefined {
  return world.pods
    .filter((pod) => !pod.isFinished && !pod.isHostNetwork && pod.addresses.includes(address))
    .sort((a, b) => (a.key < b.key ? -1 : 1))[0]
}

export function partyAt(world: PolicyWorld, address: string, judge: string): Party {
  const node = nodeAt(world, address)
  if (node) return { kind: 'node', address, node, isJudge: node.name === judge }
  const pod = podAt(world, address)
  if (!pod) return { kind: 'outside', address, isMasqueraded: false }
  return {
    kind: 'pod',
    address,
    pod,
    labels: { ...pod.labels, [SERVICE_ACCOUNT_LABEL]: pod.serviceAccount },
    namespaceLabels: namespaceLabels(world, pod.namespace),
  }
}

export function sourceOf(world: PolicyWorld, packet: PolicyPacket): Party {
  if (packet.isMasqueraded) return { kind: 'outside', address: packet.source, isMasqueraded: true }
  return partyAt(world, packet.source, packet.node)
}

export function destinationOf(world: PolicyWorld, packet: PolicyPacket): Party {
  return partyAt(world, packet.destination, packet.node)
}

export function isSameParty(a: Party, b: Party): boolean {
  if (a.kind === 'pod') return b.kind === 'pod' && a.pod.key === b.pod.key
  return a.kind === 'node' && b.kind === 'node' && a.node.name === b.node.name
}
