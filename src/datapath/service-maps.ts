// Desired ports → the Service maps: the only writer of frontends, slots and backends.
//
// Order within one port, so that a packet at any moment sees a whole state: backends, then slots beside the old ones, then
// frontends (one atomic value), then what is no longer wanted. An address and port that two Services claim belongs to the
// older one; the other's claim waits and says so.

import type { Address } from '../model/address.ts'
import type { ObjectKey } from '../model/service.ts'
import {
  backendName,
  type DesiredBackend,
  type DesiredFrontend,
  type DesiredPort,
} from '../services/desired.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { type BackendPlacing, BackendRows } from './backend-rows.ts'
import type { Extent } from './extents.ts'
import { FrontendClaims } from './frontend-claims.ts'
import { FrontendFilter, filterAdmits } from './frontend-filter.ts'
import { FrontendRows } from './frontend-rows.ts'
import { type InstalledPort, NOTHING_OWED, owedBy, PortExpiries } from './installed-ports.ts'
import type { BackendKey, BackendValue, FrontendKey, FrontendValue, ServiceTables } from './kernel-tables.ts'
import { ServiceCidrs } from './service-cidrs.ts'
import { ServiceNumbers } from './service-numbers.ts'
import { expire, fillSlots, NO_RANGES, type RangePair, SlotRanges } from './slot-ranges.ts'
import { rangesOf, SourceRanges } from './source-ranges.ts'

/** How long freed numbers and the tables before a change stay as they were. */
const GRACE_MS = 60_000
/** Thousands that changed together are due together: each writes its frontends anew, and a round gives way between some. */
const EXPIRED_AT_ONCE = 64

export interface ServiceStatus {
  /** Addresses (VIPs and ClusterIPs) of this Service that the kernel holds now. */
  readonly held: readonly Address[]
  /** What could not be done, one sentence each with its mend. */
  readonly problems: readonly string[]
  /** False: a table was full; apply again when others have given room back. */
  readonly foundRoom: boolean
}

export interface NamedByFlows {
  namesBackend(id: number): boolean
  namesFrontend(id: number): boolean
}

const NO_FLOWS: NamedByFlows = { namesBackend: () => false, namesFrontend: () => false }

export interface ServiceMapsOptions extends BackendPlacing {
  readonly tables: ServiceTables
  readonly nowMs: () => number
  /** Which numbers flows still carry; these are not given to another. */
  readonly flows?: NamedByFlows
  /** How long a flow's tick takes: what the programs count idle time in. */
  readonly tickSeconds?: number
  /** Pods of this node: what the programs hold in the filter for them (bpf/lib/from_pod.h) stays; all of them, when `areAnswered`. */
  readonly pods?: { readonly addresses: Iterable<Address>; readonly areAnswered: boolean }
}

export class ServiceMaps {
  readonly #tables: ServiceTables
  readonly #nowMs: () => number
  readonly #backends: BackendRows
  readonly #ranges: SlotRanges
  readonly #frontendRows: FrontendRows
  readonly #sourceRanges: SourceRanges
  readonly cidrs: ServiceCidrs
  readonly #numbers = new ServiceNumbers(GRACE_MS)
  readonly #flows: NamedByFlows
  readonly #frontends: FrontendClaims
  readonly #ports = new Map<string, InstalledPort>()
  readonly #expiries = new PortExpiries()
  /** Services to be applied again because of one whose own attempt broke off: the next one tells. */
  #heirs = new Set<ObjectKey>()
  #foundRoom = true
  #departures = 0
  #knowsAll = false

  constructor(options: ServiceMapsOptions) {
    this.#tables = options.tables
    this.#nowMs = options.nowMs
    const filter = new FrontendFilter(options.tables.filter)
    // Until the next process: an answer that is looked up in vain costs less than one that passes untranslated.
    for (const address of options.pods?.addresses ?? [])
      if (options.pods?.areAnswered || filterAdmits(options.tables.filter, address)) filter.hold(address)
    this.#backends = new BackendRows(options.tables, filter, options, GRACE_MS)
    this.#ranges = new SlotRanges(options.tables.slots, GRACE_MS)
    this.#frontendRows = new FrontendRows(options.tables, filter, GRACE_MS)
    this.#sourceRanges = new SourceRanges(options.tables.sourceRanges)
    this.cidrs = new ServiceCidrs(options.tables.serviceCidrs, filter)
    this.#frontends = new FrontendClaims({
      table: options.tables.frontends,
      rows: this.#frontendRows,
      serviceIds: this.#numbers.services,
      portIds: this.#numbers.ports,
      tickSeconds: options.tickSeconds ?? 1,
      nowMs: options.nowMs,
    })
    this.#flows = options.flows ?? NO_FLOWS
    this.#adopt()
  }

  /** Rows in use, for status and for warnings before a map is full. */
  get usage(): Readonly<Record<'frontends' | 'backends' | 'slots' | 'sourceRanges', number>> {
    return {
      frontends: this.#frontends.size,
      backends: this.#backends.used,
      slots: this.#ranges.used,
      sourceRanges: this.#sourceRanges.used,
    }
  }

  /** Name of the Service behind a number that an event or a metric carries. */
  serviceOf(serviceId: number): ObjectKey | undefined {
    return this.#numbers.services.nameOf(serviceId)
  }

  /**
   * Makes the kernel hold exactly `desired` for this Service. Idempotent.
   * @returns its status, and other Services that gained or lost an address and port by it, and need `apply` again
   */
  apply(
    service: ObjectKey,
    desired: readonly DesiredPort[],
  ): ServiceStatus & { readonly heirs: ReadonlySet<ObjectKey> } {
    const problems: string[] = []
    const heirs = this.#heirs
    this.#foundRoom = true
    const ranges = rangesOf(desired)
    const serviceId = this.#numbers.services.take(service, this.#adoptedServiceId(desired))
    if (!this.#sourceRanges.allow(serviceId, ranges))
      this.#noteNoRoom(service, 'the table of source ranges', 'sourceRanges', problems)
    this.#numbers.begin(service, desired)
    // New ports first: a frontend that moves between two ports of its Service is never without one.
    for (const port of desired) this.#applyPort(port, problems, heirs)
    for (const { id } of this.#numbers.portsOf(service))
      if (!desired.some((port) => port.id === id)) this.#removePort(id, heirs)
    this.#sourceRanges.keep(serviceId, ranges)
    this.#numbers.keep(service, desired, this.#nowMs())
    this.#heirs = new Set()
    heirs.delete(service)
    return { held: this.#frontends.heldBy(desired), problems, foundRoom: this.#foundRoom, heirs }
  }

  /** How often ports have let go of backends: when it has grown, sockets may be connected to a backend that serves no more. */
  get departures(): number {
    return this.#departures
  }

  /**
   * Whether a backend still serves what was asked for at this Service address, new flows or only its old ones. An address that
   * is no Service's any more does not cut its flows while the backend serves anyone.
   */
  isServing(service: FrontendKey, backend: BackendKey): boolean {
    if (!this.#backends.holds(backend)) return false
    const owner = this.#frontends.ownerOf(service)
    return owner?.backends.some(({ name }) => name === backendName(backend)) ?? true
  }

  /** Rewrites the placement of backends after nodes or pods moved; no slot changes. */
  refreshPlacement(affects: (backend: DesiredBackend) => boolean): void {
    for (const port of this.#ports.values()) {
      for (const backend of port.desired.backends) if (affects(backend)) this.#backends.update(backend)
    }
    this.#backends.refreshLingering()
  }

  /** Whether all Services were applied; before that, what nobody lists may only not have been heard of yet. */
  get knowsAll(): boolean {
    return this.#knowsAll
  }

  /** What `frontends` should hold. */
  frontendRows(): Iterable<readonly [FrontendKey, FrontendValue]> {
    return this.#frontends.entries()
  }

  /** What `backends` should hold. */
  backendRows(): Iterable<readonly [number, BackendValue]> {
    return this.#backends.rows()
  }

  /** After every source has synced and every Service was applied: what an earlier process left and nobody wants goes. */
  prune(): void {
    this.#knowsAll = true
    const nowMs = this.#nowMs()
    this.#frontends.prune()
    this.#ranges.releaseUnclaimed(nowMs)
    this.#backends.releaseUnclaimed(nowMs)
    this.#sourceRanges.prune()
    this.#numbers.releaseUnclaimed(nowMs)
  }

  /**
   * Does what time has made due, or a part of it. Throws what the kernel refused, when all else is done; it stays due.
   * @returns when to call again; undefined when nothing waits
   */
  retire(): number | undefined {
    const nowMs = this.#nowMs()
    const refusals: unknown[] = []
    const attempt = (action: () => void) => {
      try {
        action()
      } catch (error) {
        refusals.push(error)
      }
    }
    attempt(() => this.#expire(nowMs))
    attempt(() => this.#backends.wake(nowMs, (id) => this.#flows.namesBackend(id)))
    this.#ranges.wake(nowMs)
    attempt(() => this.#frontendRows.wake(nowMs, (id) => this.#flows.namesFrontend(id)))
    this.#numbers.wake(nowMs)
    if (refusals.length > 0) throw refusals[0]
    const due = [this.#backends.nextWakeMs(), this.#ranges.nextWakeMs(), this.#frontendRows.nextWakeMs()]
    due.push(this.#expiries.nextMs())
    const known = due.filter((ms) => ms !== undefined)
    return known.length > 0 ? Math.min(...known) : undefined
  }

  #expire(nowMs: number): void {
    for (const id of this.#expiries.due(nowMs, EXPIRED_AT_ONCE)) {
      const port = this.#ports.get(id)
      if (!port) this.#expiries.delete(id)
      else this.#expirePort(id, port, nowMs)
    }
  }

  #adopt(): void {
    for (const [key, value] of this.#tables.frontends.entries()) {
      this.#frontendRows.adopt(value.frontendId, key.address)
      this.#numbers.adopt(value)
      for (const range of [value.cluster, value.clusterBefore, value.local, value.localBefore])
        this.#ranges.adopt(range)
      this.#frontends.adopt(key, value)
    }
    this.#backends.adopt()
    this.#frontendRows.adoptResting(this.#nowMs())
  }

  #adoptedServiceId(desired: readonly DesiredPort[]): number | undefined {
    for (const { frontends } of desired) {
      const found = this.#frontends.adoptedValue(frontends)
      if (found) return found.serviceId
    }
    return undefined
  }

  #applyPort(port: DesiredPort, problems: string[], heirs: Set<ObjectKey>): void {
    const installed = this.#ports.get(port.id)
    if (installed?.isWritten && equalRows(installed.desired, port)) {
      problems.push(...this.#frontends.conflictsOf(port))
      return
    }
    const nowMs = this.#nowMs()
    const ids = this.#acquireBackends(port, problems)
    if (!ids) return
    const before = installed ?? this.#adoptedPairs(port)
    const needsLocal = port.externalLocal || port.internalLocal
    const cluster = this.#ranges.place(fillSlots(port, port.cluster, ids), before.cluster, nowMs)
    if (!cluster) {
      // Nothing was placed, so nothing was given up: the old tables go on serving, with the backends they name.
      this.#noteNoRoom(port.id, 'the slot array', 'slots', problems)
      for (const backend of port.backends) this.#backends.release(backend, nowMs)
      return
    }
    const local = this.#ranges.place(fillSlots(port, needsLocal ? port.local : [], ids), before.local, nowMs)
    if (!local) this.#noteNoRoom(port.id, 'the slot array', 'slots', problems)
    const owed = installed ? owedBy(installed) : NOTHING_OWED
    const next: InstalledPort = {
      desired: port,
      isWritten: false,
      owed,
      cluster,
      local: local ?? before.local,
    }
    this.#ports.set(port.id, next)
    this.#expiries.note(port.id, next)
    const isClaimed = this.#claimAll(next, problems, heirs)
    for (const frontend of owed.frontends) {
      if (!port.frontends.some(({ name }) => name === frontend.name)) this.#unclaim(frontend, port.id, heirs)
    }
    // A port that found no room for all it wants is not finished: the next apply tries again.
    next.isWritten = isClaimed && local !== undefined
    next.owed = NOTHING_OWED
    for (const backend of owed.backends) this.#backends.release(backend, nowMs)
    if (owed.backends.length > 0) this.#departures += 1
  }

  #noteNoRoom(whose: string, what: string, capacity: string, problems: string[]): void {
    this.#foundRoom = false
    problems.push(`${whose}: ${what} of this node is full; raise datapath.capacities.${capacity}`)
  }

  /** Numbers of all backends, or none of them when the table is full. */
  #acquireBackends(port: DesiredPort, problems: string[]): number[] | undefined {
    const ids: (number | undefined)[] = []
    const nowMs = this.#nowMs()
    let isWhole = false
    try {
      for (const backend of port.backends) ids.push(this.#backends.acquire(backend, nowMs))
      isWhole = !ids.includes(undefined)
    } finally {
      // Half a table would send a share of the clients nowhere; the old one goes on. What the kernel refused is applied again.
      for (const [index, id] of isWhole ? [] : ids.entries())
        if (id !== undefined) this.#backends.release(port.backends[index] as DesiredBackend, nowMs)
    }
    if (isWhole) return ids as number[]
    this.#noteNoRoom(port.id, 'the table of backends', 'backends', problems)
    return undefined
  }

  /** The ranges an earlier process left for this port, found through any of its frontends. */
  #adoptedPairs(port: DesiredPort): { cluster: RangePair; local: RangePair } {
    const value = this.#frontends.adoptedValue(port.frontends)
    if (!value) return { cluster: NO_RANGES, local: NO_RANGES }
    const beforeUntilMs = this.#nowMs() + GRACE_MS
    return {
      cluster: this.#takePair(value.cluster, value.clusterBefore, beforeUntilMs),
      local: this.#takePair(value.local, value.localBefore, beforeUntilMs),
    }
  }

  #takePair(current: Extent, before: Extent, beforeUntilMs: number): RangePair {
    return {
      current: this.#ranges.takeAdopted(current),
      before: this.#ranges.takeAdopted(before),
      beforeUntilMs,
    }
  }

  /** False: there was no room for some. */
  #claimAll(port: InstalledPort, problems: string[], heirs: Set<ObjectKey>): boolean {
    let isClaimed = true
    for (const key of port.desired.frontends) {
      if (this.#frontends.claim(key, port, (id) => this.#ports.get(id), heirs)) continue
      isClaimed = false
      this.#noteNoRoom(key.name, 'the table of frontends', 'frontends', problems)
    }
    problems.push(...this.#frontends.conflictsOf(port.desired))
    return isClaimed
  }

  #unclaim(key: DesiredFrontend, portId: string, heirs: Set<ObjectKey>): void {
    const heir = this.#frontends.unclaim(key, portId, (id) => this.#ports.get(id))
    if (heir !== undefined) heirs.add(heir)
  }

  #removePort(id: string, heirs: Set<ObjectKey>): void {
    const installed = this.#ports.get(id)
    if (!installed) return
    const nowMs = this.#nowMs()
    const { frontends, backends } = owedBy(installed)
    for (const frontend of frontends) this.#unclaim(frontend, id, heirs)
    this.#ports.delete(id)
    this.#ranges.free(installed.cluster, nowMs)
    this.#ranges.free(installed.local, nowMs)
    for (const backend of backends) this.#backends.release(backend, nowMs)
    this.#departures += 1
  }

  #expirePort(id: string, port: InstalledPort, nowMs: number): void {
    const cluster = expire(port.cluster, nowMs)
    const local = expire(port.local, nowMs)
    if (cluster === port.cluster && local === port.local) return
    const next = { ...port, cluster, local }
    // First of all: a range rests from when no frontend names it, and where the kernel refuses it stays due.
    this.#frontends.rewrite(next)
    this.#ports.set(id, next)
    this.#expiries.note(id, next)
    if (cluster !== port.cluster) this.#ranges.freeBefore(port.cluster, nowMs)
    if (local !== port.local) this.#ranges.freeBefore(port.local, nowMs)
  }
}
