// What policies dropped and audited, by policy: as the programs tell of it, which of a flood is a sample.

import { type PolicyRecords, RECORD_KINDS } from '../policy-records.ts'
import type { Reading } from './exposition.ts'
import { counter, gauge } from './readings.ts'

export function policyReadings({ tallies, count }: PolicyFacts): readonly Reading[] {
  return [
    counter(
      'weir_policy_packets_total',
      'Packets that a policy dropped, or that an audited one would drop or let pass; of a flood a sample',
      () =>
        [...tallies()].flatMap(([policy, tally]) =>
          RECORD_KINDS.flatMap((what) =>
            tally[what] > 0 ? [{ labels: { policy, what }, value: tally[what] }] : [],
          ),
        ),
    ),
    gauge('weir_policy_records', 'Rows of weir policy audit --all', count),
  ]
}

export interface PolicyFacts {
  readonly tallies: () => PolicyRecords['tallies']
  readonly count: () => number
}
