// Weir beside others' rule sets, for the same pods and policies: all set up and alive together, and measured in turns.

import { setImmediate as turn } from 'node:timers/promises'
import { raiseConntrack } from '../bed/conntrack.ts'
import { Generator } from '../bed/generator.ts'
import type { Bed } from '../bed/topology.ts'
import type { Effort, Figure, Plot } from '../frame/figure.ts'
import { interleave, type Measurement } from '../frame/interleave.ts'
import type { Taken } from './node-shell.ts'
import { makePairBed } from './pair-bed.ts'
import {
  KUBE_ROUTER,
  type PairChange,
  type PairContestant,
  pairPlain,
  pairRival,
  pairWeir,
  RIVALS,
} from './pair-contestants.ts'
import {
  type ChangeSampled,
  type LoadSampled,
  PAIR_PLOTS,
  type PacketSampled,
  pairFigures,
} from './pair-figures.ts'
import { PAIR_CASES, type PairCase, PairWindows, verifyPair } from './pair-traffic.ts'
import { chosenPolicy, elsewhereCount, elsewherePod, otherPolicyOf } from './pair-world.ts'

const SIZES = { full: [1, 100, 1000, 10_000], quick: [100] } as const
/** Its sets alone, four for each policy and two where it has one direction, take half a minute at ten times that, and again for each change. */
const KUBE_ROUTER_MAX = 1000
const ROUNDS_MAX = 3
/** Flows of one contestant at a time. */
const CONNTRACK = { max: 1 << 17, buckets: 1 << 16 } as const
/**
 * With fewer a change would be of the policy that packets are measured by; with more, nft takes half a minute for one element, because it
 * reads every set of the table first.
 */
const CHANGED_SIZES = { min: 100, max: 1000 } as const
const CHANGED_PORT_FIRST = 20_000
const STRIDE = 37

export interface PairFound {
  readonly figures: readonly Figure[]
  readonly plots: readonly Plot[]
  readonly remarks: readonly string[]
}

export async function measurePairs(effort: Effort): Promise<PairFound> {
  raiseConntrack(CONNTRACK, effort)
  const generator = new Generator()
  effort.defer(() => generator.close())
  const contestants = await openPairs(effort, generator)
  generator.pin()
  for (const contestant of contestants) {
    await turn()
    await verifyPair(generator, contestant)
  }
  effort.say('  every contestant lets through what it should, and nothing else; timing packets')
  const rounds = Math.min(effort.rounds, ROUNDS_MAX)
  const packets = await measurePackets(contestants, new PairWindows(generator, effort.isQuick), rounds)
  // Whoever is started from here on may run where it likes.
  generator.unpin()
  effort.say('  timing changes')
  const changes = await measureChanges(contestants, rounds)
  const loads = contestants.map(({ title, isPeer, others, loadMs }) => ({ title, isPeer, others, loadMs }))
  return {
    figures: pairFigures(packets, changes, loads.filter(isLoaded)),
    plots: PAIR_PLOTS,
    remarks: effort.isQuick
      ? []
      : [
          `kube-router's rule set is measured up to ${KUBE_ROUTER_MAX} policies: at ten times that it is 20 000 sets, which take most of a minute to load, and as long for each change.`,
        ],
  }
}

const isLoaded = (load: Omit<LoadSampled, 'others'> & { others: number | undefined }): load is LoadSampled =>
  load.others !== undefined

async function openPairs(effort: Effort, generator: Generator): Promise<PairContestant[]> {
  const contestants: PairContestant[] = []
  const enter = async (name: string, make: (bed: Bed) => PairContestant | Promise<PairContestant>) => {
    // Setting up blocks the event loop: here signals are heard.
    await turn()
    const bed = makePairBed(name)
    effort.defer(() => bed.close())
    const links = generator.attachToPods(bed)
    effort.defer(() => {
      for (const link of links) link.close()
    })
    const contestant = await make(bed)
    effort.defer(() => contestant.close())
    contestants.push(contestant)
    if (contestant.others !== undefined)
      effort.say(
        `  ${contestant.title}, with ${contestant.others}: loaded in ${(contestant.loadMs / 1000).toFixed(2)} s`,
      )
  }
  await enter('pp', pairPlain)
  for (const others of effort.isQuick ? SIZES.quick : SIZES.full) {
    await enter(`pw${others}`, (bed) => pairWeir(bed, others))
    for (const [index, rival] of RIVALS.entries())
      if (rival !== KUBE_ROUTER || others <= KUBE_ROUTER_MAX)
        await enter(`p${index}x${others}`, (bed) => pairRival(rival, bed, others))
  }
  return contestants
}

async function measurePackets(
  contestants: readonly PairContestant[],
  windows: PairWindows,
  rounds: number,
): Promise<PacketSampled[]> {
  const measurements = new Map<{ of: PairCase; contestant: PairContestant }, Measurement>()
  for (const of of PAIR_CASES)
    for (const contestant of contestants)
      measurements.set({ of, contestant }, () => turn().then(() => windows.measure(of, contestant)))
  const samples = await interleave(measurements, rounds)
  return [...samples].map(([{ of, contestant }, cpuNs]) => {
    const { title, isPeer, others } = contestant
    return { of, title, isPeer, others, cpuNs }
  })
}

const CHANGES = {
  policy: 'a port of a policy',
  pod: 'a pod elsewhere started, or gone',
} as const

async function measureChanges(
  contestants: readonly PairContestant[],
  rounds: number,
): Promise<ChangeSampled[]> {
  const kinds = Object.keys(CHANGES) as (keyof typeof CHANGES)[]
  const found = contestants.flatMap(({ title, isPeer, others, change }) =>
    others === undefined || others < CHANGED_SIZES.min || others > CHANGED_SIZES.max
      ? []
      : kinds.map((kind) => ({ kind, title, isPeer, others, change, cpuMs: [] as number[] })),
  )
  const measurements = new Map<(typeof found)[number], Measurement>()
  for (const one of found) {
    const { kind, others, change, cpuMs } = one
    let index = 0
    measurements.set(one, async () => {
      await turn()
      const taken = [
        await change(changeOf(kind, index++, others)),
        await change(changeOf(kind, index++, others)),
      ]
      const mean = (of: keyof Taken) => taken.reduce((sum, each) => sum + each[of], 0) / taken.length
      cpuMs.push(mean('cpuMs'))
      return mean('wallMs')
    })
  }
  // The first finds code that has not been compiled.
  for (const measure of measurements.values()) await measure()
  for (const { cpuMs } of found) cpuMs.length = 0
  const samples = await interleave(measurements, rounds)
  return [...samples].map(([{ kind, title, isPeer, others, cpuMs }, wallMs]) => {
    return { what: CHANGES[kind], title, isPeer, others, wallMs, cpuMs }
  })
}

/** Pairs of changes: of two policies' ports, or of one pod that comes and goes. */
function changeOf(kind: keyof typeof CHANGES, index: number, others: number): PairChange {
  const place = ((kind === 'pod' ? index >> 1 : index) * STRIDE + 1) % others
  const other = place === chosenPolicy(others) ? (place + 1) % others : place
  if (kind === 'policy') {
    const policy = otherPolicyOf(other, others, CHANGED_PORT_FIRST + index)
    return { kind, policy, other }
  }
  const pod = elsewherePod(elsewhereCount(others) + (index >> 1), other)
  return { kind, pod, isThere: index % 2 === 0, other }
}
