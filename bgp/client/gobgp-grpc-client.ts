// gobgp-grpc-client: speaks to a running gobgpd over its gRPC interface. This is the entry file; the README says how it is used.
//
// Whatever goes out is checked first (validate.ts), for gobgpd hardly checks. What version answers is found by asking, once per
// connection; a dialect translates. Calls do not retry: whoever calls works in rounds and tries the round again.

import type { Dialect } from './dialect.ts'
import { dialectV3 } from './dialect-v3.ts'
import { GobgpError } from './errors.ts'
import { openTransport } from './transport.ts'
import type { DaemonInfo, PathChanges, PeerEvent, PeerSettings, Policy, PrefixSet } from './types.ts'
import {
  checkDaemon,
  checkPath,
  checkPathPrefix,
  checkPeer,
  checkPolicy,
  checkPrefixSet,
  parseCommunity,
} from './validate.ts'

export type { GobgpErrorCode } from './errors.ts'
export type { Family, Prefix } from './prefix.ts'
export type * from './types.ts'
export { GobgpError, parseCommunity }

type PassedOn = Pick<
  Dialect,
  'listOwnPaths' | 'listPeers' | 'deletePeer' | 'listPrefixSets' | 'listPolicies' | 'deletePolicy'
>

export interface GobgpClient extends PassedOn, Pick<Dialect, 'setAssignment' | 'getAssignment'> {
  /** Asks who answers. UNAVAILABLE when nobody does, UNSUPPORTED_VERSION when it is no gobgpd 3.x. */
  probe: () => Promise<DaemonInfo>
  /** As probe, but waits until somebody answers, with growing pauses. */
  waitUntilReady: (signal: AbortSignal) => Promise<DaemonInfo>
  /**
   * Starts BGP in a gobgpd that has none, and refuses otherwise: a second start answers OK, empties the table and opens every policy
   * while the sessions stay up.
   */
  startIfIdle: (settings: { asn: number; routerId: string }) => Promise<DaemonInfo>
  /** All withdrawals, then all announcements, in batches. Idempotent in both directions. */
  applyPaths: (changes: PathChanges) => Promise<void>
  addPeer: (peer: PeerSettings) => Promise<void>
  /** Changed timers end the session. */
  updatePeer: (peer: PeerSettings) => Promise<void>
  /** Calls back for each peer once, then for each change; rejects when the stream ends (gobgpd died: UNAVAILABLE). */
  watchPeers: (onEvent: (event: PeerEvent) => void, signal: AbortSignal) => Promise<never>
  /** Creates the set when it is new. Paths already refused are not looked at again. */
  addPrefixSetMembers: (set: PrefixSet) => Promise<void>
  /** Withdraw the paths first: 3.10 does not take back what a narrower policy no longer allows. */
  deletePrefixSetMembers: (set: PrefixSet) => Promise<void>
  addPolicy: (policy: Policy) => Promise<void>
  close: () => void
}

export interface ClientOptions {
  /** unix:///path/to/socket or host:port. */
  readonly target: string
}

const READY_PAUSE_MIN_MS = 50
const READY_PAUSE_MAX_MS = 1_000

export function openGobgpClient({ target }: ClientOptions): GobgpClient {
  const transport = openTransport(target)
  const dialect = dialectV3(transport)
  return {
    probe: dialect.getDaemon,
    waitUntilReady: (signal) => waitUntilReady(dialect, signal),
    startIfIdle: async (settings) => {
      checkDaemon(settings)
      const daemon = await dialect.getDaemon()
      if (daemon.asn !== 0) return daemon
      await dialect.startDaemon(settings)
      return dialect.getDaemon()
    },
    applyPaths: async ({ withdraw, announce }) => {
      const prefixes = withdraw.map(checkPathPrefix)
      const paths = announce.map((path) => ({ path, prefix: checkPath(path) }))
      await dialect.applyPaths(prefixes, paths)
    },
    addPeer: async (peer) => {
      checkPeer(peer)
      await dialect.addPeer(peer)
    },
    updatePeer: async (peer) => {
      checkPeer(peer)
      await dialect.updatePeer(peer)
    },
    addPrefixSetMembers: async (set) => {
      checkPrefixSet(set)
      await dialect.addPrefixSetMembers(set)
    },
    deletePrefixSetMembers: async (set) => {
      checkPrefixSet(set)
      await dialect.deletePrefixSetMembers(set)
    },
    addPolicy: async (policy) => {
      checkPolicy(policy)
      await dialect.addPolicy(policy)
    },
    listOwnPaths: dialect.listOwnPaths,
    listPeers: dialect.listPeers,
    deletePeer: dialect.deletePeer,
    watchPeers: dialect.watchPeers,
    listPrefixSets: dialect.listPrefixSets,
    listPolicies: dialect.listPolicies,
    deletePolicy: dialect.deletePolicy,
    setAssignment: dialect.setAssignment,
    getAssignment: dialect.getAssignment,
    close: transport.close,
  }
}

async function waitUntilReady(dialect: Dialect, signal: AbortSignal): Promise<DaemonInfo> {
  for (let pauseMs = READY_PAUSE_MIN_MS; ; pauseMs = Math.min(pauseMs * 2, READY_PAUSE_MAX_MS)) {
    try {
      return await dialect.getDaemon()
    } catch (error) {
      if (!(error instanceof GobgpError) || error.code !== 'UNAVAILABLE') throw error
      await pause(pauseMs, signal, error)
    }
  }
}

function pause(delayMs: number, signal: AbortSignal, cause: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      clearTimeout(timer)
      reject(new GobgpError('CLOSED', 'gave up waiting for gobgpd', cause))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', giveUp)
      resolve()
    }, delayMs)
    signal.addEventListener('abort', giveUp, { once: true })
    if (signal.aborted) giveUp()
  })
}
