// Random worlds, and in each random sequences of frames through the real programs, held against the referee. The first difference is made
// small and thrown, as YAML with its frames.

import type { Policy, PolicyWorld } from '../../src/model/policy.ts'
import { randomWorlds } from '../policy/arbitrary/worlds.ts'
import { Random } from '../policy/random.ts'
import type { FramesBed } from './bed.ts'
import { type Cast, castOf } from './cast.ts'
import { FramesCoverage } from './coverage.ts'
import { Drawer } from './draw.ts'
import { play } from './play.ts'
import { printFailure, smallestOf } from './smallest.ts'

const STEPS = { least: 4, more: 9 } as const
const SEQUENCES_PER_WORLD = 16
const BATCH_WORLDS = 40
/** What is configured does not change while an agent lives. */
const FAIL_SAFE: NonNullable<PolicyWorld['failSafePorts']> = {
  ingress: [{ protocol: 'tcp', first: 80, last: 83 }],
  egress: [{ protocol: 'udp', first: 53, last: 53 }],
}

export interface FramesReport {
  readonly sequences: number
  readonly frames: number
  readonly worlds: number
  readonly coverage: FramesCoverage
}

export interface FramesOptions {
  readonly sequences: number
  readonly seed: number
}

/** @throws Error with the smallest sequence in which a frame goes otherwise than it may */
export function checkFrames(bed: FramesBed, { sequences, seed }: FramesOptions): FramesReport {
  const coverage = new FramesCoverage()
  const done = { sequences: 0, frames: 0, worlds: 0 }
  for (let batch = 0; done.sequences < sequences; batch += 1) {
    const batchSeed = (seed + batch) | 0
    const worlds = randomWorlds(batchSeed, BATCH_WORLDS)
    for (const [index, world] of worlds.entries()) {
      if (done.sequences >= sequences) break
      const random = new Random(batchSeed * BATCH_WORLDS + index)
      const cast = drawCast(world, worlds[(index + 1) % worlds.length]?.policies ?? [], random)
      if (cast.pods.length < 2) continue
      const count = Math.min(SEQUENCES_PER_WORLD, sequences - done.sequences)
      done.frames += bed.inside(() => playWorld(bed, cast, { random, count, coverage, seed: batchSeed }))
      done.sequences += count
      done.worlds += 1
    }
  }
  return { ...done, coverage }
}

function drawCast(world: PolicyWorld, other: readonly Policy[], random: Random): Cast {
  // Else nothing could be told of what policies of most worlds cut off.
  const mayKeep = random.chance(30)
  const plain = (policies: readonly Policy[]) =>
    mayKeep ? policies : policies.map((policy) => ({ ...policy, existingConnections: undefined }))
  const policies = plain(world.policies)
  return castOf({ ...world, policies, failSafePorts: FAIL_SAFE }, plain(other), random)
}

function playWorld(
  bed: FramesBed,
  cast: Cast,
  options: {
    readonly random: Random
    readonly count: number
    readonly coverage: FramesCoverage
    readonly seed: number
  },
): number {
  const { random, count, coverage, seed } = options
  bed.begin(cast)
  let frames = 0
  for (let sequence = 0; sequence < count; sequence += 1) {
    const drawer = new Drawer(cast, random)
    const wanted = STEPS.least + random.below(STEPS.more)
    const hook = random.chance(60) ? 'xdp' : 'tc'
    const played = play(bed, { cast, hook }, (met) => (met.length < wanted ? drawer.draw(met) : []), {
      watch: (step, expected, journey) => coverage.countStep(step, expected, journey),
    })
    frames += played.sequence.steps.length
    if (!played.finding) continue
    const small = smallestOf(bed, { ...played, finding: played.finding })
    const lead = small.isLone ? 'The smallest sequence' : 'By itself it does not. The sequence'
    throw new Error(
      `a frame ${small.finding.kind} (a world of seed ${seed}). ${lead}:\n\n${printFailure(small)}`,
    )
  }
  return frames
}
