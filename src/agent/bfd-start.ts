// Joins BFD to the datapath and the network. Done before the API server is heard: neighbours must
// not take this node for dead meanwhile.

import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { Bfd, type BfdOptions } from './bfd.ts'
import { findBfdPlace } from './bfd-place.ts'
import { BfdSender } from './bfd-sender.ts'

export interface BfdGround extends Pick<BfdOptions, 'bgpSessions' | 'onChange' | 'wanted'> {
  readonly log: Logger
  readonly datapath: Datapath
  readonly network: NetworkView
  readonly netlink: Netlink
}

/** The sender is closed after BFD. */
export function startBfd(ground: BfdGround): { readonly bfd: Bfd; readonly sender: BfdSender } {
  const { log, datapath, network, netlink, ...hooks } = ground
  const sender = new BfdSender()
  const bfd = new Bfd({
    ...hooks,
    sessions: datapath.bfd,
    findPlace: (peer) => findBfdPlace(netlink, peer),
    send: (packet, peer, ifindex) => sender.send(packet, peer, ifindex),
    gateways: () => network.waysOut().gateways,
    linkNames: () => network.linkNames(),
    onReleased: () => datapath.nexthops.rewriteUplinks(),
    log,
    nowNs: () => process.hrtime.bigint(),
  })
  return { bfd, sender }
}
