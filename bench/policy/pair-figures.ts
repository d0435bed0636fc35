// What was found of Weir and others' rule sets → the tables and plots of the page. Pure.

import type { Bound, Figure, Plot } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { ratio } from '../frame/statistics.ts'
import type { PairCase } from './pair-traffic.ts'

interface Contender {
  readonly title: string
  readonly isPeer: boolean
}

export interface PacketSampled extends Contender {
  readonly of: PairCase
  /** Policies besides the fixed ones; undefined: it knows none. */
  readonly others: number | undefined
  readonly cpuNs: readonly number[]
}

export interface ChangeSampled extends Contender {
  readonly what: string
  readonly others: number
  readonly wallMs: readonly number[]
  readonly cpuMs: readonly number[]
}

export interface LoadSampled extends Contender {
  readonly others: number
  readonly loadMs: number
}

const CPU = 'Beside others, from pod to pod of one node: CPU a packet'
const ADDED = 'Beside others: what is added to forwarding alone'
const RATIO = 'Beside others: CPU a packet of theirs over that of Weir'
/** No dearer than they are. */
const RATIO_BOUND: Bound = { sense: 'at least', must: 1 }
const CHANGE = 'Beside others: one change on a node, by the clock'
const CHANGE_CPU = 'Beside others: one change on a node, processor time'
const LOAD = 'Beside others: all policies, from nothing'

export function caseText({ phase, to, flows }: PairCase): string {
  if (phase === 'established') return `established, ${numberText(flows)} flows`
  return `${phase}, ${to === 'callee' ? 'nine policies at either end' : 'a hundredth of the policies at the receiver'}`
}

const sizeText = (others: number) => (others === 1 ? '1 policy' : `${numberText(others)} policies`)
const column = (others: number) => ({ column: sizeText(others), x: others })

export function pairFigures(
  packets: readonly PacketSampled[],
  changes: readonly ChangeSampled[],
  loads: readonly LoadSampled[],
): Figure[] {
  const sizes = [...new Set(packets.flatMap(({ others }) => others ?? []))]
  return [
    ...packets.flatMap((sample) => costFigures(sample, sizes)),
    ...packets.flatMap((sample) => addedFigures(sample, packets)),
    ...packets.flatMap((sample) => ratioFigures(sample, packets)),
    ...changes.map((change) => changeFigure(change, CHANGE, change.wallMs)),
    ...changes.map((change) => changeFigure(change, CHANGE_CPU, change.cpuMs)),
    ...loads.map(({ title, isPeer, others, loadMs }) => ({
      ...{ table: LOAD, row: title, ...column(others), unit: 'ms', samples: [loadMs], isPeer },
    })),
  ]
}

const costTable = (of: PairCase) => `${CPU}, ${caseText(of)}`

/** Who knows no policy costs the same however many there are. */
function costFigures(
  { of, title, isPeer, others, cpuNs }: PacketSampled,
  sizes: readonly number[],
): Figure[] {
  return (others === undefined ? sizes : [others]).map((size) => ({
    ...{ table: costTable(of), row: title, ...column(size), unit: 'ns', samples: cpuNs, isPeer },
  }))
}

function addedFigures(
  { of, title, isPeer, others, cpuNs }: PacketSampled,
  all: readonly PacketSampled[],
): Figure[] {
  const plain = all.find((other) => other.of === of && other.others === undefined)
  // What is denied is spared the rest of the way, which would be counted against the others.
  if (others === undefined || !plain || of.phase === 'denied') return []
  const samples = cpuNs.map((ns, round) => ns - (plain.cpuNs[round] ?? Number.NaN))
  return [{ table: ADDED, row: `${title}: ${caseText(of)}`, ...column(others), unit: 'ns', samples, isPeer }]
}

function ratioFigures(
  { of, title, isPeer, others, cpuNs }: PacketSampled,
  all: readonly PacketSampled[],
): Figure[] {
  const ours = all.find((other) => other.of === of && other.others === others && !other.isPeer)
  if (!isPeer || others === undefined || !ours) return []
  const place = { table: RATIO, row: `${title}: ${caseText(of)}`, ...column(others), bound: RATIO_BOUND }
  return [ratio({ samples: cpuNs }, { samples: ours.cpuNs }, place)]
}

function changeFigure(
  { what, title, isPeer, others }: ChangeSampled,
  table: string,
  samples: readonly number[],
): Figure {
  return { table, row: `${title}: ${what}`, ...column(others), unit: 'ms', samples, isPeer }
}

export const PAIR_PLOTS: readonly Plot[] = [
  {
    table: costTable({ phase: 'new', to: 'chosen', flows: 0 }),
    file: 'policy-peers-new',
    abscissa: 'policies',
    scale: 'logarithmic',
  },
  { table: CHANGE, file: 'policy-peers-change', abscissa: 'policies', scale: 'logarithmic' },
]
