// What one look within a pod may read (inner-look.ts), told by counts and not by time: what was found once is found again while the pod
// does nothing new, however busy the node. Where a limit is met the namespace stays closed, and says so. No system calls.

export interface Limits {
  /** Links of a namespace. A list that changes while it is read is read again, and counts again. */
  readonly links: number
  /** Of all namespaces of one pod, at some 13 us each. A kernel with all kinds of tunnels puts ten into each. */
  readonly linksOfPod: number
  /** Whether a namespace leads to another, at some 4 us each. */
  readonly asks: number
}

export const LIMITS: Limits = { links: 256, linksOfPod: 1024, asks: 1024 }
/** A look that reads more than this, in links' worth, is a large one: some 6 ms. */
const LARGE = 512
const NAMESPACE_WORTH = 16
const ASK_WORTH = 1 / 4
const PROCESS_WORTH = 1 / 2
/** Asked at one time. */
const ASKS_TOGETHER = 8

export class TooMuchError extends Error {
  override name = 'TooMuchError'
}

/** What one look has read. */
export class Reading {
  readonly #limits: Limits
  #links = 0
  #asks = 0
  #worth = 0

  constructor(limits: Limits = LIMITS) {
    this.#limits = limits
  }

  /** @returns to be called with each link of one namespace. Throws when none is left for it */
  linksOfOne(): () => void {
    const { links, linksOfPod } = this.#limits
    const tooManyOfPod = () =>
      new TooMuchError(`the pod's network namespaces have more than ${linksOfPod} devices together`)
    if (this.#links >= linksOfPod) throw tooManyOfPod()
    let read = 0
    return () => {
      read += 1
      this.#links += 1
      if (read > links)
        throw new TooMuchError(`it has more than ${links} devices, or they change all the time`)
      if (this.#links > linksOfPod) throw tooManyOfPod()
    }
  }

  /** By what was read, for the time that it took is also others'. */
  get isLarge(): boolean {
    return this.#worth + this.#links + this.#asks * ASK_WORTH > LARGE
  }

  process(): void {
    this.#worth += PROCESS_WORTH
  }

  namespace(): void {
    this.#worth += NAMESPACE_WORTH
  }

  ask(count: number): void {
    this.#asks += count
    if (this.#asks > this.#limits.asks)
      throw new TooMuchError("too many of the pod's network namespaces lead to each other")
  }
}

type AskIds = (cookies: readonly bigint[]) => Promise<readonly (number | undefined)[]>

/** Finds which namespaces one leads to by its ids of them, those first that others led to most often. */
export class OthersAsked {
  readonly #reading: Reading
  /** How often each was led to. */
  readonly #led: Map<bigint, number>

  constructor(cookies: readonly bigint[], own: ReadonlySet<bigint>, reading: Reading) {
    this.#reading = reading
    this.#led = new Map(cookies.map((cookie) => [cookie, own.has(cookie) ? Number.POSITIVE_INFINITY : 0]))
  }

  /** @returns cookies; undefined where one of the ids is of none of the pod's namespaces */
  async find(ids: ReadonlySet<number>, ask: AskIds): Promise<ReadonlySet<bigint> | undefined> {
    const missing = new Set(ids)
    const found = new Set<bigint>()
    const order = [...this.#led].toSorted(([, one], [, other]) => (one === other ? 0 : other - one))
    for (let at = 0; missing.size > 0 && at < order.length; at += ASKS_TOGETHER) {
      const cookies = order.slice(at, at + ASKS_TOGETHER).map(([cookie]) => cookie)
      this.#reading.ask(cookies.length)
      for (const [index, id] of (await ask(cookies)).entries()) {
        const cookie = cookies[index]
        if (cookie === undefined || id === undefined || !missing.delete(id)) continue
        found.add(cookie)
        this.#led.set(cookie, (this.#led.get(cookie) ?? 0) + 1)
      }
    }
    return missing.size === 0 ? found : undefined
  }
}
