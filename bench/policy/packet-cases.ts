// What is measured at a pod's device: one case a kind of packet. Pure.

import { FAMILIES, type Family } from '../../src/model/address.ts'
import type { PolicyDirection } from '../../src/model/policy.ts'
import { FLOWS } from '../packet/cases.ts'
import type { Layout } from '../packet/traffic.ts'

/**
 * established   a further packet, in the direction that its flow began, of a flow that policy allowed
 * new           a flow's first packet, allowed; with TCP a SYN
 * denied        a flow's first packet that policy denies
 */
export type Phase = 'established' | 'new' | 'denied'
export type PodProtocol = 'TCP' | 'UDP' | 'ping'

export interface PodCase {
  readonly id: string
  /** Without family and protocol. */
  readonly title: string
  readonly phase: Phase
  /** What the pod sends is judged by its egress, what is delivered to it by its ingress. */
  readonly way: PolicyDirection
  readonly family: Family
  readonly protocol: PodProtocol
  readonly flows: number
  /** Between the measured pods and their callers, the same whatever there is beside; or over all others. */
  readonly layout: Layout
}

const WAYS: readonly PolicyDirection[] = ['egress', 'ingress']
const WAY_TITLES = { egress: 'sent by a pod', ingress: 'delivered to a pod' } as const

type Choice = Pick<PodCase, 'phase' | 'flows'> & Partial<Pick<PodCase, 'protocol' | 'layout'>>

function bothWays(choice: Choice, families = FAMILIES): PodCase[] {
  const { phase, flows, protocol = 'TCP', layout = 'fixed' } = choice
  return families.flatMap((family) =>
    WAYS.map((way) => ({
      ...{ phase, way, family, protocol, flows, layout },
      id: [phase, way, family, protocol.toLowerCase(), flows, layout].join(' '),
      title: `${phase}, ${WAY_TITLES[way]}`,
    })),
  )
}

/** With the tables as they are in a cluster of some size. */
export function kindCases(isQuick: boolean): PodCase[] {
  const choices: readonly Choice[] = [
    { phase: 'established', flows: FLOWS.one },
    { phase: 'established', flows: FLOWS.few },
    { phase: 'established', flows: FLOWS.many },
    { phase: 'new', flows: FLOWS.many },
    { phase: 'denied', flows: FLOWS.many },
    { phase: 'established', flows: FLOWS.few, protocol: 'UDP' },
    { phase: 'new', flows: FLOWS.many, protocol: 'UDP' },
    { phase: 'established', flows: FLOWS.few, protocol: 'ping' },
    { phase: 'new', flows: FLOWS.few, protocol: 'ping' },
  ]
  const chosen = isQuick ? choices.filter(({ protocol }) => protocol === undefined) : choices
  return chosen.flatMap((choice) => bothWays(choice))
}

/** The same flows beside any number of others. */
export function fixedCases(): PodCase[] {
  return [
    ...bothWays({ phase: 'established', flows: FLOWS.few }),
    ...bothWays({ phase: 'new', flows: FLOWS.many }),
    ...bothWays({ phase: 'denied', flows: FLOWS.many }),
  ]
}

/** Flows of all that there are. */
export function spreadCases(): PodCase[] {
  return [
    ...bothWays({ phase: 'established', flows: FLOWS.many, layout: 'spread' }, ['ipv4']),
    ...bothWays({ phase: 'new', flows: FLOWS.many, layout: 'spread' }, ['ipv4']),
  ]
}

/** What a node that does not enforce policy, or has none, is asked as well. */
export function casesWithout(cases: readonly PodCase[], isEnforced: boolean): PodCase[] {
  return cases.filter(
    ({ phase, way, layout }) =>
      layout === 'fixed' &&
      phase !== 'denied' &&
      (isEnforced || (way === 'egress' && phase === 'established')),
  )
}
