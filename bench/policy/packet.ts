// Packets under policy: the nodes that they are measured on, and all of them in turns.

import { setImmediate } from 'node:timers/promises'
import type { Effort, Figure } from '../frame/figure.ts'
import { interleave, type Measurement } from '../frame/interleave.ts'
import { type Case, FLOWS, judgedFlows } from '../packet/cases.ts'
import type { Driver } from '../packet/driver.ts'
import { FULL_RUNS, measureOnce, measureTimed, prepare, QUICK_RUNS } from '../packet/measure.ts'
import { Populations } from '../packet/population.ts'
import { verify } from '../packet/verify.ts'
import { PolicyBed, type PolicyGround } from './packet-bed.ts'
import { casesWithout, fixedCases, kindCases, type PodCase, spreadCases } from './packet-cases.ts'
import {
  deviceFigures,
  type Ground,
  groundText,
  type PodSampled,
  serviceFigures,
  sizeFigures,
  USUAL_OTHERS,
} from './packet-figures.ts'
import { PodFlows } from './packet-flows.ts'
import { verifyPod } from './packet-verify.ts'

const SIZES: readonly Ground[] = ['not enforced', 'none', 1, USUAL_OTHERS, 10_000]
/** Less is what hashing into sets of four brings about. */
const UNPLACED_TOLD = 0.01

/** Test runs never wait, so without a turn of the event loop nobody could interrupt them. */
const turn = () => setImmediate()

interface Ready {
  readonly ground: Ground
  readonly of: PodCase
  /** In which tables it goes. */
  readonly isKind: boolean
  readonly isSize: boolean
}

function groundOf(ground: Ground): PolicyGround {
  return { isEnforced: ground !== 'not enforced', others: typeof ground === 'number' ? ground : undefined }
}

/** Each case of a node once, whichever tables it is in. */
function casesOf(ground: Ground, isQuick: boolean): Ready[] {
  const all = fixedCases()
  const sizes =
    typeof ground === 'number'
      ? [...all, ...(ground >= USUAL_OTHERS ? spreadCases() : [])]
      : casesWithout(all, ground !== 'not enforced')
  const kinds = ground === USUAL_OTHERS ? kindCases(isQuick) : []
  const unenforced = ground === 'not enforced' ? casesWithout(kindCases(true), false) : []
  const byId = new Map<string, Ready>()
  for (const of of sizes) byId.set(of.id, { of, ground, isKind: false, isSize: true })
  for (const of of [...kinds, ...unenforced])
    byId.set(of.id, { of, ground, isKind: true, isSize: byId.has(of.id) })
  return [...byId.values()]
}

export interface PacketFigures {
  readonly figures: Figure[]
  readonly remarks: string[]
}

export async function measurePackets(effort: Effort, driver: Driver): Promise<PacketFigures> {
  const remarks: string[] = []
  const runs = effort.isQuick ? QUICK_RUNS : FULL_RUNS
  const measurements = new Map<Ready | Case, Measurement>()
  const add = (key: Ready | Case, measure: () => number) => measurements.set(key, () => turn().then(measure))
  const tell = (id: string, unplaced: number) => {
    if (unplaced > UNPLACED_TOLD)
      remarks.push(`${id}: ${(unplaced * 100).toFixed(1)} % of the flows found no place in the flow table.`)
  }
  for (const ground of SIZES) {
    effort.say(
      `policies besides the fixed ones: ${groundText(ground)}; checking that packets are judged as meant`,
    )
    await turn()
    const bed = new PolicyBed(groundOf(ground))
    effort.defer(() => bed.close())
    const flows = new PodFlows(bed, driver)
    for (const ready of casesOf(ground, effort.isQuick)) {
      await turn()
      tell(ready.of.id, verifyPod(ready.of, flows))
      const timed = flows.timed(ready.of)
      add(ready, () => measureTimed(timed, runs))
    }
    if (ground !== USUAL_OTHERS) continue
    const populations = new Populations(bed, driver)
    for (const of of judgedFlows(effort.isQuick ? [FLOWS.few] : [FLOWS.one, FLOWS.few, FLOWS.many])) {
      await turn()
      tell(of.id, verify(of, populations))
      const prepared = prepare(of, populations)
      add(of, () => measureOnce(prepared, runs))
    }
  }
  effort.say(`timing ${measurements.size} kinds of packets, ${effort.rounds} rounds`)
  const samples = await interleave(measurements, effort.rounds)
  return { figures: figuresOf(samples), remarks }
}

function figuresOf(samples: ReadonlyMap<Ready | Case, readonly number[]>): Figure[] {
  const pods: (PodSampled & Ready)[] = []
  const services: { of: Case; samples: readonly number[] }[] = []
  for (const [key, values] of samples)
    if ('of' in key) pods.push({ ...key, samples: values })
    else services.push({ of: key, samples: values })
  return [
    ...deviceFigures(pods.filter(({ isKind }) => isKind)),
    ...serviceFigures(services),
    ...sizeFigures(pods.filter(({ isSize }) => isSize)),
  ]
}
