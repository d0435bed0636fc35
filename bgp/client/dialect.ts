// The seam between our types and one version of GoBGP's interface. Versions differ in service name, enum numbers and the packing of
// paths, and in nothing a caller should see. Inputs have passed validate.ts; a dialect only translates.

import type { Family, Prefix } from './prefix.ts'
import type {
  BestRoutes,
  BmpStation,
  BmpStationStatus,
  DaemonInfo,
  DaemonSettings,
  DefinedSet,
  Path,
  Peer,
  PeerEvent,
  PeerRemote,
  PeerReset,
  PeerSettings,
  Policy,
  PolicyAssignment,
  PolicyDirection,
  Route,
  SetKind,
  TableName,
} from './types.ts'

export interface CheckedPath {
  readonly path: Path
  readonly prefix: Prefix
}

export interface DaemonCalls {
  getDaemon: () => Promise<DaemonInfo>
  startDaemon: (settings: DaemonSettings) => Promise<void>
  /** @param keepRoutes peers with graceful restart keep our routes; UNSUPPORTED in version 3 */
  stopDaemon: (keepRoutes: boolean) => Promise<void>
  addBmp: (station: BmpStation) => Promise<void>
  deleteBmp: (station: { address: string; port: number }) => Promise<void>
  listBmp: () => Promise<BmpStationStatus[]>
}

export interface PathCalls {
  applyPaths: (withdraw: readonly Prefix[], announce: readonly CheckedPath[]) => Promise<void>
  /** What this daemon originates, in the form it was announced in. */
  listOwnPaths: (family: Family) => Promise<Path[]>
  listRoutes: (table: TableName, family: Family) => Promise<Route[]>
  /** Calls back with the whole table first, then with each change; rejects when the stream ends. */
  watchRoutes: (onChange: (changes: readonly BestRoutes[]) => void, signal: AbortSignal) => Promise<never>
}

export interface PeerCalls {
  addPeer: (peer: PeerSettings) => Promise<void>
  /** Ends the session, and starts it with the new settings: 3.x does the same whatever changed, and can do no less. */
  updatePeer: (peer: PeerSettings) => Promise<void>
  deletePeer: (remote: PeerRemote) => Promise<void>
  /**
   * @param countAdvertised true unless told otherwise. To count, gobgpd puts every path through policy for every peer, and its single
   *   worker does nothing else meanwhile; uncounted, `advertised` reads 0
   */
  listPeers: (countAdvertised?: boolean) => Promise<Peer[]>
  watchPeers: (onEvent: (event: PeerEvent) => void, signal: AbortSignal) => Promise<never>
  /** @param remote undefined: every peer */
  resetPeer: (remote: PeerRemote | undefined, reset: PeerReset) => Promise<void>
  disablePeer: (remote: PeerRemote, reason: string) => Promise<void>
  enablePeer: (remote: PeerRemote) => Promise<void>
}

export interface PolicyCalls {
  addSetMembers: (set: DefinedSet) => Promise<void>
  deleteSetMembers: (set: DefinedSet) => Promise<void>
  deleteSet: (kind: SetKind, name: string) => Promise<void>
  listSets: <K extends SetKind>(kind: K) => Promise<Extract<DefinedSet, { kind: K }>[]>
  addPolicy: (policy: Policy) => Promise<void>
  deletePolicy: (name: string) => Promise<void>
  listPolicies: () => Promise<Policy[]>
  /** Replaces the policies of the direction and its default at once. */
  setAssignment: (assignment: PolicyAssignment) => Promise<void>
  /** Puts policies behind those that are there, and leaves the default as it is. */
  appendAssignment: (direction: PolicyDirection, policies: readonly string[]) => Promise<void>
  /** Takes policies out of the direction, and leaves the default as it is. */
  removeAssignment: (direction: PolicyDirection, policies: readonly string[]) => Promise<void>
  getAssignment: (direction: PolicyDirection) => Promise<PolicyAssignment>
}

export interface Dialect extends DaemonCalls, PathCalls, PeerCalls, PolicyCalls {}
