// Joins BFD to the datapath, the network and the peers of the configuration file. Done before the API server is heard: neighbours must
// not take this node for dead meanwhile.

import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { Bfd, type BfdOptions } from './bfd.ts'
import { findBfdPlace } from './bfd-place.ts'
import { BfdSender } from './bfd-sender.ts'
import type { AgentConfig } from './config.ts'
import { fileRouting } from './node-routing.ts'

export interface BfdGround extends Pick<BfdOptions, 'bgpSessions' | 'onChange'> {
  readonly config: AgentConfig
  readonly log: Logger
  readonly datapath: Datapath
  readonly network: NetworkView
  readonly netlink: Netlink
}

/** The sender is closed after BFD. */
export function startBfd(ground: BfdGround): { readonly bfd: Bfd; readonly sender: BfdSender } {
  const { config, log, datapath, network, netlink, bgpSessions, onChange } = ground
  const sender = new BfdSender()
  const bfd = new Bfd({
    sessions: datapath.bfd,
    findPlace: (peer) => findBfdPlace(netlink, peer),
    send: (packet, peer, ifindex) => sender.send(packet, peer, ifindex),
    gateways: () => network.waysOut().gateways,
    linkNames: () => network.linkNames(),
    bgpSessions,
    onChange,
    onReleased: () => datapath.nexthops.rewriteUplinks(),
    log,
    nowNs: () => process.hrtime.bigint(),
  })
  bfd.setPeers(fileRouting(config).routing?.peers ?? [])
  return { bfd, sender }
}
