// Holds the node's default route: static, over all uplinks that lead out, under a protocol number and a metric of our own. Routes of
// others are looked at and never touched. It stays while the agent is away, and until `weir uninstall` takes it away.
//
// `observe` writes nothing, and tells what the kernel has beside what would be written.

import type { Logger } from 'pino'
import {
  type DefaultRoutePlan,
  planDefaultRoute,
  type UplinkGround,
  type Way,
  type WayPeer,
  waysOfAddresses,
  waysOfPeers,
  wayText,
} from '../datapath/default-route.ts'
import type { Sessions } from '../datapath/live-uplinks.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import {
  type Address,
  FAMILIES,
  type Family,
  familyOf,
  type Prefix,
  parseAddress,
  parseNetwork,
} from '../model/address.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { mainTable, type Route, type RouteSpec } from '../sys/node-netlink/routes.ts'

/** Beside that of learned routes (speaker/kernel-routes.ts), for each is wiped by its owner alone. */
const UPLINKS_ROUTE_PROTOCOL = 158
/** Before what NetworkManager (100 and more) and router advertisements (1024) bring; behind what an administrator wrote by hand (0). */
const METRIC = 64
const DESTINATIONS: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0/0', ipv6: '::/0' }
/** Peers change without a word to us, and nobody tells when the kernel refuses no more. */
const ROUND_MS = 1000

export interface DefaultRouteSettings {
  readonly defaultRoute: 'manage' | 'observe'
  /** Instead of the peers on the uplinks. */
  readonly gateways?: readonly Address[] | undefined
}

export interface DefaultRouteWanted {
  readonly peers: readonly WayPeer[]
  /** Every source has been heard: routers that are no peers any more leave the route. */
  readonly areAll: boolean
  readonly loopbacks: readonly Prefix[]
}

export interface DefaultRouteOptions {
  readonly settings: () => DefaultRouteSettings
  readonly netlink: Netlink
  readonly network: Pick<NetworkView, 'waysOut'>
  readonly wanted: () => DefaultRouteWanted
  readonly isNode: (address: Address) => boolean
  readonly sessions: () => Sessions
  readonly isWayUp: (way: Way) => boolean | undefined
  /** Ways were found or went: the datapath looks for their neighbours. */
  readonly onWays: () => void
  readonly log: Pick<Logger, 'info' | 'warn'>
}

export interface DefaultRouteView {
  readonly family: Family
  readonly mode: DefaultRouteSettings['defaultRoute']
  /** Text of each next hop. */
  readonly hops: readonly string[]
  readonly absent: readonly { readonly way: string; readonly why: string }[]
  readonly problem?: string | undefined
}

const WHY: Readonly<Record<DefaultRoutePlan['absent'][number]['why'], string>> = {
  'no-carrier': 'the link is down or has no carrier',
  bfd: 'BFD: the router is silent',
  sessions: 'its BGP sessions are down while those of another uplink are up',
}

export class DefaultRoute {
  readonly #options: DefaultRouteOptions
  readonly #timer: NodeJS.Timeout
  #ways: readonly Way[] = []
  #views: readonly DefaultRouteView[] = []
  #isAsked = false
  /** Told once as long as it stays the same. */
  #failure: string | undefined
  #running: Promise<void> | undefined
  #isClosed = false

  constructor(options: DefaultRouteOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.changed(), ROUND_MS)
    this.#timer.unref()
    this.changed()
  }

  /** All that may be next hops, those that are absent included; none where the route is only observed. */
  get ways(): readonly Way[] {
    return this.#options.settings().defaultRoute === 'manage' ? this.#ways : []
  }

  get views(): readonly DefaultRouteView[] {
    return this.#views
  }

  /** Links, routes, BFD or BGP sessions may have changed. */
  changed(): void {
    if (this.#isClosed) return
    this.#isAsked = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async settled(): Promise<void> {
    await this.#running
  }

  /** The route stays. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#running
  }

  async #run(): Promise<void> {
    // What changes while a round runs is for the next one.
    while (this.#isAsked && !this.#isClosed) {
      this.#isAsked = false
      try {
        await this.#round()
        this.#failure = undefined
      } catch (error) {
        const text = String(error)
        if (text === this.#failure) continue
        this.#failure = text
        this.#options.log.warn({ err: error }, 'the default route cannot be looked at')
      }
    }
  }

  async #round(): Promise<void> {
    const { netlink, wanted } = this.#options
    const { peers, areAll, loopbacks } = wanted()
    const addresses = await netlink.addresses.list()
    await this.#findWays(peers, addresses)
    const routes = await netlink.routes.list({ table: mainTable })
    const present = new Set(addresses.map(({ address }) => parseAddress(address.split('/')[0] ?? '')))
    const views: DefaultRouteView[] = []
    for (const family of FAMILIES) {
      const source = loopbacks
        .map((prefix) => prefix.slice(0, prefix.indexOf('/')) as Address)
        .find((address) => familyOf(address) === family && present.has(address))
      const own = routes.filter(
        (route) => route.family === family && route.destination === DESTINATIONS[family],
      )
      views.push(await this.#holdFamily(family, own, { source, areAll }))
    }
    this.#tell(views)
  }

  async #findWays(
    peers: readonly WayPeer[],
    addresses: readonly { readonly index: number; readonly address: string }[],
  ): Promise<void> {
    const { network, isNode, onWays, settings } = this.#options
    const neighbours = await this.#neighbours()
    const uplinks = network.waysOut().uplinks.map(({ name, ifindex }): UplinkGround => {
      const own = addresses.filter(({ index }) => index === ifindex)
      return {
        name,
        ifindex,
        networks: own.flatMap(({ address }) => networkOf(address) ?? []),
        neighbour: neighbours.get(ifindex),
      }
    })
    const ground = { uplinks, isNode, before: this.#ways }
    const { gateways } = settings()
    const ways = gateways ? waysOfAddresses(gateways, ground) : waysOfPeers(peers, ground)
    const isSame = ways.map(wayText).join() === this.#ways.map(wayText).join()
    this.#ways = ways
    if (!isSame) onWays()
  }

  /** The router among an uplink's link-local neighbours, or the only one. */
  async #neighbours(): Promise<ReadonlyMap<number, Address>> {
    const rows = (await this.#options.netlink.neighbours.list({ family: 'ipv6' })).filter(
      ({ address, mac }) => /^fe[89ab]/.test(address) && mac !== undefined,
    )
    const found = new Map<number, Address>()
    for (const index of new Set(rows.map((row) => row.index))) {
      const here = rows.filter((row) => row.index === index)
      const chosen = here.find(({ isRouter }) => isRouter) ?? (here.length === 1 ? here[0] : undefined)
      const address = parseAddress(chosen?.address ?? '')
      if (address !== undefined) found.set(index, address)
    }
    return found
  }

  async #holdFamily(
    family: Family,
    routes: readonly Route[],
    { source, areAll }: { readonly source: Address | undefined; readonly areAll: boolean },
  ): Promise<DefaultRouteView> {
    const { settings, network, sessions, isWayUp } = this.#options
    const mode = settings().defaultRoute
    const own = routes.filter(
      ({ protocol, metric }) => protocol === UPLINKS_ROUTE_PROTOCOL && metric === METRIC,
    )
    const shown = mode === 'manage' ? own : routes
    const held = shown.length === 0 ? undefined : shown.flatMap(waysOfRoute)
    const known = this.#ways.filter((way) => way.family === family)
    // Before every source has been heard, routers of an earlier process count as peers.
    const unheard = areAll || mode === 'observe' ? [] : (held ?? []).filter((way) => !isAmong(way, known))
    const ways = [...known, ...unheard]
    const plan = planDefaultRoute(
      ways,
      { uplinks: network.waysOut().uplinks, sessions: sessions(), isWayUp },
      held,
    )
    const absent = plan.absent.map(({ way, why }) => ({ way: this.#text(way), why: WHY[why] }))
    const view = { family, mode, hops: (held ?? []).map((way) => this.#text(way)), absent }
    if (mode === 'observe') return view
    const before = foreignBefore(routes)
    if (plan.hops === undefined) {
      if (ways.length === 0 && !(areAll && held)) return view
      const problem =
        ways.length === 0
          ? 'no peer on an uplink is a router of this family any more; the route stays. Mend: name routing.uplinks.gateways, or remove it by `weir uninstall`'
          : held === undefined
            ? 'every uplink is down, and the kernel keeps no route without one: it is written again when one comes back'
            : 'every uplink is lost: the route stays as it is until one comes back'
      return { ...view, problem }
    }
    const problem = await this.#write(family, plan.hops, own, source)
    const hops = problem === undefined ? plan.hops : (held ?? [])
    return { ...view, hops: hops.map((way) => this.#text(way)), problem: problem ?? before }
  }

  /** @returns what went wrong */
  async #write(
    family: Family,
    hops: readonly Way[],
    own: readonly Route[],
    source: Address | undefined,
  ): Promise<string | undefined> {
    const { routes } = this.#options.netlink
    const [now, ...others] = own
    const isHeld =
      now !== undefined &&
      others.length === 0 &&
      sameWays(waysOfRoute(now), hops) &&
      (now.source === undefined ? undefined : parseAddress(now.source)) === source
    if (isHeld) return undefined
    const spec: RouteSpec = {
      destination: DESTINATIONS[family],
      protocol: UPLINKS_ROUTE_PROTOCOL,
      metric: METRIC,
      source,
      nextHops: hops.map(({ address, ifindex }) => ({ gateway: address, index: ifindex })),
    }
    try {
      // A replacement takes the place of whatever has this metric, whoever wrote it; so only where it is ours.
      if (now === undefined) await routes.add(spec)
      else await routes.replace(spec)
      return undefined
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      const mend = codeOf(error) === 'EEXIST' ? ` Mend: remove the default route of metric ${METRIC}` : ''
      return `cannot be written: ${text}.${mend}`
    }
  }

  #tell(views: readonly DefaultRouteView[]): void {
    const { log } = this.#options
    for (const view of views) {
      const before = this.#views.find(({ family }) => family === view.family)
      const { family, hops, absent, problem } = view
      if (problem !== undefined && problem !== before?.problem)
        log.warn({ family }, `default route: ${problem}`)
      if (view.mode === 'manage' && hops.join() !== (before?.hops ?? []).join())
        log.info({ family, hops, absent }, 'default route: next hops changed')
    }
    this.#views = views
  }

  #text({ address, ifindex }: Way): string {
    const uplink = this.#options.network.waysOut().uplinks.find((one) => one.ifindex === ifindex)
    return `${address} dev ${uplink?.name ?? ifindex}`
  }
}

/** @returns a line for each family's route that was removed, or would be */
export async function removeDefaultRoutes(netlink: Netlink, isDryRun: boolean): Promise<string[]> {
  const all = await netlink.routes.list({ table: mainTable, protocol: UPLINKS_ROUTE_PROTOCOL })
  const own = all.filter(({ metric, protocol }) => metric === METRIC && protocol === UPLINKS_ROUTE_PROTOCOL)
  const lines: string[] = []
  for (const { destination, family, nextHops } of own) {
    if (!isDryRun) {
      const [protocol, metric] = [UPLINKS_ROUTE_PROTOCOL, METRIC]
      await netlink.routes.delete({ destination, protocol, metric })
    }
    lines.push(`default route of ${family} via ${nextHops.map(({ gateway }) => gateway ?? '').join(', ')}`)
  }
  return lines
}

function networkOf(text: string): Prefix[] {
  const network = parseNetwork(text)
  return network === undefined ? [] : [network]
}

function waysOfRoute({ family, nextHops }: Route): Way[] {
  return nextHops.flatMap(({ gateway, index }) => {
    const address = parseAddress(gateway ?? '')
    return address === undefined || index === undefined ? [] : [{ family, ifindex: index, address }]
  })
}

function isAmong(way: Way, ways: readonly Way[]): boolean {
  return ways.some((other) => wayText(other) === wayText(way))
}

function sameWays(one: readonly Way[], other: readonly Way[]): boolean {
  return one.length === other.length && one.every((way) => isAmong(way, other))
}

/** A route of somebody else that packets take instead of ours. */
function foreignBefore(routes: readonly Route[]): string | undefined {
  const found = routes.find(({ metric, type }) => metric < METRIC && type === 'unicast')
  if (!found) return undefined
  const { metric, protocol } = found
  return `another default route (metric ${metric}, protocol ${protocol}) comes before it. Mend: remove that one, or set routing.uplinks.defaultRoute to observe`
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
