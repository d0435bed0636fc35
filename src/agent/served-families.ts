// The families whose addresses may be announced now.

import type { Datapath } from '../datapath/datapath.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import { familiesOut } from '../datapath/nexthop-plan.ts'
import type { Family } from '../model/address.ts'
import type { AgentConfig } from './config.ts'
import type { Sources } from './sources.ts'

export interface ServedFamiliesOptions {
  readonly config: Pick<AgentConfig, 'nodeName'>
  readonly datapath: Pick<Datapath, 'isServing'>
  readonly network: Pick<NetworkView, 'waysOut'>
  readonly sources: Pick<Sources, 'nodes'>
}

/** Without its Node, other nodes do not know this one, and refuse what it tunnels: it must not attract clients. */
export function servedFamilies({
  config,
  datapath,
  network,
  sources,
}: ServedFamiliesOptions): () => ReadonlySet<Family> {
  return () => {
    const { uplinks, gateways } = network.waysOut()
    const isMember = sources.nodes.get(config.nodeName) !== undefined
    return new Set(isMember && datapath.isServing(uplinks) ? familiesOut(uplinks, gateways) : [])
  }
}
