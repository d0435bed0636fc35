// What can go wrong besides the kernel saying no. The kernel's refusals are SystemErrors with the errno's
// name as code.

/**
 * - `CLOSED`: the connection was closed; whether the kernel carried the request out is unknown.
 * - `OVERRUN`: answers were lost because the receive buffer was full; ask again.
 * - `MALFORMED`: bytes that are not netlink.
 * - `INVALID_INPUT`: the caller's value cannot be said in netlink.
 * - `NOT_FOUND`: the object asked about is not there.
 */
export type NetlinkErrorCode = 'CLOSED' | 'OVERRUN' | 'MALFORMED' | 'INVALID_INPUT' | 'NOT_FOUND'

export class NetlinkError extends Error {
  override readonly name = 'NetlinkError'
  readonly code: NetlinkErrorCode

  constructor(code: NetlinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
