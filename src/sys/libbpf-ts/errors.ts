// The one error class of the library. Its message holds the action that failed, the object, and the mend.

import { constants } from 'node:os'

export type BpfErrorCode =
  | 'permission'
  | 'not-found'
  | 'exists'
  | 'busy'
  | 'full'
  | 'no-memory'
  | 'verifier'
  | 'unsupported'
  | 'invalid'
  | 'size'
  | 'layout'
  | 'closed'
  | 'system'

const { errno: NUMBERS } = constants

const CODE_OF_ERRNO = new Map<number, BpfErrorCode>([
  [NUMBERS.EPERM, 'permission'],
  [NUMBERS.EACCES, 'permission'],
  [NUMBERS.ENOENT, 'not-found'],
  [NUMBERS.ENODEV, 'not-found'],
  [NUMBERS.ESRCH, 'not-found'],
  [NUMBERS.EEXIST, 'exists'],
  [NUMBERS.EBUSY, 'busy'],
  [NUMBERS.E2BIG, 'full'],
  [NUMBERS.ENOSPC, 'full'],
  [NUMBERS.ENOMEM, 'no-memory'],
  [NUMBERS.EOPNOTSUPP, 'unsupported'],
  [NUMBERS.ENOSYS, 'unsupported'],
  [524 /* ENOTSUPP, a kernel-internal number that leaks out of bpf(2) */, 'unsupported'],
  [NUMBERS.EINVAL, 'invalid'],
  [NUMBERS.EBADF, 'closed'],
])

const MENDS: Readonly<Partial<Record<BpfErrorCode, string>>> = {
  permission: 'run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON',
  'not-found': 'check that it exists, in this network namespace and on this mounted bpffs',
  busy: 'something else holds this place; find it with bpftool link and bpftool net',
  full: 'raise the map’s max_entries, or remove entries first',
  'no-memory': 'free memory, raise the cgroup’s memory limit, or make the map smaller',
  verifier: 'read the verifier’s last lines above; the whole log is in the error’s log field',
  unsupported: 'a newer kernel is needed for this',
  invalid: 'the kernel refused an argument; check types, sizes and flags against this kernel',
}

const NAME_OF_ERRNO = new Map(Object.entries(NUMBERS).map(([name, number]) => [number, name]))

export interface BpfErrorDetails {
  readonly action: string
  readonly object: string
  readonly code?: BpfErrorCode
  readonly errno?: number
  /** What went wrong, when errno does not say it. */
  readonly reason?: string
  readonly mend?: string
  /** Everything libbpf and the verifier said. */
  readonly log?: string
  readonly cause?: unknown
}

export class BpfError extends Error {
  override readonly name = 'BpfError'
  readonly code: BpfErrorCode
  readonly action: string
  readonly object: string
  readonly mend: string
  /** Positive errno; 0 when no system call failed. */
  readonly errno: number
  readonly log: string

  constructor(details: BpfErrorDetails) {
    const errno = details.errno ?? 0
    const code = details.code ?? CODE_OF_ERRNO.get(errno) ?? 'system'
    const mend = details.mend ?? MENDS[code] ?? ''
    const reason = details.reason ?? NAME_OF_ERRNO.get(errno) ?? (errno === 0 ? code : `errno ${errno}`)
    const cause = details.cause === undefined ? {} : { cause: details.cause }
    super(`${details.action} ${details.object}: ${reason}${mend === '' ? '' : `. Mend: ${mend}`}`, cause)
    this.code = code
    this.action = details.action
    this.object = details.object
    this.mend = mend
    this.errno = errno
    this.log = details.log ?? ''
  }
}

/** Throws unless a libbpf call succeeded; libbpf 1.x returns negative errno. Returns the result. */
export function check(result: number, action: string, object: string): number {
  if (result < 0) throw new BpfError({ action, object, errno: -result })
  return result
}

/** The guard before every call that hands memory to C: nothing below it knows how long a Buffer is. */
export function checkBytes(buffer: Uint8Array, expected: number, what: string, object: string): void {
  if (buffer.byteLength === expected) return
  throw new BpfError({
    action: `passing a ${what} to`,
    object,
    code: 'size',
    reason: `it has ${buffer.byteLength} bytes, ${expected} are needed`,
    mend: 'encode it with the generated codec of this layout',
  })
}
