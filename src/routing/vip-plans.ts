// The plans of all VIPs, kept: which VIPs a changed Service touches, which are due by time, and what of their announcements differs
// since it was last asked. Work is in proportion to the change; only a change of the datapath itself plans all of them anew.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { ObjectKey } from '../model/service.ts'
import { planVip, type VipFact, type VipMemory } from './plan-announcements.ts'

interface VipState {
  readonly facts: Map<ObjectKey, VipFact>
  memory: VipMemory
  announcement: Announcement | undefined
}

export interface VipChanges {
  /** By VIP; undefined: no longer announced. */
  readonly changed: ReadonlyMap<Address, Announcement | undefined>
  /** Some wait yet: ask again soon. */
  readonly isMore: boolean
  /** Ask again no later than this. */
  readonly nextDueMs: number | undefined
}

const NO_MEMORY: VipMemory = new Map()

export class VipPlans {
  readonly #vips = new Map<Address, VipState>()
  readonly #vipsOf = new Map<ObjectKey, readonly Address[]>()
  /** VIPs in a grace period, and when it ends. */
  readonly #due = new Map<Address, number>()
  readonly #dirty = new Set<Address>()
  #serving: ReadonlySet<Family> = new Set()

  /** @param facts every VIP this Service has now; none: it has gone */
  setService(service: ObjectKey, facts: readonly VipFact[]): void {
    const before = this.#vipsOf.get(service) ?? []
    for (const vip of before) {
      if (facts.some((fact) => fact.vip === vip)) continue
      this.#vips.get(vip)?.facts.delete(service)
      this.#dirty.add(vip)
    }
    for (const fact of facts) {
      this.#stateOf(fact.vip).facts.set(service, fact)
      this.#dirty.add(fact.vip)
    }
    if (facts.length > 0)
      this.#vipsOf.set(
        service,
        facts.map(({ vip }) => vip),
      )
    else this.#vipsOf.delete(service)
  }

  /**
   * Plans what changed or is due.
   * @param serving families that the datapath is attached and has a way out for; nothing is announced of the others
   * @param most how many VIPs to plan at a stretch
   */
  plan(serving: ReadonlySet<Family>, nowMs: number, most = Number.POSITIVE_INFINITY): VipChanges {
    const turned = FAMILIES.filter((family) => serving.has(family) !== this.#serving.has(family))
    if (turned.length > 0)
      for (const vip of this.#vips.keys()) if (turned.includes(familyOf(vip))) this.#dirty.add(vip)
    this.#serving = serving
    for (const [vip, dueMs] of this.#due) if (dueMs <= nowMs) this.#dirty.add(vip)
    const changed = new Map<Address, Announcement | undefined>()
    let planned = 0
    for (const vip of this.#dirty) {
      if (planned >= most) break
      planned += 1
      this.#dirty.delete(vip)
      this.#planOne(vip, nowMs, changed)
    }
    let nextDueMs: number | undefined
    for (const dueMs of this.#due.values()) nextDueMs = Math.min(nextDueMs ?? dueMs, dueMs)
    return { changed, isMore: this.#dirty.size > 0, nextDueMs }
  }

  #planOne(vip: Address, nowMs: number, changed: Map<Address, Announcement | undefined>): void {
    const state = this.#vips.get(vip)
    if (!state) return
    const facts = [...state.facts.values()].map((fact) =>
      fact.isHeld && !this.#serving.has(familyOf(vip)) ? { ...fact, isHeld: false } : fact,
    )
    const { announcement, memory, nextDueMs } = planVip(facts, state.memory, nowMs)
    if (announcement?.why !== state.announcement?.why) changed.set(vip, announcement)
    if (nextDueMs === undefined) this.#due.delete(vip)
    else this.#due.set(vip, nextDueMs)
    state.memory = memory
    state.announcement = announcement
    if (state.facts.size === 0) this.#vips.delete(vip)
  }

  #stateOf(vip: Address): VipState {
    const known = this.#vips.get(vip)
    if (known) return known
    const made: VipState = { facts: new Map(), memory: NO_MEMORY, announcement: undefined }
    this.#vips.set(vip, made)
    return made
  }
}
