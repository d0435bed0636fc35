// Routing as a network engineer asks about it: what the local API answers to `weir bgp`.

import { allowedPrefixes } from '../routing/allowed.ts'
import type { Parts } from './agent.ts'
import type { AgentConfig } from './config.ts'
import { type LocalHandler, RequestError } from './local-api.ts'
import { type RouterSideFacts, reachedFrom } from './router-side-view.ts'
import { withoutPasswords } from './routing-view.ts'

export function bgpHandlers({ nodeName }: AgentConfig, parts: Parts): Record<string, LocalHandler> {
  return { '/v1/router-side': () => routerSide(nodeName, parts) }
}

async function routerSide(node: string, { live }: Parts): Promise<RouterSideFacts> {
  const routing = withoutPasswords(live.sources.current)
  if (routing === undefined)
    throw new RequestError(
      409,
      "no source gives this node an AS number yet; 'weir status' tells what is missing",
    )
  const { loopbacks, podCidrs, serviceNetworks } = routing
  const allowed = allowedPrefixes({ loopbacks, podCidrs, serviceNetworks, pools: live.sources.pools })
  return { node, routing, allowed, reachedFrom: await reachedFrom(routing.peers), lacks: [] }
}
