// The family's rounds: established flows first (all of them stay known), then new ones, then new ones that find no room.

import { setImmediate as turn } from 'node:timers/promises'
import { benchServices } from '../bed/cluster.ts'
import { Generator, type Traffic } from '../bed/generator.ts'
import { DEVICES } from '../bed/topology.ts'
import type { Effort, Measured } from '../frame/figure.ts'
import { interleave, type Measurement } from '../frame/interleave.ts'
import {
  FIXED_FLOWS,
  MANY_FLOWS,
  newFlows,
  type Phase,
  SIDES,
  type Side,
  toAllServices,
  toEndpoints,
  toServices,
} from './cases.ts'
import { type Contest, type Entry, openContest } from './contest.ts'
import { figuresOf, plotsOf, type Sampled } from './figures.ts'
import { verify } from './verify.ts'
import { versionsOfRivals } from './versions.ts'
import { Windows } from './window.ts'

/** Earlier flows of a full table, in multiples of its entries: enough that every place was taken. */
const EARLIER_TIMES = 3
const CHANGES = { full: 5, quick: 2 } as const

export async function measure(effort: Effort): Promise<Measured> {
  const generator = new Generator()
  effort.defer(() => generator.close())
  const contest = await openContest(effort, generator)
  const programming = measureProgramming(effort, contest)
  const windows = new Windows(generator, effort.isQuick)
  generator.pin()
  const run = new Run(effort, contest, generator, windows)
  run.verifyAll()
  const sampled = [
    ...(await run.established()),
    ...(await run.ofSize()),
    ...(await run.beginning()),
    ...(await run.crowding()),
  ]
  generator.unpin()
  const remarks = [...windows.losses].map(
    (cell) => `${cell}: a window lost more than 0.1 % of its packets and was repeated.`,
  )
  if (
    effort.services.some(
      (size) => !contest.entries.some((entry) => entry.size === size && entry.contestant.isPeer),
    )
  )
    remarks.push('Above 10 000 Services only Weir is measured: nft would take hours to load the rules.')
  return {
    figures: figuresOf(effort.services, sampled, programming),
    plots: plotsOf(),
    remarks,
    versions: versionsOfRivals(),
  }
}

/** How long kernels took, by contestant and number of Services. */
export interface Programming {
  readonly title: string
  readonly size: number
  readonly isPeer: boolean
  readonly loadMs: number
  readonly changeMs: readonly number[]
}

function measureProgramming(effort: Effort, { entries }: Contest): Programming[] {
  const times = effort.isQuick ? CHANGES.quick : CHANGES.full
  return entries.flatMap(({ title, size, contestant, ways }) => {
    if (size === undefined || contestant.loadMs === 0 || !ways.local) return []
    // Places far apart, away from the Services that carry packets.
    const places = Array.from({ length: times }, (_, index) => Math.floor((index * size) / times) + 1)
    const changeMs = places.flatMap((place) => contestant.changeEndpoint(place))
    return [{ title, size, isPeer: contestant.isPeer, loadMs: contestant.loadMs, changeMs }]
  })
}

class Run {
  readonly #effort: Effort
  readonly #contest: Contest
  readonly #generator: Generator
  readonly #windows: Windows

  constructor(effort: Effort, contest: Contest, generator: Generator, windows: Windows) {
    this.#effort = effort
    this.#contest = contest
    this.#generator = generator
    this.#windows = windows
  }

  verifyAll(): void {
    for (const { entry, side } of this.#cells()) {
      this.#aim(entry, side)
      const way = entry.ways[side]
      if (way) verify(this.#generator, entry.contestant, side, way, this.#traffic(entry, side, MANY_FLOWS))
    }
    this.#effort.say('every packet of every contestant arrives as it should')
  }

  established(): Promise<Sampled[]> {
    return this.#measure('established', (entry, side, cell) => {
      const traffic = this.#traffic(entry, side, MANY_FLOWS)
      this.#aim(entry, side)
      this.#windows.establish(entry.contestant, traffic)
      return () => {
        this.#aim(entry, side)
        return this.#windows.established(cell, entry.contestant, traffic)
      }
    })
  }

  /** What the number of Services does to Weir: with a fixed set of flows, and with flows over all of them. */
  async ofSize(): Promise<Sampled[]> {
    const isOurs = ({ title }: Entry) => title === 'Weir XDP'
    const known =
      (traffic: (entry: Entry, side: Side) => Traffic) => (entry: Entry, side: Side, cell: string) => {
        const chosen = traffic(entry, side)
        this.#windows.establish(entry.contestant, chosen)
        return () => this.#windows.established(cell, entry.contestant, chosen)
      }
    const fixed = await this.#measure(
      'fixed',
      known((entry, side) => this.#traffic(entry, side, FIXED_FLOWS)),
      isOurs,
    )
    for (const { entry } of this.#cells(isOurs)) entry.contestant.forget()
    const spread = await this.#measure(
      'spread',
      known((entry, side) => toAllServices(benchServices(entry.size ?? 0, 'udp'), side, MANY_FLOWS)),
      isOurs,
    )
    return [...fixed, ...spread]
  }

  beginning(): Promise<Sampled[]> {
    return this.#measure('new', (entry, side, cell) => {
      const traffic = newFlows(this.#traffic(entry, side, MANY_FLOWS))
      return async () => {
        this.#aim(entry, side)
        return await this.#windows.beginning(cell, entry.contestant, traffic)
      }
    })
  }

  crowding(): Promise<Sampled[]> {
    const isOurs = ({ title }: Entry) => title === 'Weir XDP'
    return this.#measure(
      'full',
      (entry, side, cell) => {
        const traffic = newFlows(this.#traffic(entry, side, MANY_FLOWS))
        const { node } = entry.contestant
        if (node) this.#windows.fill(entry.contestant, traffic, node.flowCapacity * EARLIER_TIMES)
        return () => this.#windows.crowding(cell, entry.contestant, traffic)
      },
      isOurs,
    )
  }

  async #measure(
    phase: Phase | 'fixed' | 'spread' | 'full',
    prepare: (entry: Entry, side: Side, cell: string) => Measurement,
    isWanted: (entry: Entry) => boolean = () => true,
  ): Promise<Sampled[]> {
    this.#effort.say(`${phase}…`)
    const cells = [...this.#cells(isWanted)]
    const measurements = new Map<(typeof cells)[number], Measurement>()
    for (const cell of cells) {
      // Setting up and windows block the event loop: between them signals are heard.
      await turn()
      const { entry, side } = cell
      const measurement = prepare(entry, side, `${phase}, ${side}, ${entry.title}, ${entry.size}`)
      measurements.set(cell, () => turn().then(measurement))
    }
    const values = await interleave(measurements, this.#effort.rounds)
    return cells.map((cell) => ({
      phase,
      side: cell.side,
      title: cell.entry.title,
      size: cell.entry.size ?? 0,
      isPeer: cell.entry.contestant.isPeer,
      cpuNs: values.get(cell) ?? [],
    }))
  }

  *#cells(isWanted: (entry: Entry) => boolean = () => true): IterableIterator<{ entry: Entry; side: Side }> {
    for (const side of SIDES)
      for (const entry of this.#contest.entries)
        if (entry.ways[side] !== undefined && isWanted(entry)) yield { entry, side }
  }

  #traffic({ title, size = 0 }: Entry, side: Side, flows: number): Traffic {
    const external = this.#contest.external.get(size) ?? []
    const isPast = title === 'plain forwarding' || title === 'bare XDP redirect'
    return isPast ? toEndpoints(external, side, flows) : toServices(external, side, flows)
  }

  /** The bare redirect does not look where packets want to go. */
  #aim({ title }: Entry, side: Side): void {
    if (title !== 'bare XDP redirect') return
    if (side === 'local') this.#generator.setReflection(DEVICES.n1, DEVICES.b0)
    else this.#generator.setReflection(DEVICES.n2, DEVICES.f0)
  }
}

type IterableIterator<T> = globalThis.Generator<T>
