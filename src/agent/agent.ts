// The composition root: makes every part, joins them, and takes them down in the opposite order. No logic of its own beyond
// the order of things:
//
//   load datapath (adopts what is pinned, forwarding goes on) → follow links and the API server → wait until all is known
//   → write the kernel → tell BGP → allocate addresses
//
// Stopping, however it happens, changes nothing in the kernel and withdraws nothing.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { Sessions } from '../datapath/live-uplinks.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import type { LackingRule } from '../kube/access.ts'
import { parseAddress } from '../model/address.ts'
import { equalRows } from '../tables/equal-rows.ts'
import type { AddressAllocator } from './address-allocator.ts'
import { apiHandlers } from './api-handlers.ts'
import type { Bfd } from './bfd.ts'
import type { BfdSender } from './bfd-sender.ts'
import { startBfd } from './bfd-start.ts'
import { bgpMetrics } from './bgp-view.ts'
import { CapacityWatch } from './capacity-watch.ts'
import { CiliumStatus } from './cilium-status.ts'
import type { ClosedPods } from './closed-pods.ts'
import { loadOrLastGood } from './config-file.ts'
import { EndedSockets } from './ended-sockets.ts'
import { findNeighbours } from './find-neighbours.ts'
import { type FollowedDrops, followDrops } from './follow-drops.ts'
import { type Ground, openGround } from './ground.ts'
import { lentPorts } from './lent-ports.ts'
import { ConfigInForce, type LiveRouting } from './live-routing.ts'
import { serveLocalApi } from './local-api.ts'
import { Masquerade } from './masquerade.ts'
import { processReadings } from './metrics/readings.ts'
import { agentReadings } from './metrics-view.ts'
import { Monitoring } from './monitoring.ts'
import { tunnelAddresses } from './open-datapath.ts'
import { PeerLinks } from './peer-links.ts'
import { planContext } from './plan-context.ts'
import type { PolicyLoop } from './policy-loop.ts'
import { PolicyReporter } from './policy-reporter.ts'
import type { PolicySources } from './policy-sources.ts'
import { RefusalConditions } from './refusal-conditions.ts'
import type { Routing } from './routing.ts'
import { makeRouting, type RoutingParts } from './routing-parts.ts'
import { servedFamilies } from './served-families.ts'
import { ServiceLoop } from './service-loop.ts'
import type { Sources } from './sources.ts'
import { startAllocator } from './start-allocator.ts'
import { PolicyStart, policyWaitsFor, startPolicy } from './start-policy.ts'
import { Surroundings } from './surroundings.ts'
import { Upkeep } from './upkeep.ts'
import { Uplinks } from './uplinks.ts'

export interface Agent {
  /** Resolves once the kernel holds what the API server said. */
  readonly ready: Promise<void>
  close(): Promise<void>
}

/** Starts the agent. Rejects when the datapath cannot be loaded or links cannot be read; the API server may be away. */
export async function startAgent(file: string): Promise<Agent> {
  const loaded = loadOrLastGood(file)
  const log = pino({ level: loaded.config.logLevel, base: { node: loaded.config.nodeName } })
  mkdirSync(loaded.config.stateDirectory, { recursive: true, mode: 0o700 })
  const inForce = new ConfigInForce({ file, loaded, log })
  const { config } = inForce
  const parts = await makeParts(inForce, log)
  const api = await serveLocalApi(join(config.stateDirectory, 'agent.sock'), apiHandlers(config, parts))
  const own = processReadings()
  const bgp = bgpMetrics(config.nodeName, parts)
  parts.monitoring.listen([...agentReadings(parts), ...bgp.readings, ...own.readings], bgp.refresh)
  const synced = [parts.sources.synced, parts.live.synced, parts.policySources?.answered]
  const ready = Promise.all(synced).then(() => parts.begin())
  ready.catch((error: unknown) => log.fatal({ err: error }, 'the agent cannot begin'))
  return {
    ready,
    close: async () => {
      api.close()
      own.close()
      await parts.close()
    },
  }
}

/** What the composition is made of, as the local API sees it. */
export interface Parts extends Omit<FollowedDrops, 'stopFollowing'> {
  readonly datapath: Datapath
  readonly network: NetworkView
  readonly sources: Sources
  /** Undefined: policy is not enforced. */
  readonly policySources: PolicySources | undefined
  readonly policy: () => PolicyLoop | undefined
  readonly closedPods: () => ClosedPods | undefined
  readonly inForce: ConfigInForce
  readonly live: LiveRouting
  readonly routing: Routing
  readonly drain: RoutingParts['drain']
  readonly drainRequests: RoutingParts['drainRequests']
  readonly peerLinks: PeerLinks
  readonly bfd: Bfd
  readonly uplinks: Uplinks
  readonly loop: () => ServiceLoop | undefined
  readonly allocator: () => AddressAllocator | undefined
  readonly masquerade: () => Masquerade | undefined
  readonly sockets: () => EndedSockets | undefined
  readonly upkeep: Upkeep
  readonly capacity: CapacityWatch
  readonly surroundings: Surroundings
  readonly monitoring: Monitoring
  readonly sessions: () => Sessions
  readonly lackingRules: () => readonly LackingRule[]
  /** Called once, when every source has synced. */
  readonly begin: () => void
  readonly close: () => Promise<void>
}

/** What comes into being only when every source has synced, and what peers' sessions say. */
interface Late {
  policy?: PolicyStart
  policyReporter?: PolicyReporter
  loop?: ServiceLoop
  allocator?: AddressAllocator
  ciliumStatus?: CiliumStatus
  refusals?: RefusalConditions
  masquerade?: Masquerade
  sockets?: EndedSockets
  surroundings?: Surroundings
  bfd?: Bfd
  uplinks?: Uplinks
  sessions: Sessions
}

async function makeParts(inForce: ConfigInForce, log: Logger): Promise<Parts> {
  const { config } = inForce
  const late: Late = { sessions: new Map() }
  const ground = await openGround(inForce, log, {
    ways: () => late.uplinks?.ways ?? [],
    onNetwork: () => networkChanged(late),
  })
  const { datapath, network, sources, live, events } = ground
  const surroundings = makeSurroundings(ground, late)
  late.surroundings = surroundings
  const served = servedFamilies(ground)
  const routes = makeRouting({
    ...ground,
    node: () => sources.nodes.get(config.nodeName),
    served,
    onSessions: (up) => takeSessions(late, up),
  })
  const { bfd, sender } = joinBfd(ground, late, routes.routing)
  followRouting(live, routes.routing, late)
  const uplinks = joinUplinks(ground, late, routes.routing, bfd)
  const plan = planContext(config, sources.nodes, () => live.sources.pools)
  const waitsFor = () => policyWaitsFor(ground.policySources, late.policy)
  const monitoring = new Monitoring({ config, sources, plan, events, log, served, waitsFor })
  const watching = watchDatapath(ground, late)
  const early = { ...watching, surroundings, monitoring, routes, bfd, sender, uplinks }
  return {
    datapath,
    network,
    sources,
    policySources: ground.policySources,
    policy: () => late.policy?.loop,
    closedPods: () => late.policy?.closedPods,
    inForce,
    live,
    ...routes,
    peerLinks: new PeerLinks(ground),
    bfd,
    uplinks,
    loop: () => late.loop,
    allocator: () => late.allocator,
    masquerade: () => late.masquerade,
    sockets: () => late.sockets,
    ...watching,
    surroundings,
    monitoring,
    sessions: () => late.sessions,
    lackingRules: () => ground.client.lacking(),
    begin: () => begin(ground, late, { plan, surroundings, monitoring, routes, bfd }),
    close: () => closeAll(ground, late, early),
  }
}

function joinBfd(ground: Ground, late: Late, routing: Routing): ReturnType<typeof startBfd> {
  const { log, datapath, network, netlink } = ground
  const joined = startBfd({
    ...{ log, datapath, network, netlink },
    wanted: () => ({ peers: routing.peers, areAll: routing.isKnown && late.loop !== undefined }),
    bgpSessions: () => late.sessions,
    onChange: () => uplinksChanged(late),
  })
  late.bfd = joined.bfd
  return joined
}

function joinUplinks(ground: Ground, late: Late, routing: Routing, bfd: Bfd): Uplinks {
  const { config, log, network, netlink, sources } = ground
  const uplinks = new Uplinks({
    ...{ config, log, network, routing: () => routing, netlink },
    areAll: () => late.loop !== undefined,
    sessions: () => knownSessions(late, bfd),
    isWayUp: (way) => bfd.isGatewayUp(way),
    isNode: (one) => [...sources.nodes.values()].some(({ addresses }) => addresses.includes(one)),
    onWays: () => late.loop?.networkChanged(),
  })
  late.uplinks = uplinks
  return uplinks
}

/** That programs stay where they are, that tables have room, and what is dropped. */
function watchDatapath(ground: Ground, late: Late) {
  const { log, datapath, network } = ground
  const upkeep = new Upkeep({
    log,
    present: () => new Set(network.devices().map(({ ifindex }) => ifindex)),
    verify: (present) => datapath.verify(present),
    onLost: () => late.loop?.networkChanged(),
  })
  const capacity = new CapacityWatch({
    log,
    flows: datapath.flows,
    sockets: datapath.sockets,
    fills: () => datapath.fills(),
    refusedFlows: () => datapath.metrics()['FLOW_SET_FULL']?.packets ?? 0,
    nowMs: Date.now,
  })
  return {
    upkeep,
    capacity,
    ...followDrops(ground),
  }
}

function makeSurroundings(ground: Ground, late: Late): Surroundings {
  const { config, log, netlink, nftables, datapath, network, events, sources } = ground
  return new Surroundings({
    stateDirectory: config.stateDirectory,
    nodeName: config.nodeName,
    lentPorts: Object.values(lentPorts(config)).filter((range) => range !== undefined),
    // What a bridge's ports bring is the bridge's to the stack.
    devices: () => [...network.devices(), ...network.bridges()],
    findNeighbours: () =>
      findNeighbours({
        netlink,
        nftables,
        datapath,
        network,
        cgroup: config.datapath.cgroup,
        served: () => late.loop?.served.values() ?? [],
        node: () => sources.nodes.get(config.nodeName),
        tunnelAddresses: Object.values(tunnelAddresses(config)).filter((one) => one !== undefined),
      }),
    onGone: ({ kind }) => {
      if (kind !== 'xdp-program') return
      datapath.reconsiderUplinks()
      late.loop?.networkChanged()
    },
    events,
    log,
  })
}

/** What differs live: routers are told, and where pools differ, Services are planned anew. */
function followRouting(live: LiveRouting, routing: Routing, late: Late): void {
  let { pools } = live.sources
  live.sources.onChange((next, nextPools) => {
    routing.setRouting(next, nextPools)
    // Whether all of them are known may have changed, too.
    late.allocator?.poolsChanged()
    if (equalRows(pools, nextPools)) return
    pools = nextPools
    late.loop?.planAll()
  })
  live.onSecret(() => routing.passwordsChanged())
}

function takeSessions(late: Late, established: ReadonlyMap<string, boolean>): void {
  late.sessions = new Map(
    [...established].flatMap(([text, isUp]) => {
      const peer = parseAddress(text)
      return peer === undefined ? [] : [[peer, isUp] as const]
    }),
  )
  uplinksChanged(late)
}

function networkChanged(late: Late): void {
  uplinksChanged(late)
  late.surroundings?.networkChanged()
  late.bfd?.networkChanged()
}

function uplinksChanged({ loop, uplinks }: Late): void {
  loop?.networkChanged()
  uplinks?.changed()
}

/** BFD is faster than BGP, and goes first. */
function knownSessions({ sessions }: Late, bfd: Bfd): Sessions {
  return new Map([...sessions, ...bfd.neighbours])
}

interface BeginWith {
  readonly plan: ReturnType<typeof planContext>
  readonly surroundings: Surroundings
  readonly monitoring: Monitoring
  readonly routes: RoutingParts
  readonly bfd: Bfd
}

/** Every source has synced, or policy's may not be read: from here on the kernel, BGP and the API server are told. */
function begin(ground: Ground, late: Late, begun: BeginWith): void {
  const { plan, surroundings, monitoring, routes, bfd } = begun
  const { config, log, datapath, network, client, events, sources, live } = ground
  const { services, slices, nodes, serviceCidrs } = sources
  const endsTcp = config.services.endTcpOfGonePods
  const sockets = new EndedSockets({ datapath, network, sources, endsTcp, log })
  late.sockets = sockets
  // Before any program that enforces is attached, unless it may not be known: then these find what the kernel holds.
  const policy = new PolicyStart(ground.policySources, () => startPolicy(ground))
  late.policy = policy
  late.loop = new ServiceLoop({
    sessions: () => knownSessions(late, bfd),
    isGatewayUp: (gateway) => bfd.isGatewayUp(gateway),
    plan,
    sources,
    datapath,
    network,
    events,
    log,
    observer: monitoring,
    policyWritten: () => policy.isFirstWritten,
    onNetwork: () => policy.networkWritten(),
    onApplied: (applied) => {
      // Addresses that Services have are served before others get theirs.
      late.allocator ??= startAllocator(ground)
      sockets.applied()
      surroundings.startLooking()
      routes.drain.look()
      return routes.routing.update(applied)
    },
  })
  const isLeader = () => late.allocator?.isLeader ?? false
  late.ciliumStatus = new CiliumStatus({
    ...{ client, nodes, log, isLeader },
    cilium: ground.live.cilium,
    secretsNamespace: () => ground.live.ciliumSecrets,
  })
  late.refusals = new RefusalConditions({
    ...{ client, services, log, isLeader },
    refused: () => routes.routing.refusedServices(),
  })
  if (ground.policySources)
    late.policyReporter = new PolicyReporter({ client, events, log, isLeader, sources: ground.policySources })
  late.masquerade = new Masquerade({ config, pools: () => live.sources.pools, nodes, serviceCidrs, log })
  log.info({ services: services.size, slices: slices.size, nodes: nodes.size }, 'synced')
}

interface Early extends Omit<BeginWith, 'plan'> {
  readonly stopFollowing: () => void
  readonly upkeep: Upkeep
  readonly capacity: CapacityWatch
  readonly sender: BfdSender
  readonly uplinks: Uplinks
}

/** In the opposite order of how they came to be. */
async function closeAll(ground: Ground, late: Late, early: Early): Promise<void> {
  early.upkeep.close()
  early.capacity.close()
  early.stopFollowing()
  await early.uplinks.close()
  await early.bfd.close()
  early.sender.close()
  early.surroundings.close()
  await late.masquerade?.close()
  // Its last round may bring the allocator into being.
  await late.loop?.close()
  await late.ciliumStatus?.close()
  await late.refusals?.close()
  await late.allocator?.close()
  await late.sockets?.close()
  early.monitoring.close()
  early.routes.drain.close()
  await early.routes.routing.close()
  ground.live.close()
  await late.policyReporter?.close()
  await late.policy?.close()
  ground.policySources?.close()
  ground.sources.close()
  await ground.network.close()
  ground.client.close()
  ground.nftables.close()
  ground.netlink.close()
  ground.datapath.close()
}
