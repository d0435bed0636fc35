// What the planner remembers of VIPs, as text for the next agent: who flapped must not begin with a full budget, or without its
// hold-down, because the agent was replaced. Times in it are of a clock that no restart and nobody who sets the date moves. Pure.

import { type Address, parseAddress } from '../model/address.ts'
import { isRecord } from '../model/is-record.ts'
import type { FlapDamping } from '../model/routing.ts'
import { type FlapRecord, penaltyAt } from './flap-damping.ts'
import type { VipMemory } from './plan-announcements.ts'

export type VipMemories = ReadonlyMap<Address, VipMemory>

/** What has decayed to this share of one withdrawal's penalty decides nothing any more. */
const FORGET_BELOW = 1 / 8
/** Of more the least penalised are forgotten; a row is some 200 bytes. */
export const MEMORIES_MAX = 1_000

/** Whether a plan without it would be another one. */
export function isWorthKeeping(
  { flaps, isAnnounced, wasLost, endpointsLostMs }: VipMemory,
  damping: FlapDamping | undefined,
  nowMs: number,
): boolean {
  if (flaps.suppressedMs !== undefined || (wasLost && !isAnnounced)) return true
  if ([...endpointsLostMs.values()].some((lostMs) => lostMs !== undefined)) return true
  return damping !== undefined && penaltyAt(flaps, damping, nowMs) >= damping.withdrawalPenalty * FORGET_BELOW
}

/** @param shiftMs from the planner's clock to the text's */
export function writeMemories(memories: VipMemories, shiftMs: number): Record<string, unknown> {
  const worst = [...memories].sort(([, a], [, b]) => b.flaps.penalty - a.flaps.penalty).slice(0, MEMORIES_MAX)
  return Object.fromEntries(worst.map(([vip, memory]) => [vip, shifted(memory, shiftMs)]))
}

function shifted({ endpointsLostMs, ...memory }: VipMemory, shiftMs: number) {
  const at = (ms: number | undefined) => (ms === undefined ? undefined : ms + shiftMs)
  const { flaps, servableSinceMs, isAnnounced, wasLost } = memory
  return {
    isAnnounced,
    wasLost,
    servableSinceMs: at(servableSinceMs),
    flaps: { penalty: flaps.penalty, atMs: flaps.atMs + shiftMs, suppressedMs: at(flaps.suppressedMs) },
    endpointsLostMs: [...endpointsLostMs].map(([service, ms]) => [service, at(ms) ?? null]),
  }
}

/** @param shiftMs from the text's clock to the planner's. Rows that make no sense are left out */
export function readMemories(rows: unknown, shiftMs: number): VipMemories {
  const memories = new Map<Address, VipMemory>()
  if (!isRecord(rows)) return memories
  for (const [text, row] of Object.entries(rows)) {
    const vip = parseAddress(text)
    const memory = readMemory(row, shiftMs)
    if (vip !== undefined && memory !== undefined) memories.set(vip, memory)
  }
  return memories
}

function readMemory(row: unknown, shiftMs: number): VipMemory | undefined {
  if (!isRecord(row) || !isRecord(row['flaps']) || !Array.isArray(row['endpointsLostMs'])) return undefined
  const flaps = readFlaps(row['flaps'], shiftMs)
  if (!flaps) return undefined
  const lost = row['endpointsLostMs'].flatMap((pair: unknown) =>
    Array.isArray(pair) && typeof pair[0] === 'string' ? [[pair[0], timeOf(pair[1], shiftMs)] as const] : [],
  )
  return {
    isAnnounced: row['isAnnounced'] === true,
    wasLost: row['wasLost'] === true,
    servableSinceMs: timeOf(row['servableSinceMs'], shiftMs),
    flaps,
    endpointsLostMs: new Map(lost),
  }
}

function readFlaps(row: Readonly<Record<string, unknown>>, shiftMs: number): FlapRecord | undefined {
  const { penalty, atMs, suppressedMs } = row
  const at = timeOf(atMs, shiftMs)
  if (typeof penalty !== 'number' || !Number.isFinite(penalty) || penalty < 0 || at === undefined)
    return undefined
  return { penalty, atMs: at, suppressedMs: timeOf(suppressedMs, shiftMs) }
}

function timeOf(value: unknown, shiftMs: number): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value + shiftMs : undefined
}
