// One session as people ask about it: gobgpd's facts, the configuration's names, what should have been announced, and what is wrong.

import type { Family, Peer, PeerStatus } from '../../bgp/client/gobgp-grpc-client.ts'
import type { DaemonMirror } from './daemon-mirror.ts'
import type { Learning } from './learning.ts'
import type { SpeakerProblem } from './problems.ts'
import type { SessionWatch } from './session-watch.ts'

/** Paths that were added a moment ago may not have been counted yet. */
const COUNTS_SETTLE_MS = 5_000
/** gobgpd keeps all that it is told, taken or not: 100 000 routes are some 100 MB. No router needs to tell a node more than a few. */
const TOLD_MAX = 10_000

export interface SessionStatus extends PeerStatus {
  /** The configuration's; the address where it has none. */
  readonly name: string
  /** Which object and key asked for it. */
  readonly source: string
  /** How many prefixes this peer should get, whatever its session does. */
  readonly wanted: Readonly<Record<Family, number>>
  /** How many of its prefixes are let in, of those that import rules take. */
  readonly taken: number
  /** What its counts say is wrong. */
  readonly problems: readonly SpeakerProblem[]
}

/** By address. */
export function describeSessions(
  present: readonly Peer[],
  ...how: [DaemonMirror, Learning | undefined, SessionWatch, nowMs: number]
): SessionStatus[] {
  return present.map((peer) => sessionStatus(peer, ...how)).sort((a, b) => (a.address < b.address ? -1 : 1))
}

function sessionStatus(
  { status }: Peer,
  mirror: DaemonMirror,
  learning: Learning | undefined,
  watch: SessionWatch,
  nowMs: number,
): SessionStatus {
  const { name, source } = mirror.describe(status.address)
  const wanted = {
    ipv4: mirror.wantedFor(status.address, 'ipv4'),
    ipv6: mirror.wantedFor(status.address, 'ipv6'),
  }
  const problems: SpeakerProblem[] = []
  const diagnosis = status.session === 'established' ? undefined : watch.diagnosis(status.address)
  const since = watch.establishedSinceMs(status.address)
  if (since !== undefined && nowMs - Math.max(since, mirror.changedAtMs) >= COUNTS_SETTLE_MS)
    problems.push(...differingCounts(status, wanted, name, source))
  const told = status.families.reduce((sum, { received }) => sum + received, 0)
  if (told > TOLD_MAX)
    problems.push({
      code: 'told-too-much',
      object: source,
      text:
        `${name} tells more than ${TOLD_MAX} routes, which cost gobgpd memory though none is taken beyond imports. ` +
        'Mend: have the router announce to nodes only what they import, or nothing',
    })
  // How the last one ended explains less than why there is none now.
  const lastError = diagnosis ?? status.lastError ?? watch.ending(status.address)
  return {
    ...status,
    name,
    source,
    wanted,
    taken: learning?.takenFrom(status.address.split('%')[0] ?? '') ?? 0,
    problems,
    flaps: Math.max(status.flaps, watch.falls(status.address)),
    ...(lastError === undefined ? {} : { lastError }),
  }
}

function differingCounts(
  { families }: PeerStatus,
  wanted: Readonly<Record<Family, number>>,
  name: string,
  source: string,
): SpeakerProblem[] {
  return families.flatMap(({ family, advertised }) => {
    if (advertised === wanted[family]) return []
    const text =
      `${name}: ${advertised} ${family} prefixes are advertised where ${wanted[family]} should be. ` +
      "Mend: if this lasts, compare 'weir bgp advertised' with the router, and look for another client of this gobgpd"
    return [{ code: 'advertised-differs' as const, object: source, text }]
  })
}
