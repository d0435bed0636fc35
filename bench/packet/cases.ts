// What is measured: one case a kind of packet, each of which must be seen to take the path that its name says.

import { FAMILIES, type Family } from '../../src/model/address.ts'
import type { Kind } from './cluster.ts'
import type { Hook } from './driver.ts'
import type { Layout, Protocol } from './traffic.ts'

/**
 * established   a further packet of a client, its flow known
 * new           a flow's first packet; with TCP a SYN
 * reply         a backend's packet of a known flow: at the pod's device, or come back to the node that masqueraded
 * foreign       nobody's: passed on; from outside, or (kind `local`) from a pod
 * refused       from a source that the Service's ranges do not hold, or (kind `local`) that policy denies
 */
export type Phase = 'established' | 'new' | 'reply' | 'foreign' | 'refused'

/** Whether policy judges packets to and from pods: `on` in the family of its figures alone, where the bed has identities and sets. */
export type Policy = 'off' | 'on'

export interface Case {
  /** What `--cases` of run.ts is matched with. */
  readonly id: string
  /** Without family: what the two families' figures have in common. */
  readonly title: string
  readonly phase: Phase
  readonly kind: Kind
  readonly family: Family
  readonly protocol: Protocol
  readonly policy: Policy
  readonly flows: number
  readonly layout: Layout
  /** Whether the flow table has room, or every place was taken by an earlier flow. */
  readonly table: 'room' | 'full'
}

export const FLOWS = { one: 1, few: 4096, many: 65_536, huge: 1 << 20 } as const

const TITLES: Readonly<Record<Phase, Readonly<Partial<Record<Kind, string>>>>> = {
  established: {
    dsr: 'established, DSR to another node',
    local: 'established, to a pod here',
    snat: 'established, SNAT to another node',
  },
  new: {
    dsr: 'new, DSR to another node',
    local: 'new, to a pod here',
    snat: 'new, SNAT to another node',
    ranged: 'new, DSR, admitted by source range',
  },
  reply: {
    local: "reply of a pod here, at the pod's device",
    snat: 'reply to SNAT, at the uplink',
  },
  foreign: { dsr: 'not ours, at the uplink', local: "not ours, at a pod's device" },
  refused: { ranged: 'dropped by source range', local: 'to a pod here, denied' },
}

type Choice = Pick<Case, 'phase' | 'kind'> & Partial<Case>

function makeCase(family: Family, choice: Choice): Case {
  const protocol = choice.protocol ?? 'TCP'
  const table = choice.table ?? 'room'
  const flows = choice.flows ?? FLOWS.few
  const layout = choice.layout ?? 'fixed'
  const title = TITLES[choice.phase][choice.kind] ?? `${choice.phase}, ${choice.kind}`
  const policy = choice.policy ?? 'off'
  const judged = policy === 'on' ? ['judged'] : []
  const name = [choice.phase, choice.kind, family, protocol.toLowerCase(), flows, table, layout, ...judged]
  return { ...choice, id: name.join(' '), title, family, protocol, flows, layout, table, policy }
}

function bothFamilies(choices: readonly Choice[]): Case[] {
  return choices.flatMap((choice) => FAMILIES.map((family) => makeCase(family, choice)))
}

const KNOWN: readonly Choice[] = [
  { phase: 'established', kind: 'dsr' },
  { phase: 'established', kind: 'local' },
  { phase: 'established', kind: 'snat' },
  { phase: 'reply', kind: 'snat' },
  { phase: 'reply', kind: 'local' },
]
const FRESH: readonly Choice[] = [
  { phase: 'new', kind: 'dsr' },
  { phase: 'new', kind: 'local' },
  { phase: 'new', kind: 'snat' },
]
const STATELESS: readonly Choice[] = [
  { phase: 'foreign', kind: 'dsr' },
  { phase: 'foreign', kind: 'local' },
  { phase: 'refused', kind: 'ranged' },
]

/** Known flows of a protocol, by how many there are. */
export function knownFlows(protocol: Protocol, counts: readonly number[]): Case[] {
  return bothFamilies(KNOWN.flatMap((choice) => counts.map((flows) => ({ ...choice, protocol, flows }))))
}

export function newFlows(protocol: Protocol, table: Case['table'], flows: number): Case[] {
  const ranged: readonly Choice[] = table === 'room' ? [{ phase: 'new', kind: 'ranged' }] : []
  return bothFamilies([...FRESH, ...ranged].map((choice) => ({ ...choice, protocol, table, flows })))
}

export function statelessPackets(): Case[] {
  return bothFamilies(STATELESS)
}

/** A Service's packets to and from a pod here, where policy judges them. */
export function judgedFlows(counts: readonly number[]): Case[] {
  const judged = { kind: 'local', policy: 'on' } as const
  return bothFamilies([
    ...counts.map((flows) => ({ ...judged, phase: 'established' as const, flows })),
    ...counts.map((flows) => ({ ...judged, phase: 'reply' as const, flows })),
    { ...judged, phase: 'new', flows: FLOWS.many },
    { ...judged, phase: 'refused', flows: FLOWS.many },
  ])
}

/** What is taken again at every size of the cluster. */
export function casesAtSize(layout: Layout): Case[] {
  const flows = layout === 'fixed' ? FLOWS.few : FLOWS.many
  const known = KNOWN.map((choice) => ({ ...choice, layout, flows }))
  const fresh = FRESH.map((choice) => ({ ...choice, layout, flows: FLOWS.many }))
  return bothFamilies(layout === 'fixed' ? [...known, ...fresh, ...STATELESS] : [...known, ...fresh])
}

/** Whether its flow is in the table when the packet comes. */
export function isKnown({ phase }: Pick<Case, 'phase'>): boolean {
  return phase === 'established' || phase === 'reply'
}

export function hookOf({ phase, kind }: Pick<Case, 'phase' | 'kind'>): Hook {
  return kind === 'local' && (phase === 'reply' || phase === 'foreign') ? 'tc' : 'xdp'
}
