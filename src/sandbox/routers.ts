// The rack's routers: FRR in tor1 and the spine, BIRD in tor2, each with its own run directory, sockets and processes
// in its host's namespace and cgroup. This file says what each router accepts and announces; the dialects write it out.

import { chmodSync, chownSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { birdConfig, readBirdBfd, readBirdSessions } from '../../bgp/dialects/bird.ts'
import {
  frrBfdConfig,
  frrBgpConfig,
  frrZebraConfig,
  readFrrBfd,
  readFrrSessions,
} from '../../bgp/dialects/frr.ts'
import type {
  BfdSessionState,
  Peer,
  PeerGroup,
  PrefixRule,
  RouterModel,
  SessionState,
} from '../../bgp/dialects/model.ts'
import {
  type AddressPlan,
  type LinkEnd,
  type LinkPlan,
  linkLocalOf,
  NODES_MAX,
  type RouterPlan,
} from './address-plan.ts'
import { type FrrDaemon, frrCommand, frrOwner, isFrrReady } from './frr.ts'
import { type Host, runIn } from './host.ts'
import { formatNetwork, type Network } from './ip-arithmetic.ts'
import { findProcess, startProcess, stopProcess } from './process.ts'
import type { Rack } from './rack.ts'
import { waitUntil } from './wait.ts'
import { writeIfChanged } from './write-if-changed.ts'

export type RouterKind = 'frr' | 'bird'

const BIRD = '/usr/sbin/bird'
/** What the spine may learn from one ToR: every node's prefixes and all VIPs, with room. */
const FABRIC_PREFIXES_MAX = 10_000
const NODE_PREFIXES_MAX = 1000
const READY_MS = 30_000
/** Nodes answer in the kernel. */
const NODE_BFD = { intervalMs: 250, multiplier: 3 } as const
/** Routers wait for each other's processes, and two busy cores keep those waiting: more patience, but far less than the hold time. */
const FABRIC_BFD = { intervalMs: 300, multiplier: 5 } as const

export interface RouterSession extends SessionState {
  readonly router: string
}

export function routerKind(name: string): RouterKind {
  return name === 'tor2' ? 'bird' : 'frr'
}

export function routerNames(plan: AddressPlan): string[] {
  return [plan.spine, ...plan.tors].map((router) => router.name)
}

/** Starts what does not run. A router whose configuration changed is started anew. */
export async function startRouter(rack: Rack, name: string): Promise<void> {
  const host = rack.host(name)
  const model = routerModel(rack.plan, name)
  if (routerKind(name) === 'bird') await startBird(host, model)
  else await startFrr(host, model)
}

/** The router's sessions as it tells them itself; empty when it does not answer. */
export async function routerSessions(rack: Rack, name: string): Promise<RouterSession[]> {
  const host = rack.host(name)
  const isBird = routerKind(name) === 'bird'
  const command = isBird ? ['birdc', 'show protocols all'] : ['vtysh', '-c', 'show bgp summary json']
  const answer = await runIn(host, routerCommand(host, command))
  if (answer.status !== 0) return []
  const peers = routerModel(rack.plan, name).groups.flatMap((group) => group.peers)
  const sessions = isBird ? readBirdSessions(answer.stdout, peers) : readFrrSessions(answer.stdout, peers)
  return sessions.map((session) => ({ ...session, router: name }))
}

/** The router's BFD sessions as it tells them itself; empty when it does not answer. */
export async function routerBfdSessions(rack: Rack, name: string): Promise<BfdSessionState[]> {
  const host = rack.host(name)
  const isBird = routerKind(name) === 'bird'
  const command = isBird ? ['birdc', 'show bfd sessions'] : ['vtysh', '-c', 'show bfd peers json']
  const answer = await runIn(host, routerCommand(host, command))
  if (answer.status !== 0) return []
  return isBird ? readBirdBfd(answer.stdout) : readFrrBfd(answer.stdout)
}

/** Points `vtysh` and `birdc` at the instance of this host; other commands stay as they are. */
export function routerCommand(host: Host, argv: readonly string[]): string[] {
  const [command = '', ...rest] = argv
  if (command === 'vtysh')
    return [command, '--vty_socket', frrDirectory(host), '--config_dir', frrDirectory(host), ...rest]
  if (command === 'birdc' || command === 'birdcl')
    return [command, '-s', `${host.directory}/bird.ctl`, ...rest]
  return [...argv]
}

export function routerModel(plan: AddressPlan, name: string): RouterModel {
  const router = [plan.spine, ...plan.tors].find((one) => one.name === name)
  if (!router) throw new Error(`${name} is not a router`)
  return router === plan.spine ? spineModel(plan) : torModel(plan, router)
}

function spineModel(plan: AddressPlan): RouterModel {
  const links = plan.links.filter((link) => link.kind === 'tor-spine')
  return {
    name: plan.spine.name,
    asn: plan.spine.asn,
    routerId: plan.spine.routerId,
    ecmpPathsMax: NODES_MAX,
    ownPrefixes: clientRules(plan),
    groups: [
      fabricGroup(
        plan,
        'tors',
        links.flatMap((link) => peersBelow(plan, link)),
      ),
    ],
  }
}

function torModel(plan: AddressPlan, tor: RouterPlan): RouterModel {
  const below = plan.links.filter((link) => link.upper.host === tor.name)
  const above = plan.links.filter((link) => link.lower.host === tor.name)
  return {
    name: tor.name,
    asn: tor.asn,
    routerId: tor.routerId,
    ecmpPathsMax: NODES_MAX,
    ownPrefixes: linkRules(plan),
    groups: [
      {
        name: 'nodes',
        peers: below.flatMap((link) => peersBelow(plan, link)),
        accept: nodeRules(plan),
        // Nodes reach everything by their default route and import nothing.
        announce: [],
        prefixesMax: NODE_PREFIXES_MAX,
        // gobgpd on the nodes does not listen.
        passive: true,
        bfd: NODE_BFD,
        carries: plan.isUnnumbered ? ['ipv4', 'ipv6'] : undefined,
      },
      fabricGroup(
        plan,
        'spine',
        above.flatMap((link) => peersAbove(plan, link)),
      ),
    ],
  }
}

/**
 * Between ToRs and the spine everything the rack knows is exchanged. So a ToR that lost its cable to a node still
 * reaches it through the spine and the other ToR. That a ToR is dead as a whole the fabric finds out by itself.
 */
function fabricGroup(plan: AddressPlan, name: string, peers: readonly Peer[]): PeerGroup {
  const rules = [...nodeRules(plan), ...clientRules(plan), ...linkRules(plan)]
  return {
    name,
    peers,
    accept: rules,
    announce: rules,
    prefixesMax: FABRIC_PREFIXES_MAX,
    passive: false,
    bfd: FABRIC_BFD,
  }
}

/** What nodes may announce: their loopbacks and podCIDRs, and single addresses of the pools. */
function nodeRules(plan: AddressPlan): PrefixRule[] {
  const { loopbacks, pods, pools } = plan.bases
  return [
    rule(loopbacks.ipv4, 32),
    rule(loopbacks.ipv6, 128),
    rule(pods.ipv4, 24),
    rule(pods.ipv6, 64),
    rule(pools.ipv4, 32),
    rule(pools.ipv6, 128),
  ]
}

function clientRules(plan: AddressPlan): PrefixRule[] {
  return [rule(plan.bases.clients.ipv4, 24), rule(plan.bases.clients.ipv6, 64)]
}

function linkRules(plan: AddressPlan): PrefixRule[] {
  return [rule(plan.bases.links.ipv4, 31), rule(plan.bases.links.ipv6, 127)]
}

function rule(network: Network, length: number): PrefixRule {
  return { prefix: formatNetwork(network), lengthMin: length, lengthMax: length }
}

function peersBelow(plan: AddressPlan, link: LinkPlan): Peer[] {
  return peersOf(plan, link, link.lower, link.upper)
}

function peersAbove(plan: AddressPlan, link: LinkPlan): Peer[] {
  return peersOf(plan, link, link.upper, link.lower)
}

function peersOf(plan: AddressPlan, { families }: LinkPlan, remote: LinkEnd, local: LinkEnd): Peer[] {
  const speaker = [plan.spine, ...plan.tors, ...plan.nodes].find((one) => one.name === remote.host)
  if (!speaker) throw new Error(`${remote.host} does not speak BGP`)
  const [name, asn] = [remote.host, speaker.asn]
  if (remote.mac !== undefined)
    return [{ name, asn, address: linkLocalOf(remote.mac), localAddress: '', interface: local.interface }]
  const plain = (address: string): string => address.split('/')[0] ?? ''
  return families.map((family) => ({
    name,
    asn,
    address: plain(remote.address[family]),
    localAddress: plain(local.address[family]),
  }))
}

function frrDirectory(host: Host): string {
  return `${host.directory}/frr`
}

async function startFrr(host: Host, model: RouterModel): Promise<void> {
  const directory = frrDirectory(host)
  const owner = frrOwner()
  mkdirSync(directory, { recursive: true })
  chownSync(directory, owner.uid, owner.gid)
  chmodSync(directory, 0o755)
  // vtysh looks for these beside the sockets and complains when they are missing.
  writeFileSync(`${directory}/vtysh.conf`, 'no service integrated-vtysh-config\n')
  const configs = {
    zebra: frrZebraConfig(model),
    bfdd: frrBfdConfig(model),
    bgpd: frrBgpConfig(model),
  }
  let isChanged = false
  for (const [daemon, text] of Object.entries(configs)) {
    const path = `${directory}/${daemon}.conf`
    isChanged = writeIfChanged(path, text, 0o644) || isChanged
    chownSync(path, owner.uid, owner.gid)
  }
  const daemons = ['zebra', 'bfdd', 'bgpd'] as const
  if (isChanged || daemons.some((daemon) => !findProcess(`${host.directory}/${daemon}.pid`))) {
    // bgpd keeps state in zebra: neither is worth keeping without the other.
    for (const daemon of [...daemons].reverse()) await stopProcess(`${host.directory}/${daemon}.pid`)
    for (const daemon of daemons) await startFrrDaemon(host, daemon)
  }
}

async function startFrrDaemon(host: Host, daemon: FrrDaemon): Promise<void> {
  const directory = frrDirectory(host)
  rmSync(`${directory}/${daemon}.vty`, { force: true })
  const identity = await startProcess({
    name: `${daemon} of ${host.name}`,
    namespace: host.namespace,
    cgroup: host.systemCgroup,
    argv: frrCommand(daemon, directory),
    logFile: `${host.directory}/${daemon}.log`,
    pidFile: `${host.directory}/${daemon}.pid`,
  })
  await waitUntil(`${daemon} of ${host.name}`, READY_MS, () => isFrrReady(daemon, directory), {
    identity,
    logFile: `${host.directory}/${daemon}.log`,
  })
}

async function startBird(host: Host, model: RouterModel): Promise<void> {
  const config = `${host.directory}/bird.conf`
  const pidFile = `${host.directory}/bird.pid`
  const socket = `${host.directory}/bird.ctl`
  const isChanged = writeIfChanged(config, birdConfig(model), 0o644)
  if (!isChanged && findProcess(pidFile)) return
  await stopProcess(pidFile)
  rmSync(socket, { force: true })
  const logFile = `${host.directory}/bird.log`
  const identity = await startProcess({
    name: `bird of ${host.name}`,
    namespace: host.namespace,
    cgroup: host.systemCgroup,
    argv: [BIRD, '-f', '-c', config, '-s', socket],
    logFile,
    pidFile,
  })
  // The socket is there before the configuration is read: only an answer tells that BIRD runs.
  const isReady = async (): Promise<boolean> =>
    existsSync(socket) && (await runIn(host, routerCommand(host, ['birdc', 'show status']))).status === 0
  await waitUntil(`bird of ${host.name}`, READY_MS, isReady, { identity, logFile })
}
