// What routers have to know of a node, from its configuration alone: for whoever prepares the fabric before there is a node.

import type { AllowedPrefix } from '../model/announcement.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { parseConfig } from './config.ts'
import { nodeRouting, unknownNode } from './node-routing.ts'
import type { RouterSideFacts } from './router-side-view.ts'

/** Throws ConfigError. @param node undefined: the file's */
export function fileFacts(
  text: string,
  source: string,
  node: string | undefined,
  labels: Readonly<Record<string, string>>,
): RouterSideFacts {
  // As the manifests name it.
  const environment = node === undefined ? process.env : { ...process.env, NODE_NAME: node }
  const read = parseConfig(text, source, environment)
  const config = { ...read, nodeName: node ?? read.nodeName }
  const routing = nodeRouting(config, { ...unknownNode(config.nodeName), labels })
  const { loopbacks, podCidrs, serviceNetworks } = routing
  const allowed: readonly AllowedPrefix[] = allowedPrefixes({
    loopbacks,
    podCidrs,
    pools: config.pools,
    serviceNetworks,
  })
  const lacks =
    podCidrs.length === 0
      ? [
          "The node's pod networks are in its Node object, which a file does not tell: --accept, or ask the agent.",
        ]
      : []
  return { node: config.nodeName, routing, allowed, reachedFrom: {}, lacks }
}
