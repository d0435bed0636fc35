// healthCheckNodePorts: an HTTP server per Service that has one, on the node's own addresses. Not a Service itself: the datapath
// knows nothing of these ports, and passes what is sent to them.
//
// Follows the service loop: wanted ports are noted while Services are applied, and opened and closed at the end of the round,
// closing first, so that a number may move from one Service to another in one round.

import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { EventRecorder } from '../../kube/events.ts'
import { type Address, FAMILIES, type Family } from '../../model/address.ts'
import type { ObjectKey } from '../../model/service.ts'
import type { HealthCheck } from '../../services/plan-health-check.ts'
import type { FailingObjects } from '../loop-observer.ts'
import { serviceObject } from '../report-problems.ts'
import { HttpListener } from './http-listener.ts'

/** Where to listen, by family: every address, or these. A family without any is not listened in. */
export type CheckAddresses = Readonly<Record<Family, 'all' | readonly Address[]>>

export interface CheckPortsOptions {
  readonly nodeName: string
  readonly addresses: () => CheckAddresses
  /** Whether what the load balancer would send here were served. */
  readonly isHealthy: (family: Family) => boolean
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Pick<Logger, 'warn'>
  readonly retryMs?: number
}

interface Wanted {
  readonly uid: string
  readonly check: HealthCheck
}

const NONE: FailingObjects = new Map()
const WILDCARD: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0', ipv6: '::' }

export class CheckPorts {
  readonly #options: CheckPortsOptions
  readonly #wanted = new Map<ObjectKey, Wanted>()
  /** By Service, then by `host port`. */
  readonly #open = new Map<ObjectKey, Map<string, HttpListener>>()
  readonly #changed = new Set<ObjectKey>()
  #isFailing = (_key: ObjectKey) => false
  #addresses: CheckAddresses = { ipv4: [], ipv6: [] }

  constructor(options: CheckPortsOptions) {
    this.#options = options
  }

  /** Ports that are wanted, and those of them that cannot be bound. */
  get usage(): { readonly wanted: number; readonly failing: number } {
    let failing = 0
    for (const listeners of this.#open.values())
      if ([...listeners.values()].some(({ failure }) => failure !== undefined)) failing += 1
    return { wanted: this.#wanted.size, failing }
  }

  /** Notes what this Service wants; counts are answered from now on, ports follow with apply(). */
  set(key: ObjectKey, uid: string, check: HealthCheck | undefined): void {
    const before = this.#wanted.get(key)
    if (check) this.#wanted.set(key, { uid, check })
    else if (!this.#wanted.delete(key)) return
    if (before?.check.port !== check?.port || familiesOf(before) !== familiesOf(check && { uid, check }))
      this.#changed.add(key)
  }

  /** @param failing Services that the kernel does not hold as they are now: they are not healthy, whatever the others are */
  apply(failing: FailingObjects = NONE): void {
    this.#isFailing = (key) => failing.has(key)
    if (this.#wanted.size === 0 && this.#changed.size === 0) return
    const addresses = this.#options.addresses()
    if (JSON.stringify(addresses) !== JSON.stringify(this.#addresses)) {
      this.#addresses = addresses
      for (const key of this.#wanted.keys()) this.#changed.add(key)
    }
    if (this.#changed.size === 0) return
    const hasClosed = [...this.#changed].map((key) => this.#closeUnwanted(key)).includes(true)
    if (hasClosed)
      for (const listeners of this.#open.values())
        for (const listener of listeners.values()) listener.retryNow()
    for (const key of this.#changed) this.#openMissing(key)
    this.#changed.clear()
  }

  close(): void {
    for (const listeners of this.#open.values()) for (const listener of listeners.values()) listener.close()
    this.#open.clear()
  }

  /** @returns whether there was any */
  #closeUnwanted(key: ObjectKey): boolean {
    const listeners = this.#open.get(key)
    if (!listeners) return false
    const wanted = new Set(this.#placesOf(key).map(({ name }) => name))
    let hasClosed = false
    for (const [name, listener] of listeners) {
      if (wanted.has(name)) continue
      listener.close()
      listeners.delete(name)
      hasClosed = true
    }
    if (listeners.size === 0) this.#open.delete(key)
    return hasClosed
  }

  #openMissing(key: ObjectKey): void {
    const listeners = this.#open.get(key) ?? new Map<string, HttpListener>()
    for (const { name, host, port, family } of this.#placesOf(key)) {
      if (listeners.has(name)) continue
      const listener = new HttpListener({
        host,
        port,
        onRequest: (request, response) => {
          request.resume()
          this.#answer(key, family, response)
        },
        onFailure: (error) => this.#reportFailure(key, port, error),
        ...(this.#options.retryMs === undefined ? {} : { retryMs: this.#options.retryMs }),
      })
      listeners.set(name, listener)
    }
    if (listeners.size > 0) this.#open.set(key, listeners)
  }

  #placesOf(key: ObjectKey): { name: string; host: string; port: number; family: Family }[] {
    const check = this.#wanted.get(key)?.check
    if (!check) return []
    return FAMILIES.filter((family) => check.localEndpoints[family] !== undefined).flatMap((family) => {
      const addresses = this.#addresses[family]
      const hosts = addresses === 'all' ? [WILDCARD[family]] : addresses
      return hosts.map((host) => ({ name: `${host} ${check.port}`, host, port: check.port, family }))
    })
  }

  /** Headers and body as kube-proxy has them, down to the order of fields. */
  #answer(key: ObjectKey, family: Family, response: ServerResponse): void {
    const [namespace = '', name = ''] = key.split('/')
    const localEndpoints = this.#wanted.get(key)?.check.localEndpoints[family] ?? 0
    const serviceProxyHealthy = this.#options.isHealthy(family) && !this.#isFailing(key)
    response.writeHead(localEndpoints > 0 && serviceProxyHealthy ? 200 : 503, {
      'Content-Type': 'application/json',
      'X-Content-Type-Options': 'nosniff',
      'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
    })
    const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy }
    response.end(JSON.stringify(body, undefined, '\t'))
  }

  #reportFailure(key: ObjectKey, port: number, error: Error): void {
    const message =
      `node ${this.#options.nodeName} failed to start healthcheck "${key}" on port ${port}: ${error.message}; ` +
      'free the port on the node, or let the Service have another healthCheckNodePort'
    this.#options.log.warn({ service: key, port }, message)
    const uid = this.#wanted.get(key)?.uid
    this.#options.events.record(
      serviceObject(key, uid),
      'Warning',
      'FailedToStartServiceHealthcheck',
      message,
    )
  }
}

function familiesOf(wanted: Wanted | undefined): string {
  return Object.keys(wanted?.check.localEndpoints ?? {}).join()
}
