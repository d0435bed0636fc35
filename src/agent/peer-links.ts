// Over which link of this node each peer is reached, and how that link is. A link that goes down may lose its addresses with it: then
// the peer's link is still the one where it was last.

import type { NetworkView } from '../datapath/network-view.ts'
import { parseNetwork, prefixContains } from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'

export interface PeerLink {
  readonly device: string
  /** `gone`: there is no link of that name any more. */
  readonly state: 'up' | 'no-carrier' | 'down' | 'gone'
}

export interface PeerLinksOptions {
  readonly netlink: { readonly addresses: Pick<Netlink['addresses'], 'list'> }
  readonly network: Pick<NetworkView, 'linkNames' | 'linkState'>
}

type LinkedPeer = Pick<BgpPeer, 'name' | 'remote'>

export class PeerLinks {
  readonly #options: PeerLinksOptions
  /** By the peer's address: where it was last. */
  #devices: ReadonlyMap<string, string> = new Map()

  constructor(options: PeerLinksOptions) {
    this.#options = options
  }

  /** By the peer's name; one that is on no link of this node is left out. */
  async look(peers: readonly LinkedPeer[]): Promise<ReadonlyMap<string, PeerLink>> {
    const { netlink, network } = this.#options
    const names = network.linkNames()
    // What cannot be read leaves peers where they were: nobody shall see less of the rest for it.
    const rows = await netlink.addresses.list().catch(() => [])
    const networks = rows.flatMap(({ address, index }) => {
      // Link-local ones are on every link.
      const prefix = /^fe[89ab]/.test(address) ? undefined : parseNetwork(address)
      const device = names.get(index)
      return prefix === undefined || device === undefined ? [] : [{ prefix, device }]
    })
    const devices = new Map<string, string>()
    const found = peers.flatMap(({ name, remote }) => {
      if (remote.kind === 'interface') return [[name, remote.interface] as const]
      const { address } = remote
      const device =
        networks.find(({ prefix }) => prefixContains(prefix, address))?.device ?? this.#devices.get(address)
      if (device === undefined) return []
      devices.set(address, device)
      return [[name, device] as const]
    })
    this.#devices = devices
    return new Map(
      found.map(([name, device]) => [name, { device, state: network.linkState(device) ?? 'gone' }]),
    )
  }
}
