// The kernel half as one object: loaded, attached, and with its writers. Closing it gives descriptors up and nothing else:
// programs and maps are pinned and go on.

import { randomInt } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Address } from '../model/address.ts'
import { steadyNowMs } from '../model/steady-clock.ts'
import { BpfError, RingBuffer } from '../sys/libbpf-ts/index.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import { type AttachedProgram, Attachments, type HookChoice, type Loss, type UplinkHook } from './attach.ts'
import { BfdSessions } from './bfd-sessions.ts'
import { ClosedCgroups } from './closed-cgroups.ts'
import { FlowTable } from './flow-table.ts'
import { GatheredTables } from './gathered-tables.ts'
import { KnownNetns } from './known-netns.ts'
import {
  type DatapathSettings,
  type LoadedDatapath,
  loadDatapath,
  type SocketLists,
  tickSeconds,
} from './load.ts'
import type { MapFill } from './map-fill.ts'
import {
  type DatapathTables,
  datapathTables,
  type FlowNames,
  flowNames,
  MAP_NAMES,
  type MapName,
  type ReasonCount,
  readMetrics,
} from './maps.ts'
import { NetnsEndpoints } from './netns-endpoints.ts'
import { NexthopMaps } from './nexthop-maps.ts'
import type { Uplink } from './nexthop-plan.ts'
import { type NotedNetns, takeNotedNetns } from './noted-netns.ts'
import { verifyMapPins } from './pinned-maps.ts'
import type { PolicyReads } from './policy-lookup.ts'
import { PolicyMaps } from './policy-maps.ts'
import type { PolicyTables } from './policy-tables.ts'
import { RowCheck, rowChecks } from './row-check.ts'
import { ServiceMaps } from './service-maps.ts'
import { SockPeers } from './sock-peers.ts'

const SLOTS_PER_ROW = 2
const DISCRIMINATORS = 2 ** 32
/** Programs of weir_closed.bpf.c, and so names of their pins. */
const CLOSED = ['weir_closed_egress', 'weir_closed_ingress'] as const
/** Of weir_unseen.bpf.c. */
const UNSEEN = 'weir_closed_create'
/** Per look, some 2 ms; 40 000 rows are looked at in eight minutes. */
const ROWS_CHECKED = 256

export interface DatapathOptions {
  readonly nodeName: string
  readonly bpffs: string
  readonly cgroup: string
  readonly objects: string | undefined
  readonly tunnelAddresses: { readonly ipv4: Address | undefined; readonly ipv6: Address | undefined }
  readonly redirectsOnly: boolean
  readonly uplinkHook: HookChoice
  readonly settings: DatapathSettings
  readonly log: Logger
}

export class Datapath {
  readonly services: ServiceMaps
  readonly nexthops: NexthopMaps
  readonly namespaces: NetnsEndpoints
  readonly knownNetns: KnownNetns
  readonly flows: FlowTable
  readonly sockets: SockPeers
  readonly bfd: BfdSessions
  /** Undefined: policy is not enforced. */
  readonly policy: PolicyMaps | undefined
  /** Its rows, to be read one by one. */
  readonly policyRows: PolicyTables & PolicyReads
  readonly #gathered: GatheredTables
  readonly #rowCheck: RowCheck
  readonly #loaded: LoadedDatapath
  readonly #attachments: Attachments
  readonly #log: Logger
  readonly #cgroup: string
  #podsCgroups: readonly string[] = []
  readonly #closedCgroups: ClosedCgroups
  readonly #notedNetns: DatapathTables['notedNetns']
  readonly #noUnseen: string | undefined
  readonly #uplinkHook: HookChoice
  readonly #enforcesPolicy: boolean
  readonly #failedUplinks = new Map<string, string>()

  /** Loads the programs, adopts what is pinned, and attaches the socket hooks. Uplinks and pods follow by attach…(). */
  constructor(options: DatapathOptions) {
    this.#log = options.log
    this.#cgroup = options.cgroup
    this.#uplinkHook = options.uplinkHook
    this.#enforcesPolicy = options.settings.enforcesPolicy
    this.#loaded = loadDatapath(options)
    const tables = datapathTables(this.#loaded.map)
    const nowMs = steadyNowMs
    this.nexthops = new NexthopMaps(tables, nowMs, options.settings.tunnel)
    this.bfd = new BfdSessions(tables.bfd, () => randomInt(1, DISCRIMINATORS))
    this.namespaces = new NetnsEndpoints(tables.netnsEndpoints, networkNamespaceCookie())
    this.knownNetns = new KnownNetns(tables.knownNetns)
    this.#closedCgroups = new ClosedCgroups(tables.closedCgroups)
    this.#notedNetns = tables.notedNetns
    this.#gathered = new GatheredTables(tables)
    this.#rowCheck = new RowCheck(() => this.#rowChecks(tables))
    this.flows = openFlowTable(this.#loaded)
    this.policyRows = tables.policy
    this.policy = this.#enforcesPolicy
      ? new PolicyMaps(tables.policy, nowMs, this.flows.verdicts())
      : undefined
    this.sockets = new SockPeers(this.#loaded.map('sock_peers').mmap())
    this.services = new ServiceMaps({
      tables: this.#gathered,
      nowMs,
      tickSeconds: tickSeconds(),
      flows: this.flows,
      pods: { addresses: this.nexthops.rows.endpoints.keys(), areAnswered: options.settings.perPacket },
      place: (backend) =>
        backend.nodeName === options.nodeName
          ? { isLocal: true, nexthopId: this.nexthops.podRow(backend.address), nodeId: 0 }
          : { isLocal: false, ...this.nexthops.nodeRow(backend.nodeName ?? '') },
      placeAgain: (row) =>
        row.isLocal
          ? { isLocal: true, nexthopId: this.nexthops.podRow(row.address), nodeId: 0 }
          : { isLocal: false, ...this.nexthops.nodeRowOf(row.nodeId) },
    })
    const names = this.flowNames()
    this.flows.endUnserved((frontendId, backendId) => {
      if (!this.services.knowsAll) return true
      const [frontend, backend] = [names.frontend(frontendId), names.backend(backendId)]
      return !frontend || !backend || this.services.isServing(frontend, backend)
    })
    this.#attachments = new Attachments(options.bpffs)
    this.#attachSocket()
    this.#noUnseen = this.#attachUnseen()
    if (!this.#enforcesPolicy) this.closePods([])
  }

  #attachSocket(): void {
    this.#attachments.attachSocket(this.#loaded.socket, this.#cgroup)
  }

  /**
   * Makes exactly these the roots of pods' cgroups that are closed to pods that policy does not know. Until it is called, what an earlier
   * process closed stays so.
   * @returns those that are not there
   */
  closePods(cgroups: readonly string[]): readonly string[] {
    this.#podsCgroups = cgroups
    this.#closedCgroups.set(cgroups)
    return this.#attachments.attachCgroups(this.#loaded.closed, CLOSED, cgroups)
  }

  /** @returns why the making of sockets is not judged, where policy is enforced */
  #attachUnseen(): string | undefined {
    const { unseen, noUnseen } = this.#loaded
    if (unseen === undefined) {
      this.#attachments.detachFunction(UNSEEN)
      return noUnseen
    }
    try {
      this.#attachments.attachFunction(unseen)
      return undefined
    } catch (error) {
      if (!(error instanceof BpfError)) throw error
      return error.message
    }
  }

  /** Why packet sockets of pods that policy does not know are not refused; undefined: they are, or policy is not enforced. */
  get noUnseen(): string | undefined {
    return this.#noUnseen
  }

  /** Network namespaces that met the pods' closed default since the last call. */
  takeNotedNetns(): readonly NotedNetns[] {
    return takeNotedNetns(this.#notedNetns)
  }

  /** The device of a pod's address, if packets of that address are judged there. */
  judgedAt(address: Address): number | undefined {
    const ifindex = this.nexthops.rows.endpoints.get(address)?.ifindex
    return ifindex !== undefined && this.#attachments.pods.has(ifindex) ? ifindex : undefined
  }

  /** Whether policy's rows say nothing of this pod. */
  isOpen(address: Address): boolean {
    return this.policy?.isOpen(address) ?? false
  }

  /** From here on rows of Services wait, until `writeServices`: for many changes at once. */
  gatherServices(): void {
    this.#gathered.gather()
  }

  /** Writes the rows that wait. @param isLast ends the gathering */
  writeServices(isLast: boolean): void {
    if (isLast) this.#gathered.finish()
    else this.#gathered.flush()
  }

  /** What lists translated sockets, or why nothing does. */
  get socketLists(): { readonly lists: SocketLists | undefined; readonly problem: string | undefined } {
    return { lists: this.#loaded.socketLists, problem: this.#loaded.noSocketLists }
  }

  /** Why uplinks do not carry our program, by name; empty when all do. */
  get failedUplinks(): ReadonlyMap<string, string> {
    return this.#failedUplinks
  }

  /** Where an uplink's packets are met; undefined: nowhere. */
  uplinkHook(ifindex: number): UplinkHook | undefined {
    return this.#attachments.uplinks.get(ifindex)
  }

  /** Whether every uplink that has carrier is served: only then may addresses be announced. */
  isServing(uplinks: readonly Uplink[]): boolean {
    const attached = this.#attachments.uplinks
    const up = uplinks.filter((uplink) => uplink.isUp)
    return up.length > 0 && up.every((uplink) => attached.has(uplink.ifindex))
  }

  /**
   * Attaches to every uplink that is there. One that refuses is told once and tried again next time. What the kernel does for a
   * device takes tens of milliseconds, so others get their turn behind each step.
   */
  async attachUplinks(uplinks: readonly Uplink[]): Promise<void> {
    this.#attachments.keepUplinks(new Set(uplinks.map((uplink) => uplink.ifindex)))
    for (const { name, ifindex } of uplinks) {
      try {
        const before = this.#attachments.uplinks.get(ifindex)
        const { uplink } = this.#loaded
        for (const _step of this.#attachments.attachingUplink(uplink, name, ifindex, this.#uplinkHook))
          await setImmediate()
        const { hook, reason } = this.#attachments.uplinks.get(ifindex) ?? {}
        if (hook === 'tc' && reason !== before?.reason)
          this.#log.warn({ uplink: name, reason }, 'the uplink is served at tc instead of XDP')
        this.#failedUplinks.delete(name)
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        if (this.#failedUplinks.get(name) !== message)
          this.#log.error({ err: error, uplink: name }, 'cannot attach to the uplink')
        this.#failedUplinks.set(name, message)
      }
    }
  }

  /** To be called when somebody else's XDP program has gone: the next attachUplinks() takes the place. */
  reconsiderUplinks(): void {
    this.#attachments.reconsiderUplinks()
  }

  /** Makes exactly these devices carry the pods' programs. */
  attachPods(ifindexes: Iterable<number>): void {
    const { podTc, podEgressTc } = this.#loaded
    const egress = this.#enforcesPolicy ? podEgressTc : undefined
    this.#attachments.attachPods(podTc, new Set(ifindexes), egress)
  }

  /**
   * Looks for programs, links and pins that somebody took away. Pins, replaced programs and socket hooks are back when it returns;
   * devices that lost their program get it with the next attachUplinks() and attachPods(). Some rows of the tables are looked at too, others
   * the next time.
   * @param present devices that are there
   */
  verify(present: ReadonlySet<number>): readonly Loss[] {
    const losses = [...this.#attachments.verify(present), ...verifyMapPins(this.#loaded.pinned)]
    const rows = this.#gathered.isWaiting ? [] : this.#rowCheck.next(ROWS_CHECKED)
    if (losses.length > 0) {
      this.#attachSocket()
      if (this.#podsCgroups.length > 0) this.closePods(this.#podsCgroups)
    }
    return [...losses, ...rows]
  }

  *#rowChecks(tables: DatapathTables) {
    const { nexthops, nodes, endpoints } = this.nexthops.rows
    yield* rowChecks('nexthops', tables.nexthops, nexthops)
    yield* rowChecks('nodes', tables.nodes, nodes)
    yield* rowChecks('endpoints', tables.endpoints, endpoints)
    yield* rowChecks('backends', tables.backends, this.services.backendRows())
    yield* rowChecks('frontends', tables.frontends, this.services.frontendRows())
  }

  /** Ids of our programs that are attached, to tell them from others'. */
  get programIds(): ReadonlySet<number> {
    return this.#attachments.programIds
  }

  /** What hangs where. */
  get programs(): readonly AttachedProgram[] {
    return this.#attachments.programs
  }

  /** To be called when all that is there has been attached: ends a move from maps of an earlier layout or capacity. */
  finishMigration(): void {
    this.#loaded.finishMigration()
    // Until now programs that enforced may have been on devices: without rows they would have closed every pod.
    if (!this.#enforcesPolicy) forgetPolicy(this.policyRows)
    for (const { map, from, rows, lost } of this.#loaded.moved)
      this.#log.info({ map, from, rows, lost }, 'pinned state moved to another layout or capacity')
  }

  /** Does what time has made due. @returns when to call again (milliseconds since the epoch); undefined when nothing waits */
  retire(): number | undefined {
    const isCarried = (generation: number) => this.flows.namesGeneration(generation)
    const wakes = [this.services.retire(), this.nexthops.retire(), this.policy?.retire(isCarried)]
    const due = wakes.filter((ms) => ms !== undefined)
    return due.length > 0 ? Math.min(...due) : undefined
  }

  /** Packets and bytes by reason, since the node came up. */
  metrics(): Record<string, ReasonCount> {
    return readMetrics(this.#loaded.map('metrics'))
  }

  /** Fill of every table that has a limit; of flows and sockets as of the last whole sweep. */
  fills(): MapFill[] {
    const { frontends, backends, slots, sourceRanges } = this.services.usage
    const { nexthops, nodes, endpoints } = this.nexthops.usage
    const rows = (name: MapName) => this.#loaded.map(name).info.maxEntries
    return [
      { map: 'frontends', used: frontends, capacity: rows('frontends'), knob: 'frontends' },
      { map: 'slots', used: slots, capacity: rows('slots') * SLOTS_PER_ROW, knob: 'slots' },
      { map: 'backends', used: backends, capacity: rows('backends'), knob: 'backends' },
      { map: 'flows', used: this.flows.counts?.held ?? 0, capacity: this.flows.capacity, knob: 'flows' },
      { map: 'sock_peers', used: this.sockets.used, capacity: this.sockets.capacity, knob: undefined },
      { map: 'source_ranges', used: sourceRanges, capacity: rows('source_ranges'), knob: 'sourceRanges' },
      { map: 'nexthops', used: nexthops, capacity: rows('nexthops'), knob: undefined },
      { map: 'nodes', used: nodes, capacity: rows('nodes'), knob: undefined },
      { map: 'endpoints', used: endpoints, capacity: rows('endpoints'), knob: undefined },
      { map: 'bfd_sessions', used: this.bfd.used, capacity: rows('bfd_sessions'), knob: undefined },
      {
        map: 'netns_endpoints',
        used: this.namespaces.used,
        capacity: rows('netns_endpoints'),
        knob: undefined,
      },
      { map: 'known_netns', used: this.knownNetns.used, capacity: rows('known_netns'), knob: undefined },
    ]
  }

  /** Rows of what policy is compiled to; number 0 is among them. */
  get policyLimits(): { readonly sets: number; readonly cells: number; readonly classes: number } {
    const rows = (name: MapName) => this.#loaded.map(name).info.maxEntries
    return { sets: rows('policy_sets'), cells: rows('policy_cells'), classes: rows('policy_classes') }
  }

  /** Bytes that each map takes in the kernel, by its name in bpf/maps.h. */
  memory(): ReadonlyMap<string, number> {
    return new Map(MAP_NAMES.map((name) => [name, this.#loaded.map(name).memoryBytes]))
  }

  /** Names what flows carry as numbers. */
  flowNames(): FlowNames {
    return flowNames(this.#loaded.map)
  }

  /** The ring that drops are told through. */
  openDropRing(): RingBuffer {
    return new RingBuffer(this.#loaded.map('events'))
  }

  close(): void {
    this.#attachments.close()
    this.#loaded.close()
  }
}

/** What was enforced once and is not any more: an agent that enforces again would follow it. */
function forgetPolicy(tables: PolicyTables): void {
  const hasRows = [tables.subjects, tables.identities, tables.prefixes].some(hasEntries)
  if (hasRows) new PolicyMaps(tables, steadyNowMs).settle()
}

function hasEntries(table: { entries(): Iterable<unknown> }): boolean {
  return !table.entries()[Symbol.iterator]().next().done
}

function openFlowTable({ map, flowClock }: LoadedDatapath): FlowTable {
  const memory = {
    flows: map('flows').mmap(),
    details: map('flow_details').mmap(),
    sets: map('flows').info.maxEntries,
    backends: map('backends').info.maxEntries,
    frontends: map('frontend_addresses').info.maxEntries,
  }
  // The kernel takes no repetitions of a program of this type.
  return new FlowTable(memory, () => flowClock.testRun({ repeat: 0 }).returnValue)
}
