// Joins the service loop to the speaker: what the datapath serves now → VIP facts → plans → guard → pacer → gobgpd. Rule: a VIP is
// announced only after this node can serve it, so nothing is told to routers while an uplink lacks the program.

import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Address, type Family, type Prefix, prefixContains } from '../model/address.ts'
import type { AllowedPrefix, Announcement, RefusedAnnouncement } from '../model/announcement.ts'
import { type DrainMark, type DrainSettings, GATES_DEFAULT, type NodeRouting } from '../model/routing.ts'
import type { Node, ObjectKey } from '../model/service.ts'
import { steadyNowMs } from '../model/steady-clock.ts'
import type { AddressPool } from '../routing/address-pools.ts'
import { AllowedError, allowedPrefixes } from '../routing/allowed.ts'
import { ChangePacer } from '../routing/change-pacer.ts'
import { AnnouncementGuard, type GuardLimits } from '../routing/guard.ts'
import { planNode, type VipContext } from '../routing/plan-announcements.ts'
import { settleAnnouncing } from '../routing/settle-announcing.ts'
import { VipPlans } from '../routing/vip-plans.ts'
import type { Why } from '../routing/why.ts'
import type { Speaker } from '../speaker/speaker.ts'
import type { SpeakerTables } from '../speaker/tables.ts'
import type { AnnouncingMemory } from './announcing-memory.ts'
import type { DrainedRouting } from './node-drain.ts'
import { previewAnnouncements } from './preview.ts'
import { type RefusalReporter, RefusalReports } from './report-refusals.ts'
import type { ServedService } from './service-loop.ts'
import { type NamedKinds, namedKinds, vipFacts } from './vip-facts.ts'
import type { VipMemoryFile } from './vip-memory-file.ts'
import { mergeStatus, type RoutingStatus, whyPrefix } from './why-view.ts'

/** Services, or VIPs, worked on at a stretch: some milliseconds. */
const SLICE = 500
/** After another routing: a Service whose pool went with it has been given another address by then. */
const REPORT_SETTLE_MS = 2_000
/** KEP-1143: the Node takes no part in load balancing from outside. */
const EXCLUDE_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers'

export interface RoutingOptions extends RefusalReporter {
  readonly speaker: Speaker
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** Families that this node can serve clients in now. */
  readonly served: () => ReadonlySet<Family>
  /** This node's own object. */
  readonly node: () => Node | undefined
  readonly nowMs?: () => number
  /** What agents tell each other of flapping VIPs; without it each begins anew. */
  readonly memory?: Pick<VipMemoryFile, 'read' | 'keep' | 'close'>
  /** What they tell each other of annotations that could be read once. */
  readonly said?: Pick<AnnouncingMemory, 'recall' | 'keep' | 'close'>
}

type Askers = ReadonlyMap<string, Announcement | undefined>

export class Routing implements DrainedRouting {
  readonly #options: RoutingOptions
  readonly #nowMs: () => number
  readonly #guard = new AnnouncementGuard({ allowed: [] })
  readonly #pacer: ChangePacer
  readonly #plans: VipPlans
  readonly #reports: RefusalReports
  /** Whose wishes the guard has judged and nobody has been told of, and from when on that may be told. */
  readonly #unreported = new Map<string, number>()
  /** Before that, what is refused may be a wish of the routing before. */
  #quietUntilMs = 0
  readonly #served = new Map<ObjectKey, ServedService>()
  /** Undefined: not known yet, and nothing is told. */
  #routing: NodeRouting | undefined
  /** Counts routings and pools as they come; and which the speaker has. It gets them together with what was planned under them. */
  #edition = 0
  #toldEdition = 0
  /** Of what is remembered of VIPs. */
  #keptEdition = 0
  #allowed: readonly AllowedPrefix[] = []
  #named: NamedKinds = new Set()
  #poolOf: VipContext['poolOf'] = () => undefined
  #problem: string | undefined
  /** The node's own announcements as they were last asked for, by asker. */
  #own: ReadonlyMap<string, Announcement> = new Map()
  #mark: DrainMark | undefined
  #isDrained = false
  /** Before the first update nobody knows what is served, and gobgpd keeps what it holds. */
  #hasBegun = false
  #timer: NodeJS.Timeout | undefined
  /** One update after another. */
  #updating: Promise<void> = Promise.resolve()
  #updates = 0
  #isClosed = false

  constructor(options: RoutingOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? steadyNowMs
    this.#pacer = new ChangePacer(1, this.#nowMs())
    this.#plans = new VipPlans(this.#context(), options.memory?.read())
    this.#reports = new RefusalReports(options)
  }

  /**
   * What this node should do from now on. The speaker hears of it with the plan made under it, as one change: a peer that is new, or
   * bears another's name now, must get nothing that was planned for others. What may no longer leave does not wait for its turn.
   */
  setRouting(routing: NodeRouting, pools: readonly AddressPool[]): void {
    let limits: GuardLimits
    try {
      limits = guardLimits(routing, pools)
    } catch (error) {
      if (!(error instanceof AllowedError)) throw error
      this.#problem = `${error.message}. The routing of before stays in force`
      this.#options.log.error({ err: error }, this.#problem)
      return
    }
    this.#problem = undefined
    this.#allowed = limits.allowed
    this.#routing = routing
    this.#edition += 1
    this.#poolOf = poolFinder(pools)
    this.#named = namedKinds(routing)
    const refusedBefore = [...this.#guard.refusals.keys()]
    for (const prefix of this.#guard.setLimits(limits))
      this.#pacer.offer(prefix, this.#guard.accepted.get(prefix), false)
    if (this.#hasBegun) this.#quietUntilMs = this.#nowMs() + REPORT_SETTLE_MS
    this.#toReport([...refusedBefore, ...this.#guard.refusals.keys()])
    this.#pacer.setRate(routing.limits.changesPerSecond, this.#nowMs())
    // Which kinds of addresses matter may be others.
    if (this.#hasBegun) this.#updateSoon(new Map(this.#served))
  }

  /** They are read again, and sessions whose password differs start anew. */
  passwordsChanged(): void {
    this.#options.speaker.passwordsChanged()
  }

  /** What would be announced under another routing. Throws AllowedError. */
  preview(routing: NodeRouting, pools: readonly AddressPool[]): Promise<ReadonlyMap<Prefix, Announcement>> {
    const context = { ...this.#context(), routing, gates: routing.gates, poolOf: poolFinder(pools) }
    return previewAnnouncements({
      routing,
      limits: guardLimits(routing, pools),
      context,
      served: this.#served,
    })
  }

  /**
   * Tells gobgpd what changed. The first call starts the sessions. Thousands are worked on in slices, and told at once.
   * @param changed Services as the kernel holds them now; undefined: not any more
   */
  update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    this.#hasBegun = true
    this.#updates += 1
    const update = this.#updating
      .then(() => this.#update(changed))
      .finally(() => {
        this.#updates -= 1
      })
    // One that fails takes none of those after it along.
    this.#updating = update.catch(() => {})
    return update
  }

  /** What is due, or all that is served. */
  #updateSoon(changed: ReadonlyMap<ObjectKey, ServedService | undefined> = new Map()): void {
    this.update(changed).catch((error: unknown) =>
      this.#options.log.error({ err: error }, 'planning what is announced failed'),
    )
  }

  setDrain(mark: DrainMark | undefined): void {
    this.#mark = mark
    this.#options.speaker.setDrain(mark)
  }

  setDrained(isDrained: boolean): void {
    if (isDrained === this.#isDrained) return
    this.#isDrained = isDrained
    if (this.#hasBegun) this.#updateSoon()
  }

  get drainSettings(): DrainSettings | undefined {
    return this.#routing?.drain
  }

  get isInForce(): boolean {
    return this.#hasBegun && this.#updates === 0 && this.#options.speaker.isInForce
  }

  get vipCount(): number {
    return this.#pacer.toldOfServices
  }

  async #update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    clearTimeout(this.#timer)
    let count = 0
    for (const [key, given] of changed) {
      const served = given && this.#settled(key, given)
      if (served) this.#served.set(key, served)
      else this.#served.delete(key)
      this.#options.said?.keep(key, served?.service)
      this.#plans.setService(key, served ? vipFacts(served, this.#named) : [])
      count += 1
      if (count % SLICE === 0) await setImmediate()
    }
    if (this.#isClosed || this.#routing === undefined) return
    const edition = this.#edition
    this.#plans.setContext(this.#context())
    let own = this.#ownChanges(this.#routing)
    for (;;) {
      const plan = this.#plans.plan(this.#nowMs(), SLICE)
      const canWait = new Set<string>([...own.keys(), ...plan.byWish])
      this.#ask(new Map<string, Announcement | undefined>([...own, ...plan.changed]), canWait)
      for (const vip of plan.suppressed) this.#reports.suppressed(vip, this.#plans.view(vip))
      own = new Map()
      if (!plan.isMore) {
        this.#tell(plan.nextDueMs)
        return
      }
      await setImmediate()
      // Another has come meanwhile, whose own update follows and plans the rest.
      if (edition !== this.#edition) return
    }
  }

  #settled(key: ObjectKey, served: ServedService): ServedService {
    const before = this.#served.get(key)?.service ?? this.#options.said?.recall(key)
    const service = settleAnnouncing(served.service, before)
    return service === served.service ? served : { ...served, service }
  }

  /**
   * Through the guard, to where changes take their turn.
   * @param canWait who asks for a withdrawal that is no matter of what this node can serve
   */
  #ask(changes: Askers, canWait: ReadonlySet<string>): void {
    const touched = this.#guard.apply(changes)
    this.#toReport(changes.keys())
    for (const prefix of touched) {
      const mayWait = canWait.has(prefix) || canWait.has(vipOf(prefix))
      this.#pacer.offer(prefix, this.#guard.accepted.get(prefix), mayWait)
    }
  }

  #toReport(askers: Iterable<string>): void {
    const fromMs = Math.max(this.#nowMs(), this.#quietUntilMs)
    for (const asker of askers) this.#unreported.set(asker, fromMs)
  }

  /** @returns when there is more to report */
  #report(): number | undefined {
    const nowMs = this.#nowMs()
    let nextMs: number | undefined
    for (const [asker, fromMs] of this.#unreported) {
      if (fromMs > nowMs) {
        nextMs = Math.min(fromMs, nextMs ?? fromMs)
        continue
      }
      this.#unreported.delete(asker)
      this.#reports.refused(asker, this.#guard.refusalOf(asker), this.#plans.view(asker as Address))
    }
    return nextMs
  }

  #tell(plannedDueMs: number | undefined): void {
    const isNew = this.#edition !== this.#toldEdition
    if (isNew) this.#pacer.narrow()
    const { released, nextDueMs } = this.#pacer.take(this.#nowMs())
    this.#pacer.begin()
    if (isNew && this.#routing) this.#options.speaker.setRouting(this.#routing, this.#allowed, released)
    else this.#options.speaker.changeDesired(released)
    this.#toldEdition = this.#edition
    this.#keepMemory()
    const dues = [plannedDueMs, nextDueMs, this.#report()].filter((ms) => ms !== undefined)
    if (dues.length === 0 || this.#isClosed) return
    const inMs = Math.max(1, Math.min(...dues) - this.#nowMs())
    this.#timer = setTimeout(() => this.#updateSoon(), inMs)
  }

  #keepMemory(): void {
    const { memoryEdition } = this.#plans
    if (memoryEdition === this.#keptEdition) return
    this.#keptEdition = memoryEdition
    this.#options.memory?.keep(() => this.#plans.memories(this.#nowMs()))
  }

  #context(): VipContext {
    const node = this.#options.node()
    const routing = this.#routing ?? NO_ROUTING
    return {
      routing,
      gates: routing.gates,
      poolOf: this.#poolOf,
      node: {
        serving: this.#options.served(),
        isExcluded: node?.labels[EXCLUDE_LABEL] !== undefined,
        isDrained: this.#isDrained,
      },
    }
  }

  /** The node's own prefixes ask under their own names. */
  #ownChanges(routing: NodeRouting): Map<string, Announcement | undefined> {
    const wanted = new Map<string, Announcement>(planNode(routing, routing).map((row) => [row.prefix, row]))
    const changes = new Map<string, Announcement | undefined>()
    for (const asker of this.#own.keys()) if (!wanted.has(asker)) changes.set(asker, undefined)
    for (const [asker, row] of wanted)
      if (this.#own.get(asker)?.exports !== row.exports) changes.set(asker, row)
    this.#own = wanted
    return changes
  }

  /** Whether there is any routing: what another agent left is nobody's before. */
  get isKnown(): boolean {
    return this.#routing !== undefined
  }

  /** What the guard keeps in of each Service, the first where there are several. */
  refusedServices(): ReadonlyMap<ObjectKey, RefusedAnnouncement> {
    const byService = new Map<ObjectKey, RefusedAnnouncement>()
    for (const [asker, refusal] of this.#guard.refusals)
      for (const { service } of this.#plans.view(asker as Address)?.facts ?? [])
        if (!byService.has(service.key)) byService.set(service.key, refusal)
    return byService
  }

  /** As the node's routing has them now. */
  get peers(): NodeRouting['peers'] {
    return this.#routing?.peers ?? NO_PEERS
  }

  get loopbacks(): NodeRouting['loopbacks'] {
    return this.#routing?.loopbacks ?? []
  }

  get tables(): SpeakerTables {
    return this.#options.speaker.tables
  }

  async status(): Promise<RoutingStatus> {
    const status = await this.#options.speaker.status()
    return mergeStatus(status, this.#pacer, this.#guard.refused, this.#problem)
  }

  /** @param text an address or a prefix; undefined is answered to what is neither */
  async why(text: string): Promise<Why | undefined> {
    const { announcements, sessions } = await this.#options.speaker.status()
    return whyPrefix(text, {
      routing: this.#routing,
      context: this.#context(),
      served: this.#served.values(),
      plans: this.#plans,
      own: this.#own,
      guard: this.#guard,
      pacer: this.#pacer,
      announcements,
      mark: this.#mark,
      sessions,
    })
  }

  /** Leaves gobgpd and its routes as they are. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#updating
    clearTimeout(this.#timer)
    this.#options.memory?.close()
    this.#options.said?.close()
    await this.#options.speaker.close()
  }
}

const NO_PEERS: NodeRouting['peers'] = []
const NO_ROUTING = { asn: 0, peers: [], rules: [], gates: GATES_DEFAULT } as const

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
