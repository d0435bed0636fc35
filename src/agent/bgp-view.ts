// Routing as a network engineer asks about it: what the local API answers to `weir bgp`.

import { nearMatches } from '../model/near-matches.ts'
import type { NodeRouting } from '../model/routing.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import type { SessionStatus } from '../speaker/session-status.ts'
import type { Parts } from './agent.ts'
import { BgpFactsCache } from './bgp-facts.ts'
import { describePeers, type PeersView } from './bgp-peers-view.ts'
import {
  type AdvertisedView,
  describeAdvertised,
  describeReceived,
  type ReceivedRow,
  type RoutesView,
  routeRows,
} from './bgp-routes-view.ts'
import type { AgentConfig } from './config.ts'
import { type LocalHandler, RequestError } from './local-api.ts'
import { type BgpFacts, bgpReadings } from './metrics/bgp-readings.ts'
import { type RouterSideFacts, reachedFrom } from './router-side-view.ts'
import { withoutPasswords } from './routing-view.ts'
import type { RoutingStatus } from './why-view.ts'

export function bgpHandlers({ nodeName }: AgentConfig, parts: Parts): Record<string, LocalHandler> {
  return {
    '/v1/bgp/peers': () => peers(nodeName, parts),
    '/v1/bgp/routes': () => routes(parts),
    '/v1/bgp/advertised': (query) => advertised(parts, query),
    '/v1/bgp/received': (query) => received(parts, query),
    '/v1/bgp/router-side': () => routerSide(nodeName, parts),
  }
}

/** @returns readings, and the look at gobgpd that has to come before they are read */
export function bgpMetrics(node: string, parts: Parts) {
  const cache = new BgpFactsCache(() => gatherBgpFacts(node, parts), Date.now)
  return { readings: bgpReadings(() => cache.facts, Date.now), refresh: () => cache.refresh() }
}

/** Undefined: no source has said anything yet. */
async function gatherBgpFacts(node: string, parts: Parts): Promise<BgpFacts | undefined> {
  const routing = parts.live.sources.current
  if (!routing) return undefined
  const { status, view } = await lookAtPeers(node, routing, parts)
  const refused: Record<string, number> = {}
  for (const { code } of status.refused) refused[code] = (refused[code] ?? 0) + 1
  return {
    peers: view,
    routes: routeRows({ status, routing }),
    refused,
    waiting: status.waiting.length,
  }
}

async function peers(node: string, parts: Parts): Promise<PeersView> {
  return (await lookAtPeers(node, routingOf(parts), parts)).view
}

async function lookAtPeers(node: string, routing: NodeRouting, parts: Parts) {
  const [status, daemon, links] = await Promise.all([
    parts.routing.status(),
    parts.routing.tables.daemon(),
    parts.peerLinks.look(routing.peers),
  ])
  const bfd = parts.bfd.describe()
  const drain = parts.drain.view()
  const view = describePeers({ node, routing, status, daemon, bfd, links, drain, nowMs: Date.now() })
  return { status, view }
}

interface SessionInBrief {
  readonly peer: string
  readonly address: string
  readonly state: PeersView['peers'][number]['state']
  /** Why it is not established. */
  readonly why: string | undefined
}

/** @returns no sessions where no source has said anything yet */
export async function routingInBrief(
  node: string,
  parts: Parts,
): Promise<{ readonly status: RoutingStatus; readonly sessions: readonly SessionInBrief[] }> {
  const routing = parts.live.sources.current
  if (!routing) return { status: await parts.routing.status(), sessions: [] }
  const { status, view } = await lookAtPeers(node, routing, parts)
  const sessions = view.peers.map(({ name, address, state, cause, lastError }): SessionInBrief => {
    const why = state === 'established' ? undefined : (cause ?? lastError)
    return { peer: name, address, state, why }
  })
  return { status, sessions }
}

async function routes(parts: Parts): Promise<RoutesView> {
  const status = await parts.routing.status()
  const { phase, message } = parts.drain.view()
  const draining =
    phase === 'active'
      ? undefined
      : `Drain ${phase}: ${message}\nRouters get graceful-shutdown (65535:0), and what routing.drain says, beside the attributes below.`
  return { routes: routeRows({ status, routing: routingOf(parts) }), draining }
}

async function advertised(parts: Parts, query: URLSearchParams): Promise<AdvertisedView> {
  const { tables } = parts.routing
  const { sessions, announcements } = await parts.routing.status()
  const daemon = await tables.daemon()
  if (!daemon) throw noGobgpd()
  const rows = []
  for (const session of chosen(sessions, query)) {
    const isUp = session.session === 'established'
    const table = isUp ? await tables.advertised(session.remote) : []
    rows.push(...describeAdvertised(session.name, table, announcements, isUp))
  }
  return { isReckoned: daemon.apiVersion === 3, routes: rows }
}

async function received(parts: Parts, query: URLSearchParams): Promise<readonly ReceivedRow[]> {
  const { sessions, connected } = await parts.routing.status()
  if (!connected) throw noGobgpd()
  const rows: ReceivedRow[] = []
  for (const { name, remote, address } of chosen(sessions, query))
    rows.push(...describeReceived(name, await parts.routing.tables.received(remote, address)))
  return rows
}

/** By name or address. */
function chosen(sessions: readonly SessionStatus[], query: URLSearchParams): readonly SessionStatus[] {
  const wanted = query.get('peer')
  if (wanted === null) return sessions
  const found = sessions.filter(({ name, address }) => name === wanted || address === wanted)
  if (found.length > 0) return found
  const names = [...new Set(sessions.flatMap(({ name, address }) => [name, address]))]
  throw new RequestError(404, noSuchPeer(wanted, names))
}

function noSuchPeer(wanted: string, names: readonly string[]): string {
  const near = nearMatches(wanted, names)
  const mend =
    near.length > 0 ? `did you mean ${near.join(' or ')}` : `one of ${names.join(', ') || '<none>'}`
  return `gobgpd has no session '${wanted}'. Mend: ${mend}`
}

function noGobgpd(): RequestError {
  return new RequestError(503, "gobgpd does not answer. Mend: see 'weir bgp peers'")
}

function routingOf({ live }: Parts): NodeRouting {
  const routing = withoutPasswords(live.sources.current)
  if (routing !== undefined) return routing
  throw new RequestError(
    409,
    "no source gives this node an AS number yet; 'weir status' tells what is missing",
  )
}

async function routerSide(node: string, parts: Parts): Promise<RouterSideFacts> {
  const routing = routingOf(parts)
  const { loopbacks, podCidrs, serviceNetworks } = routing
  const { pools } = parts.live.sources
  const allowed = allowedPrefixes({ loopbacks, podCidrs, serviceNetworks, pools })
  return { node, routing, allowed, reachedFrom: await reachedFrom(routing.peers), lacks: [] }
}
