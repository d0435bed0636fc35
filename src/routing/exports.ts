// Who is told of a prefix, with which attributes: the rules of announcing, joined with what a Service's annotations say. Pure.
//
//   1. every rule that names the prefix's kind, family, pool and Service gives it to its peers, unless it is about attributes alone;
//   2. kube-router's `service.advertise.*` adds every external peer, or takes the kind out;
//   3. a Service's own list of peers leaves only those;
//   4. a session that does not carry the family is left out.
// Attributes of everything that gives a prefix to a peer are joined: communities as a union, numbers by the last that has one.
// A Service's annotations come last.

import type { Family } from '../model/address.ts'
import { selectorMatches, serviceLabels } from '../model/label-selector.ts'
import {
  type AnnounceKind,
  type AnnounceRule,
  type BgpPeer,
  NO_ATTRIBUTES,
  type NodeRouting,
  type PeerExport,
  type RouteAttributes,
  sessionOf,
} from '../model/routing.ts'
import type { Service } from '../model/service.ts'

export type RulesOfRouting = Pick<NodeRouting, 'asn' | 'peers' | 'rules'>

/** One reason to announce a prefix: the node itself, or a Service. */
export interface ExportSubject {
  readonly kinds: readonly AnnounceKind[]
  readonly family: Family
  /** undefined: the address is from none. */
  readonly pool: string | undefined
  readonly service: Pick<Service, 'key' | 'labels' | 'announcing'> | undefined
}

/** By name of peer. */
type PeerAttributes = Map<string, RouteAttributes>

/**
 * Stands for all peers where the configuration has none: then the sessions are somebody else's (kube-router's), and get
 * what rules for every peer say.
 */
const ALL_PEERS = ''

/** @returns empty when no rule gives the prefix to anybody */
export function exportsOf(
  routing: RulesOfRouting,
  subjects: readonly ExportSubject[],
): readonly PeerExport[] {
  const all: PeerAttributes = new Map()
  for (const subject of subjects) {
    for (const [peer, attributes] of subjectExports(routing, subject))
      all.set(peer, joinAttributes(all.get(peer), attributes))
  }
  return groupByAttributes(all, routing.peers)
}

/** In their order. */
function rulesThatMatch(routing: RulesOfRouting, subject: ExportSubject): readonly AnnounceRule[] {
  const kinds = kindsAllowed(subject)
  return routing.rules.filter((rule) => mismatch(rule, subject, kinds) === undefined)
}

function subjectExports(routing: RulesOfRouting, subject: ExportSubject): PeerAttributes {
  const { peers } = routing
  const announcing = subject.service?.announcing
  const rules = rulesThatMatch(routing, subject)
  const every = namesOf(peers, () => true)
  const given = new Set(rules.flatMap((rule) => (rule.isOnlyAttributes ? [] : (rule.peers ?? every))))
  if (subject.kinds.some((kind) => announcing?.advertise[kind] === true))
    for (const name of namesOf(peers, (peer) => isExternal(peer, routing.asn))) given.add(name)
  const exports: PeerAttributes = new Map()
  for (const name of namesOf(peers, (peer) => peer.families.includes(subject.family))) {
    if (!given.has(name) || announcing?.peers?.includes(name) === false) continue
    const attributes = rules
      .filter((rule) => rule.peers === undefined || rule.peers.includes(name))
      .reduce((sum, rule) => joinAttributes(sum, rule.attributes), NO_ATTRIBUTES)
    exports.set(name, announcing ? joinAttributes(attributes, announcing.attributes) : attributes)
  }
  return exports
}

function namesOf(peers: readonly BgpPeer[], counts: (peer: BgpPeer) => boolean): readonly string[] {
  return peers.length === 0 ? [ALL_PEERS] : peers.filter(counts).map(({ name }) => name)
}

function isExternal({ asn, localAsn }: BgpPeer, ownAsn: number): boolean {
  return typeof asn === 'number' ? asn !== (localAsn ?? ownAsn) : asn === 'external'
}

function kindsAllowed({ kinds, service }: ExportSubject): readonly AnnounceKind[] {
  return kinds.filter((kind) => service?.announcing?.advertise[kind] !== false)
}

/** What a rule asks for that the subject has not; undefined: it matches. */
export type RuleMismatch = 'kind' | 'family' | 'pool' | 'namespace' | 'labels'

export function ruleMismatch(rule: AnnounceRule, subject: ExportSubject): RuleMismatch | undefined {
  return mismatch(rule, subject, kindsAllowed(subject))
}

function mismatch(
  rule: AnnounceRule,
  { family, pool, service }: ExportSubject,
  kinds: readonly AnnounceKind[],
): RuleMismatch | undefined {
  if (!rule.kinds.some((kind) => kinds.includes(kind))) return 'kind'
  if (rule.families && !rule.families.includes(family)) return 'family'
  if (!service) return undefined
  if (rule.pools && (pool === undefined || (rule.pools !== 'all' && !rule.pools.includes(pool))))
    return 'pool'
  const namespace = service.key.slice(0, service.key.indexOf('/'))
  if (rule.namespaces && !rule.namespaces.includes(namespace)) return 'namespace'
  if (rule.services === undefined) return undefined
  return selectorMatches(rule.services, serviceLabels(service.key, service.labels)) ? undefined : 'labels'
}

function joinAttributes(
  first: RouteAttributes = NO_ATTRIBUTES,
  second: RouteAttributes = NO_ATTRIBUTES,
): RouteAttributes {
  if (first === NO_ATTRIBUTES) return second
  if (second === NO_ATTRIBUTES) return first
  const localPref = second.localPref ?? first.localPref
  const med = second.med ?? first.med
  return {
    communities: union(first.communities, second.communities),
    largeCommunities: union(first.largeCommunities, second.largeCommunities),
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    prepend: second.prepend || first.prepend,
  }
}

function union(first: readonly string[], second: readonly string[]): readonly string[] {
  if (second.length === 0) return first
  return [...new Set([...first, ...second])].sort()
}

/** Thousands of VIPs have few different exports: equal ones are the same object, which the speaker knows again without comparing. */
const INTERNED_MAX = 4096
const interned = new Map<string, readonly PeerExport[]>()

function intern(exports: readonly PeerExport[]): readonly PeerExport[] {
  const key = exportsKey(exports)
  const known = interned.get(key)
  if (known) return known
  if (interned.size >= INTERNED_MAX) interned.clear()
  interned.set(key, exports)
  return exports
}

/** In the order of the peers' names, so that equal exports are equal as text. */
function groupByAttributes(all: PeerAttributes, peers: readonly BgpPeer[]): readonly PeerExport[] {
  const groups = new Map<string, { peers: string[]; attributes: RouteAttributes }>()
  for (const name of [...all.keys()].sort()) {
    const attributes = all.get(name) ?? NO_ATTRIBUTES
    const text = attributesKey(attributes)
    const group = groups.get(text) ?? { peers: [], attributes }
    groups.set(text, group)
    if (name !== ALL_PEERS) group.peers.push(name)
  }
  return intern([...groups.values()].map((group) => withSessions(group, peers)))
}

function withSessions(group: PeerExport, peers: readonly BgpPeer[]): PeerExport {
  if (group.peers.length === 0) return group
  const sessions = group.peers
    .flatMap((name) => peers.find((peer) => peer.name === name) ?? [])
    .map(sessionOf)
  return { ...group, sessions }
}

/** Equal for equal attributes only. */
export function attributesKey(attributes: RouteAttributes): string {
  const { communities, largeCommunities, localPref, med, prepend } = attributes
  return `${communities.join(' ')}|${largeCommunities.join(' ')}|${localPref ?? ''}|${med ?? ''}|${prepend}`
}

/** Equal for equal exports only. */
export function exportsKey(exports: readonly PeerExport[] | undefined): string {
  if (!exports) return ''
  return exports
    .map(
      ({ peers, sessions = [], attributes }) =>
        `${peers.join(',')}@${sessions.join(',')}>${attributesKey(attributes)}`,
    )
    .join(';')
}
