// Flows brought about by packets, as they would be: first packets, answers, further packets. The state of the table after it is kept, and
// put back before each measurement.

import type { FlowEntry } from '../../src/datapath/flow-table.ts'
import type { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'
import type { Bed } from './bed.ts'
import { type Case, hookOf } from './cases.ts'
import { type Driver, type Hook, untilWhole } from './driver.ts'
import { FlowMemory, type FlowSnapshot } from './flow-snapshot.ts'
import { type PacketList, reordered, scrambled, single } from './packet-list.ts'
import {
  EARLIER_FLOWS_AT,
  entriesByFlow,
  flowOf,
  foreign,
  replies,
  requests,
  type Traffic,
} from './traffic.ts'

/** Two orders, neither of them the order in which the flows began. */
export const ORDER = { settling: 0x1234567, measuring: 0x2545f491 } as const
/** Earlier flows of a full table, in multiples of its entries: enough that every place was taken. */
const EARLIER_TIMES = 6
const EARLIER_AT_ONCE = 1 << 18
/** What a masqueraded flow's port may not yield within. */
const EARLIER_AGE_TICKS = 16

/** Flows of a population that are remembered one by one. */
const REMEMBERED = 4096

interface Population {
  /** Of the first flows those that have a place; the same in the order of `replies`. */
  readonly entries: readonly FlowEntry[]
  readonly snapshot: FlowSnapshot
  readonly requests: PacketList
  /** undefined: this node sees none. */
  readonly replies: PacketList | undefined
}

/** One bed with the states of its flow table. */
export class Populations {
  readonly bed: Bed
  readonly driver: Driver
  readonly memory: FlowMemory
  readonly #known = new Map<string, Population>()
  #full: FlowSnapshot | undefined

  constructor(bed: Bed, driver: Driver) {
    this.bed = bed
    this.driver = driver
    this.memory = new FlowMemory(bed.datapath)
  }

  /** The packets of a case, in the order of measuring. */
  packets(of: Case): PacketList {
    const traffic = this.#traffic(of)
    const list = this.#inOrder(of, traffic)
    return reordered(list, scrambled(list.count, ORDER.measuring))
  }

  /** Makes the flow table what the case begins with. */
  restore(of: Case): void {
    if (of.phase === 'established' || of.phase === 'reply')
      this.memory.restore(this.#population(this.#traffic(of), of.flows).snapshot)
    else if (of.table === 'full') this.memory.restore(this.#fullTable())
    else this.memory.clear()
  }

  program(hook: Hook): BpfProgram {
    return hook === 'xdp' ? this.bed.datapath.uplink.xdp : this.bed.datapath.podTc
  }

  /** One packet of a case, number `sample` of so many; with its flow's entry where the case begins with one. */
  sample(of: Case, sample: number, samples: number): { packet: PacketList; entry: FlowEntry | undefined } {
    const traffic = this.#traffic(of)
    const list = this.#inOrder(of, traffic)
    if (of.phase !== 'established' && of.phase !== 'reply')
      return { packet: single(list, Math.floor((list.count * sample) / samples)), entry: undefined }
    const { entries } = this.#population(traffic, of.flows)
    const place = Math.floor((entries.length * sample) / samples)
    const entry = entries[place]
    if (!entry) throw new Error(`${of.id}: no flow has a place in the table`)
    return { packet: single(list, of.phase === 'reply' ? place : flowOf(entry)), entry }
  }

  /** The entry of the client's half of a flow, among those that there are now. */
  entry(flow: number): FlowEntry | undefined {
    return entriesByFlow(this.bed.table.entries(), flow + 1)[flow]
  }

  #traffic({ kind, family, protocol, layout }: Case): Traffic {
    return { kind, family, protocol, layout, services: this.bed.options.services }
  }

  #inOrder(of: Case, traffic: Traffic): PacketList {
    if (of.phase === 'new') return requests(traffic, true, of.flows)
    if (of.phase === 'refused') return requests(traffic, true, of.flows, { block: 'stranger' })
    if (of.phase === 'foreign') return foreign(of.family, of.protocol, hookOf(of) === 'tc', of.flows)
    const population = this.#population(traffic, of.flows)
    if (of.phase === 'established') return population.requests
    if (!population.replies) throw new Error(`${of.id}: this node sees no reply of such a flow`)
    return population.replies
  }

  #population(traffic: Traffic, flows: number): Population {
    const key = JSON.stringify([traffic, flows])
    const known = this.#known.get(key) ?? this.#populate(traffic, flows)
    this.#known.set(key, known)
    return known
  }

  #populate(traffic: Traffic, flows: number): Population {
    return untilWhole(() => {
      this.memory.clear()
      this.#send('xdp', requests(traffic, true, flows))
      const later = requests(traffic, false, flows)
      const begun = entriesByFlow(this.bed.table.entries(), flows).filter((entry) => entry !== undefined)
      const answers = (entries: readonly FlowEntry[]) =>
        traffic.kind === 'dsr' ? undefined : replies(traffic, entries, this.bed.names)
      const first = answers(begun)
      if (first) this.#send(traffic.kind === 'local' ? 'tc' : 'xdp', first)
      this.#send('xdp', reordered(later, scrambled(flows, ORDER.settling)))
      const entries = traffic.kind === 'local' ? this.#answered(begun) : begun
      return {
        entries: entries.slice(0, REMEMBERED),
        snapshot: this.memory.snapshot(),
        requests: later,
        replies: answers(entries),
      }
    })
  }

  /** Flows whose answers have a place: before they were answered, others may have pushed it out, and then their packets go no further. */
  #answered(entries: readonly FlowEntry[]): FlowEntry[] {
    const places = [...this.bed.table.entries()].filter(({ kind }) => kind === 'REPLY')
    const flows = new Set(places.map(flowOf))
    return entries.filter((entry) => flows.has(flowOf(entry)))
  }

  #send(hook: Hook, packets: PacketList): void {
    this.driver.select(hook, this.program(hook), packets)
    this.driver.run(hook, packets.count)
  }

  /** A table in which only earlier flows can make room: none of them was answered, and each may be taken for a new one. */
  #fullTable(): FlowSnapshot {
    this.#full ??= untilWhole(() => {
      this.memory.clear()
      const earlier = this.bed.table.capacity * EARLIER_TIMES
      const traffic = { kind: 'dsr', protocol: 'TCP', layout: 'fixed', services: 0 } as const
      for (let sent = 0; sent < earlier; sent += EARLIER_AT_ONCE) {
        const family = (sent / EARLIER_AT_ONCE) % 2 === 0 ? 'ipv4' : 'ipv6'
        const from = EARLIER_FLOWS_AT + Math.floor(sent / 2)
        this.#send('xdp', requests({ ...traffic, family }, true, EARLIER_AT_ONCE, { from }))
      }
      this.memory.age(EARLIER_AGE_TICKS)
      return this.memory.snapshot()
    })
    return this.#full
  }
}
