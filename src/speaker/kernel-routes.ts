// Learned routes → the kernel's main table, under a protocol number and a metric of our own. What bears another number is never
// touched: a route that another program put there under our metric stays, and ours is left out and told.

import type { Prefix } from '../model/address.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import type { Route, RouteSpec } from '../sys/node-netlink/routes.ts'
import type { LearnedRoute } from './learned-routes.ts'
import { isLinkLocal } from './links.ts'

/** RTPROT numbers from 128 on are free by convention but for the routing daemons' (186 to 192 are FRR's). */
export const WEIR_ROUTE_PROTOCOL = 157

/** Behind what an administrator wrote (0) and before what nobody chose (IPv6's 1024). */
const METRIC = 200
const MAIN_TABLE = 254
/** In one go; the kernel takes about 70 000 a second. */
const BATCH = 256

export interface KernelRoutes {
  /** What bears our number. */
  readonly list: () => Promise<ReadonlyMap<Prefix, string>>
  readonly add: (route: LearnedRoute) => Promise<void>
  readonly replace: (route: LearnedRoute) => Promise<void>
  readonly remove: (prefix: Prefix) => Promise<void>
}

export function kernelRoutes(netlink: Netlink): KernelRoutes {
  return {
    list: async () => {
      const routes = await netlink.routes.list({ table: MAIN_TABLE, protocol: WEIR_ROUTE_PROTOCOL })
      return new Map(routes.map((route) => [route.destination as Prefix, contentOf(route)]))
    },
    add: (route) => netlink.routes.add(specOf(route)),
    replace: (route) => netlink.routes.replace(specOf(route)),
    remove: async (prefix) => {
      try {
        await netlink.routes.delete({ destination: prefix, protocol: WEIR_ROUTE_PROTOCOL, metric: METRIC })
      } catch (error) {
        // A link that went down took it along.
        if (codeOf(error) !== 'ESRCH') throw error
      }
    },
  }
}

/** @returns how many there were */
export async function removeLearnedRoutes(netlink: Netlink, isDryRun: boolean): Promise<readonly Prefix[]> {
  const routes = kernelRoutes(netlink)
  const prefixes = [...(await routes.list()).keys()]
  if (!isDryRun) for (const prefix of prefixes) await routes.remove(prefix)
  return prefixes
}

function specOf({ prefix, nextHops }: LearnedRoute): RouteSpec {
  return {
    destination: prefix,
    protocol: WEIR_ROUTE_PROTOCOL,
    metric: METRIC,
    nextHops: nextHops.map(({ gateway, index }) => ({ gateway, index })),
  }
}

/**
 * A link-local gateway is another one on another link, so its link is part of it. Of the others the kernel finds the link by itself
 * and adds it, which is no difference.
 */
function contentOf({ nextHops }: Pick<LearnedRoute, 'nextHops'> | Pick<Route, 'nextHops'>): string {
  return nextHops
    .map(({ gateway = '', index }) => (isLinkLocal(gateway) ? `${gateway}%${index}` : gateway))
    .sort()
    .join(' ')
}

/** Whether nothing is wanted that is not held already: fewer next hops, and no other. */
function isPart(wanted: string, held: string): boolean {
  const known = new Set(held.split(' '))
  return wanted.split(' ').every((hop) => known.has(hop))
}

export interface RouteFailure {
  readonly prefix: Prefix
  readonly text: string
}

/** What is held, and the steps from there to what should be. */
export class RouteWriter {
  readonly #kernel: KernelRoutes
  #held: Map<Prefix, string> | undefined
  readonly #failures = new Map<Prefix, RouteFailure>()

  constructor(kernel: KernelRoutes) {
    this.#kernel = kernel
  }

  get failures(): readonly RouteFailure[] {
    return [...this.#failures.values()]
  }

  /** How many routes of ours the kernel holds, as far as known. */
  get count(): number {
    return this.#held?.size ?? 0
  }

  /** Looks at the kernel anew, and brings all of it to what is wanted. @param mayRemove false: what is too much, routes and next hops, stays for now */
  async writeAll(wanted: ReadonlyMap<Prefix, LearnedRoute>, mayRemove: boolean): Promise<void> {
    this.#held = new Map(await this.#kernel.list())
    this.#failures.clear()
    await this.write(new Set([...this.#held.keys(), ...wanted.keys()]), wanted, mayRemove)
  }

  async write(
    prefixes: Iterable<Prefix>,
    wanted: ReadonlyMap<Prefix, LearnedRoute>,
    mayRemove: boolean,
  ): Promise<void> {
    this.#held ??= new Map(await this.#kernel.list())
    const held = this.#held
    let batch: Promise<void>[] = []
    for (const prefix of prefixes) {
      batch.push(this.#writeOne(prefix, wanted.get(prefix), held, mayRemove))
      if (batch.length < BATCH) continue
      await Promise.all(batch)
      batch = []
    }
    await Promise.all(batch)
  }

  async #writeOne(
    prefix: Prefix,
    wanted: LearnedRoute | undefined,
    held: Map<Prefix, string>,
    mayRemove: boolean,
  ): Promise<void> {
    const before = held.get(prefix)
    this.#failures.delete(prefix)
    try {
      if (!wanted) {
        if (before === undefined || !mayRemove) return
        await this.#kernel.remove(prefix)
        held.delete(prefix)
        return
      }
      const content = contentOf(wanted)
      if (before === content || (!mayRemove && before !== undefined && isPart(content, before))) return
      // A replacement takes the place of whatever has this metric, whoever wrote it; so only where it is ours.
      if (before === undefined) await this.#kernel.add(wanted)
      else await this.#kernel.replace(wanted)
      held.set(prefix, content)
    } catch (error) {
      this.#failures.set(prefix, { prefix, text: error instanceof Error ? error.message : String(error) })
    }
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
