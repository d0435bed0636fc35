// Samples of cases → the tables and plots of the page.

import { FAMILY_NAMES } from '../../src/model/address.ts'
import type { Figure, Plot } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { ratio } from '../frame/statistics.ts'
import { boundOf, FAMILY_BOUND, SIZE_BOUND } from './bounds.ts'
import { type Case, FLOWS, isKnown } from './cases.ts'
import type { Accesses } from './counted-programs.ts'

export interface Sampled {
  readonly of: Case
  /** Services besides the measured. */
  readonly services: number
  /** Nanoseconds a packet, by round. */
  readonly samples: readonly number[]
}

export const flowsText = (flows: number) => (flows === 1 ? '1 flow' : `${numberText(flows)} flows`)
const servicesText = (services: number) => `${numberText(services)} Services`

const withProtocol = ({ title, protocol }: Case) => `${title}, ${protocol}`
export const rowOf = (of: Case) => `${withProtocol(of)}, ${FAMILY_NAMES[of.family]}`

interface Place {
  readonly table: string
  readonly column: string
  readonly x?: number
}

const TABLES = {
  known: 'Known flows',
  new: 'New flows',
  other: 'Packets of no flow',
} as const

function placeOf(of: Case): Place {
  if (isKnown(of)) return { table: TABLES.known, column: flowsText(of.flows), x: of.flows }
  if (of.phase === 'new')
    return { table: TABLES.new, column: of.table === 'full' ? 'table full' : 'table with room' }
  return { table: TABLES.other, column: 'each' }
}

/** What a packet costs at the smallest cluster, by its kind. */
export function costFigures(sampled: readonly Sampled[]): Figure[] {
  return sampled.map(({ of, samples }) => {
    const bound = boundOf(of)
    return { ...placeOf(of), row: rowOf(of), unit: 'ns', samples, ...(bound && { bound }) }
  })
}

/** IPv6 by IPv4, case by case. */
export function familyFigures(sampled: readonly Sampled[]): Figure[] {
  return sampled.flatMap(({ of, samples }) => {
    if (of.family !== 'ipv6') return []
    const twin = sampled.find((other) => other.of.family === 'ipv4' && other.of.id === twinOf(of))
    if (!twin) return []
    const { column, x } = placeOf(of)
    const isHeld = isKnown(of) && of.flows <= FLOWS.few
    return ratio({ samples }, twin, {
      table: 'IPv6 against IPv4',
      row: withProtocol(of),
      column,
      ...(x !== undefined && { x }),
      ...(isHeld && { bound: FAMILY_BOUND }),
    })
  })
}

const twinOf = ({ id }: Case) => id.replace(' ipv6 ', ' ipv4 ')

const SIZE_TABLES = {
  fixed: 'Against the number of Services: the same 64 Services asked',
  spread: 'Against the number of Services: 65 536 flows over all Services of a kind',
} as const

/** What a packet costs by the size of the cluster, and the largest against the smallest. */
export function sizeFigures(sampled: readonly Sampled[]): Figure[] {
  const costs = sampled.map(({ of, services, samples }): Figure => {
    const bound = of.phase === 'foreign' ? boundOf(of) : undefined
    const column = servicesText(services)
    const table = SIZE_TABLES[of.layout]
    return { table, row: rowOf(of), column, x: services, unit: 'ns', samples, ...(bound && { bound }) }
  })
  const sizes = sampled.map(({ services }) => services)
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
  if (least === most) return costs
  const ratios = sampled.flatMap(({ of, services, samples }) => {
    const first = sampled.find((other) => other.services === least && other.of.id === of.id)
    if (services !== most || !first) return []
    // A packet that is nobody's asks no Service: its cost is held against the clock.
    const isHeld = of.layout === 'fixed' && of.phase !== 'foreign'
    return ratio({ samples }, first, {
      table: `${servicesText(most)} against ${numberText(least)}`,
      row: rowOf(of),
      column: of.layout === 'fixed' ? 'the same 64 Services asked' : 'flows over all Services',
      ...(isHeld && { bound: SIZE_BOUND }),
    })
  })
  return [...costs, ...ratios]
}

export const PLOTS: readonly Plot[] = [
  { table: TABLES.known, file: 'packet-flows', abscissa: 'flows', scale: 'logarithmic' },
  { table: SIZE_TABLES.fixed, file: 'packet-services', abscissa: 'Services', scale: 'logarithmic' },
  { table: SIZE_TABLES.spread, file: 'packet-services-spread', abscissa: 'Services', scale: 'logarithmic' },
]

/** Counted, not timed: the same every time. */
export function accessFigures(counted: ReadonlyMap<Case, Accesses>, services: number): Figure[] {
  return [...counted].flatMap(([of, { arrays, calls, writes }]) => {
    const { column } = placeOf(of)
    const row = `${rowOf(of)}, ${column}`
    const figure = (name: string, value: number): Figure => ({
      table: `Accesses to maps by a packet, ${servicesText(services)}`,
      row,
      column: name,
      unit: '',
      samples: [value],
    })
    return [
      figure('looked up in arrays (inlined)', arrays),
      figure('looked up in hashes and tries (calls)', calls),
      figure('written to hashes', writes),
    ]
  })
}

export interface ProgramSize {
  readonly name: string
  readonly instructionCount: number
  readonly jitedBytes: number
  readonly verifiedInstructionCount: number
}

export function programFigures(programs: readonly ProgramSize[]): Figure[] {
  return programs.flatMap(({ name, instructionCount, jitedBytes, verifiedInstructionCount }) => {
    const figure = (column: string, value: number, unit: string): Figure => ({
      table: 'The programs, all branches together',
      row: name,
      column,
      unit,
      samples: [value],
    })
    return [
      figure('as the kernel runs it', instructionCount, 'instructions'),
      figure('as machine code', jitedBytes, 'bytes'),
      figure('looked at by the verifier', verifiedInstructionCount, 'instructions'),
    ]
  })
}
