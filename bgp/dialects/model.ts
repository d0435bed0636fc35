// A BGP router as Weir's fabric needs it, in no vendor's words: one model, written out by a dialect (frr.ts, bird.ts).
// Pure data; imports nothing. What every dialect must keep true:
//   - no policy, no routes: a group accepts and announces only what its rules list (RFC 8212);
//   - one session per family, over that family's own addresses, carrying only that family;
//   - a peer that restarts within its graceful-restart time keeps its routes (RFC 4724, helper side);
//   - equal paths from different ASNs share the load (ECMP);
//   - a peer that asks for graceful shutdown (community 65535:0, RFC 8326) is used only if nothing else is left.

export interface RouterModel {
  /** Undefined: a router that has its configuration already, to which this is to be added; what is the whole router's is left to it. */
  readonly name?: string
  readonly asn: number
  /** Of a router without a name: neighbours that it has already are made anew, and their sessions with them. */
  readonly isReplacing?: boolean
  /** An IPv4 address, also on a router that carries IPv6 only. Undefined: the router has one. */
  readonly routerId?: string
  readonly groups: readonly PeerGroup[]
  /** Directly connected prefixes that match are announced as the router's own. */
  readonly ownPrefixes: readonly PrefixRule[]
  readonly ecmpPathsMax: number
  /** For who reads it: comments at the top. */
  readonly remarks?: readonly string[]
}

/** Peers that are treated alike. Its name appears in the configuration: letters, digits and `-`. */
export interface PeerGroup {
  readonly name: string
  readonly peers: readonly Peer[]
  readonly accept: readonly PrefixRule[]
  /** Empty: nothing is announced to the group. */
  readonly announce: readonly PrefixRule[]
  /** Per session: beyond this the router protects itself. */
  readonly prefixesMax: number
  /** Wait for the peer to connect. For speakers that never listen. */
  readonly passive: boolean
  /** Single-hop BFD (RFC 5881) watches every peer of the group; its loss ends the session. Undefined: none. */
  readonly bfd?: BfdTimers | undefined
  /** Undefined: TIMERS. */
  readonly timers?: Timers | undefined
  /** TCP's MD5 signature (RFC 2385). Stands in the text as it is here. */
  readonly password?: string | undefined
  /** GTSM (RFC 5082): peers are at most so many hops away, and what looks farther is dropped. Never beside multihopTtl. */
  readonly ttlSecurityHops?: number | undefined
  /** TTL of external sessions over several hops. */
  readonly multihopTtl?: number | undefined
  /** Undefined: each session its own family alone. IPv4 in an IPv6 session has IPv6 next hops (RFC 8950). */
  readonly carries?: readonly Family[] | undefined
  /** Whoever calls from these networks is a peer of the group, too. */
  readonly listen?: { readonly ranges: readonly string[]; readonly asn: number | 'external' } | undefined
}

export interface Timers {
  readonly keepaliveSeconds: number
  readonly holdSeconds: number
  readonly connectRetrySeconds: number
}

/** Both what is sent at and what is accepted; so many intervals of silence are the end. */
export interface BfdTimers {
  readonly intervalMs: number
  readonly multiplier: number
}

export interface Peer {
  readonly name: string
  readonly asn: number
  /** Decides the session's family. Empty where only the interface is known. */
  readonly address: string
  /** Empty: the router chooses. */
  readonly localAddress: string
  /** The router's, for an unnumbered session over link-local addresses. */
  readonly interface?: string | undefined
}

/** Prefixes inside `prefix` whose length is between `lengthMin` and `lengthMax`. */
export interface PrefixRule {
  readonly prefix: string
  readonly lengthMin: number
  readonly lengthMax: number
}

/** Fast enough that a silent peer is gone in nine seconds, slow enough for two busy cores. */
export const TIMERS: Timers = { keepaliveSeconds: 3, holdSeconds: 9, connectRetrySeconds: 5 }

export type Family = 'ipv4' | 'ipv6'
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

export function ofFamily<T extends Peer | PrefixRule>(entries: readonly T[], family: Family): T[] {
  return entries.filter(
    (entry) => ('prefix' in entry ? familyOf(entry.prefix) : familyOfPeer(entry)) === family,
  )
}

export function familyOf(text: string): Family {
  return text.includes(':') ? 'ipv6' : 'ipv4'
}

function familyOfPeer({ address, interface: link }: Peer): Family {
  return link === undefined ? familyOf(address) : 'ipv6'
}

/** A group's sessions over addresses of one family: what routers call a peer group. */
export interface Sessions {
  readonly group: PeerGroup
  /** `nodes-ipv4` */
  readonly name: string
  /** Of the addresses that the sessions run between. */
  readonly family: Family
  /** What they carry. */
  readonly carries: readonly Family[]
  readonly peers: readonly Peer[]
  readonly ranges: readonly string[]
  readonly timers: Timers
}

export function sessionsOf(group: PeerGroup): readonly Sessions[] {
  return FAMILIES.flatMap((family) => {
    const peers = ofFamily(group.peers, family)
    const ranges = (group.listen?.ranges ?? []).filter((range) => familyOf(range) === family)
    if (peers.length === 0 && ranges.length === 0) return []
    const carries = group.carries ?? [family]
    const timers = group.timers ?? TIMERS
    return [{ group, name: `${group.name}-${family}`, family, carries, peers, ranges, timers }]
  })
}

/** The families for which the group needs policy. */
export function familiesCarried(group: PeerGroup): readonly Family[] {
  const carried = new Set(sessionsOf(group).flatMap(({ carries }) => carries))
  return FAMILIES.filter((family) => carried.has(family))
}

/** Routers warn at this share of a limit. */
export const WARN_PERCENT = 80

/** The community of graceful shutdown (RFC 8326). */
export const GRACEFUL_SHUTDOWN = '65535:0'

/** @param mark what begins a comment */
export function remarkLines({ remarks = [] }: RouterModel, mark: string): string[] {
  return remarks.map((remark) => `${mark} ${remark.replaceAll(/[^ -~]+/g, ' ')}`)
}

/** The text of a router's configuration goes through its own parser: nothing in it must be able to end a statement. */
export function checkModelNames({ name, groups }: RouterModel): void {
  const peers = groups.flatMap((group) => group.peers)
  const names = [name ?? 'router', ...groups.map((group) => group.name), ...peers.map((peer) => peer.name)]
  for (const one of names) check(one, /^[a-z][a-z0-9-]*$/i, 'use letters, digits and hyphens')
  for (const { interface: link } of peers)
    if (link !== undefined) check(link, /^[a-z][a-z0-9.:_/-]*$/i, 'name the interface as the router does')
  for (const { password } of groups)
    if (password !== undefined)
      check(password, /^[!#-~]+$/, 'use printable characters without blanks and quotation marks')
}

function check(text: string, pattern: RegExp, mend: string): void {
  if (!pattern.test(text)) throw new Error(`'${text}' cannot stand in a router's configuration: ${mend}`)
}

/** A BFD session as the router tells it, by the peer's address. */
export interface BfdSessionState {
  readonly address: string
  readonly isUp: boolean
}

/** A session as the router itself tells it. */
export interface SessionState {
  readonly peer: string
  readonly address: string
  readonly family: Family
  /** `Established`, or the state of the router's own words. */
  readonly state: string
  readonly prefixesAccepted: number
}

export function sessionOf(peer: Peer, state: string, prefixesAccepted: number): SessionState {
  return { peer: peer.name, address: peer.address, family: familyOf(peer.address), state, prefixesAccepted }
}
