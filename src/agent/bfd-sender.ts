// Sends the BFD packets that no answer of the programs could be: raw, out of the link that the neighbour is on. Nothing is ever
// received here.

import { type Address, familyOf } from '../model/address.ts'
import { AF_INET, AF_INET6, encodeSocketAddress } from '../sys/libc/addresses.ts'
import {
  closeDescriptor,
  openSocket,
  SOCK_RAW,
  SOL_SOCKET,
  sendDatagram,
  setSocketOption,
} from '../sys/libc/sockets.ts'

/** Whole packets, headers included, and none to read. */
const IPPROTO_RAW = 255
const SO_BINDTOIFINDEX = 62
/** In struct sockaddr_in6. */
const SCOPE_ID_AT = 24

export class BfdSender {
  /** By family and link. */
  readonly #sockets = new Map<string, number>()

  /** Throws SystemError when the link takes no packets now. */
  send(packet: Buffer, peer: Address, ifindex: number): void {
    const destination = encodeSocketAddress(peer, 0)
    if (familyOf(peer) === 'ipv6') destination.writeUInt32LE(ifindex, SCOPE_ID_AT)
    sendDatagram(this.#socket(peer, ifindex), packet, destination)
  }

  close(): void {
    for (const fd of this.#sockets.values()) closeDescriptor(fd)
    this.#sockets.clear()
  }

  #socket(peer: Address, ifindex: number): number {
    const family = familyOf(peer)
    const name = `${family} ${ifindex}`
    const known = this.#sockets.get(name)
    if (known !== undefined) return known
    const fd = openSocket(family === 'ipv4' ? AF_INET : AF_INET6, SOCK_RAW, IPPROTO_RAW)
    try {
      setSocketOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex)
    } catch (error) {
      closeDescriptor(fd)
      throw error
    }
    this.#sockets.set(name, fd)
    return fd
  }
}
