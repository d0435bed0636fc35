// The difference between the announcements wanted and the paths gobgpd holds. Keys are canonical prefixes, on both sides.

import type { PathChanges } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Announcement } from '../model/announcement.ts'

/** Prefix → its communities. */
export type InstalledPaths = Map<string, readonly string[]>

export function pathChanges(
  desired: readonly Announcement[],
  installed: ReadonlyMap<string, readonly string[]>,
): PathChanges {
  const wanted = new Set<string>(desired.map((row) => row.prefix))
  return {
    withdraw: [...installed.keys()].filter((prefix) => !wanted.has(prefix)),
    announce: desired
      .filter((row) => {
        const communities = installed.get(row.prefix)
        return communities === undefined || !sameCommunities(communities, row.communities ?? [])
      })
      .map(({ prefix, communities }) => ({ prefix, ...(communities?.length ? { communities } : {}) })),
  }
}

export function recordChanges(installed: InstalledPaths, changes: PathChanges): void {
  for (const prefix of changes.withdraw) installed.delete(prefix)
  for (const { prefix, communities } of changes.announce) installed.set(prefix, communities ?? [])
}

/** As sets: gobgpd and routers sort them as they like. */
function sameCommunities(left: readonly string[], right: readonly string[]): boolean {
  const text = (communities: readonly string[]) => [...new Set(communities)].sort().join(' ')
  return text(left) === text(right)
}
