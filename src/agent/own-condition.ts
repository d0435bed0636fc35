// A condition of ours in a status: whether it stands there as it should, and the patch that makes it so. Pure.

import type { AddressCondition } from '../model/service.ts'
import { timeText } from '../model/time-text.ts'

/** @param wanted undefined: there should be none */
export function isSameCondition(
  has: AddressCondition | undefined,
  wanted: AddressCondition | undefined,
): boolean {
  if (has === undefined || wanted === undefined) return has === wanted
  return has.status === wanted.status && has.reason === wanted.reason && has.message === wanted.message
}

/** A strategic merge patch's: conditions of others stay. */
export function conditionPatch(
  type: string,
  has: AddressCondition | undefined,
  wanted: AddressCondition | undefined,
  nowMs: number,
): object {
  if (wanted === undefined) return { type, $patch: 'delete' }
  const isTurned = has?.status !== wanted.status
  return { type, ...wanted, ...(isTurned ? { lastTransitionTime: timeText(nowMs) } : {}) }
}
