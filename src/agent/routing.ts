// Joins the service loop to the speaker: what the datapath serves now → VIP facts → announcements → gobgpd. Rule: a VIP is
// announced only after this node can serve it, so nothing is told to routers while an uplink lacks the program.

import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Address, type Family, prefixContains } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { ObjectKey } from '../model/service.ts'
import { allowedPrefixes } from '../routing/allowed.ts'
import { planNode, type VipFact } from '../routing/plan-announcements.ts'
import { VipPlans } from '../routing/vip-plans.ts'
import type { SpeakerPeer } from '../speaker/peers.ts'
import { createSpeaker, type Speaker, type SpeakerStatus } from '../speaker/speaker.ts'
import type { AgentConfig } from './config.ts'
import { nodeRouting } from './node-routing.ts'
import type { ServedService } from './service-loop.ts'

/** Services, or VIPs, worked on at a stretch: some milliseconds. */
const SLICE = 500

export interface RoutingOptions {
  readonly config: AgentConfig
  readonly log: Logger
  /** Families that this node can serve clients in now. */
  readonly served: () => ReadonlySet<Family>
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
  /** One update after another. */
  #updating: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(options: RoutingOptions) {
    this.#options = options
    const { pools } = options.config
    const routing = nodeRouting(options.config)
    this.#own = planNode(routing)
    const allowed = allowedPrefixes({ loopbacks: routing.loopbacks, podCidrs: routing.podCidrs, pools })
    this.#speaker = createSpeaker({
      gobgpSocket: options.config.routing.gobgp,
      config: {
        asn: routing.asn,
        routerId: routing.routerId,
        peers: speakerPeers(routing),
        allowed,
        announcementsMax: routing.limits.announcementsMax,
      },
      log: options.log,
      onSessions: options.onSessions,
    })
  }

  /**
   * Tells gobgpd what changed. The first call starts the sessions. Thousands are worked on in slices, and told at once.
   * @param changed Services as the kernel holds them now; undefined: not any more
   */
  update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    this.#updating = this.#updating.then(() => this.#update(changed))
    return this.#updating
  }

  async #update(changed: ReadonlyMap<ObjectKey, ServedService | undefined>): Promise<void> {
    clearTimeout(this.#timer)
    let count = 0
    for (const [key, served] of changed) {
      this.#plans.setService(key, served ? this.#vipFacts(served) : [])
      count += 1
      if (count % SLICE === 0) await setImmediate()
    }
    let own = this.#own.map((row) => [`${row.source} ${row.prefix}`, row] as const)
    this.#own = []
    for (;;) {
      const plan = this.#plans.plan(this.#options.served(), Date.now(), SLICE)
      this.#speaker.changeDesired(
        new Map<string, Announcement | undefined>([...own, ...plan.changed]),
        plan.isMore,
      )
      own = []
      if (!plan.isMore) {
        this.#planAgain(plan.nextDueMs)
        return
      }
      await setImmediate()
    }
  }

  #planAgain(dueMs: number | undefined): void {
    if (dueMs === undefined || this.#isClosed) return
    this.#timer = setTimeout(() => void this.update(new Map()), Math.max(1, dueMs - Date.now()))
  }

  status(): Promise<SpeakerStatus> {
    return this.#speaker.status()
  }

  /** Leaves gobgpd and its routes as they are. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#updating
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

/** Sessions with an address, an AS number and one family. */
function speakerPeers({ asn, peers }: NodeRouting): SpeakerPeer[] {
  return peers.flatMap(({ remote, families: [family], localAddress, port, ...peer }) => {
    const number = peer.asn === 'internal' ? asn : peer.asn
    if (remote.kind !== 'address' || number === 'external' || family === undefined) return []
    return [{ address: remote.address, asn: number, family, localAddress, port }]
  })
}
