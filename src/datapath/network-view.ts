// This node's links, routes and neighbours as the datapath needs them: uplinks with carrier, the way out, and which device
// leads to which pod. Follows the kernel by netlink events and keeps nothing it could not read again.
//
// A pod is found from its address: a host route (/32, /128) over a device without a gateway, as the ptp CNI plug-in and its
// relatives make. Whether the pod's end takes redirected XDP frames is asked of that end, once per device.

import { type Address, type Family, parseAddress } from '../model/address.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import type { Link } from '../sys/node-netlink/links.ts'
import type { Neighbour } from '../sys/node-netlink/neighbours.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { mainTable, type Route } from '../sys/node-netlink/routes.ts'
import { findVethPeer } from '../sys/node-netlink/veth-peer.ts'
import type { NetlinkEvent } from '../sys/node-netlink/watch.ts'
import type { Way } from './default-route.ts'
import type { Gateway, MacBytes, PodDevice, PodNamespace, Uplink } from './nexthop-plan.ts'

const DEFAULT_ROUTES: readonly string[] = ['0.0.0.0/0', '::/0']
const NO_MAC: MacBytes = new Uint8Array(6)
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
  /** Called, at most once per turn of the event loop, when facts may have changed. */
  readonly onChange: () => void
  readonly onProblem: (action: string, error: unknown) => void
}

interface PodEnd {
  readonly mac: MacBytes
  readonly takesRedirects: boolean
  readonly namespace: PodNamespace | undefined
}

/** What a veth has unless somebody limits a pod's bandwidth. */
const UNSHAPED = 'noqueue'

/** A namespace may have no name and no process yet when its device is there already. */
const UNSEEN_RETRY_MIN_MS = 100
const UNSEEN_RETRY_MAX_MS = 10_000

const UNSEEN_END: PodEnd = { mac: NO_MAC, takesRedirects: false, namespace: undefined }

export class NetworkView {
  readonly #options: NetworkViewOptions
  readonly #stop = new AbortController()
  #links = new Map<number, Link>()
  #hostRoutes = new Map<Address, number>()
  #defaultRoutes: readonly Route[] = []
  #neighbours = new Map<string, Neighbour>()
  readonly #podEnds = new Map<number, PodEnd | 'asked'>()
  #loop: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #notified = false

  constructor(options: NetworkViewOptions) {
    this.#options = options
  }

  /** Reads everything once, then follows. Rejects when the first reading fails. */
  async start(): Promise<void> {
    const watch = this.#options.netlink.watch({
      groups: ['links', 'queues', 'routes', 'neighbours'],
      signal: this.#stop.signal,
    })
    await this.#readAll()
    this.#loop = this.#follow(watch)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#retry)
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
    this.#podEnds.delete(index)
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
    const pods: PodDevice[] = []
    const unknownPods = new Map<Address, number>()
    for (const [address, ifindex] of this.#hostRoutes) {
      const link = this.#links.get(ifindex)
      if (!link || notPods.has(ifindex) || link.kind !== 'veth') continue
      const end = this.#podEnds.get(ifindex)
      if (end === undefined) this.#askPodEnd(ifindex)
      if (end === undefined || end === 'asked') {
        unknownPods.set(address, ifindex)
        continue
      }
      pods.push({
        address,
        ifindex,
        hostMac: macBytes(link.mac) ?? NO_MAC,
        podMac: end.mac,
        mtu: link.mtu,
        takesRedirects: end.takesRedirects,
        mayBypass: end.mac !== NO_MAC && link.linkNamespaceId !== undefined && link.queueing === UNSHAPED,
        namespace: end.namespace,
      })
    }
    return { pods, unknownPods }
  }

  /**
   * A pod whose end cannot be looked at is served through the host's routing, which needs neither MAC nor NAPI, and looked at again.
   * @param retryMs after which it is, if it has to be
   */
  #askPodEnd(ifindex: number, retryMs = UNSEEN_RETRY_MIN_MS): void {
    if (retryMs === UNSEEN_RETRY_MIN_MS) this.#podEnds.set(ifindex, 'asked')
    findVethPeer(this.#options.netlink, ifindex)
      .then((peer): PodEnd => {
        const path = peer.namespacePath
        const namespace = path === undefined ? path : { path, cookie: networkNamespaceCookie(path) }
        const mac = macBytes(peer.link.mac)
        if (!mac) return { ...UNSEEN_END, namespace }
        return { mac, takesRedirects: peer.acceptsRedirects, namespace }
      })
      .catch((error: unknown): PodEnd => {
        const name = this.#links.get(ifindex)?.name ?? ifindex
        if (retryMs === UNSEEN_RETRY_MIN_MS)
          this.#options.onProblem(`looking at the pod's end of ${name}`, error)
        this.#askAgain(ifindex, retryMs)
        return UNSEEN_END
      })
      .then((end) => {
        if (!this.#links.has(ifindex) || (end === UNSEEN_END && retryMs > UNSEEN_RETRY_MIN_MS)) return
        this.#podEnds.set(ifindex, end)
        this.#notify()
      })
  }

  #askAgain(ifindex: number, retryMs: number): void {
    const timer = setTimeout(() => {
      if (this.#stop.signal.aborted || !this.#links.has(ifindex)) return
      this.#askPodEnd(ifindex, Math.min(UNSEEN_RETRY_MAX_MS, retryMs * 2))
    }, retryMs)
    timer.unref()
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

function macBytes(text: string | undefined): MacBytes | undefined {
  if (text === undefined) return undefined
  const bytes = Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16))
  return bytes.length === 6 ? bytes : undefined
}
