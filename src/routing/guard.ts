// The guard between what is wanted and what leaves: inside the allowed prefixes, of an allowed length, never a default route, each
// network once, no more of them than agreed, and with all that its author said of its attributes: what of them cannot be read may be the
// `no-export` that was to keep it here. It looks at the configuration's allow-list alone and trusts nothing the planner says.
// What it keeps in comes back with a reason, for the object that asked. gobgpd's export policy checks the same list once more.

import {
  type Family,
  liesWithin,
  type Prefix,
  type PrefixParts,
  parsePrefix,
  prefixParts,
} from '../model/address.ts'
import type { AllowedPrefix, Announcement, RefusalCode, RefusedAnnouncement } from '../model/announcement.ts'
import { ANNOUNCEMENTS_MAX, PREPEND_MAX, type RouteAttributes } from '../model/routing.ts'

const COMMUNITIES_MAX = 32

export interface GuardLimits {
  readonly allowed: readonly AllowedPrefix[]
  /** Per family. */
  readonly announcementsMax?: number
}

/** What the guard lets pass, kept up to date change by change. What passed stays when others come; what found no room waits for it. */
export class AnnouncementGuard {
  #limits: GuardLimits
  #allowed: readonly AllowedParts[]
  readonly #accepted = new Map<Prefix, Announcement>()
  /** Who asked for what passed, and what each asker's is. */
  readonly #holderOf = new Map<Prefix, string>()
  readonly #heldBy = new Map<string, Announcement>()
  readonly #refused = new Map<string, RefusedAnnouncement>()
  readonly #counts: Record<Family, number> = { ipv4: 0, ipv6: 0 }

  constructor(limits: GuardLimits) {
    this.#limits = limits
    this.#allowed = takeApart(limits.allowed)
  }

  get accepted(): ReadonlyMap<Prefix, Announcement> {
    return this.#accepted
  }

  /** In the order of asking. */
  get refused(): readonly RefusedAnnouncement[] {
    return [...this.#refused.values()]
  }

  /** By asker. */
  get refusals(): ReadonlyMap<string, RefusedAnnouncement> {
    return this.#refused
  }

  /** Why what this asker wants does not leave; undefined: it does, or nothing is wanted. */
  refusalOf(asker: string): RefusedAnnouncement | undefined {
    return this.#refused.get(asker)
  }

  /**
   * Judges everything anew. What passed before goes first, so a lower maximum takes the latest.
   * @returns the prefixes of which something may differ now
   */
  setLimits(limits: GuardLimits): ReadonlySet<Prefix> {
    this.#limits = limits
    this.#allowed = takeApart(limits.allowed)
    const touched = new Set<Prefix>(this.#accepted.keys())
    const held = [...this.#heldBy]
    const refused = [...this.#refused].map(([asker, { announcement }]) => [asker, announcement] as const)
    this.#accepted.clear()
    this.#holderOf.clear()
    this.#heldBy.clear()
    this.#refused.clear()
    this.#counts.ipv4 = 0
    this.#counts.ipv6 = 0
    for (const [asker, wanted] of [...held, ...refused]) this.#consider(asker, wanted, touched)
    return touched
  }

  /**
   * @param changes by whoever asks: what they ask for now, or undefined. Put the node's own first: of more than the maximum the
   *   first ones pass
   * @returns the prefixes of which something may differ now
   */
  apply(changes: Iterable<readonly [string, Announcement | undefined]>): ReadonlySet<Prefix> {
    const touched = new Set<Prefix>()
    let hasRoom = false
    for (const [asker, wanted] of changes) {
      this.#refused.delete(asker)
      const held = this.#heldBy.get(asker)
      const isKept = held !== undefined && held.prefix === wanted?.prefix && held.family === wanted.family
      if (held !== undefined && !isKept) {
        this.#release(asker, held, touched)
        hasRoom = true
      }
      if (wanted) this.#consider(asker, wanted, touched)
      // Refused from now on: it leaves room, too.
      if (isKept && !this.#heldBy.has(asker)) hasRoom = true
    }
    if (hasRoom) this.#considerWaiting(touched)
    return touched
  }

  #consider(asker: string, wanted: Announcement, touched: Set<Prefix>): void {
    const refusal =
      judgePrefix(wanted, this.#allowed) ?? judgeAttributes(wanted) ?? this.#judgeRoom(asker, wanted)
    if (refusal === undefined) {
      this.#admit(asker, wanted, touched)
      return
    }
    const held = this.#heldBy.get(asker)
    if (held !== undefined) this.#release(asker, held, touched)
    const reason = `${wanted.prefix} ${refusal.text}`
    this.#refused.set(asker, { announcement: wanted, code: refusal.code, reason })
  }

  #judgeRoom(asker: string, { prefix, family }: Announcement): Refusal | undefined {
    const holder = this.#holderOf.get(prefix)
    if (holder === asker) return undefined
    if (holder !== undefined) return because('twice', 'is already announced for another object')
    const most = this.#limits.announcementsMax ?? ANNOUNCEMENTS_MAX
    if (this.#counts[family] < most) return undefined
    return because(
      'too-many',
      `would be number ${most + 1} of its family; raise the limit here and at the routers`,
    )
  }

  #admit(asker: string, wanted: Announcement, touched: Set<Prefix>): void {
    if (!this.#holderOf.has(wanted.prefix)) this.#counts[wanted.family] += 1
    this.#holderOf.set(wanted.prefix, asker)
    this.#heldBy.set(asker, wanted)
    this.#accepted.set(wanted.prefix, wanted)
    touched.add(wanted.prefix)
  }

  #release(asker: string, held: Announcement, touched: Set<Prefix>): void {
    this.#heldBy.delete(asker)
    this.#holderOf.delete(held.prefix)
    this.#accepted.delete(held.prefix)
    this.#counts[held.family] -= 1
    touched.add(held.prefix)
  }

  /** They passed every other check when they were refused. */
  #considerWaiting(touched: Set<Prefix>): void {
    for (const [asker, { code, announcement }] of this.#refused) {
      if (code !== 'twice' && code !== 'too-many') continue
      if (this.#judgeRoom(asker, announcement) !== undefined) continue
      this.#refused.delete(asker)
      this.#admit(asker, announcement, touched)
    }
  }
}

interface Refusal {
  readonly code: RefusalCode
  readonly text: string
}

function because(code: RefusalCode, text: string): Refusal {
  return { code, text }
}

/** An allowed prefix, taken apart once. */
interface AllowedParts extends AllowedPrefix {
  readonly parts: PrefixParts
}

function judgePrefix(announcement: Announcement, allowed: readonly AllowedParts[]): Refusal | undefined {
  // The type says it is canonical; a cast elsewhere could still lie, and this is the last door.
  if (parsePrefix(announcement.prefix) !== announcement.prefix)
    return because('malformed', 'is no prefix in canonical form')
  const parts = prefixParts(announcement.prefix)
  const { family, length } = parts
  if (family !== announcement.family) return because('malformed', `is not ${announcement.family}`)
  if (length === 0) return because('default-route', 'is a default route, which is never announced')
  const covering = allowed.filter((row) => liesWithin(parts, row.parts))
  if (covering.length === 0)
    return because('outside-allowed', 'lies outside every pool, pod network and address of this node')
  if (covering.some((row) => row.lengthMin <= length && row.lengthMax >= length)) return undefined
  const lengths = covering.map((row) => `/${row.lengthMin}`).join(' or ')
  return because('wrong-length', `lies inside ${covering[0]?.prefix}, where only ${lengths} may be announced`)
}

function takeApart(allowed: readonly AllowedPrefix[]): readonly AllowedParts[] {
  return allowed.map((row) => ({ ...row, parts: prefixParts(row.prefix) }))
}

function judgeAttributes({ communities = [], exports = [], unreadable }: Announcement): Refusal | undefined {
  if (unreadable !== undefined) return because('bad-annotation', `would go out without what ${unreadable}`)
  const plain = judgeCommunities(communities, isCommunity)
  if (plain) return plain
  for (const { attributes } of exports) {
    const refusal =
      judgeCommunities(attributes.communities, isCommunity) ??
      judgeCommunities(attributes.largeCommunities, isLargeCommunity) ??
      judgeNumbers(attributes)
    if (refusal) return refusal
  }
  return undefined
}

function judgeCommunities(
  communities: readonly string[],
  isOne: (text: string) => boolean,
): Refusal | undefined {
  if (communities.length > COMMUNITIES_MAX)
    return because('bad-community', `has more than ${COMMUNITIES_MAX} communities`)
  const bad = communities.find((text) => !isOne(text))
  return bad === undefined ? undefined : because('bad-community', `has '${bad}' for a community`)
}

function judgeNumbers({ localPref = 0, med = 0, prepend }: RouteAttributes): Refusal | undefined {
  for (const [name, number] of [
    ['local-pref', localPref],
    ['MED', med],
  ] as const)
    if (!isWithin(number, 0xffff_ffff)) return because('bad-attribute', `has ${number} for its ${name}`)
  if (isWithin(prepend, PREPEND_MAX)) return undefined
  return because('bad-attribute', `would be prepended ${prepend} times, more than ${PREPEND_MAX}`)
}

function isWithin(number: number, most: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= most
}

function isCommunity(text: string): boolean {
  return isNumbers(text, 2, 0xffff)
}

function isLargeCommunity(text: string): boolean {
  return isNumbers(text, 3, 0xffff_ffff)
}

function isNumbers(text: string, count: number, most: number): boolean {
  const parts = text.split(':')
  return parts.length === count && parts.every((part) => /^\d{1,10}$/.test(part) && Number(part) <= most)
}
