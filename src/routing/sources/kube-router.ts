// kube-router's node annotations → this node's part of the routing. They mean what they mean in kube-router 2.11 beside the flags that
// `routing.sources.kubeRouter` repeats; unlike there they are followed live. Pure. What differs on purpose, and is told of:
//   - nothing is imported from external peers, and of other nodes' routes their pod networks alone;
//   - a route reflector has the same policies as any node.

import { FAMILIES, type Family, familyOf, parseAddress } from '../../model/address.ts'
import {
  type Community,
  communitiesOf,
  describeBadCommunity,
  parseCommunity,
} from '../../model/communities.ts'
import {
  type AnnounceKind,
  type AnnounceRule,
  type BgpPeer,
  NO_ATTRIBUTES,
  PREPEND_MAX,
  type RouteAttributes,
} from '../../model/routing.ts'
import type { Node } from '../../model/service.ts'
import { externalPeers } from './kube-router-peers.ts'
import {
  KUBE_ROUTER_PREFIX,
  KubeRouterReader,
  type KubeRouterSettings,
  parseAsn,
  sourceOf,
} from './kube-router-reader.ts'
import type { NodeFacts, RoutingPart } from './node-facts.ts'
import { subtractPrefixes } from './subtract-prefixes.ts'

export function kubeRouterPart(settings: KubeRouterSettings, facts: NodeFacts): RoutingPart {
  const reader = new KubeRouterReader(facts.self)
  reader.refuseUnknown()
  const asn = readAsn(reader, settings)
  const podCidrs = [...reader.networks('pod-cidr'), ...reader.networks('pod-cidrs')]
  const external = withFamilies(externalPeers(reader, settings), facts.self)
  const mesh = settings.enableIbgp ? meshPeers(reader, settings, facts) : []
  return {
    source: 'kube-router',
    ...(asn === undefined ? {} : { asn }),
    ...(podCidrs.length === 0 ? {} : { podCidrs: [...new Set(podCidrs)] }),
    listen: { port: settings.bgpPort, addresses: readLocalAddresses(reader, facts.self) },
    peers: [...external, ...mesh],
    rules: rulesOf(reader, settings, asn, { external, mesh }),
    problems: reader.problems,
  }
}

function readAsn(reader: KubeRouterReader, settings: KubeRouterSettings): number | undefined {
  const text = reader.text('node.asn')
  const asn = text === undefined ? undefined : parseAsn(text)
  if (text !== undefined && asn === undefined) reader.refuse('node.asn', `'${text}' is no AS number`)
  if (settings.nodesFullMesh) {
    if (asn !== undefined && asn !== settings.clusterAsn)
      reader.refuse(
        'node.asn',
        `is not read while nodes form a full mesh of AS ${settings.clusterAsn}; set routing.sources.kubeRouter.nodesFullMesh to false`,
      )
    return settings.clusterAsn
  }
  if (text === undefined) reader.refuse('node.asn', 'is needed where nodesFullMesh is false')
  return asn
}

function readLocalAddresses(reader: KubeRouterReader, self: Node) {
  const given = reader.list('bgp-local-addresses').flatMap((text) => {
    const parsed = parseAddress(text)
    if (parsed === undefined) reader.refuse('bgp-local-addresses', `'${text}' is not an IP address`)
    return parsed ?? []
  })
  return given.length > 0 ? given : FAMILIES.flatMap((family) => self.internalIps[family] ?? [])
}

/** A session carries the other family too where the node has it and no session of that family's own does. */
function withFamilies(peers: readonly BgpPeer[], self: Node): readonly BgpPeer[] {
  const missing = FAMILIES.filter(
    (family) =>
      self.internalIps[family] !== undefined && !peers.some((peer) => peer.families.includes(family)),
  )
  if (missing.length === 0) return peers
  return peers.map((peer) => ({
    ...peer,
    families: FAMILIES.filter((family) => peer.families.includes(family) || missing.includes(family)),
  }))
}

/** Which reflector a node is, or whose client: the cluster's id. */
function readRole(reader: KubeRouterReader, node: Node) {
  const read = (name: 'rr.server' | 'rr.client') => {
    const text = node.annotations[`${KUBE_ROUTER_PREFIX}${name}`]?.trim()
    return text ? { name, id: parseClusterId(text), text } : undefined
  }
  const server = read('rr.server')
  const client = read('rr.client')
  const role = server ?? client
  if (role !== undefined && role.id === undefined)
    reader.refuse(
      role.name,
      `'${role.text}' of node ${node.name} is neither a number of 32 bits nor an IPv4 address`,
    )
  if (server && client) reader.refuse('rr.client', `node ${node.name} cannot be reflector and client at once`)
  return { isServer: server !== undefined, isClient: client !== undefined && !server, clusterId: role?.id }
}

/** Dotted quad of a number or an IPv4 address. */
function parseClusterId(text: string): string | undefined {
  const parsed = parseAddress(text)
  if (parsed !== undefined) return familyOf(parsed) === 'ipv4' ? parsed : undefined
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (!(value <= 0xffff_ffff)) return undefined
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.')
}

/** GoBGP's own timers, which kube-router leaves as they are between nodes. */
const MESH_TIMERS = { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 5 }

/** Sessions with other nodes: all of the AS, or reflectors with everybody and clients with reflectors alone. */
function meshPeers(
  reader: KubeRouterReader,
  settings: KubeRouterSettings,
  { self, others }: NodeFacts,
): BgpPeer[] {
  const own = readRole(reader, self)
  const rejected = reader.networks('node.bgp.customimportreject')
  const primary = primaryFamily(self)
  const sameAs = (node: Node) =>
    settings.nodesFullMesh ||
    node.annotations[`${KUBE_ROUTER_PREFIX}node.asn`]?.trim() === reader.text('node.asn')
  return others.filter(sameAs).flatMap((node): BgpPeer[] => {
    const role = readRole(reader, node)
    const address = primary && node.internalIps[primary]
    const localAddress = primary && self.internalIps[primary]
    if (address === undefined || localAddress === undefined || primaryFamily(node) !== primary) return []
    if (own.isClient && !role.isServer) return []
    const podCidrs = role.isServer ? others.flatMap((one) => one.podCidrs) : node.podCidrs
    const prefixes = subtractPrefixes(podCidrs, rejected)
    return [
      {
        name: `kube-router/${node.name}`,
        source: `kube-router's mesh, node ${node.name}`,
        remote: { kind: 'address', address },
        asn: 'internal',
        port: settings.bgpPort,
        localAddress,
        families: [familyOf(address)],
        timers: MESH_TIMERS,
        gracefulRestart: { restartSeconds: settings.gracefulRestartSeconds },
        ...(own.isServer && role.isClient && own.clusterId !== undefined
          ? { reflectorClient: { clusterId: own.clusterId } }
          : {}),
        ...(prefixes.length === 0
          ? {}
          : { imports: { prefixes, maxPrefixes: Math.max(IMPORTS_MIN, 2 * prefixes.length) } }),
      },
    ]
  })
}

const IMPORTS_MIN = 16

function primaryFamily({ internalIps }: Node): Family | undefined {
  return FAMILIES.find((family) => internalIps[family] !== undefined)
}

interface Sessions {
  readonly external: readonly BgpPeer[]
  readonly mesh: readonly BgpPeer[]
}

/** VIPs never go to other nodes; pod networks go there always. */
function rulesOf(
  reader: KubeRouterReader,
  settings: KubeRouterSettings,
  asn: number | undefined,
  { external, mesh }: Sessions,
): readonly AnnounceRule[] {
  const namesOf = (peers: readonly BgpPeer[]) => peers.map(({ name }) => name).sort()
  const flags: readonly (readonly [boolean, AnnounceKind])[] = [
    [settings.advertisePodCidr, 'pod-cidr'],
    [settings.advertiseClusterIp, 'cluster-ip'],
    [settings.advertiseExternalIp, 'external-ip'],
    [settings.advertiseLoadBalancerIp, 'load-balancer-ip'],
  ]
  const kinds = flags.flatMap(([isOn, kind]) => (isOn ? [kind] : []))
  const attributes = readAttributes(reader, asn)
  const source = 'routing.sources.kubeRouter'
  return [
    ...(mesh.length === 0
      ? []
      : [{ source, kinds: ['pod-cidr'] as const, peers: namesOf(mesh), attributes: NO_ATTRIBUTES }]),
    ...(external.length === 0
      ? []
      : [{ source, kinds, peers: namesOf(external), attributes: NO_ATTRIBUTES }]),
    ...(external.length === 0 || attributes === undefined
      ? []
      : [
          {
            source: attributes.source,
            kinds: ['loopback', 'pod-cidr', 'cluster-ip', 'external-ip', 'load-balancer-ip'] as const,
            peers: namesOf(external),
            attributes: attributes.attributes,
            isOnlyAttributes: true,
          },
        ]),
  ]
}

function readAttributes(
  reader: KubeRouterReader,
  asn: number | undefined,
): { source: string; attributes: RouteAttributes } | undefined {
  const communities: Community[] = []
  for (const text of reader.list('node.bgp.communities')) {
    const parsed = parseCommunity(text)
    if (parsed?.kind === 'standard') communities.push(parsed)
    else reader.refuse('node.bgp.communities', `'${text}' ${describeBadCommunity(text)}`)
  }
  const prepend = readPrepend(reader, asn)
  if (communities.length === 0 && prepend === 0) return undefined
  const source = communities.length > 0 ? 'node.bgp.communities' : 'path-prepend.repeat-n'
  return { source: sourceOf(source), attributes: { ...communitiesOf(communities), prepend } }
}

function readPrepend(reader: KubeRouterReader, asn: number | undefined): number {
  const as = reader.text('path-prepend.as')
  const repeat = reader.text('path-prepend.repeat-n')
  if (as === undefined && repeat === undefined) return 0
  if (as === undefined || repeat === undefined) {
    reader.refuse(
      as === undefined ? 'path-prepend.as' : 'path-prepend.repeat-n',
      'is needed beside the other',
    )
    return 0
  }
  if (parseAsn(as) !== asn) {
    reader.refuse('path-prepend.as', `'${as}' is not this node's AS, the only one it may put into a path`)
    return 0
  }
  const times = /^\d{1,3}$/.test(repeat) ? Number(repeat) : Number.NaN
  if (times <= PREPEND_MAX) return times
  reader.refuse('path-prepend.repeat-n', `'${repeat}' is no number of times up to ${PREPEND_MAX}`)
  return 0
}
