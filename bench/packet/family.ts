// The family of figures of single packets: what the programs cost by kind of packet, by how many flows there are, and by the size of the
// cluster.

import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { stayOnOneProcessor } from '../../src/sys/libc/processors.ts'
import type { Effort, Family, Figure, Measured } from '../frame/figure.ts'
import { interleave, type Measurement } from '../frame/interleave.ts'
import { Bed, type BedOptions, SETTINGS_AT_SIZE } from './bed.ts'
import { type Case, casesAtSize, FLOWS, isKnown, knownFlows, newFlows, statelessPackets } from './cases.ts'
import { type Accesses, CountedPrograms } from './counted-programs.ts'
import { checkByStatistics, countByHardware } from './cross-check.ts'
import { Driver } from './driver.ts'
import {
  accessFigures,
  costFigures,
  familyFigures,
  flowsText,
  PLOTS,
  programFigures,
  type Sampled,
  sizeFigures,
} from './figures.ts'
import { FULL_RUNS, measureOnce, type Prepared, prepare, QUICK_RUNS, type Runs } from './measure.ts'
import { Populations } from './population.ts'
import { countAccesses, verify } from './verify.ts'

const ABOUT = `\`BPF_PROG_TEST_RUN\` repeats a program over packets of many distinct flows: before each repeat a driver program puts the headers
back, gives the packet the ends and the checksums of the next flow of a list, and tail-calls the program under test. Flows are visited in
another order than that in which they began. The tables are written by the agent's own planners and writers for a cluster of N Services
(both families, a load-balancer address, a ClusterIP and two endpoints each); besides there are 64 Services of each kind with ten endpoints, which
carry the flows that are the same at every N. Before anything is timed each case is seen to take its path: every packet counted under
the one reason, the flow table grown by the entries of new flows or not at all, and verdict and all bytes of some packets compared with packets
built from nothing.

A figure is nanoseconds a packet with the driver's share taken off, which is measured with a program that does nothing, right behind each
sample and over the same list. Of each round it is the lowest of ${FULL_RUNS.known.windows} short windows (of new flows ${FULL_RUNS.fresh.windows}, each with flows of its own), less the lowest of the
driver's: what else happens on the machine comes in bursts and only adds, and so does the first window's cold cache. What the table shows is median and spread of
that over the rounds. **In it:** parsing, look-ups, translation, checksums, counters, the choice of the way out. **Not in it:** the NIC and its
driver, DMA, the sending of the frame (a redirection is decided, not done), cold code. Programs that encapsulate also pay about 8 ns for the
driver's undoing of it, which stays in. Known flows are looked at once before they are timed, for the first packet of a flow in each second
also renews its entry. A new flow's packet is a SYN (or a first datagram) of a client never seen; 65 536 of them are timed, with the flow
table empty before, or with every place of it taken by an earlier flow of which none was answered. The bar of packets to a pod here is for
packets that policy has judged; no policy is enforced here, so they are judged by none: the family of policy has those.

Accesses to maps are counted by the same sources built with counters in them, on the same tables; what is told of established flows
is then also proof that no frontend was looked up.`

/** Test runs never wait, so without a turn of the event loop nobody could interrupt them. */
const turn = () => setImmediate()

interface Ground {
  readonly effort: Effort
  readonly driver: Driver
  readonly remarks: string[]
}

/** A case ready to be timed, and which cluster it is in. */
interface Ready extends Prepared {
  readonly services: number
}

function openBed({ effort, driver }: Ground, options: BedOptions): Populations {
  const bed = new Bed(options)
  effort.defer(() => bed.close())
  return new Populations(bed, driver)
}

/** Checks that packets take their path, before any of them is timed. */
async function makeReady(
  { remarks }: Ground,
  populations: Populations,
  cases: readonly Case[],
): Promise<Ready[]> {
  const { services } = populations.bed.options
  const ready: Ready[] = []
  for (const of of cases) {
    await turn()
    const unplaced = verify(of, populations)
    if (unplaced > UNPLACED_TOLD)
      remarks.push(
        `${of.id}, ${services} Services: ${(unplaced * 100).toFixed(1)} % of the flows found no place in the flow table.`,
      )
    ready.push({ ...prepare(of, populations), services })
  }
  return ready
}

/** Less is what hashing into sets of four brings about at any fill. */
const UNPLACED_TOLD = 0.01

function mainCases({ isQuick }: Effort): Case[] {
  if (isQuick)
    return [
      ...knownFlows('TCP', [FLOWS.few]),
      ...newFlows('TCP', 'room', FLOWS.many),
      ...newFlows('TCP', 'full', FLOWS.many),
      ...statelessPackets(),
    ]
  return [
    ...knownFlows('TCP', [FLOWS.one, FLOWS.few, FLOWS.many]),
    ...knownFlows('UDP', [FLOWS.few]),
    ...newFlows('TCP', 'room', FLOWS.many),
    ...newFlows('UDP', 'room', FLOWS.many),
    ...newFlows('TCP', 'full', FLOWS.many),
    ...statelessPackets(),
  ]
}

/** A million flows need a larger flow table than is shipped: filled to a quarter, as the shipped one is meant to be. */
const HUGE_TABLE = 1 << 23

function hugeCases(): Case[] {
  return knownFlows('TCP', [FLOWS.huge]).filter(({ family }) => family === 'ipv4')
}

function sizeCases(effort: Effort): Case[] {
  const fixed = casesAtSize('fixed')
  if (effort.isQuick) return fixed.filter(({ family }) => family === 'ipv4')
  const spread = casesAtSize('spread')
  return [...fixed, ...spread.filter(({ family }) => family === 'ipv4')]
}

/** The same kinds of packets in clusters of every size; what will be divided by each other next to each other. */
async function readyAtSizes(ground: Ground): Promise<Ready[]> {
  const { effort } = ground
  const cases = sizeCases(effort)
  const bySize: Ready[][] = []
  for (const services of effort.services) {
    effort.say(`writing ${services} Services`)
    const bed = openBed(ground, { services, objects: undefined, settings: SETTINGS_AT_SIZE })
    bySize.push(await makeReady(ground, bed, cases))
  }
  return cases.flatMap((_, index) => bySize.flatMap((ready) => ready[index] ?? []))
}

/** Every case of every cluster in turns. */
async function sampleAll({ effort }: Ground, ready: readonly Ready[], runs: Runs): Promise<Sampled[]> {
  const measurements = new Map<Ready, Measurement>(
    ready.map((one) => [one, () => turn().then(() => measureOnce(one, runs))]),
  )
  const samples = await interleave(measurements, effort.rounds)
  return ready.map((one) => ({ of: one.of, services: one.services, samples: samples.get(one) ?? [] }))
}

function countAll({ effort }: Ground, ready: readonly Ready[]): Map<Case, Accesses> {
  const counted = new Map<Case, Accesses>()
  const [first] = ready
  if (!first) return counted
  const programs = new CountedPrograms(first.populations.bed)
  effort.defer(() => programs.close())
  for (const { of, populations } of ready) {
    if ((isKnown(of) && of.flows !== FLOWS.few) || of.layout === 'spread') continue
    counted.set(of, countAccesses(of, populations, programs))
  }
  return counted
}

function sizesOfPrograms({ datapath }: Bed): Figure[] {
  const { uplink, podTc, socket } = datapath
  const programs = [uplink.xdp, uplink.ingress, uplink.egress, podTc, ...socket]
  return programFigures(programs.map((program) => ({ ...program.info(), name: program.name })))
}

/** What would disturb every figure alike. */
function remarkOnSurroundings(remarks: string[]): void {
  const told = readFileSync('/proc/sys/kernel/bpf_stats_enabled', 'utf8').trim()
  if (told !== '0')
    remarks.push(
      'kernel.bpf_stats_enabled is on: each run of a program also reads a clock twice. Turn it off and measure again.',
    )
}

async function measure(effort: Effort): Promise<Measured> {
  const remarks: string[] = []
  remarkOnSurroundings(remarks)
  const runs = effort.isQuick ? QUICK_RUNS : FULL_RUNS
  const { release } = stayOnOneProcessor()
  effort.defer(release)
  const driver = new Driver()
  effort.defer(() => driver.close())
  const ground = { effort, driver, remarks }
  const [least = 10] = effort.services

  effort.say(`${least} Services, tables as shipped: checking that packets take their paths`)
  const main = openBed(ground, { services: least, objects: undefined, settings: {} })
  const cost = await makeReady(ground, main, mainCases(effort))
  const accesses = countAll(ground, cost)
  if (!effort.isQuick) {
    effort.say(`the same with ${flowsText(FLOWS.huge)}`)
    const huge = openBed(ground, {
      services: least,
      objects: undefined,
      settings: { capacities: { flows: HUGE_TABLE } },
    })
    cost.push(...(await makeReady(ground, huge, hugeCases())))
  }
  const atSize = await readyAtSizes(ground)
  const largest = atSize.filter(({ services }) => services === effort.services.at(-1))
  const accessesAtSize = countAll(ground, largest)
  effort.say(`timing ${cost.length + atSize.length} kinds of packets, ${effort.rounds} rounds`)
  const sampled = await sampleAll(ground, [...cost, ...atSize], runs)
  const [costs, sizes] = [sampled.slice(0, cost.length), sampled.slice(cost.length)]

  effort.say('the same by other clocks')
  const checked = cost.filter(({ of }) => of.family === 'ipv4' && of.protocol === 'TCP' && isTypical(of))
  const byStatistics = await checkByStatistics(checked, runs, effort.rounds)
  const byHardware = countByHardware(checked, runs, effort.rounds)
  return {
    figures: [
      ...costFigures(costs),
      ...familyFigures(costs),
      ...sizeFigures(sizes),
      ...accessFigures(accesses, least),
      ...accessFigures(accessesAtSize, effort.services.at(-1) ?? least),
      ...sizesOfPrograms(main.bed),
      ...byStatistics,
      ...byHardware.figures,
    ],
    plots: effort.isQuick ? PLOTS.filter(({ file }) => file === 'packet-services') : PLOTS,
    remarks: [...remarks, ...byHardware.remarks],
    versions: {},
  }
}

/** One of each kind. */
function isTypical(of: Case): boolean {
  return of.table === 'room' && (!isKnown(of) || of.flows === FLOWS.few)
}

export const packetFamily: Family = {
  name: 'packet',
  title: 'What the programs cost per packet',
  about: ABOUT,
  measure,
}
