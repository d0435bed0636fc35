// The plans of all VIPs, kept: which VIPs a changed Service touches, which are due by time, and what of their announcements differs
// since it was last asked. Work is in proportion to the change; only a change of the datapath itself plans all of them anew.

import type { Address } from '../model/address.ts'
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
  /** Ask again no later than this. */
  readonly nextDueMs: number | undefined
}

const NO_MEMORY: VipMemory = new Map()

export class VipPlans {
  readonly #vips = new Map<Address, VipState>()
  readonly #vipsOf = new Map<ObjectKey, readonly Address[]>()
  /** VIPs in a grace period, and when it ends. */
  readonly #due = new Map<Address, number>()
  #dirty = new Set<Address>()
  #isServing = false

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
   * @param isServing whether the datapath is attached; nothing is announced while it is not
   */
  plan(isServing: boolean, nowMs: number): VipChanges {
    if (isServing !== this.#isServing) for (const vip of this.#vips.keys()) this.#dirty.add(vip)
    this.#isServing = isServing
    for (const [vip, dueMs] of this.#due) if (dueMs <= nowMs) this.#dirty.add(vip)
    const dirty = this.#dirty
    this.#dirty = new Set()
    const changed = new Map<Address, Announcement | undefined>()
    for (const vip of dirty) this.#planOne(vip, nowMs, changed)
    const nextDueMs = this.#due.size > 0 ? Math.min(...this.#due.values()) : undefined
    return { changed, nextDueMs }
  }

  #planOne(vip: Address, nowMs: number, changed: Map<Address, Announcement | undefined>): void {
    const state = this.#vips.get(vip)
    if (!state) return
    const facts = [...state.facts.values()].map((fact) =>
      fact.isHeld && !this.#isServing ? { ...fact, isHeld: false } : fact,
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
