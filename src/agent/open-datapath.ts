// The datapath as the configuration wants it: where it is pinned, how it tunnels, what its programs are told at load time.

import type { Logger } from 'pino'
import { Datapath } from '../datapath/datapath.ts'
import type { DatapathSettings } from '../datapath/load.ts'
import { TUNNEL_HEADER_BYTES } from '../datapath/nexthop-plan.ts'
import { type Address, address, type Family, familyOf } from '../model/address.ts'
import type { Link } from '../sys/node-netlink/links.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import type { AgentConfig } from './config.ts'
import { lentPorts } from './lent-ports.ts'
import { ownIdentity } from './own-node.ts'

export async function openDatapath(config: AgentConfig, netlink: Netlink, log: Logger): Promise<Datapath> {
  const { bpffs, cgroup, objects, uplinks, uplinkHook } = config.datapath
  const links = await netlink.links.list()
  return new Datapath({
    nodeName: config.nodeName,
    bpffs,
    cgroup,
    objects,
    tunnelAddresses: tunnelAddresses(config),
    settings: datapathSettings(config, links),
    redirectsOnly: links.some((link) => link.kind === 'veth' && uplinks.includes(link.name)),
    uplinkHook,
    log,
  })
}

/** What a tunnelled segment carries besides the client's bytes and the tunnel's header. */
const TCP_BYTES = 20
const IP_BYTES: Readonly<Record<Family, number>> = { ipv4: 20, ipv6: 40 }

/** Links that come later with a smaller MTU count from the next start. */
function datapathSettings(config: AgentConfig, links: readonly Link[]): DatapathSettings {
  const { uplinks, snatPorts, tunnel, mssClamp, perPacket, capacities } = config.datapath
  const mtus = links.filter(({ name }) => uplinks.includes(name)).map(({ mtu }) => mtu)
  const outer = IP_BYTES[tunnelAddresses(config).ipv4 === undefined ? 'ipv6' : 'ipv4']
  const mss = (family: Family) =>
    mssClamp && mtus.length > 0
      ? Math.max(0, Math.min(...mtus) - outer - TUNNEL_HEADER_BYTES[tunnel] - IP_BYTES[family] - TCP_BYTES)
      : 0
  return {
    snatPorts,
    masqueradePorts: lentPorts(config).masquerade,
    tunnel,
    perPacket,
    capacities,
    enforcesPolicy: config.policy.enforce,
    mss: { ipv4: mss('ipv4'), ipv6: mss('ipv6') },
  }
}

/** The node's own loopbacks, which every router of the fabric leads to whatever uplink is down. */
export function tunnelAddresses(config: AgentConfig): Record<Family, Address | undefined> {
  const { routerId, ...own } = ownIdentity(config)
  const loopbacks = own.loopbacks.map((prefix) => address(prefix.slice(0, prefix.indexOf('/'))))
  const of = (family: Family) => loopbacks.find((candidate) => familyOf(candidate) === family)
  // Without any loopback the router id is taken for the node's address; beside one of IPv6 alone it is only a number.
  const ipv4 =
    of('ipv4') ?? (loopbacks.length === 0 && routerId !== undefined ? ipv4Only(routerId) : undefined)
  return { ipv4, ipv6: of('ipv6') }
}

function ipv4Only(candidate: Address): Address | undefined {
  return familyOf(candidate) === 'ipv4' ? candidate : undefined
}
