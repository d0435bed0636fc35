// /healthz and /livez, as kube-proxy answers them, and /readyz.
//
//   /livez     the datapath keeps up: what a liveness probe asks. Healthy while starting, and while the API server is away
//   /healthz   the same, and this node is to get traffic: it exists, is not being deleted, and the cluster autoscaler is not
//              about to take it away (KEP-3836). What load balancers ask
//   /readyz    the kernel holds all Services and, where it is enforced, policy: what a readiness probe asks, so that a rollout waits
//              for it

import type { IncomingMessage, ServerResponse } from 'node:http'
import { FAMILY_NAMES, type Family } from '../../model/address.ts'
import type { Node } from '../../model/service.ts'
import type { Health } from './sync-health.ts'

export interface HealthFacts {
  readonly nowMs: number
  readonly families: Readonly<Partial<Record<Family, Health>>>
  /** undefined: not known, or deleted. */
  readonly node: Pick<Node, 'isLeaving'> | undefined
}

export interface HealthAnswer {
  readonly code: 200 | 503
  readonly body: Readonly<Record<string, unknown>>
}

export type HealthPath = '/healthz' | '/livez'

/** @param waitsFor what is not in the kernel yet, and why */
export function readyAnswer(waitsFor: readonly string[]): HealthAnswer {
  const ready = waitsFor.length === 0
  return { code: ready ? 200 : 503, body: { ready, waitsFor } }
}

/** What Go writes for a time that never was. */
const NEVER = '0001-01-01T00:00:00Z'

export function healthAnswer(path: HealthPath, { nowMs, families, node }: HealthFacts): HealthAnswer {
  const states = Object.entries(families) as [Family, Health][]
  const nodeEligible = node !== undefined && !node.isLeaving
  const healthy = states.every(([, { isHealthy }]) => isHealthy) && (path === '/livez' || nodeEligible)
  const times = states.map(([, { lastUpdatedMs }]) => lastUpdatedMs)
  return {
    code: healthy ? 200 : 503,
    body: {
      // Whoever is healthy is up to date, however long ago the last change was.
      lastUpdated: healthy ? timeText(nowMs) : timeText(oldest(times)),
      currentTime: timeText(nowMs),
      ...(path === '/healthz' ? { nodeEligible } : {}),
      healthy,
      status: Object.fromEntries(
        states.map(([family, { lastUpdatedMs, isHealthy }]) => [
          FAMILY_NAMES[family],
          { lastUpdated: timeText(isHealthy ? nowMs : lastUpdatedMs), healthy: isHealthy },
        ]),
      ),
    },
  }
}

function oldest(times: readonly (number | undefined)[]): number | undefined {
  return times.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.min(a, b)), times[0])
}

function timeText(ms: number | undefined): string {
  return ms === undefined ? NEVER : new Date(ms).toISOString()
}

/** @param count told of every answer of the first two, which kube-proxy counts */
export function healthHandler(
  facts: () => HealthFacts,
  waitsFor: () => readonly string[],
  count: (path: HealthPath, code: number) => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    request.resume()
    const path = (request.url ?? '').replace(/\?.*$/, '')
    if (path === '/readyz') {
      answer(response, readyAnswer(waitsFor()))
      return
    }
    if (path !== '/healthz' && path !== '/livez') {
      response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' })
      response.end('there are /healthz, /livez and /readyz\n')
      return
    }
    const said = healthAnswer(path, facts())
    count(path, said.code)
    answer(response, said)
  }
}

function answer(response: ServerResponse, { code, body }: HealthAnswer): void {
  response.writeHead(code, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' })
  response.end(`${JSON.stringify(body)}\n`)
}
