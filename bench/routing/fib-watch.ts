// Some destinations of a router's kernel table, as they come and go: told by netlink, stamped when heard, without asking.

import { Netlink } from '../../src/sys/node-netlink/netlink.ts'
import type { NetlinkEvent, Watch } from '../../src/sys/node-netlink/watch.ts'

type IsWatched = (destination: string) => boolean

interface Waiter {
  readonly isDone: (destinations: ReadonlyMap<string, number>) => boolean
  readonly resolve: (atNs: bigint) => void
}

const EVENTS_MAX = 1 << 17
export class FibWatch {
  readonly #netlink: Netlink
  readonly #watch: Watch
  readonly #isWatched: IsWatched
  readonly #onChange: ((change: string) => void) | undefined
  /** With how many next hops. */
  readonly #destinations = new Map<string, number>()
  #waiters: Waiter[] = []
  #failure: unknown
  private constructor(namespacePath: string, isWatched: IsWatched, onChange?: (change: string) => void) {
    this.#isWatched = isWatched
    this.#onChange = onChange
    this.#netlink = new Netlink({ namespacePath })
    this.#watch = this.#netlink.watch({ groups: ['routes'], eventsMax: EVENTS_MAX })
  }

  /** What is there already is known when this resolves. */
  static async open(
    namespace: string,
    isWatched: IsWatched,
    onChange?: (change: string) => void,
  ): Promise<FibWatch> {
    const watch = new FibWatch(`/run/netns/${namespace}`, isWatched, onChange)
    await watch.#relist()
    void watch.#follow()
    return watch
  }

  get size(): number {
    return this.#destinations.size
  }

  /** Resolves, with the time of the monotonic clock, when the table is so; at once when it is. */
  until(isDone: Waiter['isDone'], what: string, withinMs: number): Promise<bigint> {
    if (isDone(this.#destinations)) return Promise.resolve(process.hrtime.bigint())
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((one) => one !== waiter)
        reject(new Error(`not within ${withinMs} ms: ${what}`, { cause: this.#failure }))
      }, withinMs)
      const waiter: Waiter = {
        isDone,
        resolve: (atNs) => {
          clearTimeout(timer)
          resolve(atNs)
        },
      }
      this.#waiters.push(waiter)
    })
  }

  close(): void {
    this.#watch.close()
    this.#netlink.close()
  }

  async #follow(): Promise<void> {
    try {
      for await (const event of this.#watch) {
        // Events were lost: what is there now is asked once, and the stamp is a little late.
        if (event.kind === 'overrun') await this.#relist()
        else if (event.kind !== 'route' || !this.#isWatched(event.route.destination)) continue
        else if (event.isDeleted) this.#destinations.delete(event.route.destination)
        else this.#destinations.set(event.route.destination, event.route.nextHops.length)
        this.#onChange?.(describe(event))
        this.#tell()
      }
    } catch (error) {
      this.#failure = error
    }
  }

  async #relist(): Promise<void> {
    this.#destinations.clear()
    for (const route of await this.#netlink.routes.list())
      if (this.#isWatched(route.destination)) this.#destinations.set(route.destination, route.nextHops.length)
  }

  #tell(): void {
    const atNs = process.hrtime.bigint()
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!waiter.isDone(this.#destinations)) return true
      waiter.resolve(atNs)
      return false
    })
  }
}

function describe(event: NetlinkEvent): string {
  if (event.kind !== 'route') return event.kind
  const hops = event.route.nextHops.map(({ gateway, index }) => gateway ?? `link ${index}`)
  return `${event.isDeleted ? 'gone' : 'set'} ${event.route.destination} ${hops.join()}`
}
