// What others learn of this node: health answers for load balancers and the kubelet, metrics for Prometheus. Listens to the service
// loop and holds the listeners; what is answered is decided in health/ and metrics/.

import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { EventRecorder } from '../kube/events.ts'
import { FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { ObjectKey } from '../model/service.ts'
import { planHealthCheck } from '../services/plan-health-check.ts'
import type { PlanContext } from '../services/plan-service.ts'
import type { AgentConfig } from './config.ts'
import { type CheckAddresses, CheckPorts } from './health/check-ports.ts'
import { type HealthFacts, healthHandler } from './health/health-server.ts'
import { HttpListener } from './health/http-listener.ts'
import { SyncHealth } from './health/sync-health.ts'
import type { AppliedService, FailingObjects, LoopObserver } from './loop-observer.ts'
import { CONTENT_TYPE, Counts, exposition, type Metric, type Reading } from './metrics/exposition.ts'
import { SyncMetrics } from './metrics/sync-metrics.ts'
import type { Sources } from './sources.ts'

export interface MonitoringOptions {
  readonly config: AgentConfig
  readonly sources: Pick<Sources, 'services' | 'slices' | 'nodes'>
  readonly plan: PlanContext
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Logger
  /** What policy waits for, and why; empty: it has begun. */
  readonly waitsFor: () => readonly string[]
  /** Families that clients outside are served in. */
  readonly served: () => ReadonlySet<Family>
}

/** What /proxyMode answers, where kube-proxy says iptables, ipvs or nftables. */
const PROXY_MODE = 'weir'
const CODES = ['200', '503']

export class Monitoring implements LoopObserver {
  readonly checkPorts: CheckPorts
  readonly #options: MonitoringOptions
  readonly #health: SyncHealth
  readonly #syncMetrics: SyncMetrics
  readonly #answers = { '/healthz': new Counts('code', CODES), '/livez': new Counts('code', CODES) }
  readonly #listeners: HttpListener[] = []
  #metrics: readonly Metric[] = []

  constructor(options: MonitoringOptions) {
    this.#options = options
    const { config, sources, plan, events, log } = options
    this.#health = new SyncHealth({
      limitMs: 2 * config.health.syncSeconds * 1000,
      nowMs: () => performance.timeOrigin + performance.now(),
    })
    this.#syncMetrics = new SyncMetrics({ ...sources, nowMs: Date.now })
    this.checkPorts = new CheckPorts({
      nodeName: plan.nodeName,
      addresses: () => checkAddresses(config, plan),
      isHealthy: (family) => this.#health.state.isHealthy && options.served().has(family),
      events,
      log,
    })
  }

  /** Starts to answer. @param refresh what has to be looked at before the readings are read; never rejects */
  listen(readings: readonly Reading[], refresh: () => Promise<void> = async () => {}): void {
    this.#metrics = [...this.#syncMetrics.metrics, ...this.#answerReadings(), ...readings]
    const { health, metrics } = this.#options.config
    const count = (path: '/healthz' | '/livez', code: number) => this.#answers[path].add(String(code))
    if (health.address)
      this.#listenAt(
        'health.address',
        health.address,
        healthHandler(
          () => this.#healthFacts(),
          () => this.#waitsFor(),
          count,
        ),
      )
    if (metrics.address)
      this.#listenAt('metrics.address', metrics.address, (request, response) => {
        request.resume()
        void refresh().then(() => this.#answerMetrics(request.url ?? '', response))
      })
  }

  close(): void {
    for (const listener of this.#listeners) listener.close()
    this.checkPorts.close()
    this.#syncMetrics.close()
  }

  queued(): void {
    this.#health.queued()
    this.#syncMetrics.queued()
  }

  started(): void {
    this.#health.started()
    this.#syncMetrics.started()
  }

  applied(key: ObjectKey, applied: AppliedService | undefined): void {
    const check = applied && planHealthCheck(applied.service, applied.slices, this.#options.plan)
    this.checkPorts.set(key, applied?.service.uid ?? '', check)
    this.#syncMetrics.applied(key, applied)
  }

  finished(failing: FailingObjects): void {
    this.checkPorts.apply(failing)
    this.#health.finished()
    this.#syncMetrics.finished(failing)
  }

  failed(): void {
    this.#syncMetrics.failed()
  }

  #healthFacts(): HealthFacts {
    const { plan, sources } = this.#options
    const own = FAMILIES.filter((family) => plan.nodeAddresses().some((ip) => familyOf(ip) === family))
    const families = own.length > 0 ? own : FAMILIES
    return {
      nowMs: Date.now(),
      families: Object.fromEntries(families.map((family) => [family, this.#health.state])),
      node: sources.nodes.get(plan.nodeName),
    }
  }

  #waitsFor(): readonly string[] {
    const services = this.#health.state.lastUpdatedMs === undefined ? ['Services are not written yet'] : []
    return [...services, ...this.#options.waitsFor()]
  }

  #answerReadings(): readonly Reading[] {
    return (['healthz', 'livez'] as const).map((path) => ({
      name: `kubeproxy_proxy_${path}_total`,
      help: `Answers of /${path} by status`,
      type: 'counter',
      read: () => this.#answers[`/${path}`].samples(),
    }))
  }

  #answerMetrics(url: string, response: ServerResponse): void {
    const path = url.replace(/\?.*$/, '')
    if (path === '/metrics') {
      response.writeHead(200, { 'Content-Type': CONTENT_TYPE })
      response.end(
        exposition(this.#metrics, (name, error) =>
          this.#options.log.warn({ err: error }, `the metric ${name} cannot be read`),
        ),
      )
      return
    }
    response.writeHead(path === '/proxyMode' ? 200 : 404, { 'Content-Type': 'text/plain; charset=utf-8' })
    response.end(path === '/proxyMode' ? PROXY_MODE : 'there are /metrics and /proxyMode\n')
  }

  #listenAt(
    key: string,
    { host, port }: NonNullable<AgentConfig['metrics']['address']>,
    onRequest: ConstructorParameters<typeof HttpListener>[0]['onRequest'],
  ): void {
    const onFailure = (error: Error) =>
      this.#options.log.error(
        { err: error, key },
        `cannot listen on ${host ?? 'any address'} port ${port}; trying again. Free the port, or set ${key}`,
      )
    this.#listeners.push(new HttpListener({ host, port, onRequest, onFailure }))
  }
}

/** On every address, or on those among the node's that services.nodePortAddresses lists. */
function checkAddresses({ services }: AgentConfig, plan: PlanContext): CheckAddresses {
  const own = plan.nodeAddresses()
  const listed = services.nodePortAddresses === 'primary' ? undefined : plan.nodePortAddresses()
  const of = (family: Family) => {
    const isOurs = own.some((ip) => familyOf(ip) === family)
    if (listed === undefined) return isOurs ? 'all' : []
    return listed.filter((ip) => familyOf(ip) === family)
  }
  return { ipv4: of('ipv4'), ipv6: of('ipv6') }
}
