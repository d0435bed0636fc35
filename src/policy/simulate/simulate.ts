// What would change if policies were others: connections that were seen are judged by the reference evaluator in the world as it is and in
// the world as it would be. Whoever has many of them adds them all first; only then is judged, once for those that are one to the evaluator.

import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../model/policy.ts'
import type { PolicyVerdict } from '../../model/policy-judgement.ts'
import { describeJudgement } from '../describe-cause.ts'
import type { ExplainedJudgement } from '../evaluate.ts'
import type { Party } from '../parties.ts'
import { JudgeOnce } from './judge-once.ts'
import { workloadOf } from './workload.ts'

/** From where it is known that somebody does this. */
export type SeenAs = 'flow' | 'drop' | 'audit'

export interface Seen {
  readonly packet: PolicyPacket
  readonly direction: PolicyDirection
  readonly as: SeenAs
  /** How many packets or connections. */
  readonly count: number
}

/** In force, and what audited policies would make of it where that is the other one. */
export interface SimulatedRuling {
  readonly verdict: PolicyVerdict
  readonly wouldBe: PolicyVerdict | undefined
  /** As a sentence: `denied by NetworkPolicy shop/web, spec.ingress[2]`. */
  readonly cause: string
}

export interface SimulatedChange {
  /** Workloads: `namespace/name`, `node NAME`, or `outside`. */
  readonly source: string
  readonly destination: string
  readonly protocol: PolicyPacket['protocol']
  readonly port: number
  readonly direction: PolicyDirection
  readonly before: SimulatedRuling
  readonly after: SimulatedRuling
  /** Connections of the flow table; packets that policy dropped, or would have; seen of late. */
  readonly seen: Readonly<Record<SeenAs, number>>
  /** One of them. */
  readonly example: { readonly source: string; readonly destination: string }
}

export interface Simulation {
  readonly changes: readonly SimulatedChange[]
  /** Workloads of this node that any change is about. */
  readonly workloads: readonly string[]
  /** Of what was seen. */
  readonly connections: number
  /** How many of them are different to policy. */
  readonly kinds: number
}

export interface SimulationInput {
  readonly before: PolicyWorld
  /** Of the same pods, nodes and Services. */
  readonly after: PolicyWorld
  readonly node: string
}

/** Who does the same to whom. */
interface Kind {
  readonly packet: PolicyPacket
  readonly direction: PolicyDirection
  readonly ends: readonly [source: string, destination: string]
  readonly subject: string
  readonly key: string
  readonly seen: Record<SeenAs, number>
}

/** More different ones than these are not kept apart: the rest is counted as left out. */
const KINDS_MAX = 200_000

export class Simulator {
  readonly #input: SimulationInput
  readonly #judge: JudgeOnce
  readonly #kinds = new Map<string, Kind>()
  #connections = 0
  leftOut = 0

  constructor(input: SimulationInput) {
    this.#input = input
    this.#judge = new JudgeOnce([input.before, input.after], input.node)
  }

  add({ packet, direction, as, count }: Seen): void {
    this.#connections += count
    const { sameness } = this.#judge
    const source = sameness.endAt(packet.source, packet.isMasqueraded)
    const destination = sameness.endAt(packet.destination)
    const ends = [endName(source), endName(destination)] as const
    const key = sameness.keyOf(packet, direction)
    const name = `${key}|${ends.join('|')}`
    const known = this.#kinds.get(name)
    if (known) {
      known.seen[as] += count
      return
    }
    if (this.#kinds.size >= KINDS_MAX) {
      this.leftOut += count
      return
    }
    const seen = { flow: 0, drop: 0, audit: 0, [as]: count }
    const subject = direction === 'egress' ? source : destination
    this.#kinds.set(name, { ...{ packet, direction, ends, key, seen }, subject: endName(subject) })
  }

  /** Judges, and after each one lets the caller do something else. */
  *run(): Generator<void, Simulation> {
    const pairs = new Map<string, Pair>()
    const changes = new Map<string, SimulatedChange>()
    const workloads = new Set<string>()
    for (const kind of this.#kinds.values()) {
      const pair = pairs.get(kind.key) ?? this.#rulings(kind)
      pairs.set(kind.key, pair)
      if (isOther(pair)) {
        workloads.add(kind.subject)
        addChange(changes, kind, pair)
      }
      yield
    }
    return {
      changes: [...changes.values()].sort(byDamage),
      workloads: [...workloads].sort(),
      connections: this.#connections,
      kinds: pairs.size,
    }
  }

  #rulings({ packet, direction, key }: Kind): Pair {
    const [before, after] = this.#judge.judge(packet, direction, key)
    if (!before || !after) throw new TypeError('two worlds are two judgements')
    return {
      before: rulingOf(before, { policies: this.#input.before.policies, direction }),
      after: rulingOf(after, { policies: this.#input.after.policies, direction }),
    }
  }
}

interface Pair {
  readonly before: SimulatedRuling
  readonly after: SimulatedRuling
}

function rulingOf(
  judgement: ExplainedJudgement,
  telling: Parameters<typeof describeJudgement>[1],
): SimulatedRuling {
  const { verdict, wouldBe } = judgement
  return { verdict, wouldBe: wouldBe?.verdict, cause: describeJudgement(judgement, telling) }
}

function isOther({ before, after }: Pair): boolean {
  return before.verdict !== after.verdict || before.wouldBe !== after.wouldBe
}

/** Workloads whose pods differ in what does not matter here are one row. */
function addChange(changes: Map<string, SimulatedChange>, kind: Kind, { before, after }: Pair): void {
  const { packet, direction, ends, seen } = kind
  const [source, destination] = ends
  const { protocol, port } = packet
  const name = JSON.stringify([source, destination, protocol, port, direction, before, after])
  const known = changes.get(name)
  const sum = (as: SeenAs) => (known?.seen[as] ?? 0) + seen[as]
  changes.set(name, {
    ...{ source, destination, protocol, port, direction, before, after },
    seen: { flow: sum('flow'), drop: sum('drop'), audit: sum('audit') },
    example: known?.example ?? { source: packet.source, destination: packet.destination },
  })
}

/** What would be cut first, then what would be let through, then what audits would say. */
function byDamage(a: SimulatedChange, b: SimulatedChange): number {
  const rank = ({ before, after }: SimulatedChange) =>
    before.verdict === after.verdict ? 2 : after.verdict === 'deny' ? 0 : 1
  const name = ({ source, destination, port }: SimulatedChange) => `${source} ${destination} ${port}`
  return rank(a) - rank(b) || (name(a) < name(b) ? -1 : 1)
}

function endName({ party }: { readonly party: Party }): string {
  switch (party.kind) {
    case 'pod':
      return workloadOf(party.pod)
    case 'node':
      return `node ${party.node.name}`
    case 'outside':
      return OUTSIDE
  }
}

/** Whoever is neither a pod nor a node. */
export const OUTSIDE = 'outside'

/** Of nobody, the address says more. */
export function outsideAs(address: string): string {
  return `${OUTSIDE}, as ${address}`
}
