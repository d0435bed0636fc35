// The plans of all VIPs, kept: which VIPs a changed Service touches, which are due by time, and what of their announcements differs
// since it was last asked. Work is in proportion to the change; only a change of the node itself (its datapath, its rules, a drain) plans
// all of them anew.

import { type Address, FAMILIES, familyOf } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { ObjectKey } from '../model/service.ts'
import { exportsKey } from './exports.ts'
import { NO_MEMORY, planVip, type VipContext, type VipMemory } from './plan-announcements.ts'
import { isByWish, type ShutGate, type VipFact } from './vip-gates.ts'
import { isWorthKeeping, type VipMemories } from './vip-memory.ts'

interface VipState {
  readonly facts: Map<ObjectKey, VipFact>
  memory: VipMemory
  announcement: Announcement | undefined
  shut: readonly ShutGate[]
}

export interface VipChanges {
  /** By VIP; undefined: no longer announced. */
  readonly changed: ReadonlyMap<Address, Announcement | undefined>
  /** Of those no longer announced: this node could still serve them. */
  readonly byWish: ReadonlySet<Address>
  /** Suppressed since this plan. */
  readonly suppressed: ReadonlySet<Address>
  /** Some wait yet: ask again soon. */
  readonly isMore: boolean
  /** Ask again no later than this. */
  readonly nextDueMs: number | undefined
}

/** One VIP as it stands, for whoever asks why. */
export interface VipView {
  readonly facts: readonly VipFact[]
  readonly announcement: Announcement | undefined
  readonly shut: readonly ShutGate[]
}

export class VipPlans {
  readonly #vips = new Map<Address, VipState>()
  readonly #vipsOf = new Map<ObjectKey, readonly Address[]>()
  /** VIPs that time changes, and when. */
  readonly #due = new Map<Address, number>()
  readonly #dirty = new Set<Address>()
  /** What an agent before remembered of VIPs that are not here yet. */
  readonly #remembered: Map<Address, VipMemory>
  /** VIPs of which the next agent must know. */
  readonly #memorable = new Set<Address>()
  #memoryEdition = 0
  #context: VipContext

  constructor(context: VipContext, remembered: VipMemories = new Map()) {
    this.#context = context
    this.#remembered = new Map(remembered)
  }

  /** Another one whenever `memories` may be others. */
  get memoryEdition(): number {
    return this.#memoryEdition
  }

  /** What the next agent must know. */
  memories(nowMs: number): VipMemories {
    const { damping } = this.#context.gates
    const own = [...this.#memorable].flatMap((vip) => {
      const state = this.#vips.get(vip)
      return state ? [[vip, state.memory] as const] : []
    })
    const all = [...this.#remembered, ...own]
    return new Map(all.filter(([, memory]) => isWorthKeeping(memory, damping, nowMs)))
  }

  /** @param facts every VIP this Service has now, each once; none: it has gone */
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

  /** From the next plan on. Plans anew what it touches: all VIPs, or those of the families that turned. */
  setContext(context: VipContext): void {
    const before = this.#context
    this.#context = context
    const isSame =
      before.routing === context.routing &&
      before.gates === context.gates &&
      before.poolOf === context.poolOf &&
      before.node.isDrained === context.node.isDrained &&
      before.node.isExcluded === context.node.isExcluded
    const turned = FAMILIES.filter(
      (family) => !isSame || before.node.serving.has(family) !== context.node.serving.has(family),
    )
    // With each change of a Service, of which there may be thousands.
    if (turned.length === 0) return
    for (const vip of this.#vips.keys()) if (turned.includes(familyOf(vip))) this.#dirty.add(vip)
  }

  /**
   * Plans what changed or is due.
   * @param most how many VIPs to plan at a stretch
   */
  plan(nowMs: number, most = Number.POSITIVE_INFINITY): VipChanges {
    for (const [vip, dueMs] of this.#due) if (dueMs <= nowMs) this.#dirty.add(vip)
    const changed = new Map<Address, Announcement | undefined>()
    const byWish = new Set<Address>()
    const suppressed = new Set<Address>()
    let planned = 0
    for (const vip of this.#dirty) {
      if (planned >= most) break
      planned += 1
      this.#dirty.delete(vip)
      const { before, after } = this.#planOne(vip, nowMs)
      if (!sameAnnouncement(before.announcement, after.announcement)) changed.set(vip, after.announcement)
      if (!after.announcement) {
        const wasByWish = before.shut.some(isByWish)
        if (after.shut.some(isByWish)) byWish.add(vip)
        // It may still wait for its turn, and must not any more.
        else if (wasByWish) changed.set(vip, undefined)
      }
      const { suppressedMs } = after.memory.flaps
      if (suppressedMs !== undefined && before.memory.flaps.suppressedMs === undefined) suppressed.add(vip)
    }
    let nextDueMs: number | undefined
    for (const dueMs of this.#due.values()) nextDueMs = Math.min(nextDueMs ?? dueMs, dueMs)
    return { changed, byWish, suppressed, isMore: this.#dirty.size > 0, nextDueMs }
  }

  /** Undefined: no Service of this node has it. */
  view(vip: Address): VipView | undefined {
    const state = this.#vips.get(vip)
    return state && { ...state, facts: [...state.facts.values()] }
  }

  #planOne(vip: Address, nowMs: number): { before: VipState; after: VipState } {
    const state = this.#stateOf(vip)
    const before = { ...state }
    const plan = planVip([...state.facts.values()], state.memory, this.#context, nowMs)
    if (plan.nextDueMs === undefined) this.#due.delete(vip)
    else this.#due.set(vip, plan.nextDueMs)
    state.memory = plan.memory
    state.announcement = plan.announcement
    state.shut = plan.shut
    if (state.facts.size === 0) this.#vips.delete(vip)
    this.#noteMemory(vip, state, nowMs)
    return { before, after: state }
  }

  #noteMemory(vip: Address, { facts, memory }: VipState, nowMs: number): void {
    const isMemorable = facts.size > 0 && isWorthKeeping(memory, this.#context.gates.damping, nowMs)
    if (isMemorable || this.#memorable.has(vip)) this.#memoryEdition += 1
    if (isMemorable) this.#memorable.add(vip)
    else this.#memorable.delete(vip)
  }

  #stateOf(vip: Address): VipState {
    const known = this.#vips.get(vip)
    if (known) return known
    const memory = this.#remembered.get(vip) ?? NO_MEMORY
    this.#remembered.delete(vip)
    const made: VipState = { facts: new Map(), memory, announcement: undefined, shut: [] }
    this.#vips.set(vip, made)
    return made
  }
}

function sameAnnouncement(left: Announcement | undefined, right: Announcement | undefined): boolean {
  if (left === undefined || right === undefined) return left === right
  if (left.why !== right.why || left.unreadable !== right.unreadable) return false
  return exportsKey(left.exports) === exportsKey(right.exports)
}
