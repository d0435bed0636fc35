// Holds whoever decides about packets (the compiler's model, the kernel's maps) against the reference evaluator, over random worlds and
// packets aimed at their rules' edges. The first case in which they differ is made small and thrown, as YAML and with the seed.
//
// All packets of a world are judged on its first node, and their subjects are that node's pods and the node itself.

import { createHash } from 'node:crypto'
import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../src/model/policy.ts'
import {
  isSamePolicy,
  type PolicyCause,
  type PolicyJudgement,
  type PolicyRuling,
} from '../../src/model/policy-judgement.ts'
import { judge } from '../../src/policy/evaluate.ts'
import { aimProbes, type Probe } from './arbitrary/probes.ts'
import { randomWorlds } from './arbitrary/worlds.ts'
import { Coverage } from './coverage.ts'
import { type Case, minimize } from './minimize.ts'
import { printCase } from './print-case.ts'
import { Random } from './random.ts'

/** Takes in a world as one does once; what it returns is asked about its packets until the next world comes. */
export type Decide = (
  world: PolicyWorld,
) => (packet: PolicyPacket, direction: PolicyDirection) => PolicyJudgement

export interface CheckOptions {
  /** Distinct sets of policies, each in a world of its own. */
  readonly sets: number
  readonly packetsPerSet: number
  readonly seed: number
}

export interface CheckReport {
  readonly cases: number
  readonly sets: number
  readonly coverage: Coverage
}

/** Worlds drawn together, so that a long run holds few at a time. */
const BATCH_WORLDS = 50

/** Far more worlds than sets: so many repetitions mean that the worlds' arbitrary is broken. */
const REPETITIONS_MAX = 10

const isUndecided = ({ kind }: PolicyCause) => kind === 'default' || kind === 'fail-safe'

/**
 * One number names one policy, so an isolation may be told by any of those that isolate. That nothing decided may be told by either of the
 * two causes that say so.
 */
function isSameCause(expected: PolicyCause, got: PolicyCause): boolean {
  if (isUndecided(expected)) return isUndecided(got)
  if (expected.kind === 'rule')
    return got.kind === 'rule' && got.path === expected.path && isSamePolicy(got.policy, expected.policy)
  if (expected.kind !== 'isolation') return got.kind === expected.kind
  return (
    got.kind === 'isolation' &&
    got.policies.length > 0 &&
    got.policies.every((ref) => expected.policies.some((other) => isSamePolicy(ref, other)))
  )
}

function isSameRuling(expected: PolicyRuling | undefined, got: PolicyRuling | undefined): boolean {
  if (expected === undefined || got === undefined) return expected === got
  return expected.verdict === got.verdict && isSameCause(expected.cause, got.cause)
}

/** Whether both say the same, and for the same reason. */
export function agree(expected: PolicyJudgement, got: PolicyJudgement): boolean {
  return isSameRuling(expected, got) && isSameRuling(expected.wouldBe, got.wouldBe)
}

type Outcome =
  | { readonly kind: 'agrees' | 'differs'; readonly got: PolicyJudgement }
  | { readonly kind: 'throws'; readonly got: string }

function ask(decided: ReturnType<Decide>, expected: PolicyJudgement, { packet, direction }: Probe): Outcome {
  try {
    const got = decided(packet, direction)
    return { kind: agree(expected, got) ? 'agrees' : 'differs', got }
  } catch (error) {
    return { kind: 'throws', got: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

/** A case by itself. */
function outcomeOf(decide: Decide, { world, probe }: Case): Outcome {
  const lazily: ReturnType<Decide> = (packet, direction) => decide(world)(packet, direction)
  return ask(lazily, judge(world, probe.packet, probe.direction), probe)
}

/** The smallest case like this one, told so that it can be read and repeated. */
function disagreement(decide: Decide, failing: Case, hint: string): Error {
  const { kind } = outcomeOf(decide, failing)
  const isLone = kind !== 'agrees'
  const smallest = isLone
    ? minimize(failing, (candidate) => outcomeOf(decide, candidate).kind === kind)
    : failing
  const { world, probe } = smallest
  const text = printCase(smallest, {
    expected: judge(world, probe.packet, probe.direction),
    got: outcomeOf(decide, smallest).got,
  })
  const lead = isLone
    ? 'The smallest case'
    : 'By itself the case is decided rightly, so something is left of what was asked before. The case'
  return new Error(`it decides otherwise than the evaluator (${hint}). ${lead}:\n\n${text}`)
}

/** @throws Error with the smallest case in which `decide` says otherwise than the evaluator */
export function checkAgainstOracle(decide: Decide, { sets, packetsPerSet, seed }: CheckOptions): CheckReport {
  const coverage = new Coverage()
  const seen = new Set<string>()
  let cases = 0
  for (let batch = 0; seen.size < sets; batch += 1) {
    if (batch * BATCH_WORLDS > sets * REPETITIONS_MAX + BATCH_WORLDS)
      throw new Error(`random worlds repeat themselves: ${seen.size} distinct of ${batch * BATCH_WORLDS}`)
    const batchSeed = (seed + batch) | 0
    for (const [index, world] of randomWorlds(batchSeed, BATCH_WORLDS).entries()) {
      const digest = createHash('sha1').update(JSON.stringify(world.policies)).digest('base64')
      if (seen.has(digest) || seen.size >= sets) continue
      seen.add(digest)
      coverage.countWorld(world)
      const probes = aimProbes(world, new Random(batchSeed * BATCH_WORLDS + index), packetsPerSet)
      checkWorld(decide, world, probes, {
        coverage,
        hint: `within the first ${BATCH_WORLDS} sets of seed ${batchSeed}`,
      })
      cases += probes.length
    }
  }
  return { cases, sets: seen.size, coverage }
}

function checkWorld(
  decide: Decide,
  world: PolicyWorld,
  probes: readonly Probe[],
  { coverage, hint }: { readonly coverage: Coverage; readonly hint: string },
): void {
  let decided: ReturnType<Decide> | undefined
  for (const probe of probes) {
    const expected = judge(world, probe.packet, probe.direction)
    coverage.countCase(world, probe, expected)
    const once: ReturnType<Decide> = (packet, direction) => {
      decided ??= decide(world)
      return decided(packet, direction)
    }
    if (ask(once, expected, probe).kind !== 'agrees') throw disagreement(decide, { world, probe }, hint)
  }
}
