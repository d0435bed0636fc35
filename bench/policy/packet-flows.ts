// Packets between pods of this node and pods elsewhere, and the flows that they bring about at the pod's device.

import type { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'
import { type Frame, frame } from '../../test/bpf/packet.ts'
import { toPod } from '../packet/bed.ts'
import { addressIn, numberIn, PODS_HERE } from '../packet/cluster.ts'
import { type Driver, untilWhole } from '../packet/driver.ts'
import { FlowMemory, type FlowSnapshot } from '../packet/flow-snapshot.ts'
import { type Timed, WARM_ORDER } from '../packet/measure.ts'
import {
  type Ends,
  type PacketList,
  packetList,
  pingList,
  reordered,
  scrambled,
} from '../packet/packet-list.ts'
import { ORDER } from '../packet/population.ts'
import type { PolicyBed } from './packet-bed.ts'
import type { PodCase } from './packet-cases.ts'
import { CALLERS, CLOSED_PORT, OPEN_PORT, otherElsewhere, otherHere, otherPort } from './packet-world.ts'

const PAYLOAD_BYTES = 64
const PING_BYTES = 72
const FIRST_PORT = 1024
const PING = { ipv4: 8, ipv6: 128 } as const
const FROM_POD = { destination: toPod(0).source, source: toPod(0).destination }

/** Whose a flow is: places in the blocks `podHere` and `podElsewhere`, and both ports. */
export interface PodFlow {
  readonly here: number
  readonly elsewhere: number
  readonly callersPort: number
  readonly port: number
}

/** @param others policies besides the fixed ones */
export function flowOf({ phase, way, layout, protocol }: PodCase, flow: number, others: number): PodFlow {
  if (layout === 'spread') {
    const other = flow % others
    const port = way === 'ingress' ? otherPort(other) : OPEN_PORT
    const callersPort = FIRST_PORT + Math.floor(flow / others)
    return { here: otherHere(other), elsewhere: otherElsewhere(other), callersPort, port }
  }
  const port = phase === 'denied' ? CLOSED_PORT : OPEN_PORT
  // Pings have no ports: each pair of ends one.
  const elsewhere = protocol === 'ping' ? Math.floor(flow / PODS_HERE) % CALLERS : flow % CALLERS
  return { here: flow % PODS_HERE, elsewhere, callersPort: FIRST_PORT + Math.floor(flow / CALLERS), port }
}

/** The ends of the packet that begins it. */
function endsOf(of: PodCase, { here, elsewhere, callersPort, port }: PodFlow): Ends {
  const [pod, peer] = [numberIn('podHere', here), numberIn('podElsewhere', elsewhere)]
  return of.way === 'egress'
    ? { source: pod, sourcePort: callersPort, destination: peer, destinationPort: port }
    : { source: peer, sourcePort: callersPort, destination: pod, destinationPort: port }
}

const turned = ({ source, sourcePort, destination, destinationPort }: Ends): Ends => ({
  ...{ source: destination, sourcePort: destinationPort },
  ...{ destination: source, destinationPort: sourcePort },
})

type Part = 'first' | 'further' | 'answer'

/** In the order in which the flows begin. */
function packetsOf(of: PodCase, part: Part, others: number): PacketList {
  const { family, protocol, way } = of
  const isFromPod = (way === 'egress') === (part !== 'answer')
  const ends = Array.from({ length: of.flows }, (_, flow) => {
    const begun = endsOf(of, flowOf(of, flow, others))
    return part === 'answer' ? turned(begun) : begun
  })
  const [pod, peer] = [addressIn(family, 'podHere', 0), addressIn(family, 'podElsewhere', 0)]
  const blank = frame(isFromPod ? FROM_POD : toPod(0))
    .from(isFromPod ? pod : peer, 1)
    .to(isFromPod ? peer : pod, 1)
  if (protocol === 'ping')
    return pingList(family, blank.icmp(PING[family], 0, Buffer.alloc(PING_BYTES)), ends)
  return packetList(family, protocol, segment(blank, protocol, part), ends)
}

function segment(blank: Frame, protocol: 'TCP' | 'UDP', part: Part): Frame {
  const begun = protocol === 'UDP' ? blank.udp() : blank.tcp(part === 'first' ? 'syn' : 'ack')
  return begun.payload(PAYLOAD_BYTES)
}

/** The flows of one bed, as they were brought about: put back before each measurement. */
export class PodFlows {
  readonly bed: PolicyBed
  readonly driver: Driver
  readonly memory: FlowMemory
  readonly #known = new Map<string, FlowSnapshot>()

  constructor(bed: PolicyBed, driver: Driver) {
    this.bed = bed
    this.driver = driver
    this.memory = new FlowMemory(bed.datapath)
  }

  program({ way }: Pick<PodCase, 'way'>): BpfProgram {
    const { podTc, podEgressTc } = this.bed.datapath
    return way === 'egress' ? podTc : podEgressTc
  }

  /** In the order of measuring. */
  packets(of: PodCase): PacketList {
    const list = packetsOf(of, of.phase === 'established' ? 'further' : 'first', this.bed.others ?? 0)
    return reordered(list, scrambled(list.count, ORDER.measuring))
  }

  restore(of: PodCase): void {
    if (of.phase !== 'established') this.memory.clear()
    else {
      const snapshot = this.#known.get(of.id) ?? this.#begin(of)
      this.#known.set(of.id, snapshot)
      this.memory.restore(snapshot)
    }
  }

  timed(of: PodCase): Timed {
    const packets = this.packets(of)
    return {
      ...{ driver: this.driver, hook: 'tc', program: this.program(of), packets },
      warm: of.phase === 'established' ? reordered(packets, scrambled(packets.count, WARM_ORDER)) : undefined,
      // A denied one leaves nothing behind, and is another of the same kind when it comes again.
      isFresh: of.phase !== 'established',
      restore: () => this.restore(of),
    }
  }

  /** First packets, their answers, further packets. */
  #begin(of: PodCase): FlowSnapshot {
    const others = this.bed.others ?? 0
    const back = { way: of.way === 'egress' ? 'ingress' : 'egress' } as const
    return untilWhole(() => {
      this.memory.clear()
      this.#send(of, packetsOf(of, 'first', others))
      // The answer to a ping is an entry of its own.
      if (of.protocol !== 'ping') this.#send(back, packetsOf(of, 'answer', others))
      this.#send(of, reordered(packetsOf(of, 'further', others), scrambled(of.flows, ORDER.settling)))
      return this.memory.snapshot()
    })
  }

  #send(way: Pick<PodCase, 'way'>, packets: PacketList): void {
    this.driver.select('tc', this.program(way), packets)
    this.driver.run('tc', packets.count)
  }
}
