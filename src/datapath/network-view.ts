// This node's links, routes and neighbours as the datapath needs them: uplinks with carrier, the way out, and which device
// leads to which pod. Follows the kernel by netlink events and keeps nothing it could not read again.
//
// A pod is found from its address: a host route (/32, /128) over a veth without a gateway, as the ptp CNI plug-in and its relatives
// make; or, of a bridge's ports (the bridge plug-in, flannel, kube-router), the veth whose other end has the address. Asking that end,
// and not the bridge's forwarding table, needs no traffic and believes no ARP. What hangs on bridges may be others' containers: there only
// addresses are pods' that the API server says are.

import { type Address, type Family, parseAddress } from '../model/address.ts'
import type { Link } from '../sys/node-netlink/links.ts'
import type { Neighbour } from '../sys/node-netlink/neighbours.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { mainTable, type Route } from '../sys/node-netlink/routes.ts'
import type { NetlinkEvent } from '../sys/node-netlink/watch.ts'
import type { Way } from './default-route.ts'
import type { Gateway, PodDevice, Uplink } from './nexthop-plan.ts'
import { macBytes, NO_MAC, type PodEnd, PodEnds } from './pod-ends.ts'

const DEFAULT_ROUTES: readonly string[] = ['0.0.0.0/0', '::/0']
/** A gateway whose MAC is unknown is asked for again after this. */
const NEIGHBOUR_RETRY_MS = 1000

export interface NetworkFacts {
  readonly uplinks: readonly Uplink[]
  readonly gateways: readonly Gateway[]
  readonly pods: readonly PodDevice[]
  /** Local pods whose own end of the veth is still being looked at, by address: device index. */
  readonly unknownPods: ReadonlyMap<Address, number>
}

export interface NetworkViewOptions {
  readonly netlink: Netlink
  readonly uplinkNames: readonly string[]
  /** Routers that are gateways whether the default route names them now or not (default-route.ts). */
  readonly ways?: () => readonly Way[]
  /** Whether a pod of this node has this address; asked of what hangs on bridges; absent: nothing there is looked at. */
  readonly isPod?: ((address: Address) => boolean) | undefined
  /** Called, at most once per turn of the event loop, when facts may have changed. */
  readonly onChange: () => void
  readonly onProblem: (action: string, error: unknown) => void
}

/** What a veth has unless somebody limits a pod's bandwidth. */
const UNSHAPED = 'noqueue'

export class NetworkView {
  readonly #options: NetworkViewOptions
  readonly #stop = new AbortController()
  #links = new Map<number, Link>()
  #hostRoutes = new Map<Address, number>()
  #defaultRoutes: readonly Route[] = []
  #neighbours = new Map<string, Neighbour>()
  readonly #ends: PodEnds
  #loop: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #notified = false

  constructor(options: NetworkViewOptions) {
    this.#options = options
    this.#ends = new PodEnds({
      netlink: options.netlink,
      nameOf: (ifindex) => this.#links.get(ifindex)?.name,
      onChange: () => this.#notify(),
      onProblem: options.onProblem,
    })
  }

  /** Reads everything once, then follows. Rejects when the first reading fails. */
  async start(): Promise<void> {
    const watch = this.#options.netlink.watch({
      groups: ['links', 'queues', 'routes', 'neighbours'],
      signal: this.#stop.signal,
    })
    await this.#readAll()
    // A port that is not understood has no address that rows of an earlier process could be kept by.
    const ports = [...this.#links.values()].filter((link) => this.#bridgeOf(link))
    for (const { index } of ports) await this.#ends.lookAt(index)
    this.#loop = this.#follow(watch)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#retry)
    this.#ends.close()
    await this.#loop
  }

  facts(): NetworkFacts {
    const ways = this.waysOut()
    return { ...ways, ...this.#pods(ways.uplinks) }
  }

  /** The part of the facts that asks for no gateway. */
  pods(): Pick<NetworkFacts, 'pods' | 'unknownPods'> {
    return this.#pods(this.#uplinks())
  }

  /** The part of the facts that asks for no look at every pod. */
  waysOut(): Pick<NetworkFacts, 'uplinks' | 'gateways'> {
    const uplinks = this.#uplinks()
    return { uplinks, gateways: this.#gateways(uplinks) }
  }

  /** The devices that carry our programs, by name. */
  devices(): readonly { readonly name: string; readonly ifindex: number; readonly kind: 'uplink' | 'pod' }[] {
    const uplinks = this.#uplinks()
    const { pods, unknownPods } = this.#pods(uplinks)
    const indexes = new Set([...pods.map(({ ifindex }) => ifindex), ...unknownPods.values()])
    return [
      ...uplinks.map(({ name, ifindex }) => ({ name, ifindex, kind: 'uplink' as const })),
      ...[...indexes].map((ifindex) => ({
        name: this.#links.get(ifindex)?.name ?? '',
        ifindex,
        kind: 'pod' as const,
      })),
    ]
  }

  /** Bridges by whose ports pods are reached. */
  bridges(): readonly { readonly name: string; readonly ifindex: number; readonly kind: 'pod' }[] {
    const found = new Map<number, string>()
    for (const { ifindex } of this.#pods(this.#uplinks()).pods) {
      const port = this.#links.get(ifindex)
      const bridge = port && this.#bridgeOf(port)
      if (bridge) found.set(bridge.index, bridge.name)
    }
    return [...found].map(([ifindex, name]) => ({ ifindex, name, kind: 'pod' as const }))
  }

  /** Every link of the node, by its index. */
  linkNames(): ReadonlyMap<number, string> {
    return new Map([...this.#links].map(([index, { name }]) => [index, name]))
  }

  /** Undefined: there is no such link. */
  linkState(name: string): 'up' | 'no-carrier' | 'down' | undefined {
    const link = [...this.#links.values()].find((one) => one.name === name)
    if (!link) return undefined
    if (!link.isUp) return 'down'
    return link.hasCarrier ? 'up' : 'no-carrier'
  }

  /** Names from the configuration that no link has. */
  missingUplinks(): string[] {
    const present = new Set([...this.#links.values()].map((link) => link.name))
    return this.#options.uplinkNames.filter((name) => !present.has(name))
  }

  async #readAll(): Promise<void> {
    const { netlink } = this.#options
    const [links, routes, neighbours] = await Promise.all([
      netlink.links.list(),
      netlink.routes.list({ table: mainTable }),
      netlink.neighbours.list(),
    ])
    this.#links = new Map(links.map((link) => [link.index, link]))
    this.#hostRoutes = new Map()
    for (const route of routes) this.#noteHostRoute(route, false)
    this.#defaultRoutes = routes.filter((route) => DEFAULT_ROUTES.includes(route.destination))
    this.#neighbours = new Map(neighbours.map((neighbour) => [neighbourKey(neighbour), neighbour]))
    this.#notify()
  }

  async #follow(watch: AsyncIterable<NetlinkEvent>): Promise<void> {
    try {
      for await (const event of watch) await this.#handle(event)
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.onProblem('following netlink events', error)
    }
  }

  async #handle(event: NetlinkEvent): Promise<void> {
    if (event.kind === 'overrun') {
      await this.#readAll().catch((error: unknown) =>
        this.#options.onProblem('reading links and routes again', error),
      )
    } else if (event.kind === 'link') {
      if (event.isDeleted) this.#forgetLink(event.link.index)
      else this.#links.set(event.link.index, event.link)
      this.#ends.lookAgain(event.link.index)
      this.#notify()
    } else if (event.kind === 'queue') {
      await this.#readLink(event.index)
    } else if (event.kind === 'neighbour') {
      const key = neighbourKey(event.neighbour)
      if (event.isDeleted) this.#neighbours.delete(key)
      else this.#neighbours.set(key, event.neighbour)
      if (this.#isUplink(event.neighbour.index)) this.#notify()
    } else if (event.kind === 'route' && event.route.table === mainTable) {
      if (DEFAULT_ROUTES.includes(event.route.destination)) await this.#readDefaultRoutes()
      else if (!this.#noteHostRoute(event.route, event.isDeleted)) return
      this.#notify()
    }
  }

  /** Events of queues do not tell which of them is the link's own. */
  async #readLink(index: number): Promise<void> {
    try {
      const link = await this.#options.netlink.links.get(index)
      if (!link || link.queueing === this.#links.get(index)?.queueing) return
      this.#links.set(index, link)
      this.#notify()
    } catch (error) {
      this.#options.onProblem(`reading link ${index} again`, error)
    }
  }

  /** Events of multipath routes tell one hop at a time in some kernels; the list tells the whole. */
  async #readDefaultRoutes(): Promise<void> {
    try {
      const routes = await this.#options.netlink.routes.list({ table: mainTable })
      this.#defaultRoutes = routes.filter((route) => DEFAULT_ROUTES.includes(route.destination))
    } catch (error) {
      this.#options.onProblem('reading default routes', error)
    }
  }

  /** @returns whether it was a host route over a device */
  #noteHostRoute(route: Route, isDeleted: boolean): boolean {
    const hop = route.nextHops[0]
    const [text = '', length] = route.destination.split('/')
    const address = parseAddress(text)
    const isHost = length === (route.family === 'ipv4' ? '32' : '128')
    if (!isHost || address === undefined || route.type !== 'unicast') return false
    if (route.nextHops.length !== 1 || hop?.gateway !== undefined || hop?.index === undefined) return false
    if (isDeleted) this.#hostRoutes.delete(address)
    else this.#hostRoutes.set(address, hop.index)
    return true
  }

  #forgetLink(index: number): void {
    this.#links.delete(index)
    this.#ends.forget(index)
    for (const [address, device] of this.#hostRoutes) if (device === index) this.#hostRoutes.delete(address)
  }

  #isUplink(index: number): boolean {
    return this.#options.uplinkNames.includes(this.#links.get(index)?.name ?? '')
  }

  #uplinks(): Uplink[] {
    const byName = new Map([...this.#links.values()].map((link) => [link.name, link]))
    return this.#options.uplinkNames.flatMap((name) => {
      const link = byName.get(name)
      if (!link) return []
      const isUp = link.isUp && link.hasCarrier
      return [{ name, ifindex: link.index, mac: macBytes(link.mac) ?? NO_MAC, isUp, mtu: link.mtu }]
    })
  }

  #gateways(uplinks: readonly Uplink[]): Gateway[] {
    const up = new Set(uplinks.filter((uplink) => uplink.isUp).map((uplink) => uplink.ifindex))
    const ways = (this.#options.ways?.() ?? []).flatMap(({ family, ifindex, address }) =>
      this.#gateway(family, ifindex, address),
    )
    const isWay = ({ family, ifindex, address }: Gateway) =>
      ways.some((way) => way.family === family && way.ifindex === ifindex && way.address === address)
    const routed = this.#defaultRoutes.flatMap((route) =>
      route.nextHops.flatMap((hop) => this.#gateway(route.family, hop.index, hop.gateway)),
    )
    const gateways = [...ways, ...routed.filter((gateway) => !isWay(gateway))]
    const unresolved = gateways.filter((gateway) => gateway.mac === undefined && up.has(gateway.ifindex))
    if (unresolved.length > 0) this.#resolve(unresolved)
    return gateways
  }

  #gateway(family: Family, index: number | undefined, text: string | undefined): Gateway[] {
    const address = parseAddress(text ?? '')
    if (index === undefined || address === undefined) return []
    const mac = macBytes(this.#neighbours.get(`${index} ${address}`)?.mac)
    return [{ family, ifindex: index, address, mac }]
  }

  #resolve(gateways: readonly Gateway[]): void {
    for (const { ifindex, address } of gateways) {
      this.#options.netlink.neighbours
        .resolve({ index: ifindex, address })
        .catch((error: unknown) => this.#options.onProblem(`resolving the gateway ${address}`, error))
    }
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#notify(), NEIGHBOUR_RETRY_MS)
    this.#retry.unref()
  }

  #pods(uplinks: readonly Uplink[]): Pick<NetworkFacts, 'pods' | 'unknownPods'> {
    const notPods = new Set(uplinks.map((uplink) => uplink.ifindex))
    const pods = new Map<Address, PodDevice>()
    const unknownPods = new Map<Address, number>()
    for (const [address, ifindex] of this.#hostRoutes) {
      const link = this.#links.get(ifindex)
      if (!link || notPods.has(ifindex) || link.kind !== 'veth') continue
      const end = this.#ends.of(ifindex)
      if (end) pods.set(address, podDevice(address, link, link, end))
      else unknownPods.set(address, ifindex)
    }
    for (const port of this.#links.values()) {
      const bridge = notPods.has(port.index) ? undefined : this.#bridgeOf(port)
      const end = bridge && this.#ends.of(port.index, true)
      if (!end) continue
      for (const address of end.addresses)
        if (this.#options.isPod?.(address) && !pods.has(address) && !unknownPods.has(address))
          pods.set(address, podDevice(address, port, bridge, end))
    }
    return { pods: [...pods.values()], unknownPods }
  }

  /** Undefined: the link is no port that leads into another namespace. */
  #bridgeOf({ kind, master, linkNamespaceId }: Link): Link | undefined {
    if (!this.#options.isPod || kind !== 'veth' || linkNamespaceId === undefined) return undefined
    if (master === undefined) return undefined
    const bridge = this.#links.get(master)
    return bridge?.kind === 'bridge' ? bridge : undefined
  }

  /** What `isPod` says is another; who came, has its address by now. */
  podsChanged(): void {
    const ports = [...this.#links.values()].filter((link) => this.#bridgeOf(link))
    if (ports.length === 0) return
    for (const { index } of ports)
      if (!this.#ends.of(index, true)?.addresses.some((address) => this.#options.isPod?.(address)))
        this.#ends.lookAgain(index)
    this.#notify()
  }

  #notify(): void {
    if (this.#notified || this.#stop.signal.aborted) return
    this.#notified = true
    setImmediate(() => {
      this.#notified = false
      if (!this.#stop.signal.aborted) this.#options.onChange()
    })
  }
}

function neighbourKey(neighbour: Neighbour): string {
  return `${neighbour.index} ${parseAddress(neighbour.address) ?? neighbour.address}`
}

/** @param near whose MAC the pod's frames go to: its device's, or the bridge's */
function podDevice(address: Address, device: Link, near: Link, end: PodEnd): PodDevice {
  return {
    address,
    ifindex: device.index,
    ...(near === device ? {} : { bridge: near.index }),
    hostMac: macBytes(near.mac) ?? NO_MAC,
    podMac: end.mac,
    mtu: device.mtu,
    takesRedirects: end.takesRedirects,
    mayBypass: end.mac !== NO_MAC && device.linkNamespaceId !== undefined && device.queueing === UNSHAPED,
    namespace: end.namespace,
  }
}
