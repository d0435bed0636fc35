// What this node announces, or would, on one page; and of one router, what it is told and what it tells. Pure,
// and in no order: whoever shows it sorts (model/prefix-order.ts), for ten thousand prefixes would hold the agent up.

import type { Family } from '../model/address.ts'
import {
  type AnnouncementRow,
  type AnnouncementSource,
  REFUSAL_MENDS,
  type RefusedAnnouncement,
} from '../model/announcement.ts'
import { NO_ATTRIBUTES, type NodeRouting, type PeerExport, type RouteAttributes } from '../model/routing.ts'
import type { SpeakerStatus } from '../speaker/speaker.ts'
import type { ReceivedRoute, SpeakerTables } from '../speaker/tables.ts'

export interface RouteRow {
  readonly prefix: string
  readonly family: Family
  readonly source: AnnouncementSource
  /** `withdrawing`: still told, waits for its turn. */
  readonly status: 'announced' | 'pending' | 'withdrawing' | 'refused' | 'error'
  readonly sinceMs: number | undefined
  readonly exports: readonly PeerExport[]
  /** Why it is asked for. */
  readonly why: string
  /** Why it is not as it should be. */
  readonly problem: string | undefined
  /** What would let out what is refused. */
  readonly mend?: string
}

export interface RoutesView {
  readonly routes: readonly RouteRow[]
  readonly draining: string | undefined
}

export interface RoutesFacts {
  readonly status: Pick<SpeakerStatus, 'announcements' | 'refused'> & {
    readonly waiting: readonly { readonly prefix: string; readonly change: string; readonly reason: string }[]
  }
  readonly routing: NodeRouting
}

export function routeRows({ status, routing }: RoutesFacts): readonly RouteRow[] {
  const waiting = new Map(status.waiting.map((row) => [row.prefix, row]))
  return [
    ...status.announcements.map((row) => announced(row, waiting.get(row.prefix), routing)),
    ...status.refused.map((row) => refused(row, routing)),
  ]
}

function announced(
  row: AnnouncementRow,
  waits: { readonly change: string; readonly reason: string } | undefined,
  routing: NodeRouting,
): RouteRow {
  const { status } = row
  const base = baseOf(row, routing)
  const problem = waits?.reason ?? (status.kind === 'announced' ? undefined : status.reason)
  if (status.kind === 'announced')
    return {
      ...base,
      status: waits?.change === 'withdraw' ? 'withdrawing' : 'announced',
      sinceMs: status.sinceMs,
      problem,
    }
  return { ...base, status: status.kind, sinceMs: undefined, problem }
}

function refused({ announcement, reason, code }: RefusedAnnouncement, routing: NodeRouting): RouteRow {
  const base = baseOf(announcement, routing)
  return { ...base, status: 'refused', sinceMs: undefined, problem: reason, mend: REFUSAL_MENDS[code] }
}

function baseOf(
  { prefix, family, source, why, exports, communities = [] }: Omit<AnnouncementRow, 'status'>,
  { peers }: NodeRouting,
) {
  const toAll = (): PeerExport[] => [
    { peers: peers.map(({ name }) => name), attributes: { ...NO_ATTRIBUTES, communities } },
  ]
  return { prefix, family, source, why, exports: exports ?? toAll() }
}

interface TableRow {
  readonly peer: string
  readonly prefix: string
  readonly family: Family
  readonly nextHop: string
  readonly attributes: RouteAttributes
  readonly asPath: readonly number[]
}

export interface AdvertisedRow extends TableRow {
  /** `extra`: gobgpd's table has it, and nothing here asks for it. `absent`: asked for, and not in the table. */
  readonly status: 'advertised' | 'extra' | 'absent'
  readonly why: string
}

export interface AdvertisedView {
  /** Whether gobgpd reckons the table from its policy in force instead of remembering what it sent. */
  readonly isReckoned: boolean
  readonly routes: readonly AdvertisedRow[]
}

type Advertised = Awaited<ReturnType<SpeakerTables['advertised']>>

/** @param isUp a router that is not there is told nothing */
export function describeAdvertised(
  peer: string,
  table: Advertised,
  announcements: readonly AnnouncementRow[],
  isUp: boolean,
): readonly AdvertisedRow[] {
  if (!isUp) return []
  const wanted = new Map<
    string,
    { readonly why: string; readonly attributes: RouteAttributes; readonly family: Family }
  >()
  for (const { prefix, family, why, exports, communities = [] } of announcements) {
    const given = exports?.find(({ peers }) => peers.includes(peer) || peers.length === 0)
    if (exports && !given) continue
    wanted.set(prefix, {
      why,
      family,
      attributes: given?.attributes ?? { ...NO_ATTRIBUTES, communities },
    })
  }
  const present = table.map((route): AdvertisedRow => {
    const asked = wanted.get(route.prefix)
    wanted.delete(route.prefix)
    return { peer, ...ofRoute(route), status: asked ? 'advertised' : 'extra', why: asked?.why ?? '' }
  })
  const absent = [...wanted].map(
    ([prefix, { why, family, attributes }]): AdvertisedRow => ({
      ...{ peer, prefix, family, why, attributes },
      nextHop: '',
      asPath: [],
      status: 'absent',
    }),
  )
  return [...present, ...absent]
}

export interface ReceivedRow extends TableRow {
  readonly isStale: boolean
  readonly sinceMs: number
  readonly verdict: ReceivedRoute['verdict']
}

export function describeReceived(peer: string, table: readonly ReceivedRoute[]): readonly ReceivedRow[] {
  return table.map((route) => ({
    peer,
    ...ofRoute(route),
    isStale: route.isStale,
    sinceMs: route.sinceMs,
    verdict: route.verdict,
  }))
}

function ofRoute(route: Advertised[number]) {
  const { prefix, family, nextHop = '', asPath = [], med, localPref } = route
  const attributes: RouteAttributes = {
    communities: route.communities ?? [],
    largeCommunities: route.largeCommunities ?? [],
    ...(med === undefined ? {} : { med }),
    ...(localPref === undefined ? {} : { localPref }),
    // The AS path itself is there.
    prepend: 0,
  }
  return { prefix, family, nextHop, asPath, attributes }
}
