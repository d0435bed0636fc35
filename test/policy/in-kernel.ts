// The kernel as one who decides about packets: compiled rows in its real maps, judged by the programs' own lib/policy.h.

import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { NODE_SUBJECT } from '../../src/datapath/policy-tables.ts'
import type { Address } from '../../src/model/address.ts'
import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../../src/model/policy.ts'
import type { PolicyJudgement } from '../../src/model/policy-judgement.ts'
import { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { type Decision, PolicyTables } from '../../src/policy/compile/decide.ts'
import { type WorldChange, wholeWorld } from '../../src/policy/compile/objects.ts'
import { PolicyJudge, SNAT_PORTS } from '../bpf/policy-judge.ts'
import { changedWorld } from './changing-world.ts'
import { compilerOptions, judgementOf, ownAddresses, unjudgedCause } from './compiled.ts'
import type { Decide } from './oracle.ts'

/** Small, for each world is read back when the next one takes over. */
const CAPACITIES = {
  policy_sets: 256,
  policy_classes: 2048,
  policy_ports: 1 << 15,
  policy_peers: 1 << 14,
  identities: 1 << 12,
  identity_prefixes: 1 << 12,
}
/** Longer than anything rests, and than a world lives. */
const REST_MS = 100_000
const WORLD_MS = REST_MS * 1000
const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132, other: 47 } as const

/** An agent's compiler and writer, and the kernel asked in its name. */
export class JudgedWorld {
  readonly #judge: PolicyJudge
  readonly #compiler: PolicyCompiler
  readonly #maps: PolicyMaps
  readonly #model = new PolicyTables()
  #world: PolicyWorld
  #now: number

  /** Takes the tables over from the one before. */
  constructor(judge: PolicyJudge, world: PolicyWorld, now: number) {
    this.#judge = judge
    this.#now = now
    this.#world = world
    this.#compiler = new PolicyCompiler(compilerOptions(world))
    this.#maps = new PolicyMaps(judge.tables, () => this.#now)
    this.apply(wholeWorld(world))
    this.#maps.settle()
  }

  get world(): PolicyWorld {
    return this.#world
  }

  apply(change: WorldChange): void {
    this.#now += REST_MS
    this.#maps.retire(() => false)
    this.#world = changedWorld(this.#world, change)
    const writes = this.#compiler.apply(change, this.#now)
    for (const write of writes) this.#model.apply(write)
    this.#maps.apply(writes)
    const { lockedSets, classes, subjects } = this.#maps.shortage
    if (lockedSets + classes + subjects > 0) throw new Error('the maps are too small for this world')
  }

  decide(packet: PolicyPacket, direction: PolicyDirection): PolicyJudgement {
    const own = ownAddresses(this.#world)
    // Programs masquerade what has ports, and know it by them: nobody asks the kernel about the rest.
    const hasPorts = packet.protocol !== 'icmp' && packet.protocol !== 'other'
    const isBeyond = packet.isMasqueraded && (direction === 'egress' || !hasPorts)
    const decision = isBeyond ? this.#model.decide(packet, direction, own) : this.#ask(packet, direction, own)
    return judgementOf(decision, this.#compiler, unjudgedCause(packet, this.#world))
  }

  /** Undefined: the kernel knows no such subject, so no program hangs before it. */
  #ask(packet: PolicyPacket, direction: PolicyDirection, own: ReadonlySet<string>): Decision | undefined {
    const [subject, peer] =
      direction === 'egress' ? [packet.source, packet.destination] : [packet.destination, packet.source]
    const isNode = own.has(subject)
    if (!this.#judge.tables.subjects.get(isNode ? NODE_SUBJECT : (subject as Address))) return undefined
    const icmp = packet.destination.includes(':') ? 58 : 1
    const [answer] = this.#judge.ask([
      {
        direction,
        subject: subject as Address,
        peer: peer as Address,
        protocol: packet.protocol === 'icmp' ? icmp : PROTOCOLS[packet.protocol],
        port: packet.port,
        sourcePort: packet.isMasqueraded ? SNAT_PORTS.first : SNAT_PORTS.first - 1,
        isLedBack: packet.isHairpin,
        // A pod's device sees that it came in by no other.
        isFromHost: own.has(peer) && !isNode && !packet.isMasqueraded,
        isNode,
      },
    ])
    return answer && { ...answer, epoch: 0 }
  }
}

/** To be closed. */
export class Kernel {
  readonly #judge = new PolicyJudge(CAPACITIES)
  #now = 0

  /** In place of the world before. */
  readonly begin = (world: PolicyWorld): JudgedWorld => {
    this.#now += WORLD_MS
    return new JudgedWorld(this.#judge, world, this.#now)
  }

  readonly decide: Decide = (world) => {
    const judged = this.begin(world)
    return (packet, direction) => judged.decide(packet, direction)
  }

  close(): void {
    this.#judge.close()
  }
}
