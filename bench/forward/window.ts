// One window: so many packets through one contestant, told as CPU nanoseconds a packet.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Contestant } from '../bed/contestants.ts'
import type { Generator, Traffic } from '../bed/generator.ts'
import { delivered } from './verify.ts'

/** Long enough that what a window costs by itself is nothing beside it. */
const WINDOW_NS = { full: 150e6, quick: 60e6 } as const
const PILOT_PACKETS = 8192
/** More new flows than that between two flushes would fill Weir's table by more than a quarter, where a flow has two entries. */
const NEW_FLOWS_MAX = 65_536
const NEW_FLOWS_MIN = 2048
/** Of the packets of a window. */
const LOST_SHARE_MAX = 0.001
const ATTEMPTS = 3
/** What the kernel frees after a flush, it frees a little later. */
const SETTLE_MS = 20

export class Windows {
  readonly #generator: Generator
  readonly #windowNs: number
  readonly #packets = new Map<string, number>()
  /** Cells that lost packets in some window, which was then repeated. */
  readonly losses = new Set<string>()

  constructor(generator: Generator, isQuick: boolean) {
    this.#generator = generator
    this.#windowNs = isQuick ? WINDOW_NS.quick : WINDOW_NS.full
  }

  /** Makes the flows of this traffic known, each by two packets. */
  establish({ bed }: Contestant, traffic: Traffic): void {
    this.#generator.select(traffic)
    this.#generator.send(bed, traffic.flows * 2)
  }

  /** Every flow as often as every other, after one packet of each: what others left in the caches in their turn is not its cost. */
  established(cell: string, { bed }: Contestant, traffic: Traffic): number {
    this.#generator.select(traffic)
    this.#generator.send(bed, traffic.flows)
    const pilot = () => this.#generator.send(bed, PILOT_PACKETS)
    const packets = this.#sizeOf(cell, pilot, (wanted) => {
      const turns = Math.max(1, Math.round(wanted / traffic.flows))
      return turns * traffic.flows
    })
    return this.#costOf(cell, packets, () => this.#generator.send(bed, packets))
  }

  /** Each packet a flow of its own, in a table emptied before. */
  async beginning(cell: string, contestant: Contestant, traffic: Traffic): Promise<number> {
    this.#generator.select(traffic)
    const { bed } = contestant
    const empty = async () => {
      contestant.forget()
      if (contestant.isPeer) await sleep(SETTLE_MS)
    }
    await empty()
    const pilot = () => this.#generator.send(bed, NEW_FLOWS_MIN)
    const packets = this.#sizeOf(cell, pilot, (wanted) => Math.max(NEW_FLOWS_MIN, Math.round(wanted)))
    const turns = Math.ceil(packets / NEW_FLOWS_MAX)
    const each = Math.ceil(packets / turns)
    let sum = 0
    for (let turn = 0; turn < turns; turn += 1) {
      await empty()
      sum += this.#costOf(cell, each, () => this.#generator.send(bed, each, () => contestant.forget()))
    }
    return sum / turns
  }

  /** Each packet a flow of its own, in a table that has no room. */
  crowding(cell: string, { bed }: Contestant, traffic: Traffic): number {
    this.#generator.select(traffic)
    const pilot = () => this.#generator.send(bed, NEW_FLOWS_MIN)
    const packets = this.#sizeOf(cell, pilot, Math.round)
    return this.#costOf(cell, packets, () => this.#generator.send(bed, packets))
  }

  fill({ bed }: Contestant, traffic: Traffic, flows: number): void {
    this.#generator.select(traffic)
    this.#generator.send(bed, flows)
  }

  /** How many packets fill a window, found once. */
  #sizeOf(
    cell: string,
    pilot: () => { cpuNs: number; counts: { sent: number } },
    round: (wanted: number) => number,
  ) {
    const known = this.#packets.get(cell)
    if (known !== undefined) return known
    const { cpuNs, counts } = pilot()
    const packets = round(this.#windowNs / Math.max(1, cpuNs / counts.sent))
    this.#packets.set(cell, packets)
    return packets
  }

  /** @throws when packets are lost again and again: then the cost is that of something else */
  #costOf(cell: string, packets: number, send: () => ReturnType<Generator['send']>): number {
    for (let attempt = 1; ; attempt += 1) {
      const window = send()
      const arrived = delivered(window)
      if (arrived >= packets * (1 - LOST_SHARE_MAX)) return window.cpuNs / arrived
      this.losses.add(cell)
      if (attempt === ATTEMPTS)
        throw new Error(`${cell}: of ${packets} packets came ${JSON.stringify(window.counts)}`)
    }
  }
}
