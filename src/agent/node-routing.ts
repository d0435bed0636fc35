// What this node is called, before and after its own object has been heard of.

import type { Node } from '../model/service.ts'
import { fileIdentity } from '../routing/sources/file.ts'
import type { AgentConfig } from './config.ts'

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

/** The loopbacks, and the router id where it is said, by the node's labels as they were last known. */
export function nodeIdentity({ nodeName, routing }: RoutingConfig, self = unknownNode(nodeName)) {
  return fileIdentity(routing, self.labels)
}
