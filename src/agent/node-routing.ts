// The routing of this node as its configuration file alone says it: what is known before the API server has been heard.

import type { NodeRouting } from '../model/routing.ts'
import type { Node } from '../model/service.ts'
import { fileIdentity } from '../routing/sources/file.ts'
import { type MergedRouting, mergeRouting } from '../routing/sources/merge.ts'
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

type RoutingConfig = Pick<AgentConfig, 'nodeName' | 'routing' | 'pools'>

/** @param self as it was last known */
export function fileRouting(
  { nodeName, routing, pools }: RoutingConfig,
  self = unknownNode(nodeName),
): MergedRouting {
  return mergeRouting({ file: routing, pools, facts: { self, others: [] }, others: [] })
}

/** Throws ConfigError where the file leaves the AS number to what only the API server knows. */
export function nodeRouting(config: RoutingConfig, self?: Node): NodeRouting {
  const { routing } = fileRouting(config, self)
  if (routing !== undefined) return routing
  throw new ConfigError(
    'INVALID',
    'routing.asn: this node has no AS number as long as the API server has not been heard; write one, there or below routing.nodes',
  )
}

/** The loopbacks, and the router id where it is said, by the node's labels as they were last known. */
export function nodeIdentity({ nodeName, routing }: RoutingConfig, self = unknownNode(nodeName)) {
  return fileIdentity(routing, self.labels)
}
