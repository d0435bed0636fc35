// What the ranges of `enum verdict_reason` mean.

import * as abi from './abi.gen.ts'

/** What becomes of packets counted under a reason: the ranges of `enum verdict_reason`. */
export type Verdict = 'forwarded' | 'refused' | 'dropped'

const FIRST_REFUSED = abi.VerdictReason.REASON_NO_ENDPOINT
const FIRST_DROPPED = abi.VerdictReason.REASON_NO_LOCAL_ENDPOINT
/** Counted beside a packet's verdict, or of no packet. */
const NO_VERDICTS: readonly (number | bigint)[] = [
  abi.VerdictReason.REASON_EVENT_LOST,
  abi.VerdictReason.REASON_POLICY_AUDITED,
  abi.VerdictReason.REASON_COUNT,
]

/** @returns undefined for what counts no packets */
export function verdictOf(reason: string): Verdict | undefined {
  for (const [value, name] of abi.VERDICT_REASON_NAMES) {
    if (name !== `REASON_${reason}`) continue
    if (NO_VERDICTS.includes(value)) return undefined
    if (value >= FIRST_DROPPED) return 'dropped'
    return value >= FIRST_REFUSED ? 'refused' : 'forwarded'
  }
  return undefined
}
