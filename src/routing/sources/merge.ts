// The parts of all sources → the routing of this node, and what of them is not followed. The file's word comes first, then kube-router's,
// then Cilium's: a source that contradicts an earlier one is refused with the reason, never mixed in. Pure.

import { type Address, familyOf, type Prefix, prefixParts } from '../../model/address.ts'
import { type AnnounceRule, type BgpPeer, DEFAULT_RULES, type NodeRouting } from '../../model/routing.ts'
import type { Node } from '../../model/service.ts'
import { type FilePool, type FileRouting, filePart } from './file.ts'
import type { NodeFacts, RoutingPart, RoutingProblem } from './node-facts.ts'

export interface MergedRouting {
  /** Undefined: no source says enough for a single session. */
  readonly routing: NodeRouting | undefined
  readonly problems: readonly RoutingProblem[]
}

export interface MergeInput {
  readonly file: FileRouting
  readonly pools: readonly FilePool[]
  readonly facts: NodeFacts
  /** Of the other sources, those that are followed. */
  readonly others: readonly RoutingPart[]
}

export function mergeRouting({ file, pools, facts, others }: MergeInput): MergedRouting {
  const own = filePart(file, pools, facts)
  const problems: RoutingProblem[] = [own, ...others].flatMap((part) => part.problems)
  const parts = agreeing([own, ...others], problems)
  const asn = first(parts, 'asn')
  if (asn === undefined) {
    problems.push({
      source: 'routing.asn',
      why: 'no source gives this node an AS number; nothing is announced',
    })
    return { routing: undefined, problems }
  }
  const routerId = first(parts, 'routerId') ?? inferRouterId(own.loopbacks, facts.self)
  const peers = acceptPeers(parts, { asn, routerId, own: ownAddresses(own.loopbacks, facts.self) }, problems)
  const listen = first(parts, 'listen')
  return {
    routing: {
      asn,
      routerId,
      loopbacks: unique(own.loopbacks),
      podCidrs: unique(first(parts, 'podCidrs') ?? facts.self.podCidrs).filter(isNoDefault),
      ...(listen === undefined ? {} : { listen }),
      peers,
      rules: parts.flatMap((part) => scopeRules(part, parts, peers)),
      serviceNetworks: unique(file.serviceNetworks),
      limits: { announcementsMax: file.maxAnnouncements, changesPerSecond: file.maxChangesPerSecond },
      bmp: file.bmp,
      gates: file.gates,
      drain: file.drain,
    },
    problems,
  }
}

/** All but those whose AS number is another than that of a source before. */
function agreeing(parts: readonly RoutingPart[], problems: RoutingProblem[]): readonly RoutingPart[] {
  const before: RoutingPart[] = []
  for (const part of parts) {
    const rival = before.find(({ asn }) => asn !== undefined && part.asn !== undefined && asn !== part.asn)
    if (rival === undefined) before.push(part)
    else
      problems.push({
        source: part.source,
        why: `says AS ${part.asn} where ${rival.source} says AS ${rival.asn}: none of it is followed; let them agree, or one of them be silent`,
      })
  }
  return before
}

function first<Key extends keyof RoutingPart>(
  parts: readonly RoutingPart[],
  key: Key,
): RoutingPart[Key] | undefined {
  return parts.map((part) => part[key]).find((value) => value !== undefined)
}

interface Identity {
  readonly asn: number
  readonly routerId: string
  /** This node's addresses. */
  readonly own: readonly Address[]
}

function acceptPeers(
  parts: readonly RoutingPart[],
  identity: Identity,
  problems: RoutingProblem[],
): readonly BgpPeer[] {
  const names = new Map<string, BgpPeer>()
  const remotes = new Map<string, BgpPeer>()
  for (const given of parts.flatMap(({ peers }) => peers)) {
    const peer = completed(given, identity)
    const remote = peer.remote.kind === 'address' ? peer.remote.address : peer.remote.interface
    const why = whyNotPeer(peer, identity) ?? whyNotBeside(peer, remote, { names, remotes })
    if (why !== undefined) {
      problems.push({ source: peer.source, why })
      continue
    }
    names.set(peer.name, peer)
    remotes.set(remote, peer)
  }
  return [...names.values()]
}

/** What the file leaves to the node: a reflector's cluster is its router id. */
function completed(peer: BgpPeer, { routerId }: Identity): BgpPeer {
  if (peer.reflectorClient === undefined || peer.reflectorClient.clusterId !== '') return peer
  return { ...peer, reflectorClient: { clusterId: routerId } }
}

function whyNotPeer(peer: BgpPeer, { asn, own }: Identity): string | undefined {
  const { remote } = peer
  const isInternal = peer.asn === 'internal' || peer.asn === asn
  if (remote.kind === 'address' && own.includes(remote.address))
    return `${remote.address} is this node's own address`
  if (peer.reflectorClient !== undefined && !isInternal)
    return `routes are reflected to peers of AS ${asn} alone, and it is of another`
  if (peer.multihopTtl !== undefined && isInternal)
    return 'multihopTtl is for external sessions; internal ones may be any number of hops away'
  if (peer.families.length === 0) return 'no family is left that the session can carry'
  return undefined
}

function whyNotBeside(
  peer: BgpPeer,
  remote: string,
  known: { readonly names: ReadonlyMap<string, BgpPeer>; readonly remotes: ReadonlyMap<string, BgpPeer> },
): string | undefined {
  const sameRemote = known.remotes.get(remote)
  if (sameRemote !== undefined) return `${sameRemote.source} has the session with ${remote} already`
  const sameName = known.names.get(peer.name)
  return sameName && `${sameName.source} is named '${peer.name}' too`
}

/**
 * Rules that name no peers mean those of their source, but for the loopbacks, which everybody must know. A rule whose peers are all
 * other nodes' is none; one that had none to begin with is for all.
 */
function scopeRules(
  part: RoutingPart,
  parts: readonly RoutingPart[],
  accepted: readonly BgpPeer[],
): readonly AnnounceRule[] {
  const names = new Set(accepted.map(({ name }) => name))
  const isAlone = parts.every((one) => one === part || one.peers.length === 0)
  const given = new Set(part.peers.map(({ name, source }) => `${name}\n${source}`))
  const mine = accepted.filter(({ name, source }) => given.has(`${name}\n${source}`))
  return part.rules.flatMap((rule): readonly AnnounceRule[] => {
    if (rule.peers === undefined && (isAlone || rule.kinds.every((kind) => kind === 'loopback')))
      return [rule]
    if (rule.peers === undefined && DEFAULT_RULES.includes(rule) && rule.kinds.includes('loopback'))
      return [{ ...rule, kinds: ['loopback'] }, ...scoped({ ...rule, kinds: withoutLoopback(rule) }, mine)]
    if (rule.peers === undefined) return scoped(rule, mine)
    const peers = unique(rule.peers.filter((name) => names.has(name))).sort()
    return peers.length === 0 ? [] : [{ ...rule, peers }]
  })
}

function scoped(rule: AnnounceRule, mine: readonly BgpPeer[]): readonly AnnounceRule[] {
  return mine.length === 0 ? [] : [{ ...rule, peers: mine.map(({ name }) => name).sort() }]
}

function withoutLoopback({ kinds }: AnnounceRule): AnnounceRule['kinds'] {
  return kinds.filter((kind) => kind !== 'loopback')
}

function ownAddresses(loopbacks: readonly Prefix[], self: Node): readonly Address[] {
  return [...loopbacks.map((prefix) => prefix.slice(0, prefix.indexOf('/')) as Address), ...self.addresses]
}

/** Its IPv4 address; without any, 32 bits of its name, for the id needs only differ from those of others (RFC 6286). */
export function inferRouterId(
  loopbacks: readonly Prefix[],
  { name, internalIps }: Pick<Node, 'name' | 'internalIps'>,
): string {
  const loopback = loopbacks.find((prefix) => familyOf(prefix) === 'ipv4')
  if (loopback !== undefined) return loopback.slice(0, loopback.indexOf('/'))
  if (internalIps.ipv4 !== undefined) return internalIps.ipv4
  let hash = 0x811c_9dc5
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x0100_0193) >>> 0
  return [24, 16, 8, 0].map((shift) => ((hash || 1) >>> shift) & 0xff).join('.')
}

function isNoDefault(prefix: Prefix): boolean {
  return prefixParts(prefix).length > 0
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)]
}
