// Desired ports → the Service maps: the only writer of frontends, slots and backends.
//
// Order within one port, so that a packet at any moment sees a whole state: backends, then slots beside the old ones, then
// frontends (one atomic value), then what is no longer wanted. An address and port that two Services claim belongs to the
// older one; the other's claim waits and says so.

import type { Address } from '../model/address.ts'
import type { ObjectKey } from '../model/service.ts'
import type { DesiredBackend, DesiredFrontend, DesiredPort } from '../services/desired.ts'
import { backendName, frontendName } from '../services/desired.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { FrontendFlags } from './abi.gen.ts'
import { type BackendPlacing, BackendRows } from './backend-rows.ts'
import type { Extent } from './extents.ts'
import { FrontendFilter } from './frontend-filter.ts'
import { FrontendRows } from './frontend-rows.ts'
import type { BackendKey, BackendValue, FrontendKey, FrontendValue, ServiceTables } from './kernel-tables.ts'
import { NamedIds } from './named-ids.ts'
import { ServiceCidrs } from './service-cidrs.ts'
import { fillSlots, NO_RANGE, NO_RANGES, type RangePair, SlotRanges } from './slot-ranges.ts'
import { SourceRanges } from './source-ranges.ts'

/** How long freed numbers and the tables before a change stay as they were. */
const GRACE_MS = 60_000

export interface ServiceStatus {
  /** Addresses (VIPs and ClusterIPs) of this Service that the kernel holds now. */
  readonly held: readonly Address[]
  /** What could not be done, one sentence each with its mend. */
  readonly problems: readonly string[]
  /** False: a table was full; apply again when others have given room back. */
  readonly foundRoom: boolean
}

const NOTHING_OWED = { frontends: [], backends: [] } as const

interface InstalledPort {
  readonly desired: DesiredPort
  /** Whether the plan is written in full; an attempt that failed is repeated. */
  readonly isWritten: boolean
  /** What the plans before had and this one has not let go of yet. */
  readonly owed: {
    readonly frontends: readonly DesiredFrontend[]
    readonly backends: readonly DesiredBackend[]
  }
  readonly cluster: RangePair
  readonly local: RangePair
}

interface Frontend {
  readonly key: DesiredFrontend
  readonly id: number
  /** Ports that want this address and port; the oldest owns it. */
  readonly claims: Map<string, DesiredPort>
  value: FrontendValue | undefined
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
}

export class ServiceMaps {
  readonly #tables: ServiceTables
  readonly #nowMs: () => number
  readonly #backends: BackendRows
  readonly #ranges: SlotRanges
  readonly #frontendRows: FrontendRows
  readonly #sourceRanges: SourceRanges
  readonly cidrs: ServiceCidrs
  readonly #serviceIds = new NamedIds<ObjectKey>(GRACE_MS)
  /** Of Service ports, by `portName`. */
  readonly #portIds = new NamedIds<string>(GRACE_MS)
  readonly #tickSeconds: number
  readonly #flows: NamedByFlows
  readonly #frontends = new Map<string, Frontend>()
  readonly #ports = new Map<string, InstalledPort>()
  readonly #portsOf = new Map<ObjectKey, ReadonlySet<string>>()
  readonly #portNamesOf = new Map<ObjectKey, ReadonlySet<string>>()
  /** Ports whose table before a change still stands, and until when; in about that order. */
  readonly #expiring = new Map<string, number>()
  #foundRoom = true
  #departures = 0
  #knowsAll = false

  constructor(options: ServiceMapsOptions) {
    this.#tables = options.tables
    this.#nowMs = options.nowMs
    const filter = new FrontendFilter(options.tables.filter)
    this.#backends = new BackendRows(options.tables, filter, options, GRACE_MS)
    this.#ranges = new SlotRanges(options.tables.slots, GRACE_MS)
    this.#frontendRows = new FrontendRows(options.tables, filter, GRACE_MS)
    this.#sourceRanges = new SourceRanges(options.tables.sourceRanges)
    this.cidrs = new ServiceCidrs(options.tables.serviceCidrs, filter)
    this.#tickSeconds = options.tickSeconds ?? 1
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
    return this.#serviceIds.nameOf(serviceId)
  }

  /**
   * Makes the kernel hold exactly `desired` for this Service. Idempotent.
   * @returns its status, and other Services whose claims came into force and need `apply` again
   */
  apply(
    service: ObjectKey,
    desired: readonly DesiredPort[],
  ): ServiceStatus & { readonly heirs: ReadonlySet<ObjectKey> } {
    const problems: string[] = []
    const heirs = new Set<ObjectKey>()
    this.#foundRoom = true
    const wanted = new Set(desired.map((port) => port.id))
    const ranges = new Set(desired.flatMap((port) => port.sourceRanges))
    const serviceId = this.#serviceIds.take(service, this.#adoptedServiceId(desired))
    if (!this.#sourceRanges.allow(serviceId, ranges))
      this.#noteNoRoom(service, 'the table of source ranges', 'sourceRanges', problems)
    // New ports first: a frontend that moves between two ports of its Service is never without one.
    for (const port of desired) this.#applyPort(port, problems, heirs)
    for (const id of this.#portsOf.get(service) ?? []) if (!wanted.has(id)) this.#removePort(id, heirs)
    this.#sourceRanges.keep(serviceId, ranges)
    this.#keepNames(service, desired)
    heirs.delete(service)
    return { held: this.#heldBy(desired), problems, foundRoom: this.#foundRoom, heirs }
  }

  /**
   * How often ports have let go of backends: when it has grown, sockets may be connected to a backend that serves no more.
   */
  get departures(): number {
    return this.#departures
  }

  /**
   * Whether a backend still serves what was asked for at this Service address, new flows or only its old ones. An address that
   * is no Service's any more does not cut its flows while the backend serves anyone.
   */
  isServing(service: FrontendKey, backend: BackendKey): boolean {
    if (!this.#backends.holds(backend)) return false
    const frontend = this.#frontends.get(`${service.address} ${service.port} ${service.protocol}`)
    const owner = frontend && ownerOf(frontend)
    return owner?.backends.some((known) => backendName(known) === backendName(backend)) ?? true
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
  *frontendRows(): Generator<readonly [FrontendKey, FrontendValue]> {
    for (const { key, value } of this.#frontends.values()) if (value) yield [key, value]
  }

  /** What `backends` should hold. */
  backendRows(): Iterable<readonly [number, BackendValue]> {
    return this.#backends.rows()
  }

  /** After every source has synced and every Service was applied: what an earlier process left and nobody wants goes. */
  prune(): void {
    this.#knowsAll = true
    const nowMs = this.#nowMs()
    for (const [name, frontend] of this.#frontends) {
      if (frontend.claims.size === 0) this.#dropFrontend(name, frontend)
    }
    this.#ranges.releaseUnclaimed(nowMs)
    this.#backends.releaseUnclaimed(nowMs)
    this.#sourceRanges.prune()
    this.#serviceIds.releaseUnclaimed(nowMs)
    this.#portIds.releaseUnclaimed(nowMs)
  }

  /** Does what time has made due. @returns when to call again; undefined when nothing waits */
  retire(): number | undefined {
    const nowMs = this.#nowMs()
    for (const [id, untilMs] of this.#expiring) {
      if (untilMs > nowMs) break
      const port = this.#ports.get(id)
      if (!port) this.#expiring.delete(id)
      else this.#expirePort(id, port, nowMs)
    }
    this.#backends.wake(nowMs, (id) => this.#flows.namesBackend(id))
    this.#ranges.wake(nowMs)
    this.#frontendRows.wake(nowMs, (id) => this.#flows.namesFrontend(id))
    this.#serviceIds.wake(nowMs)
    this.#portIds.wake(nowMs)
    const due = [this.#backends.nextWakeMs(), this.#ranges.nextWakeMs(), this.#frontendRows.nextWakeMs()]
    due.push(this.#expiring.values().next().value)
    const known = due.filter((ms) => ms !== undefined)
    return known.length > 0 ? Math.min(...known) : undefined
  }

  #adopt(): void {
    for (const [key, value] of this.#tables.frontends.entries()) {
      this.#frontendRows.adopt(value.frontendId, key.address)
      this.#serviceIds.adopt(value.serviceId)
      this.#portIds.adopt(value.portId)
      for (const range of [value.cluster, value.clusterBefore, value.local, value.localBefore])
        this.#ranges.adopt(range)
      const external = (value.flags & FrontendFlags.FRONTEND_EXTERNAL) !== 0
      const frontend = { ...key, external, kind: external ? 'external-ip' : 'cluster-ip' } as const
      this.#frontends.set(frontendName(frontend), {
        key: frontend,
        id: value.frontendId,
        claims: new Map(),
        value,
      })
    }
    this.#backends.adopt()
    this.#frontendRows.adoptResting(this.#nowMs())
  }

  #applyPort(port: DesiredPort, problems: string[], heirs: Set<ObjectKey>): void {
    const installed = this.#ports.get(port.id)
    if (installed?.isWritten && equalPlans(installed.desired, port)) {
      this.#reportConflicts(port, problems)
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
    const owed = {
      frontends: [...(installed?.owed.frontends ?? []), ...(installed?.desired.frontends ?? [])],
      backends: [...(installed?.owed.backends ?? []), ...(installed?.desired.backends ?? [])],
    }
    const next: InstalledPort = {
      desired: port,
      isWritten: false,
      owed,
      cluster,
      local: local ?? before.local,
    }
    this.#ports.set(port.id, next)
    this.#noteExpiry(port.id, next)
    for (const frontend of port.frontends) this.#claim(frontend, next, problems)
    for (const frontend of owed.frontends) {
      if (!port.frontends.some((kept) => frontendName(kept) === frontendName(frontend))) {
        this.#unclaim(frontend, port.id, heirs)
      }
    }
    // A port whose Local table found no room is not finished: the next apply tries again.
    this.#ports.set(port.id, { ...next, isWritten: local !== undefined, owed: NOTHING_OWED })
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
    try {
      for (const backend of port.backends) ids.push(this.#backends.acquire(backend))
    } catch (error) {
      // The port will be applied again, and counts them again.
      for (const backend of port.backends.slice(0, ids.length)) this.#backends.release(backend, this.#nowMs())
      throw error
    }
    if (!ids.includes(undefined)) return ids.map((id) => id ?? 0)
    // Half a table would send a share of the clients nowhere; the old one goes on.
    this.#noteNoRoom(port.id, 'the table of backends', 'backends', problems)
    for (const [index, backend] of port.backends.entries())
      if (ids[index] !== undefined) this.#backends.release(backend, this.#nowMs())
    return undefined
  }

  /** The ranges an earlier process left for this port, found through any of its frontends. */
  #adoptedPairs(port: DesiredPort): { cluster: RangePair; local: RangePair } {
    const name = port.frontends
      .map(frontendName)
      .find((candidate) => this.#frontends.get(candidate)?.claims.size === 0)
    const value = name === undefined ? undefined : this.#frontends.get(name)?.value
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

  #claim(key: DesiredFrontend, port: InstalledPort, problems: string[]): void {
    const name = frontendName(key)
    let frontend = this.#frontends.get(name)
    if (!frontend) {
      const id = this.#frontendRows.take(key.address)
      if (id === undefined) {
        problems.push(
          `${name}: the table of frontends of this node is full; raise datapath.capacities.frontends`,
        )
        return
      }
      frontend = { key, id, claims: new Map(), value: undefined }
      this.#frontends.set(name, frontend)
    }
    frontend.claims.set(port.desired.id, port.desired)
    const owner = ownerOf(frontend)
    if (owner?.id === port.desired.id) this.#writeFrontend(frontend, port)
    else if (owner && owner.service !== port.desired.service && key.port !== 0)
      problems.push(describeConflict(key, owner))
  }

  #reportConflicts(port: DesiredPort, problems: string[]): void {
    for (const key of port.frontends) {
      const frontend = this.#frontends.get(frontendName(key))
      const owner = frontend && ownerOf(frontend)
      if (owner && owner.service !== port.service && key.port !== 0)
        problems.push(describeConflict(key, owner))
    }
  }

  #writeFrontend(frontend: Frontend, port: InstalledPort): void {
    const { desired, cluster, local } = port
    const serviceId = this.#serviceIds.take(desired.service)
    const value: FrontendValue = {
      frontendId: frontend.id,
      serviceId,
      flags: flagsOf(desired, frontend.key),
      affinityTicks: Math.ceil(desired.affinitySeconds / this.#tickSeconds),
      portId: this.#portIds.take(desired.portName, frontend.value?.portId),
      cluster: cluster.current,
      clusterBefore: cluster.before,
      local: local.current,
      localBefore: local.before,
    }
    if (frontend.value && equalFrontends(frontend.value, value)) return
    const { address, port: number, protocol } = frontend.key
    // The row is written before the value, so where there is a value the row says the same but for the Service.
    if (frontend.value?.serviceId !== serviceId)
      this.#frontendRows.write(frontend.id, { address, port: number, protocol, serviceId })
    this.#tables.frontends.set(frontend.key, value)
    frontend.value = value
  }

  #unclaim(key: DesiredFrontend, portId: string, heirs: Set<ObjectKey>): void {
    const name = frontendName(key)
    const frontend = this.#frontends.get(name)
    if (!frontend?.claims.delete(portId)) return
    const heir = ownerOf(frontend)
    if (!heir) {
      this.#dropFrontend(name, frontend)
      return
    }
    const installed = this.#ports.get(heir.id)
    if (installed) this.#writeFrontend(frontend, installed)
    heirs.add(heir.service)
  }

  #dropFrontend(name: string, frontend: Frontend): void {
    this.#tables.frontends.delete(frontend.key)
    this.#frontends.delete(name)
    // Replies of flows that began before still name the row; it is cleared after the grace period.
    this.#frontendRows.rest(frontend.id, frontend.key.address, this.#nowMs())
  }

  #removePort(id: string, heirs: Set<ObjectKey>): void {
    const installed = this.#ports.get(id)
    if (!installed) return
    const nowMs = this.#nowMs()
    this.#ports.delete(id)
    for (const frontend of installed.desired.frontends) this.#unclaim(frontend, id, heirs)
    this.#ranges.free(installed.cluster, nowMs)
    this.#ranges.free(installed.local, nowMs)
    for (const backend of installed.desired.backends) this.#backends.release(backend, nowMs)
    this.#departures += 1
  }

  #expirePort(id: string, port: InstalledPort, nowMs: number): void {
    const cluster = this.#ranges.expire(port.cluster, nowMs)
    const local = this.#ranges.expire(port.local, nowMs)
    if (cluster === port.cluster && local === port.local) return
    const next = { ...port, cluster, local }
    this.#ports.set(id, next)
    this.#noteExpiry(id, next)
    for (const key of port.desired.frontends) {
      const frontend = this.#frontends.get(frontendName(key))
      if (frontend && ownerOf(frontend)?.id === id) this.#writeFrontend(frontend, next)
    }
  }

  #noteExpiry(id: string, port: InstalledPort): void {
    const untilMs = [port.cluster, port.local]
      .filter(({ before }) => before.size > 0)
      .reduce((least, { beforeUntilMs }) => Math.min(least, beforeUntilMs), Number.POSITIVE_INFINITY)
    if (this.#expiring.get(id) === untilMs) return
    this.#expiring.delete(id)
    if (untilMs < Number.POSITIVE_INFINITY) this.#expiring.set(id, untilMs)
  }

  /** The number that an earlier process gave this Service, found through any of its frontends. */
  #adoptedServiceId(desired: readonly DesiredPort[]): number | undefined {
    for (const { frontends } of desired) {
      const adopted = frontends
        .map((frontend) => this.#frontends.get(frontendName(frontend)))
        .find((frontend) => frontend?.claims.size === 0)
      if (adopted?.value) return adopted.value.serviceId
    }
    return undefined
  }

  /** Numbers of ports that the Service no longer has, and of the Service itself when it has none, are given back. */
  #keepNames(service: ObjectKey, desired: readonly DesiredPort[]): void {
    const nowMs = this.#nowMs()
    const names = new Set(desired.map((port) => port.portName))
    for (const name of this.#portNamesOf.get(service) ?? [])
      if (!names.has(name)) this.#portIds.release(name, nowMs)
    if (desired.length > 0) {
      this.#portsOf.set(service, new Set(desired.map((port) => port.id)))
      this.#portNamesOf.set(service, names)
      return
    }
    this.#portsOf.delete(service)
    this.#portNamesOf.delete(service)
    this.#serviceIds.release(service, nowMs)
  }

  #heldBy(desired: readonly DesiredPort[]): Address[] {
    const held = new Set<Address>()
    for (const port of desired) {
      for (const key of port.frontends) {
        const frontend = this.#frontends.get(frontendName(key))
        if (key.port !== 0 && frontend?.value && ownerOf(frontend)?.id === port.id) held.add(key.address)
      }
    }
    return [...held]
  }
}

/** A ClusterIP is its Service's own, whoever names it as an external address; else the older Service has it. */
function ownerOf(frontend: Frontend): DesiredPort | undefined {
  if (frontend.claims.size === 1) return frontend.claims.values().next().value
  const name = frontendName(frontend.key)
  const isExternal = (port: DesiredPort) =>
    port.frontends.find((candidate) => frontendName(candidate) === name)?.external ?? true
  const order = [...frontend.claims.values()].sort(
    (a, b) =>
      Number(isExternal(a)) - Number(isExternal(b)) || a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
  )
  return order[0]
}

/** The age of a Service is no part of what is written. */
function equalPlans(a: DesiredPort, b: DesiredPort): boolean {
  return equalRows(a, a.createdMs === b.createdMs ? b : { ...b, createdMs: a.createdMs })
}

function describeConflict(key: DesiredFrontend, owner: DesiredPort): string {
  return `${key.address} port ${key.port}/${key.protocol} belongs to the older Service ${owner.service}; change one of the two`
}

/** Another node can answer in the name of an address only if it has it too; a node's own address is known to that node alone. */
function isOnEveryNode({ kind }: DesiredFrontend): boolean {
  return kind === 'cluster-ip' || kind === 'external-ip' || kind === 'load-balancer'
}

function flagsOf(port: DesiredPort, frontend: DesiredFrontend): number {
  const { FRONTEND_EXTERNAL, FRONTEND_EXTERNAL_LOCAL, FRONTEND_INTERNAL_LOCAL } = FrontendFlags
  const { FRONTEND_DSR, FRONTEND_ANY_ENDPOINT, FRONTEND_RANDOM } = FrontendFlags
  const { FRONTEND_SOURCE_RANGES, FRONTEND_SOCKET_ONLY } = FrontendFlags
  return (
    (frontend.external ? FRONTEND_EXTERNAL : 0) |
    (port.forwarding === 'dsr' && isOnEveryNode(frontend) ? FRONTEND_DSR : 0) |
    (port.isRandom ? FRONTEND_RANDOM : 0) |
    (frontend.kind === 'load-balancer' && port.sourceRanges.length > 0 ? FRONTEND_SOURCE_RANGES : 0) |
    (frontend.kind === 'loopback' ? FRONTEND_SOCKET_ONLY : 0) |
    (port.externalLocal ? FRONTEND_EXTERNAL_LOCAL : 0) |
    (port.internalLocal ? FRONTEND_INTERNAL_LOCAL : 0) |
    (port.anyEndpoint ? FRONTEND_ANY_ENDPOINT : 0)
  )
}

function equalFrontends(a: FrontendValue, b: FrontendValue): boolean {
  const equalRanges = (['cluster', 'clusterBefore', 'local', 'localBefore'] as const).every((name) => {
    const left = a[name] ?? NO_RANGE
    const right = b[name] ?? NO_RANGE
    return left.size === right.size && (left.size === 0 || left.base === right.base)
  })
  return (
    equalRanges &&
    a.serviceId === b.serviceId &&
    a.portId === b.portId &&
    a.flags === b.flags &&
    a.affinityTicks === b.affinityTicks
  )
}
