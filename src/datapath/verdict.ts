// What the ranges of `enum verdict_reason` mean.

import * as abi from './abi.gen.ts'

/** What becomes of packets counted under a reason: the ranges of `enum verdict_reason`. */
export type Verdict = 'forwarded' | 'refused' | 'dropped'

const FIRST_REFUSED = abi.VerdictReason.REASON_NO_ENDPOINT
const FIRST_DROPPED = abi.VerdictReason.REASON_NO_LOCAL_ENDPOINT
const FIRST_OTHER = abi.VerdictReason.REASON_EVENT_LOST

/** @returns undefined for what counts no packets */
export function verdictOf(reason: string): Verdict | undefined {
  for (const [value, name] of abi.VERDICT_REASON_NAMES) {
    if (name !== `REASON_${reason}`) continue
    if (value >= FIRST_OTHER) return undefined
    if (value >= FIRST_DROPPED) return 'dropped'
    return value >= FIRST_REFUSED ? 'refused' : 'forwarded'
  }
  return undefined
}
