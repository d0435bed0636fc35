// What Weir tells of its routing. One look at the speaker serves all of it, and a little while longer: each costs gobgpd a count of every
// table, and whoever scrapes asks for all of them at once.

import type { PeersView, PeerView } from '../bgp-peers-view.ts'
import type { RouteRow } from '../bgp-routes-view.ts'
import type { Labels, Reading, Sample } from './exposition.ts'

export interface BgpFacts {
  readonly peers: PeersView
  readonly routes: readonly Pick<RouteRow, 'status' | 'source' | 'family'>[]
  /** What was refused, by the guard's code. */
  readonly refused: Readonly<Record<string, number>>
  /** Changes that wait for their turn. */
  readonly waiting: number
}

export const SESSION_STATES = [
  'missing',
  'unknown',
  'idle',
  'connect',
  'active',
  'open-sent',
  'open-confirm',
  'established',
] as const
export const DRAIN_PHASES = ['active', 'marking', 'waiting', 'withdrawn', 'drained'] as const
const ROUTE_STATES: readonly RouteRow['status'][] = [
  'announced',
  'pending',
  'withdrawing',
  'refused',
  'error',
]
const ROUTE_SOURCES: readonly RouteRow['source'][] = ['loopback', 'pod-cidr', 'service']

/** @param facts as of the last look; undefined before the first */
export function bgpReadings(facts: () => BgpFacts | undefined, nowMs: () => number): readonly Reading[] {
  const each = (value: (peer: PeerView) => number) => () =>
    (facts()?.peers.peers ?? []).map((peer): Sample => ({ labels: labelsOf(peer), value: value(peer) }))
  const eachFamily = (value: (counts: PeerView['families'][number], peer: PeerView) => number) => () =>
    (facts()?.peers.peers ?? []).flatMap((peer) =>
      peer.families.map(
        (counts): Sample => ({
          labels: { ...labelsOf(peer), family: counts.family },
          value: value(counts, peer),
        }),
      ),
    )
  return [
    ...sessionReadings(facts, each, nowMs),
    gauge(
      'weir_bgp_prefixes_received',
      'Prefixes that the router tells',
      eachFamily(({ received }) => received),
    ),
    gauge(
      'weir_bgp_prefixes_accepted',
      'Those of them that the import policy lets in',
      eachFamily(({ accepted }) => accepted),
    ),
    gauge(
      'weir_bgp_prefixes_advertised',
      'Prefixes that the router is told, as gobgpd reckons them',
      eachFamily(({ advertised }) => advertised),
    ),
    gauge(
      'weir_bgp_prefixes_wanted',
      'Prefixes that the router should be told while its session is up',
      eachFamily(({ wanted }) => wanted),
    ),
    gauge(
      'weir_bgp_prefixes_installed',
      "Prefixes of the router that the peer's imports let into the kernel",
      each(({ taken }) => taken),
    ),
    ...routeReadings(facts),
  ]
}

type Each = (value: (peer: PeerView) => number) => () => Sample[]

function sessionReadings(
  facts: () => BgpFacts | undefined,
  each: Each,
  nowMs: () => number,
): readonly Reading[] {
  return [
    gauge('weir_bgp_peer_state', 'The state of the session: 1 at the one it is in', () =>
      (facts()?.peers.peers ?? []).flatMap((peer) =>
        SESSION_STATES.map(
          (state): Sample => ({
            labels: { ...labelsOf(peer), state },
            value: Number(state === peer.state),
          }),
        ),
      ),
    ),
    gauge(
      'weir_bgp_peer_up',
      'Whether the session is established',
      each(({ state }) => Number(state === 'established')),
    ),
    gauge(
      'weir_bgp_peer_uptime_seconds',
      'How long it has been established; 0 while it is not',
      each(({ state, sinceMs }) =>
        state === 'established' && sinceMs !== undefined ? Math.max(0, (nowMs() - sinceMs) / 1000) : 0,
      ),
    ),
    counter(
      'weir_bgp_peer_flaps_total',
      'How often it fell, since the agent watches',
      each(({ flaps }) => flaps),
    ),
    gauge('weir_bgp_gobgpd_up', 'Whether gobgpd answers', () => {
      const known = facts()
      return known ? Number(known.peers.gobgpd.isConnected) : []
    }),
    gauge('weir_bgp_collector_up', 'Whether a BMP collector is connected', () =>
      (facts()?.peers.collectors ?? []).map(({ address, port, upSinceMs }) => ({
        labels: { collector: address, port: String(port) },
        value: Number(upSinceMs !== undefined),
      })),
    ),
    gauge('weir_drain_state', 'Where the drain of this node stands: 1 at the phase it is in', () => {
      const phase = facts()?.peers.drain?.phase
      if (phase === undefined) return []
      return DRAIN_PHASES.map((one) => ({ labels: { phase: one }, value: Number(one === phase) }))
    }),
  ]
}

function routeReadings(facts: () => BgpFacts | undefined): readonly Reading[] {
  return [
    gauge('weir_bgp_announcements', 'What this node announces, by how it stands and what it is', () => {
      const routes = facts()?.routes
      if (!routes) return []
      const counts = new Map<string, number>()
      for (const { status, source } of routes) {
        const key = `${status} ${source}`
        counts.set(key, (counts.get(key) ?? 0) + 1)
      }
      return ROUTE_STATES.flatMap((state) =>
        ROUTE_SOURCES.map((kind) => ({
          labels: { state, kind },
          value: counts.get(`${state} ${kind}`) ?? 0,
        })),
      )
    }),
    gauge('weir_bgp_refused', 'Announcements that the guard keeps in, by why', () =>
      Object.entries(facts()?.refused ?? {}).map(([why, value]) => ({ labels: { why }, value })),
    ),
    gauge(
      'weir_bgp_changes_waiting',
      'Changes that wait for their turn to be told',
      () => facts()?.waiting ?? [],
    ),
    gauge('weir_bgp_problems', 'What routing could not do, or sees going wrong, by code', () => {
      const counts = new Map<string, number>()
      for (const { code } of facts()?.peers.problems ?? []) counts.set(code, (counts.get(code) ?? 0) + 1)
      return [...counts].map(([code, value]) => ({ labels: { code }, value }))
    }),
  ]
}

function labelsOf({ name, address, asn }: PeerView): Labels {
  return { peer: name, address, asn: String(asn) }
}

function gauge(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'gauge', read }
}

function counter(name: string, help: string, read: Reading['read']): Reading {
  return { name, help, type: 'counter', read }
}
