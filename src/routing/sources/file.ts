// The configuration file's section `routing`, checked → this node's part of it: selectors of nodes are applied. Pure.

import { type Address, FAMILIES, type Family, familyOf, type Prefix } from '../../model/address.ts'
import { type LabelSelector, selectorMatches } from '../../model/label-selector.ts'
import {
  type AnnounceKind,
  type AnnounceRule,
  type BfdTimers,
  type BgpPeer,
  type BgpTimers,
  type BmpStation,
  DEFAULT_RULES,
  type DrainSettings,
  type GracefulRestart,
  type ImportRules,
  NO_ATTRIBUTES,
  type PasswordSource,
  type RouteAttributes,
  type RoutingGates,
} from '../../model/routing.ts'
import type { Node } from '../../model/service.ts'
import type { AddressPool } from '../address-pools.ts'
import type { CiliumSettings } from './cilium.ts'
import type { KubeRouterSettings } from './kube-router-reader.ts'
import type { NodeFacts, RoutingPart } from './node-facts.ts'

export type FileImport = ImportRules['prefixes'][number]

type Maybe<T> = { readonly [Key in keyof T]?: T[Key] | undefined }

export interface FilePeer
  extends Maybe<{
    nodeSelector: LabelSelector
    address: Address
    interface: string
    nodes: LabelSelector
    localAsn: number
    localAddress: Address
    password: PasswordSource
    multihopTtl: number
    ttlSecurityMin: number
    gracefulRestart: GracefulRestart
    bfd: BfdTimers
    reflectorClient: Maybe<{ clusterId: Address }>
    imports: ImportRules
    attributes: RouteAttributes
  }> {
  readonly name: string
  readonly asn: BgpPeer['asn']
  readonly port: number
  readonly families: readonly Family[]
  readonly timers: BgpTimers
}

export interface FileRule
  extends Maybe<{
    peers: readonly string[]
    services: LabelSelector
    namespaces: readonly string[]
    pools: readonly string[] | 'all'
    families: readonly Family[]
    attributes: RouteAttributes
  }> {
  readonly kinds: readonly AnnounceKind[]
}

export interface FileNode
  extends Maybe<{
    asn: number
    routerId: Address
    loopbacks: readonly Prefix[]
    podCidrs: readonly Prefix[]
  }> {
  readonly nodeSelector: LabelSelector
}

export interface FileUplinks extends Maybe<{ gateways: readonly Address[] }> {
  readonly defaultRoute: 'manage' | 'observe'
  readonly routerAdvertisements: boolean
}

export interface FileRouting
  extends Maybe<{
    asn: number
    routerId: Address
    podCidrs: readonly Prefix[]
    listen: { readonly port: number; readonly addresses: readonly Address[] }
    announce: readonly FileRule[]
  }> {
  readonly gobgp: string
  /** Whose gobgpd it is. */
  readonly mode: 'own' | 'kube-router'
  readonly maxAnnouncements: number
  readonly maxChangesPerSecond: number
  readonly loopbacks: readonly Prefix[]
  readonly serviceNetworks: readonly Prefix[]
  readonly nodes: readonly FileNode[]
  readonly peers: readonly FilePeer[]
  readonly uplinks: FileUplinks
  readonly gates: RoutingGates
  readonly drain: DrainSettings
  readonly bmp: readonly BmpStation[]
  readonly sources: { readonly kubeRouter: KubeRouterSettings; readonly cilium: CiliumSettings }
}

export interface FilePool extends AddressPool {
  readonly attributes?: RouteAttributes | undefined
}

/** What a node is called by the file, its own overrides applied: the last that matches wins, key by key. */
export function fileIdentity(routing: FileRouting, labels: Node['labels']) {
  const matching = routing.nodes.filter(({ nodeSelector }) => selectorMatches(nodeSelector, labels))
  const last = <Key extends 'asn' | 'routerId' | 'loopbacks' | 'podCidrs'>(key: Key) =>
    matching.map((node) => node[key]).findLast((value) => value !== undefined) ?? routing[key]
  return {
    asn: last('asn'),
    routerId: last('routerId'),
    loopbacks: last('loopbacks') ?? [],
    podCidrs: last('podCidrs'),
  }
}

export function filePart(
  routing: FileRouting,
  pools: readonly FilePool[],
  facts: NodeFacts,
): RoutingPart & { readonly loopbacks: readonly Prefix[] } {
  const { asn, routerId, loopbacks, podCidrs } = fileIdentity(routing, facts.self.labels)
  const chosen = routing.peers.flatMap((peer, index) => {
    const { nodeSelector } = peer
    if (nodeSelector !== undefined && !selectorMatches(nodeSelector, facts.self.labels)) return []
    const source = `routing.peers[${index}]`
    const made =
      peer.nodes === undefined
        ? [toPeer(peer, peer.name, source, remoteOf(peer))]
        : meshPeers(peer, peer.nodes, source, facts)
    return [{ peer, source, made }]
  })
  const madeOf = (name: string) =>
    chosen.filter(({ peer }) => peer.name === name).flatMap(({ made }) => made.map((one) => one.name))
  return {
    source: 'file',
    ...(asn === undefined ? {} : { asn }),
    ...(routerId === undefined ? {} : { routerId }),
    ...(podCidrs === undefined ? {} : { podCidrs }),
    ...(routing.listen === undefined ? {} : { listen: routing.listen }),
    loopbacks,
    peers: chosen.flatMap(({ made }) => made),
    rules: [
      ...announceRules(routing.announce, madeOf),
      ...pools.flatMap((pool, index) => poolRule(pool, `pools[${index}]`)),
      ...chosen.flatMap(({ peer, source, made }) => peerRule(peer, source, made)),
    ],
    problems: [],
  }
}

function remoteOf({ address, interface: device }: FilePeer): BgpPeer['remote'] {
  if (address !== undefined) return { kind: 'address', address }
  return { kind: 'interface', interface: device ?? '' }
}

/** Absent fields stay absent, so that equal peers compare equal. */
function toPeer(peer: FilePeer, name: string, source: string, remote: BgpPeer['remote']): BgpPeer {
  const { asn, port, families, timers, reflectorClient } = peer
  const { localAsn, localAddress, password, multihopTtl, ttlSecurityMin, gracefulRestart, bfd, imports } =
    peer
  return {
    ...{ name, source, remote, asn, port, families, timers },
    ...(localAsn === undefined ? {} : { localAsn }),
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(password === undefined ? {} : { password }),
    ...(multihopTtl === undefined ? {} : { multihopTtl }),
    ...(ttlSecurityMin === undefined ? {} : { ttlSecurityMin }),
    ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    ...(bfd === undefined ? {} : { bfd }),
    // Whose cluster it is shows only when every source has spoken: '' is the router id of then.
    ...(reflectorClient === undefined
      ? {}
      : { reflectorClient: { clusterId: reflectorClient.clusterId ?? '' } }),
    ...(imports === undefined ? {} : { imports }),
  }
}

/** A session for each family of its own, with every other node that matches; over the nodes' InternalIPs. */
function meshPeers(
  peer: FilePeer,
  nodes: LabelSelector,
  source: string,
  { self, others }: NodeFacts,
): BgpPeer[] {
  return others
    .filter(({ labels }) => selectorMatches(nodes, labels))
    .flatMap((other) =>
      FAMILIES.filter((family) => peer.families.includes(family)).flatMap((family) => {
        const address = other.internalIps[family]
        const localAddress = self.internalIps[family]
        if (address === undefined || localAddress === undefined) return []
        const name = `${peer.name}/${other.name}/${family}`
        const own: FilePeer = { ...peer, localAddress, families: [familyOf(address)] }
        return [toPeer(own, name, `${source} node ${other.name}`, { kind: 'address', address })]
      }),
    )
}

const LOOPBACK_RULE: AnnounceRule = {
  source: 'routing.loopbacks',
  kinds: ['loopback'],
  attributes: NO_ATTRIBUTES,
}

/** Tunnels end at loopbacks: they go out unless a rule says where to. */
function announceRules(
  announce: readonly FileRule[] | undefined,
  madeOf: (peer: string) => readonly string[],
): readonly AnnounceRule[] {
  if (announce === undefined) return DEFAULT_RULES
  const rules = announce.map((rule, index) => {
    const { kinds, peers, services, namespaces, pools, families, attributes } = rule
    return {
      source: `routing.announce[${index}]`,
      kinds: [...new Set(kinds)],
      ...(peers === undefined ? {} : { peers: peers.flatMap((name) => orItself(madeOf(name), name)).sort() }),
      ...(services === undefined ? {} : { services }),
      ...(namespaces === undefined ? {} : { namespaces }),
      ...(pools === undefined ? {} : { pools }),
      ...(families === undefined ? {} : { families: FAMILIES.filter((one) => families.includes(one)) }),
      attributes: attributes ?? NO_ATTRIBUTES,
    }
  })
  return announce.some(({ kinds }) => kinds.includes('loopback')) ? rules : [LOOPBACK_RULE, ...rules]
}

/** A peer of other nodes, or of another source: merging finds out. */
function orItself(made: readonly string[], name: string): readonly string[] {
  return made.length > 0 ? made : [name]
}

function poolRule({ name, attributes }: FilePool, source: string): AnnounceRule[] {
  if (attributes === undefined) return []
  const kinds = ['external-ip', 'load-balancer-ip'] as const
  return [{ source: `${source}.attributes`, kinds, pools: [name], attributes, isOnlyAttributes: true }]
}

const ALL_KINDS: readonly AnnounceKind[] = [
  'loopback',
  'pod-cidr',
  'cluster-ip',
  'external-ip',
  'load-balancer-ip',
]

function peerRule({ attributes }: FilePeer, source: string, made: readonly BgpPeer[]): AnnounceRule[] {
  if (attributes === undefined || made.length === 0) return []
  const peers = made.map(({ name }) => name).sort()
  return [{ source: `${source}.attributes`, kinds: ALL_KINDS, peers, attributes, isOnlyAttributes: true }]
}
