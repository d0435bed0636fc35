// The seam between our types and one version of GoBGP's interface. Versions differ in service name, enum numbers and the packing of
// paths, and in nothing a caller should see. Inputs have passed validate.ts; a dialect only translates.

import type { Family, Prefix } from './prefix.ts'
import type {
  DaemonInfo,
  DaemonSettings,
  Path,
  Peer,
  PeerEvent,
  PeerSettings,
  Policy,
  PolicyAssignment,
  PolicyDirection,
  PrefixSet,
} from './types.ts'

export interface CheckedPath {
  readonly path: Path
  readonly prefix: Prefix
}

export interface Dialect {
  getDaemon: () => Promise<DaemonInfo>
  startDaemon: (settings: DaemonSettings) => Promise<void>

  applyPaths: (withdraw: readonly Prefix[], announce: readonly CheckedPath[]) => Promise<void>
  listOwnPaths: (family: Family) => Promise<Path[]>

  addPeer: (peer: PeerSettings) => Promise<void>
  updatePeer: (peer: PeerSettings) => Promise<void>
  deletePeer: (address: string) => Promise<void>
  listPeers: () => Promise<Peer[]>
  watchPeers: (onEvent: (event: PeerEvent) => void, signal: AbortSignal) => Promise<never>

  addPrefixSetMembers: (set: PrefixSet) => Promise<void>
  deletePrefixSetMembers: (set: PrefixSet) => Promise<void>
  listPrefixSets: () => Promise<PrefixSet[]>
  addPolicy: (policy: Policy) => Promise<void>
  deletePolicy: (name: string) => Promise<void>
  listPolicies: () => Promise<Policy[]>
  setAssignment: (assignment: PolicyAssignment) => Promise<void>
  getAssignment: (direction: PolicyDirection) => Promise<PolicyAssignment>
}
