// What rounds of the agent found → the tables of the page. Pure.

import type { Bound, Figure } from '../frame/figure.ts'
import type { AgentRound, ChangeRound } from './agent.ts'

export const AGENT_TABLES = {
  change: 'One change, from the API server to the kernel: 5 000 identities, 1 000 policies',
  agent: 'The agent: 5 000 identities, 1 000 policies, 1 000 Services',
} as const

const BYTES_PER_MB = 1e6
const atMost = (must: number): Bound => ({ sense: 'at most', must })

interface Column {
  readonly name: string
  readonly value: (round: ChangeRound) => number
  readonly bound?: Bound
}

const CHANGE_COLUMNS: readonly Column[] = [
  { name: 'p50', value: ({ toKernel }) => toKernel.p50 },
  { name: 'p99', value: ({ toKernel }) => toKernel.p99, bound: atMost(20) },
  { name: 'longest stretch without giving way', value: ({ busyMs }) => busyMs },
  { name: 'processor time of the agent', value: ({ cpuMs }) => cpuMs },
]

export function changeFigures(rounds: readonly AgentRound[]): Figure[] {
  const names = [...new Set(rounds.flatMap(({ changes }) => [...changes.keys()]))]
  return names.flatMap((row) => {
    const found = rounds.flatMap(({ changes }) => changes.get(row) ?? [])
    return CHANGE_COLUMNS.map(({ name, value, bound }) => ({
      ...{ table: AGENT_TABLES.change, row, column: name, unit: 'ms' },
      samples: found.map(value),
      ...(bound && { bound }),
    }))
  })
}

interface Row {
  readonly row: string
  readonly unit: 'MB' | 'ms'
  readonly value: (round: AgentRound) => number
  readonly bound?: Bound
}

const AGENT_ROWS: readonly Row[] = [
  {
    row: 'RssAnon at rest',
    unit: 'MB',
    value: ({ rssBytes }) => rssBytes / BYTES_PER_MB,
    bound: atMost(300),
  },
  {
    row: 'RssAnon after all the changes',
    unit: 'MB',
    value: ({ rssAfterBytes }) => rssAfterBytes / BYTES_PER_MB,
    bound: atMost(300),
  },
  { row: 'first list request → kernel holds every policy', unit: 'ms', value: ({ syncMs }) => syncMs },
  { row: '… longest stretch without giving way', unit: 'ms', value: ({ syncBusyMs }) => syncBusyMs },
]

export function agentFigures(rounds: readonly AgentRound[]): Figure[] {
  return AGENT_ROWS.map(({ row, unit, value, bound }) => ({
    ...{ table: AGENT_TABLES.agent, row, column: 'each', unit },
    samples: rounds.map(value),
    ...(bound && { bound }),
  }))
}
