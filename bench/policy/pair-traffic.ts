// Packets from pod to pod: what is sent, before anything is timed whether it is judged as it should be, and windows of it that are timed.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Generator, POD_FLOWS_MAX, type Traffic, type Window } from '../bed/generator.ts'
import type { Bed } from '../bed/topology.ts'
import { CLOSED_PORT, OPEN_PORT, otherPort } from './packet-world.ts'
import { LINKS } from './pair-bed.ts'
import type { PairContestant } from './pair-contestants.ts'
import {
  type Connection,
  chosenPolicy,
  connections,
  type Linked,
  linkedAddress,
  otherPolicyOf,
} from './pair-world.ts'

/** established: of a flow that was answered. new: of one never seen, allowed. denied: of one never seen. */
export type PairPhase = 'established' | 'new' | 'denied'

export interface PairCase {
  readonly phase: PairPhase
  readonly to: Linked
  readonly flows: number
}

const FLOWS = { few: 64, many: 4096 } as const
export const PAIR_CASES: readonly PairCase[] = [
  { phase: 'established', to: 'callee', flows: FLOWS.few },
  { phase: 'established', to: 'callee', flows: FLOWS.many },
  { phase: 'new', to: 'callee', flows: POD_FLOWS_MAX },
  { phase: 'new', to: 'chosen', flows: POD_FLOWS_MAX },
  { phase: 'denied', to: 'callee', flows: POD_FLOWS_MAX },
  { phase: 'denied', to: 'chosen', flows: POD_FLOWS_MAX },
]

const PROBES = 64
const WINDOW_NS = { full: 50e6, quick: 20e6 } as const
const PILOT_PACKETS = 4096
/** Of the packets of a window. */
const LOST_SHARE_MAX = 0.001
const ATTEMPTS = 3
/** What the kernel frees after a flush, it frees a little later. */
const SETTLE_MS = 20
const CHANGED_PORT = 999

export function traffic({ from, to, port }: Omit<Connection, 'isAllowed'>, flows: number): Traffic {
  const { host, pod, node } = LINKS[from]
  return {
    destinations: [{ address: linkedAddress(to), port }],
    flows,
    sender: { address: linkedAddress(from), host, device: pod, towards: node, answers: false },
  }
}

/** The answers to that. */
function answers({ from, to, port }: Omit<Connection, 'isAllowed'>, flows: number): Traffic {
  const { sender, ...rest } = traffic({ from: to, to: from, port }, flows)
  return sender ? { ...rest, sender: { ...sender, answers: true } } : rest
}

function connectionOf(
  { phase, to }: PairCase,
  { others = 1 }: PairContestant,
): Omit<Connection, 'isAllowed'> {
  const open = to === 'callee' ? OPEN_PORT : otherPort(chosenPolicy(others))
  return { from: 'caller', to, port: phase === 'denied' ? CLOSED_PORT : open }
}

/** @throws when a packet was let through that should not be, or the reverse */
export async function verifyPair(generator: Generator, contestant: PairContestant): Promise<void> {
  const others = contestant.others
  const probe = new Probe(generator, contestant)
  contestant.forget()
  for (const one of connections(others ?? 1)) {
    probe.expect(one, one.isAllowed || others === undefined, 'a first packet')
    if (one.isAllowed) probe.expectAnswers(one, true)
  }
  contestant.forget()
  if (others === undefined) return
  const [allowed] = connections(others)
  // What would answer a flow that never began is one itself, at a port that is not allowed.
  if (allowed) probe.expectAnswers(allowed, false)
  await verifyChange(probe, contestant, others)
  contestant.forget()
}

/** A change is in force when it is done, and so is the way back. */
async function verifyChange(probe: Probe, contestant: PairContestant, others: number): Promise<void> {
  const other = chosenPolicy(others)
  const own = { from: 'caller', to: 'chosen', port: otherPort(other) } as const
  for (const port of [CHANGED_PORT, own.port]) {
    await contestant.change({ kind: 'policy', policy: otherPolicyOf(other, others, port), other })
    contestant.forget()
    probe.expect({ ...own, port: CHANGED_PORT }, port === CHANGED_PORT, `its policy is of port ${port}`)
    probe.expect(own, port === own.port, `its policy is of port ${port}`)
  }
}

class Probe {
  readonly #generator: Generator
  readonly #contestant: PairContestant

  constructor(generator: Generator, contestant: PairContestant) {
    this.#generator = generator
    this.#contestant = contestant
  }

  expect(one: Omit<Connection, 'isAllowed'>, isAllowed: boolean, when: string): void {
    this.#expect(traffic(one, PROBES), isAllowed, `${one.from} to ${one.to} at ${one.port}, ${when}`)
  }

  expectAnswers(one: Omit<Connection, 'isAllowed'>, isAllowed: boolean): void {
    this.#expect(answers(one, PROBES), isAllowed, `answers of ${one.to} to ${one.from} from ${one.port}`)
  }

  #expect(sent: Traffic, isAllowed: boolean, what: string): void {
    const { bed, title } = this.#contestant
    this.#generator.select(sent)
    const { counts } = this.#generator.send(bed, PROBES)
    const arrived = counts.toPod
    if (arrived !== (isAllowed ? PROBES : 0))
      throw new Error(`${title}, ${bed.name}: ${what}: of ${PROBES} packets ${arrived} arrived`)
  }
}

const cellText = ({ phase, to, flows }: PairCase, { name }: Bed) => `${phase}, ${to}, ${flows}, ${name}`

export class PairWindows {
  readonly #generator: Generator
  readonly #windowNs: number
  readonly #packets = new Map<string, number>()

  constructor(generator: Generator, isQuick: boolean) {
    this.#generator = generator
    this.#windowNs = isQuick ? WINDOW_NS.quick : WINDOW_NS.full
  }

  /** @returns CPU nanoseconds a packet */
  async measure(of: PairCase, contestant: PairContestant): Promise<number> {
    await this.#empty(contestant)
    const cost =
      of.phase === 'established' ? this.#established(of, contestant) : await this.#first(of, contestant)
    // The kernel's table of connections is one for all of them.
    contestant.forget()
    return cost
  }

  async #empty(contestant: PairContestant): Promise<void> {
    contestant.forget()
    if (contestant.isPeer) await sleep(SETTLE_MS)
  }

  /** Packets of flows that nobody has seen; of what is denied none becomes known, so they may come again. */
  async #first(of: PairCase, contestant: PairContestant): Promise<number> {
    const isJudged = contestant.others !== undefined
    const most = of.phase === 'new' && isJudged ? of.flows : Number.POSITIVE_INFINITY
    this.#generator.select(traffic(connectionOf(of, contestant), of.flows))
    const isSized = this.#packets.has(cellText(of, contestant.bed))
    const packets = this.#sizeOf(of, contestant, (wanted) => Math.min(wanted, most))
    if (!isSized) await this.#empty(contestant)
    return this.#costOf(of, contestant, packets, of.phase === 'denied' && isJudged ? 0 : packets)
  }

  /** Every flow is begun, answered, and goes on. */
  #established(of: PairCase, contestant: PairContestant): number {
    const { flows } = of
    for (const part of [traffic, answers, traffic]) {
      this.#generator.select(part(connectionOf(of, contestant), flows))
      this.#generator.send(contestant.bed, flows)
    }
    const inTurns = (wanted: number) => Math.max(1, Math.round(wanted / flows)) * flows
    const packets = this.#sizeOf(of, contestant, inTurns)
    return this.#costOf(of, contestant, packets, packets)
  }

  /** How many packets fill a window, found once. */
  #sizeOf(of: PairCase, { bed }: PairContestant, round: (wanted: number) => number): number {
    const cell = cellText(of, bed)
    const known = this.#packets.get(cell)
    if (known !== undefined) return known
    const { cpuNs, counts } = this.#generator.send(bed, PILOT_PACKETS)
    const packets = round(Math.round(this.#windowNs / Math.max(1, cpuNs / counts.sent)))
    this.#packets.set(cell, packets)
    return packets
  }

  /** @throws when others arrive than should, again and again: then the cost is that of something else */
  #costOf(of: PairCase, contestant: PairContestant, packets: number, expected: number): number {
    for (let attempt = 1; ; attempt += 1) {
      const window: Window = this.#generator.send(contestant.bed, packets, () => contestant.forget())
      const arrived = window.counts.toPod
      const isRight = expected === 0 ? arrived === 0 : arrived >= expected * (1 - LOST_SHARE_MAX)
      if (isRight) return window.cpuNs / packets
      if (attempt === ATTEMPTS)
        throw new Error(
          `${contestant.title}, ${cellText(of, contestant.bed)}: of ${packets} packets came ${JSON.stringify(window.counts)}`,
        )
    }
  }
}
