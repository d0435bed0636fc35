// What the speaker takes and tells.

import type { GobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import type {
  AllowedPrefix,
  Announcement,
  AnnouncementRow,
  RefusedAnnouncement,
} from '../model/announcement.ts'
import type { DrainMark, NodeRouting } from '../model/routing.ts'
import type { TcpFacts } from './authentication.ts'
import type { DaemonHost } from './hosts.ts'
import type { KernelRoutes } from './kernel-routes.ts'
import type { LinkView } from './links.ts'
import type { PasswordReader } from './passwords.ts'
import type { SpeakerProblem } from './problems.ts'
import type { SessionStatus } from './session-status.ts'
import type { SpeakerTables } from './tables.ts'

/** As pino's: an object with details, then the sentence. */
export interface SpeakerLog {
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
}

export interface SpeakerOptions {
  /** unix:///path or host:port. */
  readonly gobgpSocket: string
  /** Whose gobgpd it is; ours, unless told otherwise. */
  readonly host?: DaemonHost
  readonly log: SpeakerLog
  readonly nowMs?: () => number
  /** Without it Secrets are not read. */
  readonly readPassword?: PasswordReader
  /** Without it nothing is known of links: no unnumbered sessions, no IPv6 over IPv4 sessions. */
  readonly readLinks?: () => Promise<LinkView>
  /** Without it nothing is learned, whatever peers' import rules say. */
  readonly kernelRoutes?: KernelRoutes
  /** Without it nothing is said about passwords that do not match. */
  readonly readTcp?: () => TcpFacts
  /** By address, how long ago a neighbour proved to be there. Without it a router that keeps silent may as well be off. */
  readonly readNeighbours?: () => Promise<ReadonlyMap<string, number>>
  /** Told when a session comes up or goes, by the peer's address; empty when gobgpd itself is away and nothing is known. */
  readonly onSessions?: (established: ReadonlyMap<string, boolean>) => void
  /** Another way to gobgpd, for tests. */
  readonly openClient?: () => GobgpClient
  /** Told when the list of problems is another one. */
  readonly onProblems?: (problems: readonly SpeakerProblem[]) => void
}

export interface SpeakerStatus {
  readonly connected: boolean
  readonly sessions: readonly SessionStatus[]
  readonly announcements: readonly AnnouncementRow[]
  readonly refused: readonly RefusedAnnouncement[]
  readonly problems: readonly SpeakerProblem[]
  /** Why the last round failed; undefined when it did not. */
  readonly error: string | undefined
}

export interface Speaker {
  /**
   * What the node should do, and what it may announce; takes the place of what was given before, sessions that stay the same stay up.
   * @param changes what is announced under it, as for changeDesired: both come into force as one, so that no peer gets under the new
   *   routing what was planned under the old
   */
  setRouting: (
    routing: NodeRouting,
    allowed: readonly AllowedPrefix[],
    changes?: ReadonlyMap<string, Announcement | undefined>,
  ) => void
  /** Passwords are read again, and sessions whose password differs start anew. */
  passwordsChanged: () => void
  /** The mark on everything that is announced; undefined: none. */
  setDrain: (mark: DrainMark | undefined) => void
  /** The full set; replaces the one before. */
  setDesired: (announcements: readonly Announcement[]) => void
  /** Changes the set: what each asker wants now, or undefined. */
  changeDesired: (changes: ReadonlyMap<string, Announcement | undefined>) => void
  /** Whether gobgpd has been told everything that was asked for so far, and is there. */
  readonly isInForce: boolean
  /** Asks gobgpd for the sessions when it can be asked. */
  status: () => Promise<SpeakerStatus>
  /** What gobgpd's tables say of a peer, by its address in use. Rejects with GobgpError. */
  tables: SpeakerTables
  close: () => Promise<void>
}
