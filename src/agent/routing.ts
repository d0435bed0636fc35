// Joins the service loop to the speaker: what the datapath serves now → VIP facts → plans → guard → pacer → gobgpd. Rule: a VIP is
// announced only after this node can serve it, so nothing is told to routers while an uplink lacks the program.

import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Address, type Family, type Prefix, prefixContains } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import { DRAIN_DEFAULT, GATES_DEFAULT, LIMITS_DEFAULT, type NodeRouting } from '../model/routing.ts'
import type { Node, ObjectKey } from '../model/service.ts'
import type { AddressPool } from '../routing/address-pools.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { ChangePacer } from '../routing/change-pacer.ts'
import { AnnouncementGuard, type GuardLimits } from '../routing/guard.ts'
import { planNode, type VipContext } from '../routing/plan-announcements.ts'
import { VipPlans } from '../routing/vip-plans.ts'
import type { Speaker, SpeakerStatus } from '../speaker/speaker.ts'
import { makeSpeaker, type SpeakerParts } from './make-speaker.ts'
import { previewAnnouncements } from './preview.ts'
import { type RefusalReporter, RefusalReports } from './report-refusals.ts'
import type { ServedService } from './service-loop.ts'
import { type NamedKinds, namedKinds, vipFacts } from './vip-facts.ts'

/** Services, or VIPs, worked on at a stretch: some milliseconds. */
const SLICE = 500

export interface RoutingOptions extends RefusalReporter, SpeakerParts {
  /** Undefined: not known yet, and nothing is told before setRouting. */
  readonly routing: NodeRouting | undefined
  readonly pools: readonly AddressPool[]
  readonly log: Logger
  /** Families that this node can serve clients in now. */
  readonly served: () => ReadonlySet<Family>
  /** This node's own object. */
  readonly node: () => Node | undefined
}

export interface WaitingChange {
  readonly prefix: Prefix
  readonly change: 'announce' | 'change' | 'withdraw'
  readonly reason: string
}

export interface RoutingStatus extends SpeakerStatus {
  /** Changes that wait for their turn. */
  readonly waiting: readonly WaitingChange[]
}

type Askers = ReadonlyMap<string, Announcement | undefined>

export class Routing {
  readonly #options: RoutingOptions
  readonly #speaker: Speaker
  readonly #guard: AnnouncementGuard
  readonly #pacer: ChangePacer
  readonly #plans: VipPlans
  readonly #reports: RefusalReports
  readonly #served = new Map<ObjectKey, ServedService>()
  #routing: NodeRouting
  #named: NamedKinds
  #poolOf: VipContext['poolOf']
  /** The node's own announcements as they were last asked for, by asker. */
  #own: ReadonlyMap<string, Announcement> = new Map()
  #isDrained = false
  #timer: NodeJS.Timeout | undefined
  /** One update after another. */
  #updating: Promise<void> = Promise.resolve()
  #isClosed = false
  #hasBegun = false
  #allowed: GuardLimits['allowed'] = []

  constructor(options: RoutingOptions) {
    this.#options = options
    const { pools } = options
    this.#routing = options.routing ?? NO_ROUTING
    this.#poolOf = poolFinder(pools)
    this.#named = namedKinds(this.#routing)
    const limits = guardLimits(this.#routing, pools)
    this.#guard = new AnnouncementGuard(limits)
    this.#allowed = limits.allowed
    this.#pacer = new ChangePacer(this.#routing.limits.changesPerSecond, Date.now())
    this.#plans = new VipPlans(this.#context())
    this.#reports = new RefusalReports(options)
    this.#speaker = makeSpeaker(options)
    if (options.routing) this.#speaker.setRouting(options.routing, limits.allowed)
  }

  /**
   * Tells gobgpd what changed. The first call starts the sessions. Thousands are worked on in slices, and told at once.
   * @param changed Services as the kernel holds them now; undefined: not any more
   */
  update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    this.#hasBegun = true
    this.#updating = this.#updating.then(() => this.#update(changed))
    return this.#updating
  }

  /** Another routing, or other pools: everything is planned anew, and routers are told what differs. */
  setRouting(routing: NodeRouting, pools: readonly AddressPool[]): void {
    this.#updating = this.#updating.then(() => this.#adopt(routing, pools))
  }

  /** They are read again, and sessions whose password differs start anew. */
  passwordsChanged(): void {
    if (this.#routing !== NO_ROUTING) this.#speaker.setRouting(this.#routing, this.#allowed)
  }

  /** What would be announced under another routing. */
  preview(routing: NodeRouting, pools: readonly AddressPool[]): Promise<ReadonlyMap<Prefix, Announcement>> {
    return previewAnnouncements({
      routing,
      limits: guardLimits(routing, pools),
      context: { ...this.#context(), routing, gates: routing.gates, poolOf: poolFinder(pools) },
      served: this.#served,
    })
  }

  async #adopt(routing: NodeRouting, pools: readonly AddressPool[]): Promise<void> {
    this.#routing = routing
    this.#poolOf = poolFinder(pools)
    this.#named = namedKinds(routing)
    const limits = guardLimits(routing, pools)
    this.#allowed = limits.allowed
    this.#pacer.setRate(routing.limits.changesPerSecond, Date.now())
    this.#speaker.setRouting(routing, limits.allowed)
    // What the new limits refuse is no matter of what this node can serve.
    for (const prefix of this.#guard.setLimits(limits))
      this.#pacer.offer(prefix, this.#guard.accepted.get(prefix), true)
    let count = 0
    for (const [key, served] of this.#served) {
      this.#plans.setService(key, vipFacts(served, this.#named))
      count += 1
      if (count % SLICE === 0) await setImmediate()
    }
    // The first round of all is whoever wrote the kernel's to ask for.
    if (this.#hasBegun) await this.#update(new Map())
  }

  /** From now on every VIP is withdrawn, or none for this reason. */
  setDrained(isDrained: boolean): void {
    this.#isDrained = isDrained
    void this.update(new Map())
  }

  async #update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    clearTimeout(this.#timer)
    let count = 0
    for (const [key, served] of changed) {
      if (served) this.#served.set(key, served)
      else this.#served.delete(key)
      this.#plans.setService(key, served ? vipFacts(served, this.#named) : [])
      count += 1
      if (count % SLICE === 0) await setImmediate()
    }
    this.#plans.setContext(this.#context())
    let own = this.#ownChanges()
    for (;;) {
      const plan = this.#plans.plan(Date.now(), SLICE)
      const canWait = new Set<string>([...own.keys(), ...plan.byWish])
      this.#ask(new Map<string, Announcement | undefined>([...own, ...plan.changed]), canWait)
      for (const vip of plan.suppressed) this.#reports.suppressed(vip, this.#plans.view(vip))
      own = new Map()
      if (!plan.isMore) {
        this.#tell(plan.nextDueMs)
        return
      }
      await setImmediate()
    }
  }

  /**
   * Through the guard, to where changes take their turn.
   * @param canWait who asks for a withdrawal that is no matter of what this node can serve
   */
  #ask(changes: Askers, canWait: ReadonlySet<string>): void {
    const touched = this.#guard.apply(changes)
    for (const asker of changes.keys())
      this.#reports.refused(asker, this.#guard.refusalOf(asker), this.#plans.view(asker as Address))
    for (const prefix of touched) {
      const mayWait = canWait.has(prefix) || canWait.has(vipOf(prefix))
      this.#pacer.offer(prefix, this.#guard.accepted.get(prefix), mayWait)
    }
  }

  #tell(plannedDueMs: number | undefined): void {
    const { released, nextDueMs } = this.#pacer.take(Date.now())
    this.#pacer.begin()
    this.#speaker.changeDesired(released)
    const dues = [plannedDueMs, nextDueMs].filter((ms) => ms !== undefined)
    if (dues.length === 0 || this.#isClosed) return
    this.#timer = setTimeout(() => void this.update(new Map()), Math.max(1, Math.min(...dues) - Date.now()))
  }

  #context(): VipContext {
    const node = this.#options.node()
    return {
      routing: this.#routing,
      gates: this.#routing.gates,
      poolOf: this.#poolOf,
      node: {
        serving: this.#options.served(),
        isExcluded: node?.labels[EXCLUDE_LABEL] !== undefined,
        isDrained: this.#isDrained,
      },
    }
  }

  /** The node's own prefixes ask under their own names. */
  #ownChanges(): Map<string, Announcement | undefined> {
    const wanted = new Map<string, Announcement>(
      planNode(this.#routing, this.#routing).map((row) => [row.prefix, row] as const),
    )
    const changes = new Map<string, Announcement | undefined>()
    for (const asker of this.#own.keys()) if (!wanted.has(asker)) changes.set(asker, undefined)
    for (const [asker, row] of wanted)
      if (this.#own.get(asker)?.exports !== row.exports) changes.set(asker, row)
    this.#own = wanted
    return changes
  }

  /** As the node's routing has them now. */
  get peers(): NodeRouting['peers'] {
    return this.#routing.peers
  }

  async status(): Promise<RoutingStatus> {
    const status = await this.#speaker.status()
    const { waiting, changesPerSecond } = this.#pacer
    const reason = `waits for its turn: routers are told ${changesPerSecond} changes a second (limits.changesPerSecond)`
    const told = new Set(status.announcements.map(({ prefix }) => prefix))
    return {
      ...status,
      announcements: [
        ...status.announcements,
        ...[...waiting.values()].flatMap((row) =>
          row && !told.has(row.prefix) ? [{ ...row, status: { kind: 'pending', reason } as const }] : [],
        ),
      ],
      refused: this.#guard.refused,
      waiting: [...waiting].map(([prefix, row]) => ({
        prefix,
        change: row === undefined ? 'withdraw' : told.has(prefix) ? 'change' : 'announce',
        reason,
      })),
    }
  }

  /** Leaves gobgpd and its routes as they are. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#updating
    clearTimeout(this.#timer)
    await this.#speaker.close()
  }
}

/** Nothing, to nobody. */
const NO_ROUTING: NodeRouting = {
  asn: 0,
  routerId: '',
  loopbacks: [],
  podCidrs: [],
  peers: [],
  rules: [],
  serviceNetworks: [],
  limits: LIMITS_DEFAULT,
  bmp: [],
  gates: GATES_DEFAULT,
  drain: DRAIN_DEFAULT,
}

/** KEP-1143: the Node takes no part in load balancing from outside. */
const EXCLUDE_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers'

function guardLimits(routing: NodeRouting, pools: readonly AddressPool[]): GuardLimits {
  const { loopbacks, podCidrs, serviceNetworks, limits } = routing
  return {
    allowed: allowedPrefixes({ loopbacks, podCidrs, pools, serviceNetworks }),
    announcementsMax: limits.announcementsMax,
  }
}

function poolFinder(pools: readonly AddressPool[]): VipContext['poolOf'] {
  return (vip) => pools.find(({ prefixes }) => prefixes.some((prefix) => prefixContains(prefix, vip)))?.name
}

function vipOf(prefix: Prefix): string {
  return prefix.slice(0, prefix.indexOf('/'))
}
