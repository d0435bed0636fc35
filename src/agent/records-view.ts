// What is recorded of policy, as the local API shows it.

import { type PolicyRecord, type PolicyRecords, RECORD_KINDS, type RecordKind } from './policy-records.ts'

export interface RecordsAnswer {
  /** Seen last first. */
  readonly records: readonly PolicyRecord[]
  /** Records that made room for others since the agent started. */
  readonly forgotten: number
}

const AUDITED: readonly RecordKind[] = ['would-drop', 'would-pass']

/** `policy`: `NAMESPACE/NAME`, or a cluster-wide one's name; `all`: what was dropped, too. */
export function showRecords(
  query: URLSearchParams,
  all: Pick<PolicyRecords, 'list' | 'forgotten'>,
): RecordsAnswer {
  const kinds = query.has('all') ? RECORD_KINDS : AUDITED
  const policy = query.get('policy')
  const records = all
    .list()
    .filter(({ kind, name }) => kinds.includes(kind) && (policy === null || name?.key === policy))
  return { records, forgotten: all.forgotten }
}
