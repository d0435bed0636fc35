// The other side of this node's sessions: NodeRouting → what its routers should be told, as the dialects' one model. What a router lets in
// is the guard's own allow-list with its exact lengths, so a fault of the node is caught a third time, where the node cannot reach. Pure.

import {
  type Family,
  familyOf,
  type Peer,
  type PeerGroup,
  type PrefixRule,
  type RouterModel,
} from '../../bgp/dialects/model.ts'
import type { RouterSideFacts } from '../agent/router-side-view.ts'
import type { BgpPeer, NodeRouting } from '../model/routing.ts'
import { UsageError } from './options.ts'

/** Stands where the password has to; the password itself is never read. */
export const PASSWORD_PLACEHOLDER = 'REPLACE-WITH-THE-PASSWORD'

/** The router must allow more than the node would ever send: beyond its limit it ends the session, and every VIP with it. */
const HEADROOM = 1.25

const ECMP_PATHS_MAX = 64
const TTL_OF_NEIGHBOURS = 255

export interface RouterSideOptions {
  /** Names of the peers that are one router; empty: by what can be seen (routersOf). */
  readonly peers: readonly string[]
  /** The router's AS number, where the node takes any. */
  readonly asn?: number
  /** Networks whose callers are peers, instead of this node's own addresses. */
  readonly listenRanges: readonly string[]
  /** What other nodes may announce, besides. */
  readonly accept: readonly PrefixRule[]
  /** The router's, of an unnumbered session. */
  readonly interface?: string
}

/**
 * Peers that are one router. Addresses do not tell, so it is one session by family at the most, of one AS number: what is certain, and
 * otherwise each session on its own.
 */
export function routersOf(peers: readonly BgpPeer[]): readonly (readonly BgpPeer[])[] {
  const byAsn = new Map<string, BgpPeer[]>()
  for (const peer of peers) byAsn.set(String(peer.asn), [...(byAsn.get(String(peer.asn)) ?? []), peer])
  return [...byAsn.values()].flatMap((same) => {
    const families = same.map(transportOf)
    return new Set(families).size === families.length ? [same] : same.map((peer) => [peer])
  })
}

export function routerSide(
  facts: RouterSideFacts,
  peers: readonly BgpPeer[],
  options: RouterSideOptions,
): RouterModel {
  const bySettings = new Map<string, BgpPeer[]>()
  for (const peer of peers) {
    const key = JSON.stringify(settingsOf(peer, facts.routing))
    bySettings.set(key, [...(bySettings.get(key) ?? []), peer])
  }
  const asn = routerAsn(facts.routing, peers, options)
  return {
    asn,
    groups: [...bySettings.values()].map((alike, index) =>
      groupOf(groupName(index, facts.node, options), alike, { facts, options, asn }),
    ),
    ownPrefixes: [],
    ecmpPathsMax: ECMP_PATHS_MAX,
    remarks: remarksOf(facts, peers, options, asn),
  }
}

/** With the node's name, unless it is for all: the lists of the next node on the same router must not take the place of these. */
function groupName(index: number, node: string, { listenRanges }: RouterSideOptions): string {
  const base = index === 0 ? 'nodes' : `nodes-${index + 1}`
  return listenRanges.length > 0 ? base : `${base}-${symbolOf(node)}`
}

function symbolOf(node: string): string {
  return (/^[a-z]/i.test(node) ? node : `node-${node}`).replaceAll(/[^a-z0-9-]/gi, '-')
}

function remarksOf(
  { node, routing, lacks }: RouterSideFacts,
  peers: readonly BgpPeer[],
  options: RouterSideOptions,
  asn: number,
): string[] {
  const sessions = peers.map((peer) => `${peer.name} (${remoteText(peer)})`).join(', ')
  const others = peers.filter(({ port }) => port !== 179)
  return [
    `Router of AS ${asn} for node ${node}, AS ${routing.asn}: ${sessions}`,
    ...(peers.some(({ password }) => password !== undefined)
      ? [`Put the password of the session in the place of ${PASSWORD_PLACEHOLDER}.`]
      : []),
    ...(options.listenRanges.length > 0
      ? ['The prefix lists hold what this node may announce; --accept adds what the others may.']
      : []),
    ...others.map(
      ({ name, port }) => `The node calls ${name} at port ${port}: the router must listen there.`,
    ),
    ...lacks,
  ]
}

function remoteText({ remote }: BgpPeer): string {
  return remote.kind === 'address' ? remote.address : remote.interface
}

function routerAsn(
  { asn: own }: NodeRouting,
  peers: readonly BgpPeer[],
  { asn: told }: RouterSideOptions,
): number {
  const asns = new Set(peers.map(({ asn }) => (asn === 'internal' ? own : asn)))
  const [asn] = asns
  const names = peers.map(({ name }) => name).join(', ')
  if (asns.size > 1)
    throw new UsageError(`${names} have different AS numbers. Mend: name with --peer those of one router`)
  if (typeof asn === 'number') {
    if (told !== undefined && told !== asn)
      throw new UsageError(`${names} must be of AS ${asn}, not ${told}. Mend: leave --asn out`)
    return asn
  }
  if (told !== undefined) return told
  throw new UsageError(`${names} may have any AS number. Mend: --asn says the router's`)
}

/** Of the addresses that the session runs between. */
function transportOf({ remote }: BgpPeer): Family {
  return remote.kind === 'address' ? familyOf(remote.address) : 'ipv6'
}

/** All that a peer group has in common. */
function settingsOf(peer: BgpPeer, { listen }: NodeRouting) {
  const own = transportOf(peer)
  const isPlain = peer.families.length === 1 && peer.families[0] === own
  return {
    timers: peer.timers,
    passive: listen === undefined,
    ...(isPlain ? {} : { carries: peer.families }),
    ...(peer.bfd ? { bfd: peer.bfd } : {}),
    ...(peer.password ? { password: PASSWORD_PLACEHOLDER } : {}),
    ...(peer.multihopTtl === undefined ? {} : { multihopTtl: peer.multihopTtl }),
    ...(peer.ttlSecurityMin === undefined
      ? {}
      : { ttlSecurityHops: TTL_OF_NEIGHBOURS - peer.ttlSecurityMin + 1 }),
    announce: (peer.imports?.prefixes ?? []).map(ruleOf),
  }
}

interface Surroundings {
  readonly facts: RouterSideFacts
  readonly options: RouterSideOptions
  readonly asn: number
}

function groupOf(
  name: string,
  peers: readonly [BgpPeer, ...BgpPeer[]] | readonly BgpPeer[],
  { facts, options }: Surroundings,
): PeerGroup {
  const { routing, allowed } = facts
  const [first] = peers
  if (first === undefined) throw new TypeError('a group has peers')
  const families = new Set(peers.flatMap((peer) => peer.families))
  const carried = [...allowed.map(ruleOf), ...options.accept].filter(({ prefix }) =>
    families.has(familyOf(prefix)),
  )
  const ranges = options.listenRanges.filter((range) =>
    peers.some((peer) => transportOf(peer) === familyOf(range)),
  )
  return {
    name,
    ...settingsOf(first, routing),
    peers:
      ranges.length > 0
        ? []
        : peers.map((peer, index) => nodeAsPeer(peer, peers.slice(0, index), facts, options)),
    ...(ranges.length > 0 ? { listen: { ranges, asn: listenAsn(first, routing) } } : {}),
    accept: unique(carried),
    prefixesMax: Math.ceil(routing.limits.announcementsMax * HEADROOM),
  }
}

/** Nodes may have AS numbers of their own; only in one AS with the router is it certain. */
function listenAsn({ asn, localAsn }: BgpPeer, { asn: own }: NodeRouting): number | 'external' {
  return asn === 'internal' || asn === own ? (localAsn ?? own) : 'external'
}

function nodeAsPeer(
  peer: BgpPeer,
  before: readonly BgpPeer[],
  { node, routing, reachedFrom }: RouterSideFacts,
  options: RouterSideOptions,
): Peer {
  const twins = before.filter((one) => transportOf(one) === transportOf(peer)).length
  const address = peer.localAddress ?? reachedFrom[peer.name]
  const base = {
    name: `${symbolOf(node)}${twins > 0 ? `-${twins + 1}` : ''}`,
    asn: peer.localAsn ?? routing.asn,
  }
  if (peer.remote.kind === 'interface') {
    if (options.interface === undefined)
      throw new UsageError(`${peer.name} is unnumbered. Mend: --interface says the router's end of the link`)
    return { ...base, address: address?.split('%')[0] ?? '', localAddress: '', interface: options.interface }
  }
  if (address === undefined)
    throw new UsageError(
      `which address of ${node} calls ${peer.name} is not known. Mend: localAddress in its peer, --node-address, or --listen-range for all nodes`,
    )
  return { ...base, address, localAddress: peer.remote.address }
}

function ruleOf({ prefix, lengthMin, lengthMax }: PrefixRule): PrefixRule {
  return { prefix, lengthMin, lengthMax }
}

function unique(rules: readonly PrefixRule[]): PrefixRule[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()]
}
