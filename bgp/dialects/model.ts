// A BGP router as Weir's fabric needs it, in no vendor's words: one model, written out by a dialect (frr.ts, bird.ts).
// Pure data; imports nothing. What every dialect must keep true:
//   - no policy, no routes: a group accepts and announces only what its rules list (RFC 8212);
//   - one session per family, over that family's own addresses, carrying only that family;
//   - a peer that restarts within its graceful-restart time keeps its routes (RFC 4724, helper side);
//   - equal paths from different ASNs share the load (ECMP);
//   - a peer that asks for graceful shutdown (community 65535:0, RFC 8326) is used only if nothing else is left.

export interface RouterModel {
  readonly name: string
  readonly asn: number
  /** An IPv4 address, also on a router that carries IPv6 only. */
  readonly routerId: string
  readonly groups: readonly PeerGroup[]
  /** Directly connected prefixes that match are announced as the router's own. */
  readonly ownPrefixes: readonly PrefixRule[]
  readonly ecmpPathsMax: number
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
}

/** Both what is sent at and what is accepted; so many intervals of silence are the end. */
export interface BfdTimers {
  readonly intervalMs: number
  readonly multiplier: number
}

export interface Peer {
  readonly name: string
  readonly asn: number
  /** Decides the session's family. */
  readonly address: string
  readonly localAddress: string
}

/** Prefixes inside `prefix` whose length is between `lengthMin` and `lengthMax`. */
export interface PrefixRule {
  readonly prefix: string
  readonly lengthMin: number
  readonly lengthMax: number
}

/** Fast enough that a silent peer is gone in nine seconds, slow enough for two busy cores. */
export const TIMERS = { keepaliveSeconds: 3, holdSeconds: 9, connectRetrySeconds: 5 } as const

export type Family = 'ipv4' | 'ipv6'
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

export function ofFamily<T extends Peer | PrefixRule>(entries: readonly T[], family: Family): T[] {
  return entries.filter((entry) => familyOf('address' in entry ? entry.address : entry.prefix) === family)
}

function familyOf(text: string): Family {
  return text.includes(':') ? 'ipv6' : 'ipv4'
}

/** The text of a router's configuration goes through its own parser: a name must not be able to end a statement. */
export function checkModelNames(router: RouterModel): void {
  const names = [
    router.name,
    ...router.groups.flatMap((group) => [group.name, ...group.peers.map((peer) => peer.name)]),
  ]
  for (const name of names) {
    if (!/^[a-z][a-z0-9-]*$/i.test(name)) {
      throw new Error(`'${name}' cannot stand in a router's configuration: use letters, digits and hyphens`)
    }
  }
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
