// `weir policy simulate`: what a file of policies would change for what this node has seen.

import type { SimulateAnswer } from '../agent/policy-simulate.ts'
import { formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import {
  OUTSIDE,
  outsideAs,
  type SimulatedChange,
  type SimulatedRuling,
} from '../policy/simulate/simulate.ts'
import type { Action } from './actions.ts'
import { type AgentOptions, printAnswer, refusedAsUsage, tellAgent } from './ask-agent.ts'
import { UsageError } from './options.ts'
import { portText } from './policy-audit.ts'
import { readNamedFile } from './read-file.ts'
import { footnotes, withSentences } from './short-lists.ts'

export const SIMULATE_OPTIONS = {
  file: { type: 'string', short: 'f' },
  delete: { type: 'string', multiple: true },
} as const

interface SimulateValues extends AgentOptions {
  readonly file?: string | undefined
  readonly delete?: string[] | undefined
}

/** A node with half a million flows answers within a few seconds. */
const TIMEOUT_MS = 60_000

export const SIMULATE_ACTION: Action<SimulateValues> = {
  takes: '[-f FILE] [--delete KIND/NAMESPACE/NAME]…',
  words: 0,
  summary: 'what policies in a file would change for the connections that this node has seen',
  about: `Which connections of this node's flow table, and which packets that policy dropped or audited of late, would be judged
    otherwise if the objects in FILE were applied, and those of --delete were gone: by workload, port and rule. What is
    audited passes, and is recorded. Nothing is applied. This node judges the ends that are its own pods: ask the others for theirs. The kinds are
    NetworkPolicy, ClusterNetworkPolicy, CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup; several
    documents, and Lists, may stand in a file. The exit status is 0 when nothing would change, 1 when something would,
    and 2 when it could not be told (the file cannot be read, the agent does not answer).`,
  example: 'weir policy simulate -f policy.yaml',
  optionsHelp: `  -f FILE          YAML as kubectl apply takes it; - reads standard input; long: --file
  --delete KIND/NAMESPACE/NAME    as if it were deleted (KIND/NAME of a cluster-wide one; netpol, cnp, ccnp, ccg for short); may stand several times
`,
  options: Object.keys(SIMULATE_OPTIONS),
  run: async (values) => {
    const text = values.file === undefined ? '' : readNamedFile(values.file)
    const deleted = values.delete ?? []
    if (values.file === undefined && deleted.length === 0)
      throw new UsageError(
        'no change is named. Mend: -f FILE, -f - for standard input, or --delete KIND/NAMESPACE/NAME',
      )
    const query = new URLSearchParams()
    for (const name of deleted) query.append('delete', name)
    const path = `/v1/policy/simulate?${query}`
    const answer = await refusedAsUsage(tellAgent<SimulateAnswer>(values, path, text, TIMEOUT_MS))
    printAnswer(values, answer, formatSimulation)
    return answer.changes.length > 0 ? 1 : 0
  },
}

export function formatSimulation(answer: SimulateAnswer, width = PAGE_WIDTH): string {
  const { objects, changes } = answer
  const head = objects.map(({ kind, key, change }) => `${kind} ${key}: ${change}`).join('\n')
  const below = sentencesOf(answer)
  if (changes.length === 0) return `${head}\n\n${withSentences('Nothing would change.', below, width)}`
  const header = ['SOURCE', 'DESTINATION', 'PORT', 'END', 'SEEN', 'NOW', 'THEN', 'RULE']
  const rules = footnotes()
  const rows = changes.map((change) => [
    endText(change.source, change.example.source),
    endText(change.destination, change.example.destination),
    portText(change),
    change.direction,
    seenText(change),
    verdictText(change.before),
    verdictText(change.after),
    rules.mark(causeText(change)),
  ])
  const table = formatTable(header, rows, { width, flexible: ['SOURCE', 'DESTINATION', 'SEEN'] })
  return `${head}\n\n${withSentences(table, [...rules.texts(), ...below], width)}`
}

function endText(name: string, address: string): string {
  return name === OUTSIDE ? outsideAs(address) : name
}

function seenText({ seen: { flow, drop, audit } }: SimulatedChange): string {
  const counts = [
    [flow, flow === 1 ? 'flow' : 'flows'],
    [drop, 'dropped'],
    [audit, 'audited'],
  ] as const
  return counts.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : [])).join(', ')
}

/** `audited`: it passes, and is recorded. */
function verdictText({ verdict, wouldBe }: SimulatedRuling): string {
  if (verdict === 'allow') return wouldBe === 'deny' ? 'audited' : 'allowed'
  return wouldBe === 'allow' ? 'denied, audit allows' : 'denied'
}

/** What does it: where a denial ends, what denies now. */
function causeText({ before, after }: SimulatedChange): string {
  const isFreed = before.verdict === 'deny' && after.verdict === 'allow'
  return isFreed ? `${after.cause} (now ${before.cause})` : after.cause
}

function sentencesOf(answer: SimulateAnswer): readonly string[] {
  const { objects, workloads, changes, more, flows, records, kinds, unnamed, leftOut } = answer
  const looked = `Looked at ${flows} flows and ${records} records of dropped and audited packets, ${kinds} of them different to policy.`
  const concerned = `Would change: ${changes.length + more} rows, of ${workloads.join(', ')}.`
  const kept = objects.filter(({ keepsExisting }) => keepsExisting).map(({ kind, key }) => `${kind} ${key}`)
  return [
    looked,
    ...(changes.length > 0 ? [concerned] : []),
    ...(more > 0 ? [`${more} more rows are not shown.`] : []),
    ...(kept.length > 0 ? [`Connections that exist go on where it denies them: ${kept.join(', ')}.`] : []),
    ...objects.flatMap(({ kind, key, faults }) => faults.map((fault) => `${kind} ${key}: ${fault}`)),
    ...leftOut.map((text) => `Left out: ${text}`),
    ...(unnamed > 0 ? [`${unnamed} flows do not say whose they are, and are left out.`] : []),
  ]
}
