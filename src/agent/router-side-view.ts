// What the other side of this node's sessions has to know: the routing in force, the guard's allow-list, and the addresses from which
// the node calls its routers. Never a password.

import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import type { AllowedPrefix } from '../model/announcement.ts'
import type { BgpPeer, NodeRouting } from '../model/routing.ts'

export interface RouterSideFacts {
  readonly node: string
  readonly routing: NodeRouting
  readonly allowed: readonly AllowedPrefix[]
  /** By the peer's name: this node's address towards it, as the kernel would choose it. */
  readonly reachedFrom: Readonly<Record<string, string>>
  /** What is not known here, and so is missing. */
  readonly lacks: readonly string[]
}

export async function reachedFrom(peers: readonly BgpPeer[]): Promise<Readonly<Record<string, string>>> {
  const known = await Promise.all(
    peers.map(async ({ name, remote, localAddress }) => {
      const address =
        localAddress ??
        (remote.kind === 'address' ? await sourceTowards(remote.address) : linkLocalOf(remote.interface))
      return address === undefined ? [] : [[name, address] as const]
    }),
  )
  return Object.fromEntries(known.flat())
}

/** A datagram socket that is connected has the source the kernel would take; nothing is sent. */
function sourceTowards(address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    const end = (found: string | undefined) => {
      socket.close()
      resolve(found)
    }
    socket.once('error', () => end(undefined))
    socket.connect(179, address, () => end(socket.address().address))
  })
}

function linkLocalOf(device: string): string | undefined {
  const addresses = networkInterfaces()[device] ?? []
  return addresses.find(({ address }) => /^fe[89ab]/.test(address))?.address
}
