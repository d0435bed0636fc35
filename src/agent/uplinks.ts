// The node's ways out: the default route over its uplinks, and neighbours on unnumbered links that must hear of it. Begins before the
// API server is heard, for the way there may be one of these.

import type { Logger } from 'pino'
import type { Way } from '../datapath/default-route.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import type { AgentConfig } from './config.ts'
import { DefaultRoute, type DefaultRouteOptions, type DefaultRouteView } from './default-route.ts'
import { RouterAdvertisements } from './router-advertisements.ts'

export interface UplinksOptions
  extends Pick<DefaultRouteOptions, 'sessions' | 'isWayUp' | 'isNode' | 'onWays'> {
  readonly config: AgentConfig
  readonly netlink: Netlink
  readonly network: NetworkView
  readonly routing: () => Pick<NodeRouting, 'peers' | 'loopbacks'>
  readonly areAll: () => boolean
  readonly log: Logger
}

export interface UplinksView {
  readonly defaultRoutes: readonly DefaultRouteView[]
  /** Links whose neighbours are told of this node. */
  readonly advertised: readonly string[]
}

export class Uplinks {
  readonly #defaultRoute: DefaultRoute
  readonly #advertisements: RouterAdvertisements

  constructor(options: UplinksOptions) {
    const { config, netlink, network, routing, areAll, log, ...hooks } = options
    // Read each time: the file may change.
    const settings = () => config.routing.uplinks
    this.#defaultRoute = new DefaultRoute({
      ...hooks,
      ...{ settings, netlink, network, log },
      wanted: () => {
        const { peers, loopbacks } = routing()
        return { peers, loopbacks, areAll: areAll() }
      },
    })
    this.#advertisements = new RouterAdvertisements({
      ...{ netlink, log },
      peers: () => (settings().routerAdvertisements ? routing().peers : []),
    })
  }

  get ways(): readonly Way[] {
    return this.#defaultRoute.ways
  }

  changed(): void {
    this.#defaultRoute.changed()
  }

  describe(): UplinksView {
    return { defaultRoutes: this.#defaultRoute.views, advertised: this.#advertisements.links }
  }

  async close(): Promise<void> {
    await this.#defaultRoute.close()
    await this.#advertisements.close()
  }
}
