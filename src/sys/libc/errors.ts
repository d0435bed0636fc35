// How a failed system call looks to TypeScript: one error class that carries the errno by name, what was
// being tried, and what a person can do about it. Callers that expect a failure (EEXIST on add, ENOENT on
// delete) compare `code`; they never read the text.

import { lastErrno, libc } from './library.ts'

const errnoNameOf = libc.func('const char *strerrorname_np(int errnum)') as (errno: number) => string | null
const errnoTextOf = libc.func('const char *strerror(int errnum)') as (errno: number) => string

/** Mends that hold wherever the error comes from. A caller that knows better passes its own. */
const mends: Readonly<Record<string, string>> = {
  EPERM: 'run as root or grant the missing capability (CAP_NET_ADMIN, CAP_SYS_ADMIN or CAP_BPF)',
  EACCES: 'run as root, or check the mode of the file',
  EMFILE: 'raise the limit of open files (ulimit -n)',
  ENFILE: 'raise fs.file-max',
  ENOMEM: 'free memory or raise the memory limit of this cgroup',
  EADDRINUSE: 'choose another port, or stop the process that holds this one',
  EADDRNOTAVAIL: 'assign the address to an interface of this network namespace first',
  EAFNOSUPPORT: 'use a kernel that has this protocol family',
  EOPNOTSUPP: 'use a kernel that has this feature',
}

export interface SystemErrorDetails {
  /** What was being tried, with its object: `open /run/netns/node1`. */
  readonly action: string
  readonly errno: number
  /** What the kernel itself says, where it does (netlink's extended acknowledgement). */
  readonly explanation?: string | undefined
  /** What a person can do; the general mend for this errno when absent. */
  readonly mend?: string | undefined
}

/** A system call failed. `code` is the errno's name: 'EEXIST', 'ENOENT', … */
export class SystemError extends Error {
  override readonly name = 'SystemError'
  readonly code: string
  readonly errno: number
  readonly action: string
  readonly explanation: string | undefined
  readonly mend: string | undefined

  constructor(details: SystemErrorDetails) {
    const code = errnoName(details.errno)
    const mend = details.mend ?? mends[code]
    const explanation = details.explanation ? `: ${details.explanation}` : ''
    const advice = mend ? `; ${mend}` : ''
    super(`${details.action}: ${code} (${errnoTextOf(details.errno)})${explanation}${advice}`)
    this.code = code
    this.errno = details.errno
    this.action = details.action
    this.explanation = details.explanation
    this.mend = mend
  }
}

/** The name of an errno, or `E<number>` for those that only the kernel knows (524 is its ENOTSUPP). */
export function errnoName(errno: number): string {
  return errnoNameOf(errno) ?? `E${errno}`
}

/**
 * Returns what a system call returned, or throws when that is -1. Pass the call itself as the argument, so
 * that nothing runs between the failure and the reading of errno.
 */
export function succeed(result: number, action: string, mend?: string): number {
  if (result !== -1) return result
  throw new SystemError({ action, errno: lastErrno(), mend })
}
