// The routing that gobgpd must start with, before it has heard of any agent: the file's word where that is enough, else by the Node object
// as an agent last knew it, else what an agent last made of all sources. It never asks the API server itself, and so needs no rights there.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { familyOf } from '../model/address.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { FilePool, FileRouting } from '../routing/sources/file.ts'
import { mergeSources } from '../routing/sources/merge-sources.ts'
import { writeWhole } from './config-file.ts'
import { unknownNode } from './node-routing.ts'
import { rememberedNode } from './own-node.ts'

export const ROUTING_FILE = 'routing.json'

/** What of a routing gobgpd takes at its start. */
export type BootRouting = Pick<
  NodeRouting,
  'asn' | 'routerId' | 'listen' | 'loopbacks' | 'podCidrs' | 'serviceNetworks'
>

interface BootConfig {
  readonly nodeName: string
  readonly stateDirectory: string
  readonly routing: FileRouting
  readonly pools: readonly FilePool[]
}

/** Undefined: nobody on this node has known it yet. */
export function bootRouting(config: BootConfig): BootRouting | undefined {
  return routingOfFile(config) ?? rememberedRouting(config.stateDirectory)
}

/** Undefined: it depends on what is not known. */
function routingOfFile({ nodeName, stateDirectory, routing, pools }: BootConfig): BootRouting | undefined {
  if (routing.sources.cilium.enabled && routing.asn === undefined) return undefined
  const remembered = rememberedNode(stateDirectory, nodeName)
  const hasId = routing.routerId !== undefined || routing.loopbacks.some((one) => familyOf(one) === 'ipv4')
  const needsNode = routing.nodes.length > 0 || routing.sources.kubeRouter.enabled || !hasId
  if (needsNode && remembered === undefined) return undefined
  const cilium = { clusterConfigs: [], peerConfigs: [], advertisements: [], overrides: [] }
  const facts = { self: remembered ?? unknownNode(nodeName), others: [] }
  return mergeSources({ file: routing, pools, facts, cilium }).routing
}

/** What an agent last made of all sources; undefined: none did. */
export function rememberedRouting(stateDirectory: string): BootRouting | undefined {
  try {
    return JSON.parse(readFileSync(join(stateDirectory, ROUTING_FILE), 'utf8')) as BootRouting
  } catch {
    return undefined
  }
}

/** By the agent, whenever it is another one. */
export function rememberRouting(stateDirectory: string, routing: NodeRouting): void {
  const { asn, routerId, listen, loopbacks, podCidrs, serviceNetworks } = routing
  const kept: BootRouting = {
    ...{ asn, routerId, loopbacks, podCidrs, serviceNetworks },
    ...(listen === undefined ? {} : { listen }),
  }
  writeWhole(join(stateDirectory, ROUTING_FILE), JSON.stringify(kept))
}
