// What can go wrong between us and a Kubernetes API server. Codes are stable and few; `reason` is the server's own word
// (Status.reason), kept for messages. Transport troubles are split by what the caller may safely do next: after
// `unreachable` nothing was sent, after `interrupted` or `timeout` the server may have acted.

export type KubeErrorCode =
  | 'unreachable'
  | 'interrupted'
  | 'timeout'
  | 'aborted'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'already-exists'
  | 'conflict'
  | 'gone'
  | 'invalid'
  | 'too-many-requests'
  | 'unavailable'
  | 'server-error'
  | 'bad-response'
  | 'configuration'

export interface KubeErrorOptions {
  cause?: unknown
  /** HTTP status, when an answer came. */
  status?: number
  /** Status.reason of the answer. */
  reason?: string
  /** Seconds the server asked us to wait (Retry-After). */
  retryAfterSeconds?: number
}

export class KubeError extends Error {
  readonly code: KubeErrorCode
  readonly status: number | undefined
  readonly reason: string | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: KubeErrorCode, message: string, options: KubeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'KubeError'
    this.code = code
    this.status = options.status
    this.reason = options.reason
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** True when `error` is a KubeError with one of the given codes. */
export function isKubeError(error: unknown, ...codes: readonly KubeErrorCode[]): error is KubeError {
  return error instanceof KubeError && (codes.length === 0 || codes.includes(error.code))
}

/** The code for an HTTP status and the server's reason. 409 means two things, told apart by the reason. */
export function codeOfStatus(status: number, reason: string | undefined): KubeErrorCode {
  switch (status) {
    case 401:
      return 'unauthorized'
    case 403:
      return 'forbidden'
    case 404:
      return 'not-found'
    case 409:
      return reason === 'AlreadyExists' ? 'already-exists' : 'conflict'
    case 410:
      return 'gone'
    case 429:
      return 'too-many-requests'
    case 502:
    case 503:
    case 504:
      return 'unavailable'
    default:
      return status >= 500 ? 'server-error' : 'invalid'
  }
}
