// Sockets below what node:net offers: netlink, options, and listening sockets made inside another network
// namespace. Descriptors are plain numbers; whoever receives one from here owns it and closes it with
// `closeDescriptor`, or hands it to node (`server.listen({ fd })`, `dgramSocket.bind({ fd })`), which then
// owns it. All sockets are non-blocking and close on exec.

import { closeSync } from 'node:fs'
import { AF_INET6, encodeSocketAddress, familyOf } from './addresses.ts'
import { SystemError, succeed } from './errors.ts'
import { lastErrno, libc } from './library.ts'
import { withNetworkNamespace } from './namespaces.ts'

type DescriptorCall = (fd: number, address: Buffer, length: number) => number
const callSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number
const callBind = libc.func('int bind(int fd, const void *address, uint32_t length)') as DescriptorCall
const callListen = libc.func('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number
const callGetsockname = libc.func('int getsockname(int fd, void *address, void *length)') as (
  fd: number,
  address: Buffer,
  length: Buffer,
) => number
const callSetsockopt = libc.func(
  'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
) as (fd: number, level: number, name: number, value: Buffer, length: number) => number
const callGetsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
) as (fd: number, level: number, name: number, value: Buffer, length: Buffer) => number
const callSendto = libc.func(
  'int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)',
) as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
  address: Buffer,
  addressLength: number,
) => number
const callRecvfrom = libc.func(
  'int64_t recvfrom(int fd, void *data, size_t length, int flags, void *address, void *addressLength)',
) as (
  fd: number,
  data: Buffer,
  length: number,
  flags: number,
  address: Buffer,
  addressLength: Buffer,
) => number

const AF_UNIX = 1
export const AF_NETLINK = 16
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOL_SOCKET = 1
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x8_0000
const SO_REUSEADDR = 2
const SO_NETNS_COOKIE = 71
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const MSG_DONTWAIT = 0x40
const MSG_TRUNC = 0x20
const EAGAIN = 11

/** What node itself uses; the kernel lowers it to net.core.somaxconn. */
const listenBacklog = 511

/** sizeof(struct sockaddr_storage): room for the address of any family. */
const socketAddressBytesMax = 128

export function openSocket(domain: number, type: number, protocol = 0): number {
  const action = `open a socket (domain ${domain}, type ${type}, protocol ${protocol})`
  return succeed(callSocket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), action)
}

export function closeDescriptor(fd: number): void {
  closeSync(fd)
}

export function bindSocket(fd: number, address: Buffer, action = 'bind a socket'): void {
  succeed(callBind(fd, address, address.length), action)
}

/** Sets an option whose value is a structure. */
export function setSocketStructure(fd: number, level: number, option: number, value: Buffer): void {
  const action = `set socket option ${level}/${option}`
  succeed(callSetsockopt(fd, level, option, value, value.length), action)
}

/** Sets an option whose value is an int, which is nearly all of them. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const encoded = Buffer.alloc(4)
  encoded.writeInt32LE(value)
  const action = `set socket option ${level}/${option} to ${value}`
  succeed(callSetsockopt(fd, level, option, encoded, encoded.length), action)
}

/**
 * The number by which BPF programs know a network namespace (`bpf_get_netns_cookie`), never used again while the
 * machine is up; the calling thread's own when the path is absent. Kernels from 5.14 on tell it.
 */
export function networkNamespaceCookie(namespacePath?: string): bigint {
  const ask = () => {
    // Any socket knows it; this family is never switched off.
    const fd = openSocket(AF_UNIX, SOCK_DGRAM)
    try {
      const cookie = Buffer.alloc(8)
      const length = Buffer.alloc(4)
      length.writeInt32LE(cookie.length)
      const action = `ask the cookie of the network namespace ${namespacePath ?? 'of this process'}`
      succeed(callGetsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, length), action)
      return cookie.readBigUInt64LE()
    } finally {
      closeDescriptor(fd)
    }
  }
  return namespacePath === undefined ? ask() : withNetworkNamespace(namespacePath, ask)
}

/** The raw sockaddr a socket is bound to. */
export function socketName(fd: number): Buffer {
  const address = Buffer.alloc(socketAddressBytesMax)
  const length = Buffer.alloc(4)
  length.writeInt32LE(address.length)
  succeed(callGetsockname(fd, address, length), 'ask a socket for its address')
  return address.subarray(0, length.readInt32LE())
}

/** Sends one datagram without waiting. Returns false when the socket cannot take it now. */
export function sendDatagram(fd: number, data: Uint8Array, destination: Buffer): boolean {
  const sent = callSendto(fd, data, data.length, MSG_DONTWAIT, destination, destination.length)
  if (Number(sent) >= 0) return true
  const errno = lastErrno()
  if (errno === EAGAIN) return false
  throw new SystemError({ action: `send ${data.length} bytes to a socket`, errno })
}

export interface Received {
  /** The datagram's true length: greater than the buffer when it was cut. */
  readonly length: number
  /** The raw sockaddr of the sender. Valid until the next call with the same receiver. */
  readonly sender: Buffer
}

/** Receives into one reused buffer. One per socket: its results are views that the next call overwrites. */
export class DatagramReceiver {
  readonly buffer: Buffer
  readonly #fd: number
  readonly #sender = Buffer.alloc(socketAddressBytesMax)
  readonly #senderLength = Buffer.alloc(4)

  constructor(fd: number, bufferBytes: number) {
    this.#fd = fd
    this.buffer = Buffer.allocUnsafeSlow(bufferBytes)
  }

  /** The next datagram, or undefined when none waits. */
  receive(): Received | undefined {
    this.#senderLength.writeInt32LE(this.#sender.length)
    const flags = MSG_DONTWAIT | MSG_TRUNC
    const { buffer } = this
    const length = Number(
      callRecvfrom(this.#fd, buffer, buffer.length, flags, this.#sender, this.#senderLength),
    )
    if (length >= 0) return { length, sender: this.#sender.subarray(0, this.#senderLength.readInt32LE()) }
    const errno = lastErrno()
    if (errno === EAGAIN) return undefined
    throw new SystemError({ action: 'receive from a socket', errno })
  }
}

/**
 * A TCP socket listening on `host`:`port` inside another network namespace; port 0 takes a free one (see
 * `localPort`).
 */
export function listenTcpIn(namespacePath: string, host: string, port: number): number {
  return withNetworkNamespace(namespacePath, () => {
    const fd = bindInetSocket(
      SOCK_STREAM,
      host,
      port,
      `listen on TCP ${host} port ${port} in ${namespacePath}`,
    )
    return closingOnError(fd, () => {
      succeed(callListen(fd, listenBacklog), `listen on TCP ${host} port ${port} in ${namespacePath}`)
      return fd
    })
  })
}

/**
 * A UDP socket bound to `host`:`port` inside another network namespace; port 0 takes a free one (see
 * `localPort`).
 */
export function bindUdpIn(namespacePath: string, host: string, port: number): number {
  const action = `bind UDP ${host} port ${port} in ${namespacePath}`
  return withNetworkNamespace(namespacePath, () => bindInetSocket(SOCK_DGRAM, host, port, action))
}

/** The port a TCP or UDP socket is bound to. */
export function localPort(fd: number): number {
  return socketName(fd).readUInt16BE(2)
}

function bindInetSocket(type: number, host: string, port: number, action: string): number {
  const address = encodeSocketAddress(host, port)
  const fd = openSocket(familyOf(host), type)
  return closingOnError(fd, () => {
    // Without it a restarted server waits for the TIME_WAIT of its old connections. For UDP it would let two
    // servers share a port.
    if (type === SOCK_STREAM) setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    if (familyOf(host) === AF_INET6) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)
    bindSocket(fd, address, action)
    return fd
  })
}

function closingOnError<T>(fd: number, action: () => T): T {
  try {
    return action()
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}

/** Asks with what `value` holds, and fills it. Throws when the kernel refuses. */
export function readSocketOption(
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  action: string,
): void {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value.length)
  succeed(callGetsockopt(fd, level, name, value, length), action)
}
