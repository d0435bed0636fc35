// Entry of node-netlink: an rtnetlink client for one network namespace. See README.md.

import { Addresses } from './addresses.ts'
import { Connection } from './connection.ts'
import { Links } from './links.ts'
import { NamespaceIds } from './namespace-ids.ts'
import { Neighbours } from './neighbours.ts'
import { Routes } from './routes.ts'
import { Rules } from './rules.ts'
import { TrafficControl } from './traffic-control.ts'
import { Watch, type WatchOptions } from './watch.ts'

export interface NetlinkOptions {
  /**
   * `/run/netns/NAME` or `/proc/PID/ns/net`; the calling thread's own namespace when absent. Only opening
   * needs the path.
   */
  readonly namespacePath?: string | undefined
}

/**
 * Any number of requests may be under way. Open connections without requests do not keep the process running.
 */
export class Netlink {
  readonly namespacePath: string | undefined
  readonly links: Links
  readonly addresses: Addresses
  readonly routes: Routes
  readonly neighbours: Neighbours
  readonly rules: Rules
  readonly namespaceIds: NamespaceIds
  readonly trafficControl: TrafficControl
  readonly #connection: Connection

  constructor(options: NetlinkOptions = {}) {
    this.namespacePath = options.namespacePath
    this.#connection = new Connection(options.namespacePath)
    this.links = new Links(this.#connection)
    this.addresses = new Addresses(this.#connection)
    this.routes = new Routes(this.#connection)
    this.neighbours = new Neighbours(this.#connection)
    this.rules = new Rules(this.#connection)
    this.namespaceIds = new NamespaceIds(this.#connection)
    this.trafficControl = new TrafficControl(this.#connection)
  }

  /** Events of this connection's namespace, over a socket of their own that the watch owns. */
  watch(options: Omit<WatchOptions, 'namespacePath'>): Watch {
    return new Watch({ ...options, namespacePath: this.namespacePath })
  }

  /** Rejects what is under way. Watches stay open. */
  close(): void {
    this.#connection.close()
  }
}
