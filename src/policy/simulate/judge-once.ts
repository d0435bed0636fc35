// The reference evaluator for many packets and a few worlds of the same people: asked once for all packets that are one to it, and each time
// in a world of nobody but the packet's two ends and no policies but those that select its subject. It says what it would say without.

import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../model/policy.ts'
import { type ExplainedJudgement, judge } from '../evaluate.ts'
import { subjectMatches } from '../matching.ts'
import { type End, Sameness } from './sameness.ts'

export class JudgeOnce {
  readonly sameness: Sameness
  readonly #worlds: readonly PolicyWorld[]
  readonly #judged = new Map<string, readonly ExplainedJudgement[]>()
  /** By world and by traits of whom they select. */
  readonly #policies = new Map<string, PolicyWorld['policies']>()

  /** @param node who judges */
  constructor(worlds: readonly [PolicyWorld, ...PolicyWorld[]], node: string) {
    this.#worlds = worlds
    this.sameness = new Sameness(worlds, node)
  }

  /** Packets that the evaluator was asked about. */
  get asked(): number {
    return this.#judged.size
  }

  /** In each of the worlds, in their order. @param key of `sameness` for this packet */
  judge(
    packet: PolicyPacket,
    direction: PolicyDirection,
    key = this.sameness.keyOf(packet, direction),
  ): readonly ExplainedJudgement[] {
    const known = this.#judged.get(key)
    if (known) return known
    const subject =
      direction === 'egress'
        ? this.sameness.endAt(packet.source, packet.isMasqueraded)
        : this.sameness.endAt(packet.destination)
    const judged = this.#worlds.map((world, index) => {
      const people = this.sameness.about([packet.source, packet.destination], world)
      return judge({ ...people, policies: this.#selecting(subject, index) }, packet, direction)
    })
    this.#judged.set(key, judged)
    return judged
  }

  #selecting({ party, traits }: End, index: number): PolicyWorld['policies'] {
    const name = `${index} ${traits}`
    const known = this.#policies.get(name)
    if (known) return known
    const found = this.#worlds[index]?.policies.filter(({ subject }) => subjectMatches(subject, party)) ?? []
    this.#policies.set(name, found)
    return found
  }
}
