// The difference between the announcements wanted and the paths gobgpd holds. Keys are canonical prefixes, on both sides.

import type { PathChanges } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'

/** Prefix → its communities. */
export type InstalledPaths = Map<string, readonly string[]>

/** @param prefixes those to look at */
export function pathChanges(
  prefixes: Iterable<Prefix>,
  wanted: ReadonlyMap<Prefix, Announcement>,
  installed: ReadonlyMap<string, readonly string[]>,
): PathChanges {
  const withdraw: string[] = []
  const announce: { prefix: string; communities?: readonly string[] }[] = []
  for (const prefix of prefixes) {
    const row = wanted.get(prefix)
    const communities = installed.get(prefix)
    if (row === undefined) {
      if (communities !== undefined) withdraw.push(prefix)
      continue
    }
    if (communities !== undefined && sameCommunities(communities, row.communities ?? [])) continue
    announce.push({ prefix, ...(row.communities?.length ? { communities: row.communities } : {}) })
  }
  return { withdraw, announce }
}

export function recordChanges(installed: InstalledPaths, changes: PathChanges): void {
  for (const prefix of changes.withdraw) installed.delete(prefix)
  for (const { prefix, communities } of changes.announce) installed.set(prefix, communities ?? [])
}

/** As sets: gobgpd and routers sort them as they like. */
function sameCommunities(left: readonly string[], right: readonly string[]): boolean {
  if (left.length === 0 && right.length === 0) return true
  const text = (communities: readonly string[]) => [...new Set(communities)].sort().join(' ')
  return text(left) === text(right)
}
