// Joins the service loop to the speaker: what the datapath serves now → VIP facts → announcements → gobgpd. Rule: a VIP is
// announced only after this node can serve it, so nothing is told to routers while an uplink lacks the program.

import type { Logger } from 'pino'
import { type Address, prefixContains } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { ObjectKey } from '../model/service.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { planNode, type VipFact } from '../routing/plan-announcements.ts'
import { VipPlans } from '../routing/vip-plans.ts'
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
  readonly #plans = new VipPlans()
  /** The node's own, until they have been told. */
  #own: readonly Announcement[]
  #timer: NodeJS.Timeout | undefined

  constructor(options: RoutingOptions) {
    this.#options = options
    const { routing, pools } = options.config
    this.#own = planNode(routing)
    const allowed = allowedPrefixes({ loopbacks: routing.loopbacks, podCidrs: routing.podCidrs, pools })
    this.#speaker = createSpeaker({
      gobgpSocket: routing.gobgp,
      config: { asn: routing.asn, routerId: routing.routerId, peers: routing.peers, allowed },
      log: options.log,
      onSessions: options.onSessions,
    })
  }

  /**
   * Tells gobgpd what changed. The first call starts the sessions.
   * @param changed Services as the kernel holds them now; undefined: not any more
   */
  update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): void {
    for (const [key, served] of changed) this.#plans.setService(key, served ? this.#vipFacts(served) : [])
    this.#replan()
  }

  #replan(): void {
    clearTimeout(this.#timer)
    const { changed, nextDueMs } = this.#plans.plan(this.#options.isDatapathServing(), Date.now())
    const own = this.#own.map((row) => [`${row.source} ${row.prefix}`, row] as const)
    this.#own = []
    this.#speaker.changeDesired(new Map<string, Announcement | undefined>([...own, ...changed]))
    if (nextDueMs === undefined) return
    this.#timer = setTimeout(() => this.#replan(), Math.max(1, nextDueMs - Date.now()))
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
  #vipFacts({ service, held, usable }: ServedService): VipFact[] {
    return [...new Set([...service.loadBalancerIps, ...service.externalIps])]
      .filter((vip) => this.#isFromPool(vip))
      .map((vip) => ({
        vip,
        service: service.key,
        isHeld: held.includes(vip),
        usableAnywhere: usable.anywhere,
        usableLocal: usable.here,
        externalTrafficPolicy: service.externalTrafficPolicy,
      }))
  }

  #isFromPool(vip: Address): boolean {
    return this.#options.config.pools.some((pool) =>
      pool.prefixes.some((prefix) => prefixContains(prefix, vip)),
    )
  }
}
