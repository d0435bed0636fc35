// The bed of single packets, with policy compiled and written by the product's own compiler and writer.

import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import type { PolicyWorld } from '../../src/model/policy.ts'
import type { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { wholeWorld } from '../../src/policy/compile/objects.ts'
import { Bed, LOOPBACK_IFINDEX } from '../packet/bed.ts'
import { SELF } from '../packet/cluster.ts'
import { benchCompiler } from './cluster.ts'
import { PODS, packetWorld } from './packet-world.ts'

/** Services besides those that the packets of a pod's Service go to. */
const SERVICES = 10

export interface PolicyGround {
  readonly isEnforced: boolean
  /** Policies and identities besides the fixed ones; undefined: no policy at all. */
  readonly others: number | undefined
  /** Directory of compiled objects; undefined: this checkout's. */
  readonly objects?: string | undefined
}

export class PolicyBed extends Bed {
  readonly isEnforced: boolean
  readonly others: number | undefined
  readonly #compiler: PolicyCompiler
  readonly tables: ReturnType<typeof policyTables>

  constructor({ isEnforced, others, objects }: PolicyGround) {
    super({
      ...{ services: SERVICES, objects, podIfindex: LOOPBACK_IFINDEX, pods: PODS },
      settings: { enforcesPolicy: isEnforced },
    })
    this.isEnforced = isEnforced
    this.others = others
    this.tables = policyTables(this.datapath.map)
    this.#compiler = benchCompiler(SELF)
    if (isEnforced) this.#write()
  }

  nameOf(rule: number): ReturnType<PolicyCompiler['nameOf']> {
    return this.#compiler.nameOf(rule)
  }

  #write(): void {
    try {
      writeWorld(new PolicyMaps(this.tables, () => 0), this.#compiler, packetWorld(this.others))
    } catch (error) {
      this.close()
      throw error
    }
  }
}

/** @throws when something found no room */
export function writeWorld(maps: PolicyMaps, compiler: PolicyCompiler, world: PolicyWorld): void {
  maps.apply(compiler.apply(wholeWorld(world), 0))
  const short = Object.entries(maps.shortage).filter(([, count]) => count > 0)
  if (short.length > 0)
    throw new Error(`${world.policies.length} policies found no room: ${JSON.stringify(maps.shortage)}`)
}
