// gobgp-grpc-client: speaks to a running gobgpd over its gRPC interface. This is the entry file; the README says how it is used.
//
// Whatever goes out is checked first (validate.ts), for gobgpd hardly checks. What version answers is found by asking, once per
// connection; a dialect translates. Calls do not retry: whoever calls works in rounds and tries the round again.

import type { Dialect } from './dialect.ts'
import { GobgpError } from './errors.ts'
import { parsePrefixOrAddress } from './prefix.ts'
import { openProbingDialect } from './probing-dialect.ts'
import { openTransport } from './transport.ts'
import type {
  BmpStation,
  DaemonInfo,
  DaemonSettings,
  DefinedSet,
  NeighborSet,
  PathChanges,
  PeerRemote,
  PeerReset,
  PeerSettings,
  Policy,
  PolicyAssignment,
} from './types.ts'
import { checkPath, checkPathPrefix, parseCommunity, parseLargeCommunity } from './validate-path.ts'
import { checkBmp, checkDaemon, checkPeer, checkReason, checkRemote } from './validate-peer.ts'
import { checkAssignment, checkPolicy, checkSet } from './validate-policy.ts'

export type { GobgpErrorCode } from './errors.ts'
export type { Family, Prefix } from './prefix.ts'
export type * from './types.ts'
export { GobgpError, parseCommunity, parseLargeCommunity }

/** The dialect's calls, with their input checked (INVALID_*: nothing was sent), and these besides. */
export interface GobgpClient extends Omit<Dialect, 'getDaemon' | 'startDaemon' | 'applyPaths'> {
  /** Asks who answers. UNAVAILABLE when nobody does, UNSUPPORTED_VERSION when it is no gobgpd of version 3 or 4. */
  probe: () => Promise<DaemonInfo>
  /** As probe, but waits until somebody answers, with growing pauses. */
  waitUntilReady: (signal: AbortSignal) => Promise<DaemonInfo>
  /**
   * Starts BGP in a gobgpd that has none, and leaves one that has as it is: a second start answers OK, empties the table and opens every
   * policy while the sessions stay up.
   */
  startIfIdle: (settings: DaemonSettings) => Promise<DaemonInfo>
  /** All withdrawals, then all announcements, in batches. Idempotent in both directions. */
  applyPaths: (changes: PathChanges) => Promise<void>
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
  const dialect = openProbingDialect(transport)
  return {
    ...dialect,
    ...checkedDaemonCalls(dialect),
    ...checkedPeerCalls(dialect),
    ...checkedPolicyCalls(dialect),
    close: transport.close,
  }
}

function checkedDaemonCalls(dialect: Dialect) {
  return {
    probe: dialect.getDaemon,
    waitUntilReady: (signal: AbortSignal) => waitUntilReady(dialect, signal),
    startIfIdle: async (settings: DaemonSettings) => {
      checkDaemon(settings)
      const daemon = await dialect.getDaemon()
      if (daemon.asn !== 0) return daemon
      await dialect.startDaemon(settings)
      return dialect.getDaemon()
    },
    applyPaths: async ({ withdraw, announce }: PathChanges) => {
      const prefixes = withdraw.map(checkPathPrefix)
      const paths = announce.map((path) => ({ path, prefix: checkPath(path) }))
      await dialect.applyPaths(prefixes, paths)
    },
    addBmp: async (station: BmpStation) => {
      checkBmp(station)
      await dialect.addBmp(station)
    },
  }
}

function checkedPeerCalls(dialect: Dialect) {
  return {
    addPeer: async (peer: PeerSettings) => {
      checkPeer(peer)
      await dialect.addPeer(peer)
    },
    updatePeer: async (peer: PeerSettings) => {
      checkPeer(peer)
      await dialect.updatePeer(peer)
    },
    deletePeer: async (remote: PeerRemote) => {
      checkRemote(remote)
      await dialect.deletePeer(remote)
    },
    resetPeer: async (remote: PeerRemote | undefined, reset: PeerReset) => {
      if (remote) checkRemote(remote)
      if (reset.kind === 'hard') checkReason(reset.reason ?? '')
      await dialect.resetPeer(remote, reset)
    },
    disablePeer: async (remote: PeerRemote, reason: string) => {
      checkRemote(remote)
      checkReason(reason)
      await dialect.disablePeer(remote, reason)
    },
    enablePeer: async (remote: PeerRemote) => {
      checkRemote(remote)
      await dialect.enablePeer(remote)
    },
  }
}

function checkedPolicyCalls(dialect: Dialect) {
  return {
    addSetMembers: async (set: DefinedSet) => {
      checkSet(set)
      if (set.kind === 'neighbor' && set.members.length === 0) refuseEmpty(set.name)
      await dialect.addSetMembers(set)
    },
    deleteSetMembers: async (set: DefinedSet) => {
      checkSet(set)
      if (set.kind === 'neighbor') await checkNotEmptied(dialect, set)
      await dialect.deleteSetMembers(set)
    },
    addPolicy: async (policy: Policy) => {
      checkPolicy(policy)
      await checkNeighborSets(dialect, policy)
      await dialect.addPolicy(policy)
    },
    setAssignment: async (assignment: PolicyAssignment) => {
      checkAssignment(assignment)
      await dialect.setAssignment(assignment)
    },
  }
}

/** A statement over an empty neighbor set matches every peer. One that does not exist is refused by gobgpd itself. */
async function checkNeighborSets(dialect: Dialect, policy: Policy): Promise<void> {
  const named = policy.statements.flatMap(({ conditions }) => conditions.neighborSet ?? [])
  if (named.length === 0) return
  for (const { name, members } of await dialect.listSets('neighbor'))
    if (members.length === 0 && named.includes(name)) refuseEmpty(name)
}

async function checkNotEmptied(dialect: Dialect, set: NeighborSet): Promise<void> {
  const present = (await dialect.listSets('neighbor')).find(({ name }) => name === set.name)
  const leaving = new Set(set.members.map((member) => parsePrefixOrAddress(member)?.text))
  if (present?.members.every((member) => leaving.has(member))) refuseEmpty(set.name)
}

function refuseEmpty(name: string): never {
  throw new GobgpError(
    'INVALID_POLICY',
    `neighbor set ${name} would be empty, and so match every peer. Mend: give it a member, or delete its statements and then the set`,
  )
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
