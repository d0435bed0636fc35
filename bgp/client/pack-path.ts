// Paths to and from the wire, in either version.

import { fromBinary } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import type { Path as WirePath } from '../proto/gobgp-v3.gen.ts'
import { attributesOf, pathOf } from './attributes.ts'
import type { CheckedPath } from './dialect.ts'
import { packFamily } from './family.ts'
import { type Family, type Prefix, parsePrefix } from './prefix.ts'
import type { BestRoutes, Path, Route } from './types.ts'
import type { Version, WirePathInit } from './version.ts'

/** How the versions write the neighbor of a path that the daemon originated itself. */
const OWN_NEIGHBORS: ReadonlySet<string> = new Set(['<nil>', 'invalid IP', ''])

export function packAnnouncement(version: Version, { path, prefix }: CheckedPath): WirePathInit {
  return {
    ...version.packNlri(prefix),
    ...version.packAttributes(attributesOf(path, prefix)),
    family: packFamily(prefix.family),
  }
}

/** A withdrawal names the network alone. Never by uuid: re-adding a path silently makes its older uuid useless. */
export function packWithdrawal(version: Version, prefix: Prefix): WirePathInit {
  return { ...version.packNlri(prefix), family: packFamily(prefix.family), isWithdraw: true }
}

export function isOwn(wire: WirePath): boolean {
  return OWN_NEIGHBORS.has(wire.neighborIp)
}

/** Undefined for what we could not have sent: another kind of NLRI, or one that is no prefix. */
export function readPath(version: Version, wire: WirePath): Path | undefined {
  const prefix = readPrefix(version, wire)
  return prefix && pathOf(prefix, version.readAttributes(wire))
}

export function readRoute(version: Version, wire: WirePath): Route | undefined {
  const prefix = readPrefix(version, wire)
  if (!prefix) return undefined
  return {
    ...pathOf(prefix, version.readAttributes(wire)),
    family: prefix.family,
    ...(isOwn(wire) ? {} : { neighbor: wire.neighborIp }),
    sourceAsn: wire.sourceAsn,
    sourceId: isOwn(wire) ? '' : wire.sourceId,
    isBest: wire.best,
    isStale: wire.stale,
    isFiltered: wire.filtered,
    isNextHopInvalid: wire.isNexthopInvalid,
    sinceMs: wire.age ? timestampMs(wire.age) : 0,
  }
}

/**
 * A message of a table watch holds, of each prefix it tells about, either every best path, one after the other, or a withdrawal. Read
 * as they are asked for: a message may be long.
 */
export function* readBestRoutes(version: Version, paths: readonly Uint8Array[]): Generator<BestRoutes> {
  let change: { prefix: string; family: Family; routes: Route[] } | undefined
  for (const bytes of paths) {
    const wire = fromBinary(version.pathSchema, bytes)
    const route = readRoute(version, wire)
    if (!route) continue
    const { prefix, family } = route
    if (change?.prefix !== prefix) {
      if (change) yield change
      change = { prefix, family, routes: [] }
    }
    // The flag is not set in events: what is told here is best.
    if (!wire.isWithdraw) change.routes.push({ ...route, isBest: true })
  }
  if (change) yield change
}

function readPrefix(version: Version, wire: WirePath): Prefix | undefined {
  const nlri = version.readNlri(wire)
  return nlri && parsePrefix(`${nlri.address}/${nlri.length}`)
}
