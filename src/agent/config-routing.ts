// The section `routing` of the configuration file. routing/sources/file.ts makes the model of it.

import { z } from 'zod'
import { type Address, familyOf, parseAddress } from '../model/address.ts'
import { nearMatches } from '../model/near-matches.ts'
import {
  type AnnounceKind,
  DAMPING_DEFAULT,
  DRAIN_DEFAULT,
  GATES_DEFAULT,
  LIMITS_DEFAULT,
} from '../model/routing.ts'
import type { FilePeer, FileRouting } from '../routing/sources/file.ts'
import {
  addressText,
  asn,
  attributes,
  family,
  labelSelector,
  med,
  networkText,
  port,
  prepend,
  singlePrefixText,
  switchable,
  together,
} from './config-fields.ts'
import { peerSchema } from './config-peer.ts'

const BGP_PORT = 179
const BMP_PORT = 11_019

const routerId = addressText.refine(
  (text) => familyOf(text) === 'ipv4' && text !== '0.0.0.0',
  'must be written as an IPv4 address that is not 0.0.0.0',
)

const nodeSchema = z.strictObject({
  nodeSelector: labelSelector,
  asn: asn.optional(),
  routerId: routerId.optional(),
  loopbacks: z.array(singlePrefixText).optional(),
  podCidrs: z.array(networkText).optional(),
})

const KINDS: Readonly<Record<string, AnnounceKind>> = {
  loopback: 'loopback',
  podCIDR: 'pod-cidr',
  clusterIP: 'cluster-ip',
  externalIP: 'external-ip',
  loadBalancerIP: 'load-balancer-ip',
}

const announceSchema = z.strictObject({
  kinds: z
    .array(
      z.enum(Object.keys(KINDS) as [string, ...string[]]).transform((kind) => KINDS[kind] as AnnounceKind),
    )
    .min(1),
  /** Absent: all. */
  peers: z.array(z.string()).min(1).optional(),
  services: labelSelector.optional(),
  namespaces: z.array(z.string().min(1)).min(1).optional(),
  pools: z
    .union([z.literal('all'), z.array(z.string()).min(1)], { error: "is neither 'all' nor a list of pools" })
    .optional(),
  families: z.array(family).min(1).optional(),
  attributes: attributes.optional(),
})

const seconds = z.number().min(0).max(86_400)
const penalty = z.number().min(1).max(1_000_000)
const MS = 1000

const damping = z
  .strictObject({
    withdrawalPenalty: penalty.default(DAMPING_DEFAULT.withdrawalPenalty),
    suppressThreshold: penalty.default(DAMPING_DEFAULT.suppressThreshold),
    reuseThreshold: penalty.default(DAMPING_DEFAULT.reuseThreshold),
    halfLifeSeconds: seconds.min(1).default(DAMPING_DEFAULT.halfLifeMs / MS),
    maxSuppressSeconds: seconds.min(1).default(DAMPING_DEFAULT.maxSuppressMs / MS),
  })
  .refine(({ reuseThreshold, suppressThreshold }) => reuseThreshold < suppressThreshold, {
    path: ['reuseThreshold'],
    message: 'must lie below suppressThreshold',
  })
  .transform(({ halfLifeSeconds, maxSuppressSeconds, ...rest }) => ({
    ...rest,
    halfLifeMs: halfLifeSeconds * MS,
    maxSuppressMs: maxSuppressSeconds * MS,
  }))

const gates = z
  .strictObject({
    withoutEndpoints: z.enum(['withdraw', 'keep']).default(GATES_DEFAULT.withoutEndpoints),
    holdDownSeconds: seconds.default(GATES_DEFAULT.holdDownMs / MS),
    damping: switchable(damping).prefault({}),
  })
  .transform(({ holdDownSeconds, damping, ...rest }) => ({
    ...rest,
    holdDownMs: holdDownSeconds * MS,
    ...(damping === undefined ? {} : { damping }),
  }))

const drain = z
  .strictObject({
    med: med.optional(),
    prepend: prepend.default(DRAIN_DEFAULT.prepend),
    quietSeconds: seconds.default(DRAIN_DEFAULT.quietMs / MS),
    timeoutSeconds: seconds.default(DRAIN_DEFAULT.timeoutMs / MS),
  })
  .transform(({ med, prepend, quietSeconds, timeoutSeconds }) => ({
    ...(med === undefined ? {} : { med }),
    prepend,
    quietMs: quietSeconds * MS,
    timeoutMs: timeoutSeconds * MS,
  }))

const kubeRouter = z.strictObject({
  enabled: z.boolean().default(false),
  /** Its flags; annotations mean what they mean beside them. */
  clusterAsn: asn.default(64_512),
  nodesFullMesh: z.boolean().default(true),
  enableIbgp: z.boolean().default(true),
  advertisePodCidr: z.boolean().default(true),
  advertiseClusterIp: z.boolean().default(false),
  advertiseExternalIp: z.boolean().default(false),
  advertiseLoadBalancerIp: z.boolean().default(false),
  bgpPort: port.default(BGP_PORT),
  holdSeconds: z.number().int().min(3).max(65_535).default(90),
  multihopTtl: z.number().int().min(2).max(255).optional(),
  gracefulRestartSeconds: z.number().int().min(1).max(4095).default(90),
})

const uplinks = z.strictObject({
  defaultRoute: z.enum(['manage', 'observe']).default('observe'),
  /** Absent: the peers on uplinks. */
  gateways: z.array(addressText).min(1).optional(),
  /** On links with an unnumbered peer. */
  routerAdvertisements: z.boolean().default(true),
})

const cilium = z.strictObject({
  enabled: z.boolean().default(false),
  secretsNamespace: z.string().min(1).default('kube-system'),
})

export const routingSchema = z
  .strictObject({
    gobgp: z.string().regex(/^(unix:\/|[^/]+:\d+$)/, 'is neither unix:///path nor host:port'),
    /** `kube-router`: that gobgpd is kube-router's, and we are a guest there. */
    mode: z.enum(['own', 'kube-router']).default('own'),
    asn: asn.optional(),
    routerId: routerId.optional(),
    /** Per family. */
    maxAnnouncements: z.number().int().min(1).max(1_000_000).default(LIMITS_DEFAULT.announcementsMax),
    maxChangesPerSecond: z.number().int().min(1).max(1_000_000).default(LIMITS_DEFAULT.changesPerSecond),
    loopbacks: z.array(singlePrefixText).default([]),
    /** Absent: those of the Node object. */
    podCidrs: z.array(networkText).optional(),
    serviceNetworks: z.array(networkText).default([]),
    nodes: z.array(nodeSchema).default([]),
    peers: z.array(peerSchema).default([]),
    listen: switchable(
      z.strictObject({ port: port.default(BGP_PORT), addresses: z.array(addressText).default([]) }),
    ),
    uplinks: uplinks.prefault({}),
    announce: z.array(announceSchema).optional(),
    gates: gates.prefault({}),
    drain: drain.prefault({}),
    bmp: z.array(z.strictObject({ address: addressText, port: port.default(BMP_PORT) })).default([]),
    sources: z
      .strictObject({ kubeRouter: kubeRouter.prefault({}), cilium: cilium.prefault({}) })
      .prefault({}),
  })
  .superRefine(together<RoutingFields>(checkPeersTogether))
  .superRefine(together<RoutingFields>(checkAnnounce))

type RoutingFields = FileRouting

/** Two that no node could have both of. Peers of different nodes may share name and address. */
function checkPeersTogether({ peers }: RoutingFields, context: z.RefinementCtx): void {
  const seen = new Map<string, number>()
  const addresses = new Map<string, number>()
  for (const [index, peer] of peers.entries()) {
    const where = JSON.stringify(peer.nodeSelector ?? '')
    const refuse = (key: keyof FilePeer, other: number) =>
      context.addIssue({
        code: 'custom',
        path: ['peers', index, key],
        message: `'${peer[key]}' is that of routing.peers[${other}] too, for the same nodes`,
      })
    const sameName = seen.get(`${peer.name} ${where}`)
    if (sameName === undefined) seen.set(`${peer.name} ${where}`, index)
    const remote = peer.address ?? peer.interface
    const sameRemote = remote === undefined ? undefined : addresses.get(`${remote} ${where}`)
    if (remote !== undefined && sameRemote === undefined) addresses.set(`${remote} ${where}`, index)
    if (sameRemote !== undefined) refuse(peer.address === undefined ? 'interface' : 'address', sameRemote)
    else if (sameName !== undefined) refuse('name', sameName)
  }
}

/** A rule for a peer that nobody has would announce nothing, and nobody would know why. */
function checkAnnounce(routing: RoutingFields, context: z.RefinementCtx): void {
  const { announce = [], peers, sources, serviceNetworks } = routing
  const names = [...new Set(peers.map(({ name }) => name))]
  const hasOthers = sources.kubeRouter.enabled || sources.cilium.enabled
  for (const [index, rule] of announce.entries()) {
    for (const [place, name] of (rule.peers ?? []).entries()) {
      if (names.includes(name) || hasOthers) continue
      const near = nearMatches(name, names, 1)[0]
      const hint = near === undefined ? '' : ` (did you mean '${near}'?)`
      context.addIssue({
        code: 'custom',
        path: ['announce', index, 'peers', place],
        message: `no peer is named '${name}'${hint}`,
      })
    }
    if (rule.kinds.includes('cluster-ip') && serviceNetworks.length === 0)
      context.addIssue({
        code: 'custom',
        path: ['announce', index, 'kinds'],
        message: 'nothing lets ClusterIPs out: name the networks they come from as routing.serviceNetworks',
      })
  }
}

/** Addresses that the file says are this node's, another node's or a router's. */
export function ownAddresses(routing: FileRouting): readonly Address[] {
  const loopbacks = [routing.loopbacks, ...routing.nodes.map(({ loopbacks = [] }) => loopbacks)].flat()
  const ids = [routing.routerId, ...routing.nodes.map(({ routerId }) => routerId)]
  const peers = routing.peers.flatMap(({ address, localAddress }) => [address, localAddress])
  const texts = [...loopbacks.map((prefix) => prefix.slice(0, prefix.indexOf('/'))), ...ids, ...peers]
  return texts.flatMap((text) => parseAddress(text ?? '') ?? [])
}
