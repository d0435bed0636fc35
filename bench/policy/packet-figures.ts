// Samples of packets under policy → the tables and plots of the page, and what they are held against. Pure.

import { FAMILY_NAMES } from '../../src/model/address.ts'
import type { Bound, Figure, Plot } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { ratio } from '../frame/statistics.ts'
import { boundOf as boundOfService } from '../packet/bounds.ts'
import { type Case, isKnown } from '../packet/cases.ts'
import { flowsText } from '../packet/figures.ts'
import type { PodCase } from './packet-cases.ts'

/** How a node stands to policy: it does not enforce it, there is none, or so many besides the fixed ones. */
export type Ground = 'not enforced' | 'none' | number

export interface PodSampled {
  readonly of: PodCase
  readonly ground: Ground
  readonly samples: readonly number[]
}

export interface ServiceSampled {
  readonly of: Case
  readonly samples: readonly number[]
}

export const TABLES = {
  device: "At a pod's device",
  service: 'Of a Service, to and from a pod here',
  fixed: 'Against the number of policies and identities: the same 100 pods and 64 callers',
  spread: 'Against the number of policies and identities: 65 536 flows of all of them',
  flat: 'Flat in the number of policies and identities',
} as const

const BOUNDS: Readonly<Record<PodCase['phase'], Bound>> = {
  established: { sense: 'at most', must: 400, aim: 250 },
  new: { sense: 'at most', must: 900, aim: 700 },
  denied: { sense: 'at most', must: 300, aim: 200 },
}
const FLAT: Bound = { sense: 'at most', must: 1.1 }

export const rowOf = ({ title, protocol, family }: PodCase) =>
  `${title}, ${protocol}, ${FAMILY_NAMES[family]}`

/** A ping's answer, and what is not enforced, are held against nothing; either family against the same clock. */
export function podBound({ phase, protocol }: PodCase, ground: Ground): Bound | undefined {
  return ground === 'not enforced' || protocol === 'ping' ? undefined : BOUNDS[phase]
}

/** By kind of packet, with tables of one size. */
export function deviceFigures(sampled: readonly PodSampled[]): Figure[] {
  // In the order of the columns.
  const ordered = [...sampled].sort((a, b) => a.of.flows - b.of.flows)
  return ordered.map(({ of, ground, samples }) => {
    const bound = podBound(of, ground)
    const place =
      of.phase === 'established'
        ? { column: flowsText(of.flows), x: of.flows }
        : { column: `${flowsText(of.flows)}, all new` }
    const row = ground === 'not enforced' ? `not enforced: ${rowOf(of)}` : rowOf(of)
    return { table: TABLES.device, row, ...place, unit: 'ns', samples, ...(bound && { bound }) }
  })
}

/** Of an established one the bar is that of the family of single packets, which is meant for both; a denied one has none at an uplink. */
export function serviceBound(of: Case): Bound | undefined {
  if (isKnown(of)) return boundOfService(of)
  if (of.family === 'ipv6') return undefined
  return of.phase === 'new' ? BOUNDS.new : undefined
}

export function serviceFigures(sampled: readonly ServiceSampled[]): Figure[] {
  return sampled.map(({ of, samples }) => {
    const bound = serviceBound(of)
    const place = isKnown(of)
      ? { column: flowsText(of.flows), x: of.flows }
      : { column: `${flowsText(of.flows)}, all new` }
    return {
      table: TABLES.service,
      row: `${of.title}, ${of.protocol}, ${FAMILY_NAMES[of.family]}`,
      ...place,
      unit: 'ns',
      samples,
      ...(bound && { bound }),
    }
  })
}

export function groundText(ground: Ground): string {
  if (ground === 'none') return 'enforced, no policy'
  return ground === 'not enforced' ? ground : `${numberText(ground)} and ${numberText(ground)}`
}

/** By how much there is, and the most against the least. */
export function sizeFigures(sampled: readonly PodSampled[]): Figure[] {
  const costs = sampled.map(({ of, ground, samples }): Figure => {
    const bound = of.layout === 'fixed' ? podBound(of, ground) : undefined
    return {
      table: TABLES[of.layout],
      row: rowOf(of),
      column: groundText(ground),
      ...(typeof ground === 'number' && { x: ground }),
      unit: 'ns',
      samples,
      ...(bound && { bound }),
    }
  })
  return [...costs, ...flatness(sampled)]
}

function flatness(sampled: readonly PodSampled[]): Figure[] {
  return sampled.flatMap(({ of, ground, samples }) => {
    const ofCase = sampled.filter((other) => other.of.id === of.id && typeof other.ground === 'number')
    const sizes = ofCase.map((other) => other.ground as number)
    const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
    const first = ofCase.find((other) => other.ground === least)
    if (ground !== most || least === most || !first) return []
    return ratio({ samples }, first, {
      table: TABLES.flat,
      row: rowOf(of),
      column:
        of.layout === 'fixed'
          ? `the same flows, ${numberText(most)} by ${numberText(least)}`
          : `flows of all, ${numberText(most)} by ${numberText(least)}`,
      ...(of.layout === 'fixed' && { bound: FLAT }),
    })
  })
}

export const PLOTS: readonly Plot[] = [
  { table: TABLES.device, file: 'policy-flows', abscissa: 'flows', scale: 'logarithmic' },
  {
    table: TABLES.fixed,
    file: 'policy-size',
    abscissa: 'other policies and identities',
    scale: 'logarithmic',
  },
]

/** How many there are in the table of kinds of packets. */
export const USUAL_OTHERS = 100
