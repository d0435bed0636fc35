// From tables to kernel: which Services changed → planner → Service maps; nodes, links and pods → next hops. One round at a
// time, a few milliseconds after the first change. The only place that knows the order between them:
// next hops before the backends that name them, programs on a pod's device before a backend leads there.

import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import { liveGateways, liveUplinks, type Sessions } from '../datapath/live-uplinks.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import type { Gateway } from '../datapath/nexthop-plan.ts'
import type { ServiceStatus } from '../datapath/service-maps.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Family } from '../model/address.ts'
import type { Node, ObjectKey, Service } from '../model/service.ts'
import { steadyNowMs } from '../model/steady-clock.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { countServable, countUsable, type EndpointCounts } from '../services/count-endpoints.ts'
import { hostPortOwner, planHostPorts } from '../services/plan-host-ports.ts'
import { planService } from '../services/plan-service.ts'
import type { ChangeReader } from '../tables/table.ts'
import { DirtyKeys } from './dirty-keys.ts'
import type { LoopObserver } from './loop-observer.ts'
import { unknownNode } from './node-routing.ts'
import type { AgentPlanContext } from './plan-context.ts'
import {
  type Reporter,
  reportRefusedExternals,
  reportService,
  reportSlice,
  reportUnserved,
} from './report-problems.ts'
import type { Sources } from './sources.ts'

const SETTLE_MS = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000
const ROOM_RETRY_MS = 10_000
/** Graces are a minute; whether one ends a second later matters to nobody. */
const RETIRE_STEP_MS = 1000
const RETIRE_RETRY_MS = 10_000
/** A round gives way to health answers, watches and timers after this much work at a stretch. */
const STRETCH_MS = 10
/** From so many objects on, rows are written together: for fewer the gathering costs more than it saves. */
const GATHER_FROM_KEYS = 8
/** What an earlier process left, and BGP, wait for an object that fails until it has failed so often. */
const FAILURES_WAITED_FOR = 5

/** One Service as the kernel holds it now, for routing and for status. */
export interface ServedService extends ServiceStatus {
  readonly service: Service
  /** Ready or serving endpoints: anywhere, and on this node. */
  readonly usable: EndpointCounts
  /** Those for whose sake its addresses are announced, see routing/vip-gates.ts. */
  readonly servable: Readonly<Record<Family, EndpointCounts>>
}

export interface ServiceLoopOptions {
  readonly plan: AgentPlanContext
  readonly sources: Sources
  readonly datapath: Datapath
  readonly network: NetworkView
  readonly events: EventRecorder
  readonly log: Logger
  /** Which peers are there, by BFD or by BGP, as far as known. */
  readonly sessions: () => Sessions
  /** What BFD says of it; undefined: nothing. */
  readonly isGatewayUp: (gateway: Gateway) => boolean | undefined
  readonly observer: LoopObserver
  /** Ends when policy's first rows are in the kernel: before devices get programs that judge by them. */
  readonly policyWritten?: (() => Promise<void>) | undefined
  /** Called when devices carry their programs and the kernel has their rows. */
  readonly onNetwork?: (() => void) | undefined
  /** Called after every round, with the Services that were written in it; undefined: gone. */
  readonly onApplied: (changed: ReadonlyMap<ObjectKey, ServedService | undefined>) => Promise<void>
}

export class ServiceLoop {
  readonly #options: ServiceLoopOptions
  readonly #served = new Map<ObjectKey, ServedService>()
  /** Written since `onApplied` was last called. */
  #written = new Set<ObjectKey>()
  readonly #nodes: ChangeReader
  readonly #cidrs: ChangeReader
  readonly #dirty: DirtyKeys
  readonly #rounds: Rounds
  readonly #again = new Set<ObjectKey>()
  /** Objects whose application threw, and when to try them again. */
  readonly #failing = new Map<ObjectKey, { readonly failures: number; readonly dueMs: number }>()
  /** Services that met a full table, and when to try them again. */
  readonly #waitingForRoom = new Map<ObjectKey, number>()
  #networkChanged = true
  #networkHalfWritten = false
  #hasPruned = false

  /** Start it when every source has synced: the first round takes what it does not see for gone. */
  constructor(options: ServiceLoopOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      name: 'services',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round(),
      onError: (error, retryInMs) =>
        options.log.error({ err: error, retryInMs }, 'writing the datapath failed; trying again'),
    })
    const requestRound = () => {
      options.observer.queued()
      this.#rounds.request()
    }
    this.#nodes = options.sources.nodes.reader()
    this.#cidrs = options.sources.serviceCidrs.reader()
    this.#dirty = new DirtyKeys(options.sources, options.plan, requestRound)
    this.#nodes.onChange(requestRound)
    this.#cidrs.onChange(requestRound)
  }

  get served(): ReadonlyMap<ObjectKey, ServedService> {
    return this.#served
  }

  networkChanged(): void {
    this.#networkChanged = true
    this.#options.observer.queued()
    this.#rounds.request()
  }

  /** What plans depend on beside the API server's objects is another one (pools). */
  planAll(): void {
    this.#dirty.planAll()
    this.#options.observer.queued()
    this.#rounds.request()
  }

  async close(): Promise<void> {
    this.#nodes.close()
    this.#cidrs.close()
    this.#dirty.close()
    await this.#rounds.close()
  }

  async #round(): Promise<void> {
    const { observer } = this.#options
    observer.started()
    try {
      await this.#write()
    } catch (error) {
      observer.failed()
      throw error
    }
    observer.finished(this.#failing)
  }

  async #write(): Promise<void> {
    if (this.#cidrs.take().size > 0 || !this.#hasPruned) this.#applyCidrs()
    const nodesChanged = this.#nodes.take().size > 0
    if (nodesChanged || this.#networkChanged || this.#networkHalfWritten) {
      await this.#options.policyWritten?.()
      await this.#applyNetwork()
      await setImmediate()
    }
    await this.#applyServices(this.#dirtyServices())
    const isComplete = this.#hasPruned || this.#isComplete
    if (!this.#hasPruned && isComplete) {
      await setImmediate()
      this.#options.datapath.services.prune()
      this.#options.datapath.nexthops.prune()
      this.#options.datapath.finishMigration()
      this.#hasPruned = true
      this.#options.log.info({ services: this.#served.size }, 'the kernel holds every Service')
    }
    const dueMs = this.#retire()
    if (dueMs !== undefined) this.#rounds.requestIn(retireIn(dueMs, steadyNowMs()))
    if (this.#again.size > 0) this.#rounds.request()
    const waits = [
      ...this.#waitingForRoom.values(),
      ...[...this.#failing.values()].map(({ dueMs: at }) => at),
    ]
    if (waits.length > 0)
      this.#rounds.requestIn(Math.max(0, waits.reduce((a, b) => Math.min(a, b)) - steadyNowMs()))
    if (!isComplete) return
    const written = this.#written
    this.#written = new Set()
    await this.#options.onApplied(new Map([...written].map((key) => [key, this.#served.get(key)])))
  }

  /** What the kernel does not take back holds nothing else up. */
  #retire(): number | undefined {
    try {
      return this.#options.datapath.retire()
    } catch (error) {
      const details = { err: error, retryInMs: RETIRE_RETRY_MS }
      this.#options.log.error(details, 'giving rows back to the datapath failed; trying again')
      return steadyNowMs() + RETIRE_RETRY_MS
    }
  }

  /** Before the first prune, which would take what nobody holds out of the filter. */
  #applyCidrs(): void {
    const { datapath, sources, log } = this.#options
    const prefixes = [...sources.serviceCidrs.values()].flatMap((cidr) => cidr.prefixes)
    const left = datapath.services.cidrs.set(new Set(prefixes))
    if (left.length > 0)
      log.warn({ prefixes: left }, 'packets to unallocated addresses of these ServiceCIDRs are passed on')
  }

  async #applyNetwork(): Promise<void> {
    this.#networkChanged = false
    const { datapath, network, plan, sources } = this.#options
    const facts = network.facts()
    // An attempt that threw may have moved rows without telling which: its repetition places every backend anew.
    const isRepetition = this.#networkHalfWritten
    this.#networkHalfWritten = true
    await datapath.attachUplinks(facts.uplinks)
    datapath.attachPods([...facts.pods.map((pod) => pod.ifindex), ...facts.unknownPods.values()])
    const others: Node[] = []
    let self = unknownNode(plan.nodeName)
    for (const node of sources.nodes.values()) {
      if (node.name === plan.nodeName) self = node
      else others.push(node)
    }
    const live = liveUplinks(facts.uplinks, facts.gateways, this.#options.sessions())
    datapath.nexthops.setUplinks(live, liveGateways(facts.gateways, this.#options.isGatewayUp))
    const unknownPods = new Set(facts.unknownPods.keys())
    const movedPods = datapath.nexthops.setPods(facts.pods, unknownPods)
    datapath.namespaces.set(self.internalIps, facts.pods, unknownPods)
    const movedNodes = await inTurns(datapath.nexthops.setNodesInSteps(self, others, facts.uplinks))
    if (isRepetition || movedPods.size > 0 || movedNodes.size > 0)
      datapath.services.refreshPlacement(
        (backend) => isRepetition || movedPods.has(backend.address) || movedNodes.has(backend.nodeName ?? ''),
      )
    this.#networkHalfWritten = false
    this.#options.onNetwork?.()
  }

  /** What a failure of the kernel leaves undone stays dirty. */
  async #applyServices(keys: ReadonlySet<ObjectKey>): Promise<void> {
    const { datapath } = this.#options
    for (const key of keys) this.#again.add(key)
    if (keys.size >= GATHER_FROM_KEYS) {
      // Finding out what has changed took its time already.
      await setImmediate()
      datapath.gatherServices()
    }
    let stretchEndMs = steadyNowMs() + STRETCH_MS
    for (const key of keys) {
      if (steadyNowMs() >= stretchEndMs) {
        datapath.writeServices(false)
        await setImmediate()
        stretchEndMs = steadyNowMs() + STRETCH_MS
      }
      this.#again.delete(key)
      this.#applyOrPutOff(key)
    }
    datapath.writeServices(true)
  }

  /** One object that cannot be applied holds up no other. */
  #applyOrPutOff(key: ObjectKey): void {
    try {
      this.#applyKey(key)
      this.#failing.delete(key)
    } catch (error) {
      const failures = (this.#failing.get(key)?.failures ?? 0) + 1
      const retryInMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(failures - 1, 16))
      this.#failing.set(key, { failures, dueMs: steadyNowMs() + retryInMs })
      const details = { err: error, object: key, retryInMs }
      if (failures === 1) this.#options.log.error(details, 'writing an object to the datapath failed')
      else this.#options.log.debug(details, 'writing an object to the datapath failed again')
    }
  }

  /** Whether everything has been applied, but for what fails again and again. */
  get #isComplete(): boolean {
    return [...this.#failing.values()].every(({ failures }) => failures >= FAILURES_WAITED_FOR)
  }

  #dirtyServices(): ReadonlySet<ObjectKey> {
    const again = new Set<ObjectKey>(this.#again)
    this.#again.clear()
    for (const [key, { dueMs }] of this.#failing) if (dueMs <= steadyNowMs()) again.add(key)
    for (const [key, dueMs] of this.#waitingForRoom) {
      if (dueMs > steadyNowMs()) continue
      this.#waitingForRoom.delete(key)
      again.add(key)
    }
    const { sources } = this.#options
    const dirty = this.#dirty.take()
    for (const key of dirty.services) {
      const service = sources.services.get(key)
      if (service) {
        reportService(service, this.#reporter)
        reportRefusedExternals(service, this.#options.plan.whyNotExternal, this.#reporter)
      }
    }
    for (const key of dirty.slices) {
      const slice = sources.slices.get(key)
      if (slice) reportSlice(slice, sources.services.get(slice.service), this.#reporter)
    }
    for (const key of dirty.keys) again.add(key)
    return again
  }

  #applyKey(key: ObjectKey): void {
    const pod = podOf(key)
    if (pod === undefined) this.#applyService(key)
    else this.#applyHostPorts(key, pod)
  }

  #applyService(key: ObjectKey): void {
    const { sources, datapath, plan } = this.#options
    const service = sources.services.get(key)
    const slices = service ? sources.slices.find('service', key) : []
    if (service) this.#dirty.notePlanned(service, slices)
    const desired = service ? planService(service, slices, plan) : []
    const { heirs, ...status } = datapath.services.apply(key, desired)
    for (const heir of heirs) this.#again.add(heir)
    this.#written.add(key)
    this.#options.observer.applied(key, service && { service, slices, desired })
    if (!service) {
      this.#served.delete(key)
      return
    }
    if (!status.foundRoom) this.#waitForRoom(key)
    this.#served.set(key, {
      ...status,
      service,
      usable: countUsable(desired),
      servable: { ipv4: countServable(desired, 'ipv4'), ipv6: countServable(desired, 'ipv6') },
    })
    reportUnserved(service, status.problems, this.#reporter)
  }

  #applyHostPorts(owner: ObjectKey, key: string): void {
    const { sources, datapath, plan, log } = this.#options
    const pod = sources.pods.get(key)
    const desired = pod ? planHostPorts(pod, plan) : []
    const { heirs, problems, foundRoom } = datapath.services.apply(owner, desired)
    for (const heir of heirs) this.#again.add(heir)
    if (!foundRoom) this.#waitForRoom(owner)
    for (const problem of problems) log.warn({ pod: key }, problem)
  }

  get #reporter(): Reporter {
    return this.#options
  }

  /** Freed ranges and numbers rest a minute, so room comes by itself when others shrink. */
  #waitForRoom(key: ObjectKey): void {
    this.#waitingForRoom.set(key, steadyNowMs() + ROOM_RETRY_MS)
  }
}

/** Others get their turn between two steps. */
async function inTurns<Result>(steps: Generator<undefined, Result>): Promise<Result> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await setImmediate()
  }
}

/** What is left over goes on at once; what is not due yet comes with others, for each round of its own would keep a change waiting. */
function retireIn(dueMs: number, nowMs: number): number {
  return dueMs <= nowMs ? 0 : Math.max(RETIRE_STEP_MS, dueMs - nowMs)
}

const HOST_PORT_OWNER = hostPortOwner('' as ObjectKey)

/** The pod whose host ports this key stands for; undefined for a Service. */
function podOf(key: ObjectKey): string | undefined {
  return key.startsWith(HOST_PORT_OWNER) ? key.slice(HOST_PORT_OWNER.length) : undefined
}
