// Anti-flap budget of one VIP, in the terms of RFC 2439: each withdrawal adds to a penalty, which decays by half every so
// often. Routers that damp routes punish for a quarter of an hour; this is meant to end sooner, and before they begin. Pure.

import type { FlapDamping } from '../model/routing.ts'

export interface FlapRecord {
  /** As of `atMs`; decays from there. */
  readonly penalty: number
  readonly atMs: number
  /** Since when it is suppressed; undefined: it is not. */
  readonly suppressedMs: number | undefined
}

export const NO_FLAPS: FlapRecord = { penalty: 0, atMs: 0, suppressedMs: undefined }

export function penaltyAt({ penalty, atMs }: FlapRecord, damping: FlapDamping, nowMs: number): number {
  return penalty * 2 ** (-Math.max(0, nowMs - atMs) / damping.halfLifeMs)
}

/** One more withdrawal. */
export function addFlap(record: FlapRecord, damping: FlapDamping, nowMs: number): FlapRecord {
  const ceiling = damping.reuseThreshold * 2 ** (damping.maxSuppressMs / damping.halfLifeMs)
  const penalty = Math.min(ceiling, penaltyAt(record, damping, nowMs) + damping.withdrawalPenalty)
  const suppressedMs = record.suppressedMs ?? (penalty > damping.suppressThreshold ? nowMs : undefined)
  return { penalty, atMs: nowMs, suppressedMs }
}

/** When a suppressed VIP may be used again; undefined: it is not suppressed. */
export function reuseMs(record: FlapRecord, damping: FlapDamping): number | undefined {
  if (record.suppressedMs === undefined) return undefined
  const halves = Math.log2(record.penalty / damping.reuseThreshold)
  const decayedMs = record.atMs + Math.max(0, Math.ceil(halves * damping.halfLifeMs))
  return Math.min(decayedMs, record.suppressedMs + damping.maxSuppressMs)
}

/** With its suppression ended when that is over. */
export function decayed(record: FlapRecord, damping: FlapDamping | undefined, nowMs: number): FlapRecord {
  if (!damping) return NO_FLAPS
  const untilMs = reuseMs(record, damping)
  return untilMs !== undefined && nowMs >= untilMs ? { ...record, suppressedMs: undefined } : record
}
