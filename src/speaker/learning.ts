// Learned routes at work: gobgpd's best paths as they change → LearnedRoutes → the kernel. Runs only while a peer has import rules; when
// the last one goes, what we put into the kernel goes too.
//
// A gobgpd that died comes back without routes and learns them again within seconds, while the routers go on forwarding. So nothing is
// removed after its death before each importing session has been up for a while, or a patience has run out.

import type { BestRoutes, GobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import { FAMILIES, type Prefix } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import { type KernelRoutes, RouteWriter } from './kernel-routes.ts'
import { type ImportVerdict, LearnedRoutes, type LearningPeer } from './learned-routes.ts'
import { isLinkLocal, type LinkView } from './links.ts'
import type { PlannedPeer } from './peer-plan.ts'
import type { SpeakerProblem } from './problems.ts'

/** After a session came up: routers tell everything within a second or two. */
const TOLD_ALL_MS = 5_000
/** Routers' own patience with a restarting neighbour is of this order. */
const PATIENCE_MS = 90_000
const PROBLEMS_MAX = 16

export interface LearningOptions {
  readonly client: GobgpClient
  readonly kernel: KernelRoutes
  readonly nowMs: () => number
  /** Since when the session with this address is up; undefined: it is not. */
  readonly establishedSinceMs: (address: string) => number | undefined
  readonly warn: (details: object, message: string) => void
}

export class Learning {
  readonly #options: LearningOptions
  readonly #learned = new LearnedRoutes()
  readonly #writer: RouteWriter
  #peers: readonly LearningPeer[] = []
  #rules = ''
  #watch: AbortController | undefined
  #following: Promise<void> = Promise.resolve()
  /** One write after another. */
  #writing: Promise<void> = Promise.resolve()
  #lostAtMs: number | undefined
  #holdTimer: NodeJS.Timeout | undefined
  #hasCleaned = false
  /** What was told while the table was being read, which may be older or newer than what was read. */
  #meanwhile: (readonly BestRoutes[])[] | undefined

  constructor(options: LearningOptions) {
    this.#options = options
    this.#writer = new RouteWriter(options.kernel)
  }

  /** In each full round: takes the rules over, and brings the kernel to what gobgpd says now. */
  async sync(peers: readonly LearningPeer[], own: readonly AllowedPrefix[]): Promise<void> {
    const rules = JSON.stringify([peers, own])
    if (rules !== this.#rules) this.#learned.configure(peers, own)
    this.#rules = rules
    this.#peers = peers
    if (peers.length === 0) {
      await this.#stop()
      return
    }
    this.#hasCleaned = false
    this.#follow()
    const { client } = this.#options
    this.#meanwhile = []
    const tables = await Promise.all(FAMILIES.map((family) => client.listRoutes({ kind: 'global' }, family)))
    this.#learned.reset(tables.flat().filter((route) => route.neighbor !== undefined))
    for (const changes of this.#meanwhile) this.#learned.apply(changes)
    this.#meanwhile = undefined
    await this.#write(undefined)
  }

  /** gobgpd is away. */
  noteLoss(): void {
    this.#watch?.abort()
    this.#watch = undefined
    if (this.#peers.length === 0) return
    this.#lostAtMs = this.#options.nowMs()
    this.#holdTimer ??= setInterval(() => void this.#endHold(), 1_000)
    this.#holdTimer.unref()
  }

  /** How many prefixes are taken from the peer. */
  takenFrom(address: string): number {
    return this.#learned.takenFrom(address)
  }

  judge(address: string, prefix: Prefix): ImportVerdict {
    return this.#learned.judge(address, prefix)
  }

  problems(): SpeakerProblem[] {
    const over = this.#learned.overflowing.map(({ name, source }) => ({
      code: 'imports-limit' as const,
      object: source,
      text:
        `${name} tells more routes than imports.maxPrefixes allows; what came beyond is not installed. ` +
        'Mend: raise maxPrefixes, narrow imports.prefixes, or have the router announce less',
    }))
    const failed = this.#writer.failures.slice(0, PROBLEMS_MAX).map(({ prefix, text }) => ({
      code: 'route-not-installed' as const,
      object: prefix,
      text: `the kernel does not take the learned route: ${text}`,
    }))
    return [...over, ...failed]
  }

  /** Leaves the kernel's routes as they are. */
  async close(): Promise<void> {
    this.#watch?.abort()
    clearInterval(this.#holdTimer)
    await this.#following
    await this.#writing
  }

  async #stop(): Promise<void> {
    this.#watch?.abort()
    this.#watch = undefined
    this.#learned.reset([])
    if (this.#hasCleaned) return
    this.#lostAtMs = undefined
    await this.#write(undefined)
    this.#hasCleaned = true
  }

  #follow(): void {
    if (this.#watch) return
    const watch = new AbortController()
    this.#watch = watch
    const { client, warn } = this.#options
    this.#following = client
      .watchRoutes((changes) => this.#take(changes), watch.signal)
      .catch((error: unknown) => {
        if (this.#watch === watch) this.#watch = undefined
        if (!watch.signal.aborted) warn({ error: String(error) }, 'no longer told of learned routes')
      })
  }

  #take(changes: readonly BestRoutes[]): void {
    this.#meanwhile?.push(changes)
    const touched = this.#learned.apply(changes)
    if (touched.size > 0) void this.#write(touched)
  }

  /** @param prefixes undefined: all, after a look at the kernel */
  #write(prefixes: ReadonlySet<Prefix> | undefined): Promise<void> {
    this.#writing = this.#writing
      .then(() => {
        const { routes } = this.#learned
        const mayRemove = this.#mayRemove()
        return prefixes
          ? this.#writer.write(prefixes, routes, mayRemove)
          : this.#writer.writeAll(routes, mayRemove)
      })
      .catch((error: unknown) => this.#options.warn({ error: String(error) }, 'learned routes not written'))
    return this.#writing
  }

  #mayRemove(): boolean {
    if (this.#lostAtMs === undefined) return true
    const now = this.#options.nowMs()
    const isToldAll = this.#peers.every(({ address }) => {
      const since = this.#options.establishedSinceMs(address)
      return since !== undefined && now - since >= TOLD_ALL_MS
    })
    return isToldAll || now - this.#lostAtMs >= PATIENCE_MS
  }

  async #endHold(): Promise<void> {
    if (!this.#mayRemove()) return
    clearInterval(this.#holdTimer)
    this.#holdTimer = undefined
    this.#lostAtMs = undefined
    // Nobody feeds us: what was learned counts no more.
    if (!this.#watch) this.#learned.reset([])
    await this.#write(undefined)
  }
}

/** Those of the peers that have import rules. */
export function learningPeers(
  peers: readonly PlannedPeer[],
  links: LinkView | undefined,
): readonly LearningPeer[] {
  return peers.flatMap(({ peer: { name, source, imports: rules }, policy, address }) => {
    if (!rules) return []
    const [, zone] = address.split('%')
    const index = zone === undefined ? undefined : links?.indexOf(zone)
    const isPlaced = index !== undefined && isLinkLocal(policy.address)
    return [{ name, source, address: policy.address, rules, ...(isPlaced ? { interfaceIndex: index } : {}) }]
  })
}
