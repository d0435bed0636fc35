// What gobgpd's policy must be: sets and statements from the allowed prefixes, the classes in use, the peers and the drain mark. Pure.
//
// Export: after what is reflected, which is others', what lies outside the allowed prefixes is rejected once for all classes: gobgpd asks
// every statement in turn about every path and peer, and a look into a prefix set is half of what one costs. Then a statement accepts what
// this node originated, of one class, for the peers of one export. What no statement accepts is rejected. In a host's gobgpd, where others'
// paths pass our policy, nothing is rejected by us, and every statement names the allowed prefixes itself.
// Import: what this node originates; then nothing that is ours; then, from peers with import rules, what their filter names. An *empty*
// neighbor set would match every peer, so none is ever made.

import type {
  DefinedSet,
  PolicyChanges,
  PolicyStatement,
  PrefixSetMember,
} from '../../bgp/client/gobgp-grpc-client.ts'
import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import type { DrainMark, ImportRules } from '../model/routing.ts'
import type { ClassExport, ExportClass } from './export-classes.ts'
import { classSetName, contentName, FAMILY_SETS, IMPORT_POLICY, OWN_SETS } from './policy-names.ts'
import { anyLength, writeOutMembers } from './prefix-sets.ts'

/** A draining node is the last choice of internal peers too. Policy in gobgpd cannot set 0, it takes it for "not set". */
const DRAIN_LOCAL_PREF = 1

/** Routers refuse paths far shorter than the 255 that fit. */
const PREPEND_MAX = 64

/** A peer as policy sees it. */
export interface PolicyPeer {
  /** Without a zone: that is what gobgpd compares. */
  readonly address: string
  readonly isInternal: boolean
  readonly families: readonly Family[]
  /** What we call ourselves towards it. */
  readonly ownAsn: number
  /** The next hop where the session's own address is of the wrong family and gobgpd would write nonsense. */
  readonly nextHops: Readonly<Partial<Record<Family, Address>>>
  readonly imports?: ImportRules
  readonly isReflectorClient: boolean
}

export interface PolicyFacts {
  /** Whose gobgpd it is. */
  readonly host: 'own' | 'kube-router'
  readonly allowed: readonly AllowedPrefix[]
  readonly classes: readonly ExportClass[]
  readonly peers: readonly PolicyPeer[]
  readonly drain: DrainMark | undefined
}

export interface PlannedPolicy {
  readonly sets: readonly DefinedSet[]
  readonly exports: readonly PolicyStatement[]
  readonly imports: readonly PolicyStatement[]
}

export function planPolicy(facts: PolicyFacts): PlannedPolicy {
  const sets = new Map<string, DefinedSet>()
  const keep = (set: DefinedSet) => {
    sets.set(set.name, set)
    return set.name
  }
  for (const family of FAMILIES) keep(allowedSet(family, facts.allowed))
  const exports = [
    ...FAMILIES.flatMap((family) => planReflection(family, facts, keep)),
    ...(facts.host === 'own' ? FAMILIES.map((family) => refuseOutside(family, facts.allowed)) : []),
    ...facts.classes.flatMap((one) => planClass(one, facts, keep)),
  ]
  const imports = planImports(facts, keep)
  return { sets: [...sets.values()], exports, imports }
}

type Keep = (set: DefinedSet) => string

function allowedSet(family: Family, allowed: readonly AllowedPrefix[]): DefinedSet {
  const rows = allowed.filter((row) => row.family === family)
  return { kind: 'prefix', name: FAMILY_SETS[family].prefixSet, members: writeOutMembers(rows) }
}

function neighborSet(addresses: readonly string[]): DefinedSet {
  const members = [...new Set(addresses)].sort()
  return { kind: 'neighbor', name: contentName('peers', members), members }
}

/** Of a family without allowed prefixes the set would be empty, which nothing is outside of. */
function refuseOutside(family: Family, allowed: readonly AllowedPrefix[]): PolicyStatement {
  const isAny = allowed.some((row) => row.family === family)
  return {
    name: `weir-refuse-outside-${family}`,
    conditions: isAny ? { outsidePrefixSet: FAMILY_SETS[family].prefixSet } : { families: [family] },
    action: 'reject',
  }
}

/** What a statement is for; undefined: whichever family. */
type Scope = Family | undefined

function planClass(one: ExportClass, facts: PolicyFacts, keep: Keep): PolicyStatement[] {
  const name = classSetName(one.marker)
  keep({ kind: 'large-community', name, members: [one.marker] })
  const statements = one.exports.flatMap((row) =>
    scopesOf(row, facts).flatMap((scope) =>
      planExport(row, one.marker, scope, facts).map((group) => ({ ...group, scope })),
    ),
  )
  return statements.map(({ peers, changes, scope }, index) => ({
    name: `${name}-${index}-${scope ?? 'any'}`,
    conditions: {
      ...(scope === undefined ? {} : { prefixSet: FAMILY_SETS[scope].prefixSet }),
      ...(peers === 'all' ? {} : { neighborSet: keep(neighborSet(peers)) }),
      largeCommunitySet: { name, match: 'any' as const },
      routeType: 'local' as const,
    },
    changes,
    action: 'accept' as const,
  }))
}

/** One for both families where nothing differs between them; in a host's gobgpd each statement must name its prefixes. */
function scopesOf(row: ClassExport, { host, peers }: PolicyFacts): readonly Scope[] {
  const isUniform = ({ families, nextHops }: PolicyPeer) =>
    new Set(families.map((family) => nextHops[family])).size <= 1
  return host === 'own' && peers.filter((peer) => isMeant(row, peer)).every(isUniform)
    ? [undefined]
    : FAMILIES
}

function isMeant(row: ClassExport, peer: PolicyPeer): boolean {
  return row.peers === 'all' || row.peers.includes(peer.address)
}

interface Group {
  readonly peers: readonly string[] | 'all'
  readonly changes: PolicyChanges
}

/** Peers to whom the same change is made share a statement. The plainest group of 'all' comes last and names nobody. */
function planExport(row: ClassExport, marker: string, scope: Scope, facts: PolicyFacts): Group[] {
  const { drain, peers } = facts
  const meant = peers.filter(
    (peer) => isMeant(row, peer) && (scope === undefined || peer.families.includes(scope)),
  )
  const groups = new Map<string, { peers: string[]; changes: PolicyChanges }>()
  for (const peer of meant) {
    const nextHop = peer.nextHops[scope ?? peer.families[0] ?? 'ipv4']
    const changes = changesFor(row, marker, nextHop, peer, drain)
    const key = JSON.stringify(changes)
    const group = groups.get(key) ?? { peers: [], changes }
    group.peers.push(peer.address)
    groups.set(key, group)
  }
  const sorted = [...groups.values()].sort((a, b) => a.peers.length - b.peers.length)
  if (row.peers !== 'all') return sorted
  const last = sorted.pop()
  return last === undefined ? [] : [...sorted, { ...last, peers: 'all' }]
}

function changesFor(
  { changes }: ClassExport,
  marker: string,
  nextHop: Address | undefined,
  peer: PolicyPeer,
  drain: DrainMark | undefined,
): PolicyChanges {
  const communities = [...new Set([...changes.addCommunities, ...(drain?.communities ?? [])])]
  const med = drain?.med ?? changes.med
  const localPref = drain ? DRAIN_LOCAL_PREF : changes.localPref
  // Our own ASN in a path makes internal peers refuse it as a loop.
  const repeat = peer.isInternal ? 0 : Math.min(PREPEND_MAX, changes.prepend + (drain?.prepend ?? 0))
  return {
    ...(communities.length > 0 ? { communities: { kind: 'add', communities } } : {}),
    largeCommunities: changes.largeCommunities
      ? { kind: 'replace', communities: changes.largeCommunities }
      : { kind: 'remove', communities: [marker] },
    ...(med === undefined ? {} : { med: { kind: 'set', value: med } }),
    ...(localPref === undefined || !peer.isInternal ? {} : { localPref: Math.max(1, localPref) }),
    ...(repeat === 0 ? {} : { prepend: { asn: peer.ownAsn, repeat } }),
    ...(nextHop === undefined ? {} : { nextHop: { address: nextHop } }),
  }
}

/** RFC 4456: what internal peers told, to internal peers; gobgpd sees to it that one of the two is a client. */
function planReflection(family: Family, { peers }: PolicyFacts, keep: Keep): PolicyStatement[] {
  const internal = peers.filter((peer) => peer.isInternal)
  if (!internal.some((peer) => peer.isReflectorClient)) return []
  const members = importMembers(internal, family)
  if (members.length === 0) return []
  return [
    {
      name: `weir-reflect-${family}`,
      conditions: {
        prefixSet: keep({ kind: 'prefix', name: contentName('reflect', members), members }),
        neighborSet: keep(neighborSet(internal.map(({ address }) => address))),
        routeType: 'internal',
      },
      action: 'accept',
    },
  ]
}

function planImports(facts: PolicyFacts, keep: Keep): PolicyStatement[] {
  const own: PolicyStatement = {
    name: IMPORT_POLICY,
    conditions: { routeType: 'local' },
    action: 'accept',
  }
  const importing = facts.peers.filter(({ imports }) => imports !== undefined)
  if (importing.length === 0) return [own]
  return [own, ...FAMILIES.flatMap((family) => planFamilyImports(family, importing, facts.allowed, keep))]
}

function planFamilyImports(
  family: Family,
  importing: readonly PolicyPeer[],
  allowed: readonly AllowedPrefix[],
  keep: Keep,
): PolicyStatement[] {
  const ours = writeOutMembers(
    allowed.filter((row) => row.family === family).map(({ prefix }) => anyLength(prefix)),
  )
  const statements: PolicyStatement[] = []
  if (ours.length > 0)
    statements.push({
      name: `weir-refuse-own-${family}`,
      conditions: { prefixSet: keep({ kind: 'prefix', name: OWN_SETS[family], members: ours }) },
      action: 'reject',
    })
  const byFilter = new Map<string, { members: readonly PrefixSetMember[]; peers: string[] }>()
  for (const peer of importing) {
    const members = importMembers([peer], family)
    if (members.length === 0) continue
    const name = contentName('import', members)
    const entry = byFilter.get(name) ?? { members, peers: [] }
    entry.peers.push(peer.address)
    byFilter.set(name, entry)
  }
  for (const [name, { members, peers }] of byFilter)
    statements.push({
      name: `${name}-${family}`,
      conditions: {
        prefixSet: keep({ kind: 'prefix', name, members }),
        neighborSet: keep(neighborSet(peers)),
      },
      action: 'accept',
    })
  return statements
}

function importMembers(peers: readonly PolicyPeer[], family: Family): readonly PrefixSetMember[] {
  const rows = peers
    .flatMap(({ imports }) => imports?.prefixes ?? [])
    .filter(({ prefix }) => familyOf(prefix) === family)
    .flatMap((row) => withoutDefault(row))
  return writeOutMembers(rows)
}

/** A default route only where a filter names nothing else: `0.0.0.0/0` with lengths 0 to 0. */
export function withoutDefault<R extends { lengthMin: number; lengthMax: number }>(row: R): R[] {
  if (row.lengthMin > 0 || row.lengthMax === 0) return [row]
  return [{ ...row, lengthMin: 1 }]
}
