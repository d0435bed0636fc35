// Every error this library throws. The code is stable; the message names the action, the object and the mend.

export type GobgpErrorCode =
  /** Nobody answers at the address, or the connection broke: try again later. */
  | 'UNAVAILABLE'
  /** It answered too late. */
  | 'TIMEOUT'
  /** Something answers, but it speaks neither the version 3 nor the version 4 interface. */
  | 'UNSUPPORTED_VERSION'
  /** The version that answers cannot do it; nothing was sent. */
  | 'UNSUPPORTED'
  /** gobgpd understood the request and refused it. */
  | 'REFUSED'
  /** Caught here, nothing was sent. */
  | 'INVALID_PATH'
  | 'INVALID_PEER'
  | 'INVALID_POLICY'
  | 'INVALID_DAEMON'
  /** This client was closed, or the caller's signal fired. */
  | 'CLOSED'

export class GobgpError extends Error {
  override readonly name = 'GobgpError'
  readonly code: GobgpErrorCode
  constructor(code: GobgpErrorCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}
