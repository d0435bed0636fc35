// What this node is called, before and after its own object has been heard of.

import type { NodeRouting } from '../model/routing.ts'
import type { Node } from '../model/service.ts'
import { fileIdentity } from '../routing/sources/file.ts'
import { mergeSources } from '../routing/sources/merge-sources.ts'
import { type AgentConfig, ConfigError } from './config.ts'

/** This node before the API server tells of it. */
export function unknownNode(name: string): Node {
  return {
    name,
    uid: '',
    labels: {},
    annotations: {},
    internalIps: {},
    addresses: [],
    podCidrs: [],
    zone: undefined,
    isLeaving: false,
    isCordoned: false,
    asksToDrain: false,
  }
}

type RoutingConfig = Pick<AgentConfig, 'nodeName' | 'routing'>

const NO_OBJECTS = { clusterConfigs: [], peerConfigs: [], advertisements: [], overrides: [] }

/** Of the file alone. Throws ConfigError where it leaves the AS number to other sources. */
export function nodeRouting(
  { nodeName, routing, pools }: RoutingConfig & Pick<AgentConfig, 'pools'>,
  self = unknownNode(nodeName),
): NodeRouting {
  const merged = mergeSources({ file: routing, pools, facts: { self, others: [] }, cilium: NO_OBJECTS })
  if (merged.routing !== undefined) return merged.routing
  throw new ConfigError(
    'INVALID',
    'routing.asn: the file alone gives this node no AS number; write one, there or below routing.nodes',
  )
}

/** The loopbacks, and the router id where it is said, by the node's labels as they were last known. */
export function nodeIdentity({ nodeName, routing }: RoutingConfig, self = unknownNode(nodeName)) {
  return fileIdentity(routing, self.labels)
}
