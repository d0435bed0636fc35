// What is recorded of policy, as the local API shows it.

import { nearMatches } from '../model/near-matches.ts'
import { RequestError } from './local-api.ts'
import { type PolicyRecord, type PolicyRecords, RECORD_KINDS, type RecordKind } from './policy-records.ts'

export interface RecordsAnswer {
  /** Seen last first. */
  readonly records: readonly PolicyRecord[]
  /** Records that made room for others since the agent started. */
  readonly forgotten: number
}

const AUDITED: readonly RecordKind[] = ['would-drop', 'would-pass']

/**
 * `policy`: `NAMESPACE/NAME`, or a cluster-wide one's name; `all`: what was dropped, too. Throws RequestError for a policy that nobody knows.
 * @param keys of the policies that there are
 */
export function showRecords(
  query: URLSearchParams,
  all: Pick<PolicyRecords, 'list' | 'forgotten'>,
  keys: readonly string[],
): RecordsAnswer {
  const kinds = query.has('all') ? RECORD_KINDS : AUDITED
  const policy = query.get('policy')
  const list = all.list()
  // Also of one that is gone by now.
  const isKnown = policy === null || keys.includes(policy) || list.some(({ name }) => name?.key === policy)
  if (!isKnown) throw new RequestError(404, unknownText(policy, keys))
  const records = list.filter(
    ({ kind, name }) => kinds.includes(kind) && (policy === null || name?.key === policy),
  )
  return { records, forgotten: all.forgotten }
}

function unknownText(policy: string, keys: readonly string[]): string {
  const near = nearMatches(policy, [...new Set(keys)])
  const meant = near.length > 0 ? `; did you mean ${near.join(' or ')}` : ''
  return `there is no policy '${policy}', and none is recorded${meant}. Mend: 'weir policy list' has them all; write NAMESPACE/NAME, or the name of a cluster-wide one`
}
