// The guard between what is wanted and what leaves: inside the allowed prefixes, of an allowed length, never a default route, each
// network once, no more of them than agreed. It looks at the configuration's allow-list alone and trusts nothing the planner says.
// What it keeps in comes back with a reason, for the object that asked. gobgpd's export policy checks the same list once more.

import { parsePrefix, prefixParts } from '../model/address.ts'
import type { AllowedPrefix, Announcement, RefusalCode, RefusedAnnouncement } from '../model/announcement.ts'

/** Most routers are told a maximum-prefix; passing it makes them drop the session, and with it every VIP. */
export const ANNOUNCEMENTS_MAX = 1_000
const COMMUNITIES_MAX = 32

export interface GuardLimits {
  readonly allowed: readonly AllowedPrefix[]
  /** Per family. */
  readonly announcementsMax?: number
}

export interface GuardResult {
  readonly accepted: readonly Announcement[]
  readonly refused: readonly RefusedAnnouncement[]
}

/** Keeps the order of what passes; of more than the maximum the first ones pass, so put the node's own first. */
export function guardAnnouncements(wanted: readonly Announcement[], limits: GuardLimits): GuardResult {
  const most = limits.announcementsMax ?? ANNOUNCEMENTS_MAX
  const accepted: Announcement[] = []
  const refused: RefusedAnnouncement[] = []
  const seen = new Set<string>()
  const counts = { ipv4: 0, ipv6: 0 }
  for (const announcement of wanted) {
    const refusal =
      judgePrefix(announcement, limits.allowed) ??
      judgeCommunities(announcement) ??
      (seen.has(announcement.prefix)
        ? because('twice', 'is already announced for another object')
        : undefined) ??
      (counts[announcement.family] >= most
        ? because(
            'too-many',
            `would be number ${most + 1} of its family; raise the limit here and at the routers`,
          )
        : undefined)
    if (refusal) {
      const reason = `${announcement.prefix} ${refusal.text}`
      refused.push({ announcement, code: refusal.code, reason })
      continue
    }
    seen.add(announcement.prefix)
    counts[announcement.family] += 1
    accepted.push(announcement)
  }
  return { accepted, refused }
}

interface Refusal {
  readonly code: RefusalCode
  readonly text: string
}

function because(code: RefusalCode, text: string): Refusal {
  return { code, text }
}

function judgePrefix(announcement: Announcement, allowed: readonly AllowedPrefix[]): Refusal | undefined {
  // The type says it is canonical; a cast elsewhere could still lie, and this is the last door.
  if (parsePrefix(announcement.prefix) !== announcement.prefix)
    return because('malformed', 'is no prefix in canonical form')
  const { family, length, first, last } = prefixParts(announcement.prefix)
  if (family !== announcement.family) return because('malformed', `is not ${announcement.family}`)
  if (length === 0) return because('default-route', 'is a default route, which is never announced')
  const covering = allowed.filter((row) => {
    const parts = prefixParts(row.prefix)
    return parts.family === family && parts.first <= first && parts.last >= last
  })
  if (covering.length === 0)
    return because('outside-allowed', 'lies outside every pool, pod network and address of this node')
  if (covering.some((row) => row.lengthMin <= length && row.lengthMax >= length)) return undefined
  const lengths = covering.map((row) => `/${row.lengthMin}`).join(' or ')
  return because('wrong-length', `lies inside ${covering[0]?.prefix}, where only ${lengths} may be announced`)
}

function judgeCommunities(announcement: Announcement): Refusal | undefined {
  const communities = announcement.communities ?? []
  if (communities.length > COMMUNITIES_MAX)
    return because('bad-community', `has more than ${COMMUNITIES_MAX} communities`)
  const bad = communities.find((text) => !isCommunity(text))
  return bad === undefined ? undefined : because('bad-community', `has '${bad}' for a community`)
}

function isCommunity(text: string): boolean {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text)
  return match !== null && Number(match[1]) <= 0xffff && Number(match[2]) <= 0xffff
}
