// What the hooks at the socket cost: connect() and sendto() of UDP sockets, to ClusterIPs and elsewhere.

import { writeFileSync } from 'node:fs'
import { type Family as AddressFamily, FAMILIES, FAMILY_NAMES } from '../../src/model/address.ts'
import type { Bound, Effort, Family, Figure, Measured } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { interleave } from '../frame/interleave.ts'
import { summarize } from '../frame/statistics.ts'
import { type Lane, SocketBed } from './bed.ts'
import type { Action } from './caller.ts'
import { clusterIp, elsewhere, SERVICE_PORT } from './services.ts'

/** What is called, as many times as take some milliseconds, and what is claimed of it. */
interface Question {
  readonly action: Action
  readonly table: string
  readonly batches: number
  readonly isBound: boolean
  readonly file?: string
}

const SOCKETS = 256
const QUESTIONS: readonly Question[] = [
  {
    action: 'fresh',
    table: 'First connect() of a UDP socket: CPU time that the hooks add',
    batches: 6,
    isBound: true,
    file: 'socket-connect-first',
  },
  {
    action: 'again',
    table: 'connect() of a UDP socket that lives on: CPU time that the hooks add',
    batches: 12,
    isBound: true,
    file: 'socket-connect-again',
  },
  {
    action: 'send',
    table: 'sendto() of a UDP socket that is not connected: CPU time that the hooks add',
    batches: 6,
    isBound: false,
  },
  {
    action: 'life',
    table: 'socket(), connect() and close() of UDP: CPU time that the hooks add',
    batches: 4,
    isBound: false,
  },
]
const ABSOLUTE = 'Without hooks, for orientation'

const FEW = 64
const STRANGERS = 4096
const IN_SERVICE: Bound = { sense: 'at most', must: 300, aim: 200 }
const ELSEWHERE: Bound = { sense: 'at most', must: 200, aim: 100 }

/** Whom the sockets call. */
interface Place {
  readonly name: string
  /** None where caches are cold: reported beside. */
  readonly bound?: Bound
  readonly isService: boolean
  readonly targets: (family: AddressFamily, services: number) => string[]
}

const target = (host: string) => `${host} ${SERVICE_PORT}`
const PLACES: readonly Place[] = [
  {
    name: `to the ClusterIPs of ${FEW} Services`,
    bound: IN_SERVICE,
    isService: true,
    targets: (family, services) => {
      const few = Math.min(FEW, services)
      const spread = (index: number) => Math.floor((index * services) / few)
      return Array.from({ length: few }, (_, index) => target(clusterIp(family, spread(index))))
    },
  },
  {
    name: 'to the ClusterIPs of all Services',
    isService: true,
    targets: (family, services) =>
      Array.from({ length: services }, (_, service) => target(clusterIp(family, service))),
  },
  {
    name: 'elsewhere',
    bound: ELSEWHERE,
    isService: false,
    targets: (family) => Array.from({ length: STRANGERS }, (_, index) => target(elsewhere(family, index))),
  },
]

const TURNS = { full: 8, quick: 4 } as const

const column = (services: number) => `${numberText(services)} Services`

/** Some turns of all lanes; a value a turn. */
async function askLanes(
  lanes: readonly Lane[],
  { action, batches }: Question,
  isService: boolean,
  turns: number,
): Promise<Map<Lane, number[]>> {
  let visit = 0
  const ask = async (lane: Lane) => {
    const before = lane.translated()
    visit += batches * SOCKETS
    const { ns, calls } = await lane.caller.call(action, batches, SOCKETS, visit)
    const translated = lane.translated() - before
    const expected = isService && lane.hooks === 'weir' ? calls : 0
    if (translated !== expected)
      throw new Error(
        `${action} at ${lane.services} Services: ${translated} of ${calls} calls were translated, not ${expected}`,
      )
    return ns
  }
  return interleave(new Map(lanes.map((lane) => [lane, () => ask(lane)])), turns)
}

/** By round: the median of its turns. */
function byRound(values: readonly number[], rounds: number): number[] {
  const turns = values.length / rounds
  return Array.from(
    { length: rounds },
    (_, round) => summarize(values.slice(round * turns, (round + 1) * turns)).median,
  )
}

function added(values: ReadonlyMap<Lane, readonly number[]>, lane: Lane, rounds: number): number[] {
  const bare = [...values.keys()].find(
    ({ hooks, services }) => hooks === 'none' && services === lane.services,
  )
  const without = (bare && values.get(bare)) ?? []
  const differences = (values.get(lane) ?? []).map((ns, turn) => ns - (without[turn] ?? Number.NaN))
  return byRound(differences, rounds)
}

function figuresOf(
  question: Question,
  place: Place,
  family: AddressFamily,
  values: ReadonlyMap<Lane, readonly number[]>,
  rounds: number,
): Figure[] {
  return [...values].flatMap(([lane, ns]): Figure[] => {
    const { services, hooks } = lane
    const at = { column: column(services), x: services, unit: 'ns' }
    if (hooks === 'none')
      return place.isService
        ? []
        : [
            {
              ...at,
              table: ABSOLUTE,
              row: `${question.action}, ${FAMILY_NAMES[family]}`,
              samples: byRound(ns, rounds),
              isPeer: true,
            },
          ]
    const samples = added(values, lane, rounds)
    if (hooks === 'idle')
      return place.isService
        ? []
        : [
            {
              ...at,
              table: question.table,
              row: `elsewhere, hooks that do nothing, ${FAMILY_NAMES[family]}`,
              samples,
              isPeer: true,
            },
          ]
    const bound = question.isBound && place.bound !== undefined ? { bound: place.bound } : {}
    return [
      { ...at, table: question.table, row: `${place.name}, ${FAMILY_NAMES[family]}`, samples, ...bound },
    ]
  })
}

/** Everybody calls the same, and what the hooks do is seen by the caller: the Service's address and no other. */
async function aim(
  bed: SocketBed,
  lanes: readonly Lane[],
  place: Place,
  family: AddressFamily,
): Promise<void> {
  for (const services of new Set(lanes.map((lane) => lane.services))) {
    const targets = place.targets(family, services)
    const file = `${bed.directory}/targets-${services}`
    writeFileSync(file, targets.map((line) => `${line}\n`).join(''))
    for (const lane of lanes.filter((one) => one.services === services)) {
      await lane.caller.aim(file)
      const shown = await lane.caller.shown(0)
      if (shown !== targets[0])
        throw new Error(`a socket connected to ${targets[0]} is told that its peer is ${shown}`)
    }
  }
}

async function measure(effort: Effort): Promise<Measured> {
  const bed = new SocketBed(effort)
  const [first = 10] = effort.services
  const lanes = [
    ...effort.services.flatMap((services) => [bed.lane('none', services), bed.lane('weir', services)]),
    bed.lane('idle', first),
  ]
  const turns = effort.rounds * TURNS[effort.isQuick ? 'quick' : 'full']
  const figures: Figure[] = []
  for (const place of PLACES)
    for (const family of FAMILIES) {
      // Fewer Services than that: all are among the few already.
      const asked = lanes.filter(({ services }) => !place.name.includes('all') || services > FEW)
      if (asked.length === 0) continue
      effort.say(`${place.name}, ${FAMILY_NAMES[family]}`)
      await aim(bed, asked, place, family)
      for (const question of QUESTIONS)
        figures.push(
          ...figuresOf(
            question,
            place,
            family,
            await askLanes(asked, question, place.isService, turns),
            effort.rounds,
          ),
        )
    }
  const inOrder = [...QUESTIONS.map(({ table }) => table), ABSOLUTE]
  return {
    figures: inOrder.flatMap((table) => figures.filter((figure) => figure.table === table)),
    plots: QUESTIONS.flatMap(({ table, file }) =>
      file === undefined ? [] : [{ table, file, abscissa: 'Services', scale: 'linear' as const }],
    ),
    remarks: [],
    versions: {},
  }
}

export const socketFamily: Family = {
  name: 'socket',
  title: 'At the socket: what connect() costs',
  about: `CPU time of system calls of UDP sockets, read from the clock of the calling thread around each batch of ${SOCKETS}. One process is in a
cgroup that has Weir's hooks, attached as the product attaches them, with that many Services of both families (ten endpoints each);
another is in a cgroup without. They make the same calls to the same addresses in turns of some milliseconds, on one processor, and a
figure is the difference. Addresses are called in scattered order. Datagrams end in the queue of a device without a cable, so a
sendto() is the way through the local stack alone, and may come out cheaper with the hooks: they lead the datagrams of many ClusterIPs to one pod.

*First connect()* is a socket's first, which is what nearly every socket has; the sockets are made just before, so caches hold them and not Weir's
tables. *Of a socket that lives on*: the same sockets are connected again and again, which is how others measured: Cilium's
connect4 added 395 ns to a ClusterIP and 305 ns elsewhere on a machine of this kind, at 1 000 Services. With 64 Services called the tables
are warm; with all called each call meets entries that no cache holds. *socket(), connect() and close()* contains what the hooks
postpone to the end of a socket.`,
  measure,
}
