// A failing sequence made small and told: steps first, then the world they happen in.

import { stringify } from 'yaml'
import type { Probe } from '../policy/arbitrary/probes.ts'
import { OWN_NODE } from '../policy/arbitrary/worlds.ts'
import { minimize } from '../policy/minimize.ts'
import { plain } from '../policy/print-case.ts'
import { Random } from '../policy/random.ts'
import type { FramesBed } from './bed.ts'
import { castOf, OWN } from './cast.ts'
import { replay, type Sequence, type Told } from './play.ts'
import type { Finding } from './referee.ts'
import { bytesOf } from './said.ts'

const PATIENCE_MS = 8_000
const GOES = 4
const LINK = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:fe' }

/** One that is judged alike whatever is left out of the world. */
const NO_PROBE: Probe = {
  packet: {
    source: '',
    destination: '',
    protocol: 'other',
    port: 0,
    node: OWN_NODE,
    isMasqueraded: false,
    isHairpin: false,
  },
  direction: 'ingress',
  aims: [],
}

export interface Failure {
  readonly sequence: Sequence
  readonly finding: Finding
  readonly told: readonly Told[]
}

/** Of the same kind; undefined: it does not fail so. Programs draw lots at times, so it may take a few goes. */
function failsAgain(bed: FramesBed, sequence: Sequence, kind: Finding['kind']): Failure | undefined {
  bed.begin(sequence.cast)
  for (let go = 0; go < GOES; go += 1) {
    const { finding, told } = replay(bed, sequence)
    if (finding?.kind === kind) return { sequence, finding, told }
  }
  return undefined
}

function withFewerSteps(bed: FramesBed, failure: Failure): Failure {
  let smallest = failure
  for (let at = 0; at < smallest.sequence.steps.length; ) {
    const { steps } = smallest.sequence
    const fewer = { ...smallest.sequence, steps: steps.toSpliced(at, 1) }
    const again = failsAgain(bed, fewer, failure.finding.kind)
    if (again) smallest = again
    else at += 1
  }
  return smallest
}

function withLessOfAWorld(bed: FramesBed, failure: Failure): Failure {
  const { cast, hook, steps } = failure.sequence
  const until = performance.now() + PATIENCE_MS
  const services = cast.services
  let smallest = failure
  minimize({ world: cast.world, probe: NO_PROBE }, ({ world, probe }) => {
    const isSame = probe === NO_PROBE && world.failSafePorts === cast.world.failSafePorts
    if (!isSame || performance.now() > until) return false
    const sequence = { cast: castOf(world, cast.other.policies, new Random(0), services), hook, steps }
    const again = failsAgain(bed, sequence, failure.finding.kind)
    if (again) smallest = again
    return again !== undefined
  })
  return smallest
}

/** @returns the same, if it does not fail by itself */
export function smallestOf(bed: FramesBed, failure: Failure): Failure & { readonly isLone: boolean } {
  const again = failsAgain(bed, failure.sequence, failure.finding.kind)
  if (!again) return { ...failure, isLone: false }
  return { ...explained(bed, withLessOfAWorld(bed, withFewerSteps(bed, again))), isLone: true }
}

/** With what the programs count while the last step is played. */
function explained(bed: FramesBed, failure: Failure): Failure {
  const { sequence, finding, told } = failure
  bed.begin(sequence.cast)
  let before = bed.reasons()
  const again = replay(bed, sequence, () => {
    before = bed.reasons()
  }).finding
  const more = Object.entries(bed.reasons()).filter(([reason, packets]) => packets > (before[reason] ?? 0))
  const text = `${finding.text}\ncounted: ${more.map(([reason]) => reason).join(', ')}`
  return again ? { sequence, told, finding: { ...finding, text } } : failure
}

export function printFailure({ sequence, finding, told }: Failure): string {
  const { cast, hook, steps } = sequence
  const frames = steps.map((step, index) => ({
    ...step,
    frame: bytesOf(step.said, { link: LINK, own: OWN }).toString('hex'),
    tale: told[index]?.tale,
    ...(index === steps.length - 1 && { [finding.kind]: finding.text }),
  }))
  const devices = Object.fromEntries(cast.pods.map(({ pod, device, way }) => [device, `${pod.key} (${way})`]))
  const used = cast.services.filter(({ at }) => steps.some(({ said }) => said.destinationPort === at.port))
  const turned = steps.some(({ turns }) => turns) && { otherPolicies: cast.other.policies }
  const parts = { hook, devices, reached: used, ...cast.world, ...turned, frames }
  return stringify(plain(parts), { lineWidth: 0, aliasDuplicateObjects: false })
}
