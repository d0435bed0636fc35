// `weir policy audit`: what audited policies would drop or let pass, and on demand what those in force dropped.

import type { PolicyRecord, RecordKind } from '../agent/policy-records.ts'
import type { RecordsAnswer } from '../agent/records-view.ts'
import { formatAge, formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import type { Action } from './actions.ts'
import { type AgentOptions, askAgent, printAnswer, refusedAsUsage } from './ask-agent.ts'
import { footnotes, withSentences } from './short-lists.ts'

export const AUDIT_OPTIONS = {
  policy: { type: 'string' },
  all: { type: 'boolean' },
} as const

interface AuditValues extends AgentOptions {
  readonly policy?: string | undefined
  readonly all?: boolean | undefined
}

export const AUDIT_ACTION: Action<AuditValues> = {
  takes: '[--policy NAMESPACE/NAME] [--all]',
  words: 0,
  summary: 'what audited policies would drop or let pass here, by workload and rule',
  about: `What the policies annotated with weir.network/policy-mode: audit would drop, or would let pass, of what this node's
    pods do: one row for each pair of workloads, port, direction and rule, seen last first. Kept are the last 2000
    rows, also when the agent restarts. Of a flood the kernel tells a sample, so that PACKETS is a lower bound. RULE is
    a number; the rules stand below. Who hides behind a node's address is 'outside, as ADDRESS'.`,
  example: 'weir policy audit --policy shop/web',
  optionsHelp: `  --policy NAMESPACE/NAME    of this policy alone (NAME of a cluster-wide one)
  --all                      also what policies in force have dropped
`,
  options: Object.keys(AUDIT_OPTIONS),
  run: async (values) => {
    const query = new URLSearchParams()
    if (values.policy !== undefined) query.set('policy', values.policy)
    if (values.all) query.set('all', '')
    const answer = await refusedAsUsage(askAgent<RecordsAnswer>(values, `/v1/policy/records?${query}`))
    printAnswer(values, answer, (shown, width) => formatRecords(shown, Date.now(), width))
    return 0
  },
}

export const RECORD_WORDS: Readonly<Record<RecordKind, string>> = {
  dropped: 'dropped',
  'would-drop': 'would drop',
  'would-pass': 'would pass',
}

export function formatRecords(
  { records, forgotten }: RecordsAnswer,
  nowMs: number,
  width = PAGE_WIDTH,
): string {
  if (records.length === 0) return 'Nothing is recorded.\n'
  const header = ['WHAT', 'END', 'SOURCE', 'DESTINATION', 'PORT', 'PACKETS', 'FIRST', 'LAST', 'RULE']
  const rules = footnotes()
  const rows = records.map((record) => [
    RECORD_WORDS[record.kind],
    record.direction,
    record.source,
    record.destination,
    portText(record),
    String(record.count),
    formatAge(record.firstMs, nowMs),
    formatAge(record.lastMs, nowMs),
    rules.mark(record.rule),
  ])
  const table = formatTable(header, rows, { width, flexible: ['SOURCE', 'DESTINATION'] })
  const gone = `${forgotten} older rows made room for others.`
  return withSentences(table, [...rules.texts(), ...(forgotten > 0 ? [gone] : [])], width)
}

/** `80/tcp`; of ICMP the type. */
export function portText({ port, protocol }: Pick<PolicyRecord, 'port' | 'protocol'>): string {
  return protocol === 'other' ? protocol : `${port}/${protocol}`
}
