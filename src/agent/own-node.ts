// This node as it was last known: its Node object in the state directory. Whatever of the configuration goes by the node's labels is
// known by it before the API server answers, and while it is away.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { NODES } from '../kube/objects.ts'
import { toNode } from '../kube/to-node-model.ts'
import type { Node } from '../model/service.ts'
import type { AgentConfig } from './config.ts'
import { writeWhole } from './config-file.ts'
import { nodeIdentity, unknownNode } from './node-routing.ts'

export const NODE_FILE = 'node.json'
const ASK_AGAIN_MS = 1_000

/** Undefined: no agent has ever known it here. */
export function rememberedNode(stateDirectory: string, nodeName: string): Node | undefined {
  try {
    const known = JSON.parse(readFileSync(join(stateDirectory, NODE_FILE), 'utf8')) as Partial<Node>
    return known.name === nodeName ? { ...unknownNode(nodeName), ...known } : undefined
  } catch {
    return undefined
  }
}

export function rememberNode(stateDirectory: string, node: Node): void {
  writeWhole(join(stateDirectory, NODE_FILE), JSON.stringify(node))
}

/** What the node is called, by its labels as they were last known. */
export function ownIdentity(
  config: Pick<AgentConfig, 'nodeName' | 'stateDirectory' | 'routing'>,
): ReturnType<typeof nodeIdentity> {
  return nodeIdentity(config, rememberedNode(config.stateDirectory, config.nodeName))
}

/**
 * Where tunnels end must be known before the datapath is loaded. Where the node's labels decide it, a first start waits for the API
 * server; nothing is pinned then that could serve meanwhile.
 */
export async function knowOwnNode(config: AgentConfig, client: KubeClient, log: Logger): Promise<void> {
  const { nodeName, stateDirectory, routing } = config
  if (!routing.nodes.some(({ loopbacks }) => loopbacks !== undefined)) return
  let isFirst = true
  while (rememberedNode(stateDirectory, nodeName) === undefined) {
    try {
      // The verb that the role has anyway.
      const { items } = await client.list(NODES, { fieldSelector: `metadata.name=${nodeName}` })
      const [found] = items
      if (found === undefined) throw new Error(`there is no Node ${nodeName}`)
      rememberNode(stateDirectory, toNode(found))
    } catch (error) {
      if (isFirst)
        log.warn(
          { err: error },
          "routing.nodes says where tunnels end by labels: waiting for this node's object",
        )
      isFirst = false
      await sleep(ASK_AGAIN_MS)
    }
  }
}
