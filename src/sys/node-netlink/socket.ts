// One AF_NETLINK socket with the options that make netlink honest: the kernel explains refusals, leaves the
// request out of its acknowledgements, checks dump requests strictly (and so honours their filters), and has
// a receive buffer for a burst.

import koffi from 'koffi'
import { withNetworkNamespace } from '../libc/namespaces.ts'
import {
  AF_NETLINK,
  bindSocket,
  closeDescriptor,
  DatagramReceiver,
  openSocket,
  SOCK_RAW,
  SOL_SOCKET,
  sendDatagram,
  setSocketOption,
} from '../libc/sockets.ts'
import { NetlinkError } from './errors.ts'

const NETLINK_ROUTE = 0
export const NETLINK_SOCK_DIAG = 4
const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const SO_RCVBUFFORCE = 33

/** Holds some 10 000 route events, so that a stalled event loop loses nothing in a burst of that size. */
const receiveQueueBytesDefault = 8 << 20

/** The kernel fills datagrams of a dump up to 32 KiB; a single larger message does not exist in rtnetlink. */
const datagramBytesMax = 64 << 10

/**
 * struct sockaddr_nl { family, pad, port id, groups }; all zero but the family: the kernel itself, or "choose
 * a port id for me".
 */
const kernelAddress = Buffer.from([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])

const pollOptions = { readable: true }

export interface NetlinkSocketOptions {
  /** The calling thread's own namespace when absent. */
  readonly namespacePath?: string | undefined
  readonly receiveQueueBytes?: number | undefined
  /** NETLINK_ROUTE when absent. */
  readonly protocol?: number | undefined
}

export class NetlinkSocket {
  readonly #fd: number
  readonly #receiver: DatagramReceiver
  /**
   * Kept for its life as much as for its methods: koffi drops the poll of a handle that is garbage collected.
   */
  readonly #poll: ReturnType<typeof koffi.node.poll>
  #closed = false

  /** `onReadable` may be called without need. */
  constructor(options: NetlinkSocketOptions, onReadable: () => void) {
    const { namespacePath, receiveQueueBytes = receiveQueueBytesDefault, protocol = NETLINK_ROUTE } = options
    const open = () => openBound(receiveQueueBytes, protocol)
    this.#fd = namespacePath === undefined ? open() : withNetworkNamespace(namespacePath, open)
    this.#receiver = new DatagramReceiver(this.#fd, datagramBytesMax)
    // Lost events (ENOBUFS) are an error state of the socket, and libuv stops polling what has one: without a
    // new start nothing would ever arrive again. koffi passes libuv's status first, whatever its types say.
    const onPoll = (status: unknown) => {
      onReadable()
      if (typeof status === 'number' && status < 0 && !this.#closed) this.#poll.start(pollOptions, onPoll)
    }
    this.#poll = koffi.node.poll(this.#fd, pollOptions, onPoll)
  }

  join(group: number): void {
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
  }

  /** Whether this socket keeps the process running. */
  keepAlive(alive: boolean): void {
    if (alive) this.#poll.ref()
    else this.#poll.unref()
  }

  /** False when the kernel cannot take it now. */
  send(data: Uint8Array): boolean {
    return sendDatagram(this.#fd, data, kernelAddress)
  }

  /**
   * The next datagram from the kernel, as a view that the next call overwrites; undefined when none waits.
   * Throws ENOBUFS.
   */
  receive(): Buffer | undefined {
    for (;;) {
      if (this.#closed) return undefined
      const received = this.#receiver.receive()
      if (received === undefined) return undefined
      const { length, sender } = received
      // Port id 0 is the kernel. Any other process may write to us too, and is not believed.
      if (sender.length < 8 || sender.readUInt32LE(4) !== 0) continue
      if (length > datagramBytesMax) {
        throw new NetlinkError(
          'OVERRUN',
          `receive from netlink: a datagram of ${length} bytes was cut at ${datagramBytesMax}`,
        )
      }
      return this.#receiver.buffer.subarray(0, length)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    // The poll must end before its descriptor: the number may be given to another file at once.
    this.#poll.close()
    closeDescriptor(this.#fd)
  }
}

function openBound(receiveQueueBytes: number, protocol: number): number {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, protocol)
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveQueueBytes)
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      setSocketOption(fd, SOL_NETLINK, option, 1)
    }
    bindSocket(fd, kernelAddress, 'bind a netlink socket')
    return fd
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}
