// Routes that peers told and the import rules let in → what the kernel must hold. gobgpd has filtered and chosen already; both are
// checked once more here, for this is the last door before the kernel:
//   - only from a peer with import rules, only what its filter names, never what is ours, a default route only where it is named;
//   - per peer no more than its maximum: what was taken stays, what comes beyond is left out and counted.
// Equally good paths of several peers become one route with several next hops. Pure but for its own memory.

import type { BestRoutes, Route } from '../../bgp/client/gobgp-grpc-client.ts'
import {
  type Family,
  liesWithin,
  type Prefix,
  type PrefixParts,
  parsePrefix,
  prefixParts,
} from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import type { ImportRules } from '../model/routing.ts'
import { withoutDefault } from './policy-plan.ts'

export interface LearningPeer {
  readonly name: string
  /** Which object and key asked for it. */
  readonly source: string
  /** As gobgpd names it, without zone. */
  readonly address: string
  readonly rules: ImportRules
  /** Where its link-local next hops are. */
  readonly interfaceIndex?: number
}

export interface LearnedNextHop {
  readonly gateway: string
  /** Of link-local gateways. */
  readonly index?: number
}

/** Sorted, without doubles; so equal routes are equal text. */
export interface LearnedRoute {
  readonly prefix: Prefix
  readonly family: Family
  readonly nextHops: readonly LearnedNextHop[]
}

interface Rules extends Omit<LearningPeer, 'rules'> {
  readonly maxPrefixes: number
  readonly filters: readonly Filter[]
}

interface Filter {
  readonly parts: PrefixParts
  readonly lengthMin: number
  readonly lengthMax: number
}

/** `ours`: it lies in what this node may announce; `not-named`: no row of the peer's imports names it. */
export type ImportVerdict = 'taken' | 'no-rules' | 'ours' | 'not-named' | 'over-limit'

export class LearnedRoutes {
  #peers: ReadonlyMap<string, Rules> = new Map()
  #own: readonly PrefixParts[] = []
  readonly #taken = new Map<string, Set<Prefix>>()
  /** Peers that told more than their maximum. */
  readonly #overflowing = new Set<string>()
  readonly #routes = new Map<Prefix, LearnedRoute>()

  /** What it lets in from now on; what was taken under other rules must be told again by `reset`. */
  configure(peers: readonly LearningPeer[], own: readonly AllowedPrefix[]): void {
    this.#own = own.map(({ prefix }) => prefixParts(prefix))
    this.#peers = new Map(
      peers.map(({ rules, ...peer }) => {
        const filters = rules.prefixes
          .flatMap((row) => withoutDefault(row))
          .map((row) => ({ ...row, parts: prefixParts(row.prefix) }))
        return [peer.address, { ...peer, maxPrefixes: rules.maxPrefixes, filters }]
      }),
    )
  }

  get routes(): ReadonlyMap<Prefix, LearnedRoute> {
    return this.#routes
  }

  /** Peers of which something was left out. */
  get overflowing(): readonly Pick<LearningPeer, 'name' | 'source'>[] {
    return [...this.#overflowing].flatMap((address) => this.#peers.get(address) ?? [])
  }

  /** How many prefixes are taken from a peer. */
  takenFrom(address: string): number {
    return this.#taken.get(address)?.size ?? 0
  }

  /** What becomes of a prefix that the peer tells. */
  judge(address: string, prefix: Prefix): ImportVerdict {
    const peer = this.#peers.get(address)
    if (!peer) return 'no-rules'
    if (this.#taken.get(address)?.has(prefix)) return 'taken'
    const parts = prefixParts(prefix)
    if (this.#isOurs(parts)) return 'ours'
    return this.#isLetIn(parts, peer) ? 'over-limit' : 'not-named'
  }

  /** The whole table. What was taken already comes first, so that it is kept. @returns the prefixes that differ */
  reset(routes: readonly Route[]): ReadonlySet<Prefix> {
    const before = new Map(this.#routes)
    const byPrefix = groupByPrefix(routes)
    const order = [...byPrefix.keys()].sort((a, b) => Number(before.has(b)) - Number(before.has(a)))
    this.#routes.clear()
    this.#taken.clear()
    this.#overflowing.clear()
    for (const prefix of order) this.#set(prefix, byPrefix.get(prefix) ?? [])
    const prefixes = new Set([...before.keys(), ...this.#routes.keys()])
    return new Set(
      [...prefixes].filter(
        (prefix) => JSON.stringify(before.get(prefix)) !== JSON.stringify(this.#routes.get(prefix)),
      ),
    )
  }

  /** Each prefix comes with all its equally good paths. @returns the prefixes that differ */
  apply(changes: readonly BestRoutes[]): ReadonlySet<Prefix> {
    const touched = new Set<Prefix>()
    for (const change of changes) {
      const prefix = parsePrefix(change.prefix)
      if (prefix === undefined) continue
      const before = JSON.stringify(this.#routes.get(prefix))
      this.#set(prefix, change.routes)
      if (JSON.stringify(this.#routes.get(prefix)) !== before) touched.add(prefix)
    }
    return touched
  }

  #set(prefix: Prefix, routes: readonly Route[]): void {
    const parts = prefixParts(prefix)
    const wanted = new Map<string, LearnedNextHop[]>()
    for (const route of routes) {
      const peer = this.#peers.get(plainAddress(route.neighbor))
      if (!peer || !this.#isLetIn(parts, peer)) continue
      wanted.set(peer.address, [...(wanted.get(peer.address) ?? []), ...nextHopsOf(route, peer)])
    }
    const nextHops = [...this.#peers.values()].flatMap((peer) => this.#take(peer, prefix, wanted) ?? [])
    if (nextHops.length === 0) this.#routes.delete(prefix)
    else this.#routes.set(prefix, { prefix, family: parts.family, nextHops: tidy(nextHops) })
  }

  #take(
    { address, maxPrefixes }: Rules,
    prefix: Prefix,
    wanted: ReadonlyMap<string, LearnedNextHop[]>,
  ): LearnedNextHop[] | undefined {
    const taken = this.#taken.get(address) ?? new Set()
    this.#taken.set(address, taken)
    const hops = wanted.get(address)
    if (!hops) {
      taken.delete(prefix)
      return undefined
    }
    if (!taken.has(prefix) && taken.size >= maxPrefixes) {
      this.#overflowing.add(address)
      return undefined
    }
    taken.add(prefix)
    return hops
  }

  #isOurs(route: Omit<PrefixParts, 'length'>): boolean {
    return this.#own.some((own) => liesWithin(route, own))
  }

  #isLetIn(route: PrefixParts, { filters }: Rules): boolean {
    if (this.#isOurs(route)) return false
    return filters.some(
      ({ parts, lengthMin, lengthMax }) =>
        liesWithin(route, parts) && lengthMin <= route.length && route.length <= lengthMax,
    )
  }
}

function groupByPrefix(routes: readonly Route[]): Map<Prefix, Route[]> {
  const groups = new Map<Prefix, Route[]>()
  for (const route of routes) {
    const prefix = parsePrefix(route.prefix)
    if (prefix === undefined) continue
    const group = groups.get(prefix)
    if (group) group.push(route)
    else groups.set(prefix, [route])
  }
  return groups
}

function nextHopsOf({ nextHop }: Route, { interfaceIndex }: Rules): LearnedNextHop[] {
  const gateway = plainAddress(nextHop)
  if (gateway === '') return []
  if (!/^fe[89ab]/.test(gateway)) return [{ gateway }]
  return interfaceIndex === undefined ? [] : [{ gateway, index: interfaceIndex }]
}

function tidy(hops: readonly LearnedNextHop[]): LearnedNextHop[] {
  const unique = new Map(hops.map((hop) => [`${hop.gateway} ${hop.index ?? 0}`, hop]))
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, hop]) => hop)
}

function plainAddress(text: string | undefined): string {
  return (text ?? '').split('%')[0] ?? ''
}
