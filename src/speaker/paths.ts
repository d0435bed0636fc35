// The difference between the paths wanted and those gobgpd holds. Keys are canonical prefixes, on both sides.

import type { Path, PathChanges } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Prefix } from '../model/address.ts'
import { markerOf } from './export-classes.ts'

export interface InstalledPath {
  /** Everything that could differ, as text; two that are equal need no change. */
  readonly content: string
  /** Undefined: nobody's class; from an earlier version of this agent, or not from it at all. */
  readonly marker: string | undefined
}

export type InstalledPaths = Map<Prefix, InstalledPath>

export function installedPath(path: Path): InstalledPath {
  return { content: contentOf(path), marker: markerOf(path.largeCommunities) }
}

/** @param prefixes those to look at */
export function pathChanges(
  prefixes: Iterable<Prefix>,
  wanted: ReadonlyMap<Prefix, Path>,
  installed: ReadonlyMap<Prefix, InstalledPath>,
): PathChanges {
  const withdraw: Prefix[] = []
  const announce: Path[] = []
  for (const prefix of prefixes) {
    const path = wanted.get(prefix)
    const present = installed.get(prefix)
    if (path === undefined) {
      if (present !== undefined) withdraw.push(prefix)
    } else if (present?.content !== contentOf(path)) announce.push(path)
  }
  return { withdraw, announce }
}

export function recordChanges(installed: InstalledPaths, changes: PathChanges): void {
  for (const prefix of changes.withdraw) installed.delete(prefix as Prefix)
  for (const path of changes.announce) installed.set(path.prefix as Prefix, installedPath(path))
}

/** Communities as sets: gobgpd and routers sort them as they like. */
function contentOf({ communities, largeCommunities, med, localPref, asPath }: Path): string {
  const sorted = (list: readonly string[] | undefined) => {
    if (list === undefined || list.length < 2) return list?.[0] ?? ''
    return [...new Set(list)].sort().join(' ')
  }
  return `${sorted(communities)}|${sorted(largeCommunities)}|${med ?? ''}|${localPref ?? ''}|${asPath?.join(' ') ?? ''}`
}
