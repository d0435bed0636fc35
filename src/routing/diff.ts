// What a change of configuration would change for each router: two sets of announcements and two lists of peers, compared. Pure.

import type { Prefix } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import { type BgpPeer, NO_ATTRIBUTES, type RouteAttributes } from '../model/routing.ts'
import { attributesKey } from './exports.ts'

export interface RouteChange {
  readonly prefix: Prefix
  readonly change: 'add' | 'change' | 'withdraw'
  readonly before?: RouteAttributes
  readonly after?: RouteAttributes
  /** Why it is, or was, announced. */
  readonly why: string
}

export interface PeerChanges {
  readonly peer: string
  /** The address or interface. */
  readonly remote: string
  readonly asn: BgpPeer['asn']
  readonly session: 'new' | 'removed' | 'changed' | 'same'
  /** Keys of the peer that differ. */
  readonly keys: readonly string[]
  readonly routes: readonly RouteChange[]
}

/** What is announced, and to whom. */
export interface AnnouncedState {
  readonly peers: readonly BgpPeer[]
  readonly announcements: ReadonlyMap<Prefix, Announcement>
}

/** Peers by name, prefixes in their order; peers of which nothing differs are left out. */
export function diffAnnounced(before: AnnouncedState, after: AnnouncedState): readonly PeerChanges[] {
  const peersBefore = byName(before.peers)
  const peersAfter = byName(after.peers)
  const names = [...new Set([...peersBefore.keys(), ...peersAfter.keys()])].sort()
  return names.flatMap((name) => {
    const was = peersBefore.get(name)
    const is = peersAfter.get(name)
    const keys = was && is ? changedKeys(was, is) : []
    const session =
      was === undefined ? 'new' : is === undefined ? 'removed' : keys.length > 0 ? 'changed' : 'same'
    const routes = diffRoutes(was && routesOf(name, before), is && routesOf(name, after))
    const { remote, asn } = (is ?? was) as BgpPeer
    if (session === 'same' && routes.length === 0) return []
    return [
      {
        peer: name,
        remote: remote.kind === 'address' ? remote.address : remote.interface,
        asn,
        session,
        keys,
        routes,
      },
    ]
  })
}

interface Route {
  readonly attributes: RouteAttributes
  readonly why: string
}

/** An announcement without exports goes to everybody. */
function routesOf(peer: string, { announcements }: AnnouncedState): ReadonlyMap<Prefix, Route> {
  const routes = new Map<Prefix, Route>()
  for (const [prefix, { exports, why }] of announcements) {
    if (exports === undefined) routes.set(prefix, { attributes: NO_ATTRIBUTES, why })
    const mine = exports?.find(({ peers }) => peers.includes(peer))
    if (mine) routes.set(prefix, { attributes: mine.attributes, why })
  }
  return routes
}

const NOTHING: ReadonlyMap<Prefix, Route> = new Map()

function diffRoutes(before = NOTHING, after = NOTHING): readonly RouteChange[] {
  const prefixes = [...new Set([...before.keys(), ...after.keys()])].sort(byNumbers)
  return prefixes.flatMap((prefix): RouteChange[] => {
    const was = before.get(prefix)
    const is = after.get(prefix)
    if (was === undefined && is !== undefined)
      return [{ prefix, change: 'add', after: is.attributes, why: is.why }]
    if (is === undefined && was !== undefined)
      return [{ prefix, change: 'withdraw', before: was.attributes, why: was.why }]
    if (
      was === undefined ||
      is === undefined ||
      attributesKey(was.attributes) === attributesKey(is.attributes)
    )
      return []
    return [{ prefix, change: 'change', before: was.attributes, after: is.attributes, why: is.why }]
  })
}

const collator = new Intl.Collator('en', { numeric: true })

function byNumbers(a: string, b: string): number {
  return collator.compare(a, b)
}

/** Where a peer is written is no part of it. */
function changedKeys(before: BgpPeer, after: BgpPeer): readonly string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<keyof BgpPeer>
  keys.delete('source')
  return [...keys].filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key])).sort()
}

function byName(peers: readonly BgpPeer[]): ReadonlyMap<string, BgpPeer> {
  return new Map(peers.map((peer) => [peer.name, peer]))
}
