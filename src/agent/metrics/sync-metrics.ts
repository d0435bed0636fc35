// What kube-proxy's dashboards and perf-tests read, by the same names: how long rounds take, what waits, how long a change took
// from the pod to the kernel, and which Services have a Local policy and nobody here. Fed by the service loop.
//
// Both families are written in one round; it counts for the families of what it wrote, and for both when it only moved nodes,
// links or pods. A round that fails is not a sample: its time counts when its repetition succeeds.

import { FAMILIES, FAMILY_NAMES, type Family, familyOf } from '../../model/address.ts'
import type { EndpointSlice, ObjectKey, Service } from '../../model/service.ts'
import type { DesiredPort } from '../../services/desired.ts'
import type { ChangeReader, Table } from '../../tables/table.ts'
import type { AppliedService, FailingObjects, LoopObserver } from '../loop-observer.ts'
import { Histogram, type Metric, type Reading, type Sample } from './exposition.ts'

export interface SyncMetricsOptions {
  readonly services: Table<Service>
  readonly slices: Table<EndpointSlice>
  /** Milliseconds since the epoch, as the clocks of those who change slices tell them. */
  readonly nowMs: () => number
}

/** `internal` and `external` traffic policy. */
type Lonely = Readonly<Record<Family, { readonly internal: number; readonly external: number }>>

const EACH_FAMILY = FAMILIES.map((family) => ({ ip_family: FAMILY_NAMES[family] }))

/** 1 ms times two to the nth, fifteen of them. */
const ROUND_SECONDS = Array.from({ length: 15 }, (_, n) => 0.001 * 2 ** n)
const from = (first: number, step: number, count: number) =>
  Array.from({ length: count }, (_, index) => first + index * step)
const PROGRAMMING_SECONDS = [0, 0.25, 0.5, ...from(1, 1, 59), ...from(60, 5, 12), ...from(120, 30, 7)]

export class SyncMetrics implements LoopObserver {
  readonly #options: SyncMetricsOptions
  readonly #bornMs: number
  readonly #changedServices: ChangeReader
  readonly #changedSlices: ChangeReader
  /** Taken up by a round that has not finished. */
  readonly #pendingServices = new Set<string>()
  readonly #pendingSlices = new Set<string>()
  readonly #touched = new Set<Family>()
  readonly #lonely = new Map<ObjectKey, Lonely>()
  readonly #rounds: Readonly<Record<'all' | 'full' | 'partial', Histogram>>
  readonly #programming: Histogram
  readonly #lastSeconds: Record<Family, number> = { ipv4: 0, ipv6: 0 }
  #queuedSeconds = 0
  #startedMs = 0
  #hasFinished = false
  #planned = 0
  #failures = 0
  #failing = 0

  constructor(options: SyncMetricsOptions) {
    this.#options = options
    this.#bornMs = options.nowMs()
    this.#changedServices = options.services.reader()
    this.#changedSlices = options.slices.reader()
    const rounds = (name: string, help: string) =>
      new Histogram({ name: `kubeproxy_${name}`, help, bounds: ROUND_SECONDS }, EACH_FAMILY)
    this.#rounds = {
      all: rounds('sync_proxy_rules_duration_seconds', 'Time one round of writing Services took'),
      full: rounds('sync_full_proxy_rules_duration_seconds', 'The same, of rounds that wrote all there is'),
      partial: rounds('sync_partial_proxy_rules_duration_seconds', 'The same, of rounds that wrote changes'),
    }
    this.#programming = new Histogram(
      {
        name: 'kubeproxy_network_programming_duration_seconds',
        help: 'From the change of a pod or Service, as its EndpointSlice says, until the kernel held it',
        bounds: PROGRAMMING_SECONDS,
      },
      EACH_FAMILY,
    )
  }

  get metrics(): readonly Metric[] {
    const { all, full, partial } = this.#rounds
    return [all, full, partial, this.#programming, ...this.#readings()]
  }

  close(): void {
    this.#changedServices.close()
    this.#changedSlices.close()
  }

  queued(): void {
    this.#queuedSeconds = this.#options.nowMs() / 1000
  }

  started(): void {
    this.#startedMs = performance.now()
    for (const key of this.#changedServices.take()) this.#pendingServices.add(key)
    for (const key of this.#changedSlices.take()) this.#pendingSlices.add(key)
  }

  applied(key: ObjectKey, applied: AppliedService | undefined): void {
    this.#planned += 1
    const families = applied ? applied.service.clusterIps.map(familyOf) : FAMILIES
    for (const family of families) this.#touched.add(family)
    const lonely = applied && countLonely(applied.desired)
    if (lonely) this.#lonely.set(key, lonely)
    else this.#lonely.delete(key)
  }

  finished(failing: FailingObjects): void {
    const nowMs = this.#options.nowMs()
    const seconds = (performance.now() - this.#startedMs) / 1000
    const touched = this.#touched.size > 0 ? this.#touched : FAMILIES
    for (const family of touched) {
      const labels = { ip_family: FAMILY_NAMES[family] }
      this.#rounds.all.observe(labels, seconds)
      this.#rounds[this.#hasFinished ? 'partial' : 'full'].observe(labels, seconds)
    }
    for (const family of FAMILIES) this.#lastSeconds[family] = nowMs / 1000
    for (const key of this.#pendingSlices) {
      const slice = this.#options.slices.get(key)
      if (slice && failing.has(slice.service)) continue
      this.#pendingSlices.delete(key)
      if (slice) this.#observeProgramming(slice, nowMs)
    }
    for (const key of this.#pendingServices)
      if (!failing.has(key as ObjectKey)) this.#pendingServices.delete(key)
    this.#failing = failing.size
    this.#hasFinished = true
    this.#touched.clear()
  }

  failed(): void {
    this.#failures += 1
  }

  /** Not of what happened before we were here to see it. */
  #observeProgramming({ family, triggeredAtMs }: EndpointSlice, nowMs: number): void {
    if (triggeredAtMs === undefined || triggeredAtMs <= this.#bornMs) return
    const labels = { ip_family: FAMILY_NAMES[family] }
    this.#programming.observe(labels, Math.max(0, nowMs - triggeredAtMs) / 1000)
  }

  #readings(): readonly Reading[] {
    const { services, slices } = this.#options
    const perFamily = (value: (family: Family) => number): readonly Sample[] =>
      FAMILIES.map((family) => ({ labels: { ip_family: FAMILY_NAMES[family] }, value: value(family) }))
    return [
      gauge('kubeproxy_sync_proxy_rules_last_timestamp_seconds', 'When a round last finished', () =>
        perFamily((family) => this.#lastSeconds[family]),
      ),
      gauge(
        'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
        'When a round was last asked for',
        () => perFamily(() => this.#queuedSeconds),
      ),
      gauge(
        'kubeproxy_sync_proxy_rules_endpoint_changes_pending',
        'EndpointSlices that changed and are not written yet',
        () => this.#pendingSlices.size + this.#changedSlices.pending,
      ),
      counter(
        'kubeproxy_sync_proxy_rules_endpoint_changes_total',
        'Changes of EndpointSlices',
        () => slices.revision,
      ),
      gauge(
        'kubeproxy_sync_proxy_rules_service_changes_pending',
        'Services that changed and are not written yet',
        () => this.#pendingServices.size + this.#changedServices.pending,
      ),
      counter(
        'kubeproxy_sync_proxy_rules_service_changes_total',
        'Changes of Services',
        () => services.revision,
      ),
      gauge(
        'kubeproxy_sync_proxy_rules_no_local_endpoints_total',
        'Service ports with a Local traffic policy and endpoints, none of which is on this node',
        () => this.#lonelySamples(),
      ),
      counter(
        'weir_services_planned_total',
        'Plans of single Services made and written',
        () => this.#planned,
      ),
      counter('weir_sync_failures_total', 'Rounds that broke off and were repeated', () => this.#failures),
      gauge(
        'weir_objects_failing',
        'Services, and pods with host ports, that cannot be written; the log says why',
        () => this.#failing,
      ),
    ]
  }

  #lonelySamples(): readonly Sample[] {
    return FAMILIES.flatMap((family) =>
      (['internal', 'external'] as const).map((policy) => {
        let value = 0
        for (const lonely of this.#lonely.values()) value += lonely[family][policy]
        return { labels: { ip_family: FAMILY_NAMES[family], traffic_policy: policy }, value }
      }),
    )
  }
}

function gauge(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'gauge', read }
}

function counter(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'counter', read }
}

/** undefined when there are none, as with nearly every Service. */
function countLonely(desired: readonly DesiredPort[]): Lonely | undefined {
  const counts = { ipv4: { internal: 0, external: 0 }, ipv6: { internal: 0, external: 0 } }
  let any = false
  for (const { family, anyEndpoint, local, frontends, internalLocal, externalLocal } of desired) {
    if (!anyEndpoint || local.length > 0) continue
    const isInternal = internalLocal && frontends.some(({ external }) => !external)
    const isExternal = externalLocal && frontends.some(({ external }) => external)
    if (isInternal) counts[family].internal += 1
    if (isExternal) counts[family].external += 1
    any ||= isInternal || isExternal
  }
  return any ? counts : undefined
}
