// The routing that gobgpd must start with, before any agent has run: the file's word where that is enough, else by the Node object as it
// was last known, else as the API server says, which is waited for: without an AS number there is nothing that gobgpd could start as.

import { setTimeout as sleep } from 'node:timers/promises'
import {
  BGP_ADVERTISEMENTS,
  BGP_CLUSTER_CONFIGS,
  BGP_NODE_CONFIG_OVERRIDES,
  BGP_PEER_CONFIGS,
  toAdvertisement,
  toClusterConfig,
  toNodeOverride,
  toPeerConfig,
} from '../kube/cilium.ts'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { type ApiObject, NODES, type Resource } from '../kube/objects.ts'
import { toNode } from '../kube/to-node-model.ts'
import { familyOf } from '../model/address.ts'
import type { CiliumObjects } from '../model/cilium.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { FilePool, FileRouting } from '../routing/sources/file.ts'
import { mergeSources } from '../routing/sources/merge-sources.ts'
import { unknownNode } from './node-routing.ts'
import { rememberedNode } from './own-node.ts'

const ASK_AGAIN_MS = 2_000

const NO_OBJECTS: CiliumObjects = { clusterConfigs: [], peerConfigs: [], advertisements: [], overrides: [] }

interface BootConfig {
  readonly nodeName: string
  readonly stateDirectory: string
  readonly routing: FileRouting
  readonly pools: readonly FilePool[]
}

export interface BootOptions {
  readonly config: BootConfig
  readonly client: KubeClient
  /** Told once, when it is waited for. */
  readonly onWaiting: (why: string) => void
}

export async function bootRouting({ config, client, onWaiting }: BootOptions): Promise<NodeRouting> {
  const { nodeName, stateDirectory, routing, pools } = config
  const remembered = rememberedNode(stateDirectory, nodeName)
  const plan = (self = unknownNode(nodeName), cilium = NO_OBJECTS) =>
    mergeSources({ file: routing, pools, facts: { self, others: [] }, cilium }).routing
  const hasId = routing.routerId !== undefined || routing.loopbacks.some((one) => familyOf(one) === 'ipv4')
  const needsNode = routing.nodes.length > 0 || routing.sources.kubeRouter.enabled || !hasId
  const needsObjects = routing.sources.cilium.enabled && routing.asn === undefined
  const known = needsObjects || (needsNode && remembered === undefined) ? undefined : plan(remembered)
  if (known !== undefined) return known
  let isFirst = true
  for (;;) {
    try {
      const found = plan(await askNode(client, nodeName), needsObjects ? await askCilium(client) : NO_OBJECTS)
      if (found !== undefined) return found
      if (isFirst) onWaiting('no source gives this node an AS number yet')
    } catch (error) {
      if (isFirst) onWaiting(error instanceof Error ? error.message : String(error))
    }
    isFirst = false
    await sleep(ASK_AGAIN_MS)
  }
}

async function askNode(client: KubeClient, nodeName: string) {
  const { items } = await client.list(NODES, { fieldSelector: `metadata.name=${nodeName}` })
  const [found] = items
  if (found === undefined) throw new Error(`there is no Node ${nodeName}`)
  return toNode(found)
}

async function askCilium(client: KubeClient): Promise<CiliumObjects> {
  const all = async <T extends ApiObject, Row>(resource: Resource<T>, project: (object: T) => Row) => {
    try {
      return (await client.list(resource)).items.map(project)
    } catch (error) {
      if (isKubeError(error, 'not-found', 'forbidden')) return []
      throw error
    }
  }
  return {
    clusterConfigs: await all(BGP_CLUSTER_CONFIGS, toClusterConfig),
    peerConfigs: await all(BGP_PEER_CONFIGS, toPeerConfig),
    advertisements: await all(BGP_ADVERTISEMENTS, toAdvertisement),
    overrides: await all(BGP_NODE_CONFIG_OVERRIDES, toNodeOverride),
  }
}
