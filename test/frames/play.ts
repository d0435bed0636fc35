// A sequence of frames through a node, as it is drawn or as it was written down.

import type { FramesBed } from './bed.ts'
import type { Cast } from './cast.ts'
import type { Met } from './draw.ts'
import { type Hook, type Journey, Traveller } from './journey.ts'
import { type Expected, type Finding, Referee, textOfAll } from './referee.ts'
import type { Said, Step } from './said.ts'

export interface Sequence {
  readonly cast: Cast
  readonly hook: Hook
  readonly steps: readonly Step[]
}

export interface Played {
  readonly sequence: Sequence
  /** Of the last step. */
  readonly finding: Finding | undefined
  readonly told: readonly Told[]
}

/** A step, and what came of it. */
export interface Told {
  readonly step: Step
  readonly tale: string
}

const textOfEnd = ({ end, met }: Journey) =>
  `${end.kind}${end.kind === 'pod' ? ` ${end.device}` : ''} (${met.join(', ')})`

export interface Listeners {
  readonly before?: () => void
  /** What came of each step. */
  readonly watch?: (step: Step, expected: readonly Expected[], journey: Journey) => void
}

function finalOf({ said }: Step, { seen }: Journey): Said {
  if (!seen) return said
  const { source, destination, sourcePort, destinationPort } = seen
  if (sourcePort === undefined || destinationPort === undefined) return { ...said, source, destination }
  return { ...said, source, destination, sourcePort, destinationPort }
}

/**
 * On a bed that holds the cast, in its namespace.
 * @param next the steps after those that were met; none: it ends
 */
export function play(
  bed: FramesBed,
  { cast, hook }: Omit<Sequence, 'steps'>,
  next: (met: readonly Met[]) => readonly Step[],
  { watch, before }: Listeners = {},
): Played {
  bed.forget()
  bed.turn(cast.world)
  let isTurned = false
  const referee = new Referee(cast)
  const traveller = new Traveller(bed, cast, hook)
  const met: Met[] = []
  const told: Told[] = []
  for (let steps = next(met); steps.length > 0; steps = next(met))
    for (const step of steps) {
      if (step.turns) {
        isTurned = !isTurned
        const world = isTurned ? cast.other : cast.world
        bed.turn(world)
        referee.turn(world)
      }
      const expected = referee.expect(step)
      before?.()
      const journey = traveller.travel(step)
      met.push({ step, journey, final: finalOf(step, journey) })
      watch?.(step, expected, journey)
      told.push({ step, tale: `${textOfAll(expected)}; in fact ${textOfEnd(journey)}` })
      const { finding } = referee.settle(step, expected, journey)
      if (finding) return { sequence: { cast, hook, steps: met.map((each) => each.step) }, finding, told }
    }
  return { sequence: { cast, hook, steps: met.map(({ step }) => step) }, finding: undefined, told }
}

/** As it was written down. @param before each step */
export function replay(bed: FramesBed, sequence: Sequence, before?: () => void): Played {
  const { steps } = sequence
  return play(bed, sequence, (met) => (met.length === 0 ? steps : []), before && { before })
}
