// Which paths in our own gobgpd are Services': all single addresses but those that are the node's own. Pools do not tell, for they are Cilium's
// too, and others than they were when an address was given; the node's own addresses stand in the configuration alone.

import { addressBits, type Prefix, prefixParts } from '../model/address.ts'
import { bootRouting, rememberedRouting } from './boot-routing.ts'
import type { AgentConfig } from './config.ts'
import { ownIdentity } from './own-node.ts'

type Known = Pick<AgentConfig, 'nodeName' | 'stateDirectory' | 'routing' | 'pools'>

export function servicePaths(config: Known): (path: Prefix) => boolean {
  const { routing } = config
  const known = [bootRouting(config), rememberedRouting(config.stateDirectory)]
  // Of a node whose labels nobody has ever seen here, all that may be its own is left alone.
  const own = new Set([
    ...routing.loopbacks,
    ...routing.nodes.flatMap(({ loopbacks = [], podCidrs = [] }) => [...loopbacks, ...podCidrs]),
    ...ownIdentity(config).loopbacks,
    ...known.flatMap((one) => [...(one?.loopbacks ?? []), ...(one?.podCidrs ?? [])]),
    ...(routing.podCidrs ?? []),
  ])
  return (path) => {
    const { family, length } = prefixParts(path)
    return length === addressBits(family) && !own.has(path)
  }
}
