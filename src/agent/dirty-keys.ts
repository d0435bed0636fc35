// What has to be planned anew: from changed rows to the keys of Services, and of pods with host ports.
//
// A Service is planned from its own row, its slices, and, beside them, from this node (its addresses and zone), and from the
// nodes that claim the addresses it names. The last is rare, so Services whose plan asked for it are remembered. A node that comes or
// goes concerns the Services with endpoints there, which are looked for in all slices: it happens seldom.

import type { EndpointSlice, ObjectKey, Service } from '../model/service.ts'
import { hostPortOwner } from '../services/plan-host-ports.ts'
import type { PlanContext } from '../services/plan-service.ts'
import type { ChangeReader } from '../tables/table.ts'
import type { Sources } from './sources.ts'

export interface Dirty {
  /** Services, and `hostPortOwner` of pods. */
  readonly keys: ReadonlySet<ObjectKey>
  /** Rows of these keys changed themselves: what is wrong with them is to be told. */
  readonly services: ReadonlySet<string>
  readonly slices: ReadonlySet<string>
}

type ServiceSources = Pick<Sources, 'services' | 'slices' | 'nodes' | 'pods'>

export class DirtyKeys {
  readonly #sources: ServiceSources
  readonly #plan: PlanContext
  readonly #readers: Readonly<Record<'services' | 'slices' | 'nodes' | 'pods', ChangeReader>>
  /** Where each slice was last counted, to find the Service that lost it. */
  readonly #sliceOwner = new Map<string, ObjectKey>()
  readonly #askingForNodes = new Set<ObjectKey>()
  readonly #knownNodes: Set<string>
  #ownFacts: string
  #isAll = false

  constructor(sources: ServiceSources, plan: PlanContext, onChange: () => void) {
    this.#sources = sources
    this.#plan = plan
    this.#ownFacts = this.#describeOwn()
    const { services, slices, nodes, pods } = sources
    this.#knownNodes = new Set([...nodes.values()].map(({ name }) => name))
    this.#readers = {
      services: services.reader(),
      slices: slices.reader(),
      nodes: nodes.reader(),
      pods: pods.reader(),
    }
    for (const reader of Object.values(this.#readers)) reader.onChange(onChange)
  }

  close(): void {
    for (const reader of Object.values(this.#readers)) reader.close()
  }

  take(): Dirty {
    const keys = new Set<ObjectKey>()
    const services = this.#readers.services.take()
    for (const key of services) {
      keys.add(key as ObjectKey)
      if (!this.#sources.services.get(key)) this.#askingForNodes.delete(key as ObjectKey)
    }
    const slices = this.#readers.slices.take()
    for (const key of slices) this.#noteSlice(key, keys)
    for (const key of this.#readers.pods.take()) keys.add(hostPortOwner(key as ObjectKey))
    const nodes = this.#readers.nodes.take()
    if (nodes.size > 0) {
      this.#noteComings(nodes, keys)
      this.#noteNodes(keys)
    }
    if (this.#isAll) this.#noteAll(keys)
    this.#isAll = false
    return { keys, services, slices }
  }

  /** What plans depend on beside rows is another one: the next `take` has everything. */
  planAll(): void {
    this.#isAll = true
  }

  /** To be told what a Service was planned from. */
  notePlanned(service: Service, slices: readonly EndpointSlice[]): void {
    const asks =
      service.externalIps.length > 0 ||
      slices.some((slice) => slice.endpoints.some(({ nodeName }) => nodeName === undefined))
    if (asks) this.#askingForNodes.add(service.key)
    else this.#askingForNodes.delete(service.key)
  }

  #noteSlice(key: string, into: Set<ObjectKey>): void {
    const before = this.#sliceOwner.get(key)
    if (before !== undefined) into.add(before)
    const slice = this.#sources.slices.get(key)
    if (slice) {
      into.add(slice.service)
      this.#sliceOwner.set(key, slice.service)
    } else this.#sliceOwner.delete(key)
  }

  #noteComings(nodes: ReadonlySet<string>, into: Set<ObjectKey>): void {
    const moved = new Set<string>()
    for (const name of nodes) {
      const isThere = this.#sources.nodes.get(name) !== undefined
      if (isThere === this.#knownNodes.has(name)) continue
      moved.add(name)
      if (isThere) this.#knownNodes.add(name)
      else this.#knownNodes.delete(name)
    }
    if (moved.size === 0) return
    for (const { service, endpoints } of this.#sources.slices.values())
      if (endpoints.some(({ nodeName }) => moved.has(nodeName ?? ''))) into.add(service)
  }

  #noteNodes(into: Set<ObjectKey>): void {
    for (const key of this.#askingForNodes) into.add(key)
    const facts = this.#describeOwn()
    if (facts === this.#ownFacts) return
    this.#ownFacts = facts
    this.#noteAll(into)
  }

  #noteAll(into: Set<ObjectKey>): void {
    for (const { key } of this.#sources.services.values()) into.add(key)
    for (const { key } of this.#sources.pods.values()) into.add(hostPortOwner(key))
  }

  #describeOwn(): string {
    const { zone, nodePortAddresses, nodeAddresses } = this.#plan
    return JSON.stringify([zone(), nodePortAddresses(), nodeAddresses()])
  }
}
