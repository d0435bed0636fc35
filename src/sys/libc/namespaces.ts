// Acting inside another network namespace without a process there.
//
// A network namespace belongs to a thread. What a thread makes while inside (sockets, interface look-ups,
// children it forks) belongs to the namespace for good; what it does later, after it has left, does not.
// Hence the rule: **enter, make the thing, leave, all in one synchronous stretch**. An `await` inside would
// let unrelated code of this process run in the wrong namespace.
//
// Inside the action make system calls only. Starting a worker, or the first use of node's thread pool
// (asynchronous fs, dns), would create threads that inherit the namespace and keep it. A child process may be
// spawned: the fork happens before `spawn` returns.

import { closeSync, fstatSync, openSync, statSync } from 'node:fs'
import { errnoName, SystemError, succeed } from './errors.ts'
import { lastErrno, libc } from './library.ts'

const setns = libc.func('int setns(int fd, int nstype)') as (fd: number, type: number) => number

const CLONE_NEWNET = 0x4000_0000

/** The namespace of the calling thread; `/proc/self` would name that of the main thread. */
const ownNamespacePath = '/proc/thread-self/ns/net'

/**
 * Runs `action` with the calling thread inside the network namespace at `path` (`/run/netns/NAME`,
 * `/proc/PID/ns/net`) and returns its result. Calls nest. Throws SystemError when the namespace cannot be
 * opened or entered (the action has not run then).
 */
export function withNetworkNamespace<T>(path: string, action: () => T): T {
  const home = openNamespace(ownNamespacePath)
  try {
    const target = openNamespace(path)
    try {
      succeed(setns(target, CLONE_NEWNET), `enter the network namespace ${path}`)
    } finally {
      closeSync(target)
    }
    try {
      return refusePromise(action(), path)
    } finally {
      returnHome(home)
    }
  } finally {
    closeSync(home)
  }
}

/**
 * What tells one network namespace from another: equal for two paths exactly when both name the same
 * namespace.
 */
export function networkNamespaceId(path: string = ownNamespacePath): string {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch (cause) {
    throw asSystemError(cause, `look at the network namespace ${path}`)
  }
}

/**
 * Opens a network namespace for calls that take a descriptor (moving a link, asking its id). The caller
 * closes it.
 */
export function openNetworkNamespace(path: string): number {
  const fd = openNamespace(path)
  // A left-over file under /run/netns whose mount is gone opens, but is no namespace.
  if (!fstatSync(fd).isFile() || fstatSync(fd).dev !== statSync(ownNamespacePath).dev) {
    closeSync(fd)
    throw new SystemError({
      action: `open the network namespace ${path}`,
      errno: 22,
      mend: 'the file is not a network namespace: remove it and create the namespace again',
    })
  }
  return fd
}

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (cause) {
    throw asSystemError(cause, `open the network namespace ${path}`)
  }
}

/** Node's own errors of fs calls, told in our form. */
function asSystemError(cause: unknown, action: string): unknown {
  if (!(cause instanceof Error) || !('errno' in cause) || typeof cause.errno !== 'number') return cause
  return new SystemError({ action, errno: -cause.errno })
}

/**
 * Nothing sane can follow a failure here: every later socket of this process would be made in a stranger's
 * namespace. It cannot fail while the process keeps CAP_SYS_ADMIN, so this is an assertion, and assertions
 * crash.
 */
function returnHome(home: number): void {
  if (setns(home, CLONE_NEWNET) === 0) return
  process.stderr.write(`cannot return to the own network namespace: ${errnoName(lastErrno())}; aborting\n`)
  process.abort()
}

function refusePromise<T>(result: T, path: string): T {
  if (result instanceof Promise) {
    // Its outcome is of no interest any more, and must not end the process as unhandled.
    result.catch(() => {})
    throw new TypeError(
      `the action in ${path} returned a promise: only synchronous work may run inside a namespace`,
    )
  }
  return result
}
