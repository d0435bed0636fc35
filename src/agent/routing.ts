// Joins the service loop to the speaker: what the datapath serves now → VIP facts → announcements → gobgpd. Rule: a VIP is
// announced only after this node can serve it, so nothing is told to routers while an uplink lacks the program.

import type { Logger } from 'pino'
import { type Address, prefixContains } from '../model/address.ts'
import type { ObjectKey } from '../model/service.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { planAnnouncements, type VipFact, type VipMemory } from '../routing/plan-announcements.ts'
import { createSpeaker, type Speaker, type SpeakerStatus } from '../speaker/speaker.ts'
import type { AgentConfig } from './config.ts'
import type { ServedService } from './service-loop.ts'

export interface RoutingOptions {
  readonly config: AgentConfig
  readonly log: Logger
  readonly isDatapathServing: () => boolean
  /** See SpeakerOptions. */
  readonly onSessions: (established: ReadonlyMap<string, boolean>) => void
}

export class Routing {
  readonly #options: RoutingOptions
  readonly #speaker: Speaker
  #memory: VipMemory = new Map()
  #served: ReadonlyMap<ObjectKey, ServedService> = new Map()
  #timer: NodeJS.Timeout | undefined

  constructor(options: RoutingOptions) {
    this.#options = options
    const { routing, pools } = options.config
    const allowed = allowedPrefixes({ loopbacks: routing.loopbacks, podCidrs: routing.podCidrs, pools })
    this.#speaker = createSpeaker({
      gobgpSocket: routing.gobgp,
      config: { asn: routing.asn, routerId: routing.routerId, peers: routing.peers, allowed },
      log: options.log,
      onSessions: options.onSessions,
    })
  }

  /** Plans anew from what the kernel holds now. The first call starts the sessions. */
  update(served: ReadonlyMap<ObjectKey, ServedService>): void {
    this.#served = served
    clearTimeout(this.#timer)
    const { loopbacks, podCidrs } = this.#options.config.routing
    const plan = planAnnouncements({ loopbacks, podCidrs }, this.#vipFacts(), this.#memory, Date.now())
    this.#memory = plan.memory
    this.#speaker.setDesired(plan.announcements)
    if (plan.nextDueMs === undefined) return
    this.#timer = setTimeout(() => this.update(this.#served), Math.max(1, plan.nextDueMs - Date.now()))
  }

  status(): Promise<SpeakerStatus> {
    return this.#speaker.status()
  }

  /** Leaves gobgpd and its routes as they are. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#speaker.close()
  }

  /** External addresses that lie in a pool; ClusterIPs and externalIPs outside stay where they are. */
  #vipFacts(): VipFact[] {
    const isServing = this.#options.isDatapathServing()
    const facts: VipFact[] = []
    for (const { service, held, usable } of this.#served.values()) {
      for (const vip of [...service.loadBalancerIps, ...service.externalIps]) {
        if (!this.#isFromPool(vip)) continue
        facts.push({
          vip,
          service: service.key,
          isHeld: isServing && held.includes(vip),
          usableAnywhere: usable.anywhere,
          usableLocal: usable.here,
          externalTrafficPolicy: service.externalTrafficPolicy,
        })
      }
    }
    return facts
  }

  #isFromPool(vip: Address): boolean {
    return this.#options.config.pools.some((pool) =>
      pool.prefixes.some((prefix) => prefixContains(prefix, vip)),
    )
  }
}
