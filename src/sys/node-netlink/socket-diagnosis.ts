// Ending sockets of other processes (sock_diag, SOCK_DESTROY). The owner of the socket reads ECONNABORTED from its next call, as
// after any broken connection. The kernel does it only where it was built with CONFIG_INET_DIAG_DESTROY.
//
// A socket is named by its two ends and its cookie, so one that took the same ends meanwhile is safe.

import { SystemError } from '../libc/errors.ts'
import { Connection } from './connection.ts'
import { addressBytes, familyNumber, familyOfAddress } from './family.ts'
import { NETLINK_SOCK_DIAG } from './socket.ts'

const SOCK_DESTROY = 21
const IPPROTO = { tcp: 6, udp: 17 } as const
const ALL_STATES = 0xffff_ffff
/** struct inet_diag_req_v2: 8 bytes, then struct inet_diag_sockid. */
const REQUEST_BYTES = 56
const GONE: readonly string[] = ['ENOENT', 'ESTALE']

/** A connected socket of IPv4 or IPv6; an IPv6 socket that speaks IPv4 is named by its IPv4 addresses. */
export interface SocketName {
  readonly protocol: keyof typeof IPPROTO
  readonly local: SocketEnd
  readonly remote: SocketEnd
  readonly cookie: bigint
}

export interface SocketEnd {
  readonly address: string
  readonly port: number
}

export class SocketDiagnosis {
  readonly #connection: Connection

  /** @param namespacePath whose sockets; the calling thread's own namespace when absent */
  constructor(namespacePath?: string) {
    this.#connection = new Connection(namespacePath, NETLINK_SOCK_DIAG)
  }

  /**
   * Ends a socket. False: it is gone already. Rejects with code EOPNOTSUPP where the kernel cannot.
   */
  async destroy(name: SocketName, signal?: AbortSignal): Promise<boolean> {
    const { protocol, local, remote } = name
    const action = `end the ${protocol} socket ${describe(local)} connected to ${describe(remote)}`
    try {
      await this.#connection.ask({ type: SOCK_DESTROY, body: encodeName(name), action, signal })
      return true
    } catch (error) {
      if (error instanceof SystemError && GONE.includes(error.code)) return false
      throw error
    }
  }

  /** Rejects what is under way. */
  close(): void {
    this.#connection.close()
  }
}

function encodeName({ protocol, local, remote, cookie }: SocketName): Buffer {
  const family = familyOfAddress(remote.address)
  const body = Buffer.alloc(REQUEST_BYTES)
  body.writeUInt8(familyNumber(family), 0)
  body.writeUInt8(IPPROTO[protocol], 1)
  body.writeUInt32LE(ALL_STATES, 4)
  body.writeUInt16BE(local.port, 8)
  body.writeUInt16BE(remote.port, 10)
  body.set(addressBytes(local.address, family), 12)
  body.set(addressBytes(remote.address, family), 28)
  body.writeBigUInt64LE(cookie, 48)
  return body
}

function describe({ address, port }: SocketEnd): string {
  return `${address} port ${port}`
}
