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
  return pairsOf(before.peers, after.peers).flatMap(({ was, is, peer }) => {
    const keys = was && is ? changedKeys(was, is) : []
    const isOther = keys.some((key) => key !== 'name')
    const session = was === undefined ? 'new' : is === undefined ? 'removed' : isOther ? 'changed' : 'same'
    const routes = diffRoutes(was && routesOf(was.name, before), is && routesOf(is.name, after))
    if (session === 'same' && keys.length === 0 && routes.length === 0) return []
    return [{ peer: peer.name, remote: remoteOf(peer), asn: peer.asn, session, keys, routes }]
  })
}

interface Pair {
  readonly was: BgpPeer | undefined
  readonly is: BgpPeer | undefined
  /** As it is, else as it was. */
  readonly peer: BgpPeer
}

/** By name, else by where it is: a session whose peer is called otherwise goes on. */
function pairsOf(before: readonly BgpPeer[], after: readonly BgpPeer[]): readonly Pair[] {
  const names = new Set(after.map(({ name }) => name))
  const renamed = new Map(before.filter(({ name }) => !names.has(name)).map((one) => [remoteOf(one), one]))
  const known = new Map(before.map((one) => [one.name, one]))
  const pairs = after.map(
    (is): Pair => ({ was: known.get(is.name) ?? renamed.get(remoteOf(is)), is, peer: is }),
  )
  const met = new Set(pairs.map(({ was }) => was))
  const gone = before.filter((one) => !met.has(one)).map((was): Pair => ({ was, is: undefined, peer: was }))
  return [...pairs, ...gone].sort((a, b) => (a.peer.name < b.peer.name ? -1 : 1))
}

function remoteOf({ remote }: BgpPeer): string {
  return remote.kind === 'address' ? remote.address : remote.interface
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
