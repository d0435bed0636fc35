// A raw socket for ICMPv6 on one link: neighbour discovery as RFC 4861 wants it, hop limit 255, and only the types asked for. The kernel
// makes checksums, and chooses the link-local address for what goes to the link's groups.

import koffi from 'koffi'
import { AF_INET6, decodeAddress, encodeSocketAddress } from './addresses.ts'
import { withNetworkNamespace } from './namespaces.ts'
import {
  closeDescriptor,
  DatagramReceiver,
  openSocket,
  SOCK_RAW,
  SOL_SOCKET,
  sendDatagram,
  setSocketOption,
  setSocketStructure,
} from './sockets.ts'

const IPPROTO_ICMPV6 = 58
const IPPROTO_IPV6 = 41
const SO_BINDTOIFINDEX = 62
const IPV6_UNICAST_HOPS = 16
const IPV6_MULTICAST_IF = 17
const IPV6_MULTICAST_HOPS = 18
const IPV6_MULTICAST_LOOP = 19
const IPV6_ADD_MEMBERSHIP = 20
const ICMP6_FILTER = 1
const HOPS = 255
/** In struct sockaddr_in6. */
const ADDRESS_AT = 8
const SCOPE_ID_AT = 24
const ADDRESS_BYTES = 16
const TYPES = 256
/** No message we ask for is longer; what is, is cut. */
const MESSAGE_BYTES = 1500
/** Messages taken in a turn of the event loop. */
const TURN = 64

export interface Icmpv6Options {
  /** The calling thread's own namespace when absent. */
  readonly namespacePath?: string | undefined
  readonly ifindex: number
  /** All others are kept away by the kernel. */
  readonly types: readonly number[]
  /** Groups joined on the link. */
  readonly groups?: readonly string[]
  /** @param message from its type on; valid until the handler returns */
  readonly onMessage: (message: Buffer, sender: string) => void
  readonly onError: (error: unknown) => void
}

export class Icmpv6Socket {
  readonly #options: Icmpv6Options
  readonly #fd: number
  readonly #receiver: DatagramReceiver
  /** Kept for its life: koffi drops the poll of a handle that is garbage collected. */
  readonly #poll: ReturnType<typeof koffi.node.poll>

  constructor(options: Icmpv6Options) {
    this.#options = options
    const { namespacePath } = options
    this.#fd =
      namespacePath === undefined ? open(options) : withNetworkNamespace(namespacePath, () => open(options))
    this.#receiver = new DatagramReceiver(this.#fd, MESSAGE_BYTES)
    this.#poll = koffi.node.poll(this.#fd, { readable: true }, () => this.#receive())
    this.#poll.unref()
  }

  /** Throws SystemError when the link takes no packets now. */
  send(message: Buffer, destination: string): void {
    const address = encodeSocketAddress(destination, 0)
    address.writeUInt32LE(this.#options.ifindex, SCOPE_ID_AT)
    sendDatagram(this.#fd, message, address)
  }

  close(): void {
    // The poll must end before its descriptor: the number may be given to another file at once.
    this.#poll.close()
    closeDescriptor(this.#fd)
  }

  #receive(): void {
    try {
      for (let count = 0; count < TURN; count += 1) {
        const received = this.#receiver.receive()
        if (received === undefined) return
        if (received.length === 0 || received.sender.length < ADDRESS_AT + ADDRESS_BYTES) continue
        const sender = received.sender.subarray(ADDRESS_AT, ADDRESS_AT + ADDRESS_BYTES)
        this.#options.onMessage(this.#receiver.buffer.subarray(0, received.length), decodeAddress(sender))
      }
    } catch (error) {
      this.#options.onError(error)
    }
  }
}

function open({ ifindex, types, groups = [] }: Icmpv6Options): number {
  const fd = openSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
  try {
    setSocketStructure(fd, IPPROTO_ICMPV6, ICMP6_FILTER, filterOf(types))
    setSocketOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex)
    setSocketOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, ifindex)
    setSocketOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, HOPS)
    setSocketOption(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, HOPS)
    setSocketOption(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0)
    for (const group of groups)
      setSocketStructure(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, member(group, ifindex))
    return fd
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** struct icmp6_filter: a bit that is set keeps its type away. */
function filterOf(types: readonly number[]): Buffer {
  const words = Buffer.alloc(TYPES / 8, 0xff)
  for (const type of types) {
    const at = (type >> 5) * 4
    words.writeUInt32LE((words.readUInt32LE(at) & ~(1 << (type & 31))) >>> 0, at)
  }
  return words
}

/** struct ipv6_mreq. */
function member(group: string, ifindex: number): Buffer {
  const request = Buffer.alloc(ADDRESS_BYTES + 4)
  encodeSocketAddress(group, 0).copy(request, 0, ADDRESS_AT, ADDRESS_AT + ADDRESS_BYTES)
  request.writeInt32LE(ifindex, ADDRESS_BYTES)
  return request
}
