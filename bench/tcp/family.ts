// TCP connections of a real client to pods, through what users run today and through Weir.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { versionsOfRivals } from '../forward/versions.ts'
import type { Bound, Effort, Family, Figure, Measured, Plot } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { interleave } from '../frame/interleave.ts'
import { ratio } from '../frame/statistics.ts'
import { UndoStack } from '../frame/undo.ts'
import { CONTESTANTS, isOurs, type Lane, makeLanes, type Name } from './lanes.ts'
import type { Taken } from './load.ts'

/** nft takes minutes for more. */
const SERVICES_MAX = 10_000
const AT_ONCE = 64

/** What a client does, and how often in one go: first some that are not counted, until its lines are in the caches again. */
const LOADS = {
  short: { kind: 'short', before: 1000, count: 7000, atOnce: AT_ONCE },
  alone: { kind: 'short', before: 100, count: 1000, atOnce: 1 },
  kept: { kind: 'kept', before: 1000, count: 20_000, atOnce: AT_ONCE },
} as const
type LoadName = keyof typeof LOADS
const LOAD_NAMES = Object.keys(LOADS) as LoadName[]
/** Turns of a round: what disturbs the machine for seconds falls to all of them. */
const TURNS = 3

const TABLES = {
  rate: `Short connections a second, ${AT_ONCE} at once`,
  rateRatio: 'Short connections a second, Weir by the others',
  busier: 'Short connections a second of the busier processor',
  busierRatio: 'Short connections a second of the busier processor, Weir by the others',
  core: 'Short connections per second of processor time',
  coreRatio: 'Short connections per second of processor time, against iptables and nftables mode',
  alone: 'Latency of connect and request, one connection at a time, median',
  aloneTail: 'Latency of connect and request, one connection at a time, 99th percentile',
  busy: `Latency of connect and request, ${AT_ONCE} at once, median`,
  busyTail: `Latency of connect and request, ${AT_ONCE} at once, 99th percentile`,
  kept: `Requests a second over ${AT_ONCE} kept connections`,
  keptCore: 'Requests per second of processor time, over kept connections',
} as const

const PLOTS: readonly Plot[] = [
  { table: TABLES.rate, file: 'tcp-short', abscissa: 'Services', scale: 'linear' },
  { table: TABLES.core, file: 'tcp-short-per-core', abscissa: 'Services', scale: 'linear' },
  { table: TABLES.alone, file: 'tcp-latency', abscissa: 'Services', scale: 'linear' },
]

const RIVALS = ['iptables', 'nftables'] as const
/** Connections a second that Weir makes of a rival's, at least. */
const BARS: Readonly<Record<(typeof RIVALS)[number], Readonly<Record<number, number>>>> = {
  iptables: { 10: 1.4, 1000: 1.65, 10000: 3 },
  nftables: { 10: 1.35, 1000: 1.4, 10000: 1.4 },
}

type Results = Readonly<Record<LoadName, Map<Lane, readonly Taken[]>>>

async function takeAll(
  effort: Effort,
  lanes: readonly Lane[],
  load: LoadName,
): Promise<ReadonlyMap<Lane, readonly Taken[]>> {
  const { kind, before, count, atOnce } = LOADS[load]
  const turns = effort.isQuick ? 1 : TURNS
  const taken = new Map<Lane, Taken[]>(lanes.map((lane) => [lane, []]))
  const take = async (lane: Lane) => {
    await lane.load.take(kind, before, atOnce)
    const one = await lane.load.take(kind, count, atOnce)
    taken.get(lane)?.push(one)
    return one.perSecond
  }
  effort.say(`${effort.rounds} rounds of ${lanes.length}: ${load}`)
  await interleave(new Map(lanes.map((lane) => [lane, () => take(lane)])), effort.rounds * turns)
  return new Map([...taken].map(([lane, all]) => [lane, roundsOf(all, turns)]))
}

/** So many consecutive windows of equal size make a round. */
export function roundsOf(taken: readonly Taken[], turns: number): Taken[] {
  return Array.from({ length: taken.length / turns }, (_, round) => {
    const windows = taken.slice(round * turns, (round + 1) * turns)
    const mean = (pick: (one: Taken) => number) =>
      windows.reduce((sum, one) => sum + pick(one), 0) / windows.length
    return {
      perSecond: 1 / mean(({ perSecond }) => 1 / perSecond),
      perBusierSecond: 1 / mean(({ perBusierSecond }) => 1 / perBusierSecond),
      cpuUs: mean(({ cpuUs }) => cpuUs),
      p50Us: mean(({ p50Us }) => p50Us),
      p99Us: mean(({ p99Us }) => p99Us),
    }
  })
}

const column = (services: number) => ({ column: `${numberText(services)} Services`, x: services })

/** A row for each contestant. */
function tableOf(
  table: string,
  unit: string,
  taken: ReadonlyMap<Lane, readonly Taken[]>,
  pick: (one: Taken) => number,
): Figure[] {
  return [...taken].map(([{ name, services }, samples]) => ({
    table,
    row: CONTESTANTS[name],
    ...column(services),
    unit,
    samples: samples.map(pick),
    isPeer: !isOurs(name),
  }))
}

/** Ours and the ceiling by each rival, the same round's figures by each other. */
function ratiosOf(
  table: string,
  names: readonly Name[],
  rates: readonly Figure[],
  boundOf: (name: Name, rival: (typeof RIVALS)[number], services: number) => Bound | undefined,
): Figure[] {
  return RIVALS.flatMap((rival) =>
    names.flatMap((name) =>
      rates
        .filter(({ row }) => row === CONTESTANTS[name])
        .flatMap((figure): Figure[] => {
          const services = figure.x ?? 0
          const other = rates.find(({ row, x }) => row === CONTESTANTS[rival] && x === services)
          if (other === undefined) return []
          const bound = boundOf(name, rival, services)
          const row = `${CONTESTANTS[name]}, by ${CONTESTANTS[rival]}`
          const place = { table, row, ...column(services), ...(bound && { bound }) }
          return [{ ...ratio(figure, other, place), isPeer: !isOurs(name) }]
        }),
    ),
  )
}

function barOf(name: Name, rival: (typeof RIVALS)[number], services: number): Bound | undefined {
  const must = BARS[rival][services]
  return isOurs(name) && must !== undefined ? { sense: 'at least', must } : undefined
}

function figuresOf({ short, alone, kept }: Results): Figure[] {
  const perCore = ({ cpuUs }: Taken) => 1e6 / cpuUs
  const rates = tableOf(TABLES.rate, '/s', short, ({ perSecond }) => perSecond)
  const busier = tableOf(TABLES.busier, '/s', short, ({ perBusierSecond }) => perBusierSecond)
  const core = tableOf(TABLES.core, '/s', short, perCore)
  const judged: readonly Name[] = ['xdp', 'tc', 'socket', 'plain']
  return [
    ...rates,
    ...ratiosOf(TABLES.rateRatio, judged, rates, barOf),
    ...busier,
    ...ratiosOf(TABLES.busierRatio, judged, busier, barOf),
    ...core,
    ...ratiosOf(TABLES.coreRatio, judged, core, () => undefined),
    ...tableOf(TABLES.alone, 'µs', alone, ({ p50Us }) => p50Us),
    ...tableOf(TABLES.aloneTail, 'µs', alone, ({ p99Us }) => p99Us),
    ...tableOf(TABLES.busy, 'µs', short, ({ p50Us }) => p50Us),
    ...tableOf(TABLES.busyTail, 'µs', short, ({ p99Us }) => p99Us),
    ...tableOf(TABLES.kept, '/s', kept, ({ perSecond }) => perSecond),
    ...tableOf(TABLES.keptCore, '/s', kept, perCore),
  ]
}

/** The beds of one size at a time: nft alone takes two minutes for 10 000 Services, and none is set up twice. */
async function measureSize(
  effort: Effort,
  directory: string,
  services: number,
  results: Results,
): Promise<void> {
  const beds = new UndoStack()
  effort.defer(() => beds.run())
  try {
    const lanes = await makeLanes({ ...effort, defer: (undo) => beds.push(undo) }, directory, services)
    for (const load of LOAD_NAMES)
      for (const [lane, taken] of await takeAll(effort, lanes, load)) results[load].set(lane, taken)
  } finally {
    // Also what was made while an interrupted run was being undone.
    await beds.run()
  }
}

async function measure(effort: Effort): Promise<Measured> {
  const directory = mkdtempSync(`${tmpdir()}/weir-tests-${process.pid}-`)
  effort.defer(() => rmSync(directory, { recursive: true, force: true }))
  const results: Results = { short: new Map(), alone: new Map(), kept: new Map() }
  for (const services of effort.services.filter((count) => count <= SERVICES_MAX))
    await measureSize(effort, directory, services, results)
  const left = effort.services.filter((services) => services > SERVICES_MAX)
  const remarks = left.map(
    (services) =>
      `${numberText(services)} Services are left out: loading the rival rule sets would take hours.`,
  )
  return { figures: figuresOf(results), plots: PLOTS, remarks, versions: versionsOfRivals() }
}

export const tcpFamily: Family = {
  name: 'tcp',
  title: 'TCP connections, end to end',
  about: `A client, a node and pods in network namespaces joined by veth, one bed for each contestant and number of Services; contestants take turns within a number. A client and a server, written in C with
epoll, make connections of a request (64 bytes) and an answer (128 bytes): *short* ones, which the server closes, and *kept* ones, over which
request follows request. The client is on the first processor and the server on the last; what the node does to a packet is done by the processor of its sender.
Connections go to all Services with a load-balancer address and endpoints here (32 of 64, spread evenly among all), in scattered order.
Latency runs from before connect() until the answer was read. A round is three turns of each contestant, of 7 000 connections (20 000 requests; 1 000 connections one at a time) and
some before that are not counted, as the others' turns have emptied the caches; of latencies it is the mean of the three.

The rule sets are kube-proxy's; externalTrafficPolicy is Local, so nothing is masqueraded. Weir serves the same Services in XDP or at tc of the uplink. *At the socket* the
client is a pod in a cgroup with Weir's hooks; its packets are forwarded as they are, past Weir's programs at the devices. Plain forwarding to the pods' own
addresses is **the yardstick of this bed**: most of a connection's time goes into the two ends' own stacks, which no contestant makes shorter. The ratios therefore understate what a
node gains; a bar above what plain forwarding reaches is out of reach here for whoever forwards by the stack, and what bypasses it can gain no more than the stack's part.

Processor time is that of client, server and the kernel's ksoftirqd of both processors, and moves little when other work shares them; rates by the wall clock do. *Of the
busier processor* are the connections for which the time of the one that had more to do is enough: what the wall clock shows when nobody else wants the processors and neither end waits
for the other, so it is held against the same bars. XDP is not
at its best here: a packet from a socket is no frame of a NIC, and the veth driver first copies each into a page of its own, about a microsecond that a NIC does not take.
Checksum offload is off at both ends, as frames from a NIC have complete checksums. Connections that are over leave conntrack after 10 seconds instead of 120, or a run would
fill its table.`,
  measure,
}
