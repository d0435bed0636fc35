// Draining a node: its traffic goes elsewhere before it does. A state machine, pure: facts and time in, the next state out.
//
//   active ──wanted──▶ marking ──told──▶ waiting ──no traffic, or time is up──▶ withdrawn ──told──▶ drained
//     ▲                   │                 │                                      │                  │
//     └───────────────────┴──────── not wanted any more: from any state ───────────┴──────────────────┘
//
//   marking    everything this node announces gets the graceful-shutdown community (RFC 8326), and MED or prepend for routers that
//              ignore it; its VIPs stay, so routers move flows at leisure and lose none
//   waiting    until the datapath has counted no client's packet to an announced address for a while: routers have moved what they will.
//              What comes to node ports is counted apart, and waited for by nobody: it comes to the node's own address, which stays
//   withdrawn  VIPs leave. The node's own address and its pods' networks stay, marked: tunnelled flows end here, and the kubelet still
//              has pods to stop
//   drained    nothing is left to do
//
// Flows survive because every node finds the same backend for them (equal slot tables), this node's pods among them.

import { GRACEFUL_SHUTDOWN } from '../model/communities.ts'
import type { DrainMark, DrainSettings } from '../model/routing.ts'

/** What scans and the last retransmissions make; no client's connection sends so little for long. */
export const QUIET_PACKETS_PER_SECOND = 1

export type DrainPhase = 'active' | 'marking' | 'waiting' | 'withdrawn' | 'drained'

export interface DrainState {
  readonly phase: DrainPhase
  /** When this phase began. */
  readonly sinceMs: number
  /** When the drain began; of an active node, when its last one ended. */
  readonly startedMs: number
  /** Since when no traffic is seen, while waiting. */
  readonly quietSinceMs: number | undefined
  /** Why VIPs were withdrawn. */
  readonly ended: 'quiet' | 'timeout' | undefined
}

export const ACTIVE: DrainState = {
  phase: 'active',
  sinceMs: 0,
  startedMs: 0,
  quietSinceMs: undefined,
  ended: undefined,
}

export interface DrainFacts {
  readonly isWanted: boolean
  /** gobgpd holds everything as it was last wanted: the mark, and the withdrawals. */
  readonly isTold: boolean
  /** VIPs that are still announced, or wait to be withdrawn. */
  readonly vips: number
  /** Of clients, entering this node, for Services by an announced address; undefined: not measured since the phase began. */
  readonly packetsPerSecond: number | undefined
  /** To its own address and node ports, as last measured. */
  readonly nodePortPacketsPerSecond: number | undefined
}

export function stepDrain(
  state: DrainState,
  facts: DrainFacts,
  settings: DrainSettings,
  nowMs: number,
): DrainState {
  if (!facts.isWanted)
    return state.phase === 'active' ? state : { ...ACTIVE, sinceMs: nowMs, startedMs: nowMs }
  const isLate = nowMs - state.startedMs >= settings.timeoutMs
  switch (state.phase) {
    case 'active':
      return { ...ACTIVE, phase: 'marking', sinceMs: nowMs, startedMs: nowMs }
    case 'marking':
      if (facts.isTold) return { ...state, phase: 'waiting', sinceMs: nowMs }
      return isLate ? withdraw(state, 'timeout', nowMs) : state
    case 'waiting': {
      const isQuiet = (facts.packetsPerSecond ?? Number.POSITIVE_INFINITY) < QUIET_PACKETS_PER_SECOND
      const quietSinceMs = isQuiet ? (state.quietSinceMs ?? nowMs) : undefined
      if (quietSinceMs !== undefined && nowMs - quietSinceMs >= settings.quietMs)
        return withdraw(state, 'quiet', nowMs)
      if (isLate) return withdraw(state, 'timeout', nowMs)
      return quietSinceMs === state.quietSinceMs ? state : { ...state, quietSinceMs }
    }
    case 'withdrawn':
      return facts.isTold && facts.vips === 0 ? { ...state, phase: 'drained', sinceMs: nowMs } : state
    case 'drained':
      return state
  }
}

function withdraw(state: DrainState, ended: 'quiet' | 'timeout', nowMs: number): DrainState {
  return { ...state, phase: 'withdrawn', sinceMs: nowMs, quietSinceMs: undefined, ended }
}

export interface DrainEffects {
  readonly mark: DrainMark | undefined
  readonly withdrawsVips: boolean
  /** gobgpd, told to stop now, says goodbye: the node is meant to leave. */
  readonly leaves: boolean
}

export function drainEffects({ phase }: DrainState, { med, prepend }: DrainSettings): DrainEffects {
  const isDraining = phase !== 'active'
  return {
    mark: isDraining
      ? { communities: [GRACEFUL_SHUTDOWN], ...(med === undefined ? {} : { med }), prepend }
      : undefined,
    withdrawsVips: phase === 'withdrawn' || phase === 'drained',
    leaves: isDraining,
  }
}

/** What an earlier agent wrote down; undefined where it is none of ours, or damaged. */
export function readDrainState(text: string): DrainState | undefined {
  let value: Partial<DrainState> | null
  try {
    value = JSON.parse(text) as Partial<DrainState> | null
  } catch {
    return undefined
  }
  const { phase, sinceMs, startedMs, ended } = value ?? {}
  if (!PHASES.some((known) => known === phase) || !Number.isFinite(sinceMs) || !Number.isFinite(startedMs))
    return undefined
  // Silence has to be heard anew.
  return {
    phase: phase as DrainPhase,
    sinceMs: sinceMs ?? 0,
    startedMs: startedMs ?? 0,
    quietSinceMs: undefined,
    ended: ended === 'quiet' || ended === 'timeout' ? ended : undefined,
  }
}

const PHASES: readonly DrainPhase[] = ['active', 'marking', 'waiting', 'withdrawn', 'drained']

/** One sentence, for whoever watches. */
export function describeDrain(
  state: DrainState,
  facts: DrainFacts,
  settings: DrainSettings,
  nowMs: number,
): string {
  const seconds = (ms: number) => `${Math.max(0, Math.round(ms / 1000))} s`
  switch (state.phase) {
    case 'active':
      return 'this node takes its share of traffic'
    case 'marking':
      return 'routers are told by graceful-shutdown (65535:0) to prefer other nodes'
    case 'waiting': {
      const left = seconds(state.startedMs + settings.timeoutMs - nowMs)
      const rate = facts.packetsPerSecond
      if (rate === undefined)
        return `clients' traffic is measured; VIPs are withdrawn in ${left} at the latest`
      const traffic =
        rate < QUIET_PACKETS_PER_SECOND
          ? `no traffic of clients to VIPs for ${seconds(nowMs - (state.quietSinceMs ?? nowMs))} of ${seconds(settings.quietMs)}`
          : `${Math.round(rate)} packets a second of clients still come to VIPs here`
      return `${traffic}${describeNodePorts(facts)}; VIPs are withdrawn in ${left} at the latest`
    }
    case 'withdrawn':
      return `${whyEnded(state)}; ${facts.vips} VIPs are still to be withdrawn`
    case 'drained':
      return `${whyEnded(state)}; no VIP is announced any more, the node's own address and pod networks are, marked${describeNodePorts(facts)}`
  }
}

/** Whoever waits for a quiet node must know that these do not go away. */
function describeNodePorts({ nodePortPacketsPerSecond: rate = 0 }: DrainFacts): string {
  if (rate < QUIET_PACKETS_PER_SECOND) return ''
  return `; ${Math.round(rate)} packets a second come to node ports, which no drain moves`
}

function whyEnded({ ended }: DrainState): string {
  return ended === 'timeout' ? 'traffic did not go away in time' : "clients' traffic has gone"
}
