// The planner of routing: what this node should announce, to whom, and why. Node facts, or the facts of one VIP, in; announcements
// out; pure, with the time and its own small memory as parameters. vip-plans.ts asks it about the VIPs that a change touches.
//
// A VIP is announced while any Service's gates are open (vip-gates.ts) and a rule gives it to somebody (exports.ts). A VIP that comes back
// after a withdrawal must have been servable for the hold-down time, and one that was withdrawn too often is suppressed (flap-damping.ts):
//   - for want of a local endpoint, or because the datapath let it go, it stays away: other nodes serve it;
//   - of a Cluster Service without endpoints the withdrawal itself is suppressed: all nodes would have to make it, and the flapping of a
//     pod would become an outage. The datapath refuses what comes, as it does in the grace period.
// What was withdrawn by wish (a drain, a label, another rule) comes back at once and counts as no flap.

import { type Address, addressBits, familyOf, type Prefix, prefixParts } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { FlapDamping, PeerExport, RoutingGates } from '../model/routing.ts'
import { type ExportSubject, exportsOf, type RulesOfRouting } from './exports.ts'
import { addFlap, decayed, type FlapRecord, NO_FLAPS, penaltyAt, reuseMs } from './flap-damping.ts'
import {
  CLUSTER_WITHDRAW_DELAY_MS,
  isByWish,
  judgeFact,
  type NodeState,
  type ShutGate,
  type VipFact,
} from './vip-gates.ts'

export interface NodeFacts {
  readonly loopbacks: readonly Prefix[]
  readonly podCidrs: readonly Prefix[]
}

/** What the plan of a VIP depends on beside its facts. */
export interface VipContext {
  readonly routing: RulesOfRouting
  readonly gates: RoutingGates
  readonly node: NodeState
  /** Name of the pool an address is from. */
  readonly poolOf: (address: Address) => string | undefined
}

/** What the planner remembers of one VIP. */
export interface VipMemory {
  /** Cluster Services that had an endpoint while it was announced, and when they lost it; undefined: they have one. */
  readonly endpointsLostMs: ReadonlyMap<string, number | undefined>
  readonly isAnnounced: boolean
  /** Set when it was withdrawn because this node could not serve it. */
  readonly wasLost: boolean
  /** Since when it has been servable while it is not announced. */
  readonly servableSinceMs: number | undefined
  readonly flaps: FlapRecord
}

export const NO_MEMORY: VipMemory = {
  endpointsLostMs: new Map(),
  isAnnounced: false,
  wasLost: false,
  servableSinceMs: undefined,
  flaps: NO_FLAPS,
}

export interface VipPlan {
  readonly announcement: Announcement | undefined
  /** What holds it back when it is not announced; every Service's gate, or the VIP's own. */
  readonly shut: readonly ShutGate[]
  readonly memory: VipMemory
  /** Plan again no later than this: a grace period, a hold-down or a suppression ends then. */
  readonly nextDueMs: number | undefined
}

/** The node's own addresses and its pods' networks. */
export function planNode({ loopbacks, podCidrs }: NodeFacts, routing: RulesOfRouting): Announcement[] {
  return [
    ...loopbacks.flatMap((prefix) => nodeRow(prefix, 'loopback', 'address of this node', routing)),
    ...podCidrs.flatMap((prefix) => nodeRow(prefix, 'pod-cidr', 'pods of this node', routing)),
  ]
}

/** @param facts of one VIP, from every Service that has it */
export function planVip(
  facts: readonly VipFact[],
  memory: VipMemory,
  context: VipContext,
  nowMs: number,
): VipPlan {
  const vip = facts[0]?.vip
  if (vip === undefined) return { announcement: undefined, shut: [], memory: NO_MEMORY, nextDueMs: undefined }
  const { damping } = context.gates
  const before = { ...memory, flaps: decayed(memory.flaps, damping, nowMs) }
  const seen = lookAtServices(facts, before, context, nowMs)
  const kept = seen.reasons.length > 0 ? undefined : keepFlapping(seen, before, damping, nowMs)
  const reasons = kept?.reasons ?? seen.reasons
  const exports = exportsOf(
    context.routing,
    reasons.map(({ fact }) => subjectOf(fact, context)),
  )
  const isWanted = exports.length > 0
  const shut = reasons.length > 0 && !isWanted ? [noRule(reasons)] : seen.shut
  const flaps = kept?.flaps ?? before.flaps
  const next = before.isAnnounced
    ? stayOrGo(isWanted, shut, { ...before, flaps }, damping, nowMs)
    : waitOrCome(isWanted, { ...before, flaps }, context.gates, nowMs)
  const { isAnnounced } = next.memory
  return {
    announcement: isAnnounced ? vipRow(vip, reasons, exports) : undefined,
    shut: isAnnounced ? [] : [...shut, ...next.shut],
    memory: { ...next.memory, endpointsLostMs: seen.endpointsLostMs },
    nextDueMs: earliest(earliest(seen.nextDueMs, kept?.nextDueMs), next.nextDueMs),
  }
}

interface Reason {
  readonly fact: VipFact
  readonly why: string
}

interface ServicesSeen {
  /** Why the VIP is wanted. */
  readonly reasons: readonly Reason[]
  readonly shut: readonly ShutGate[]
  /** Announced until now, held by the datapath, and out of endpoints for longer than the grace period. */
  readonly lost: readonly VipFact[]
  readonly endpointsLostMs: VipMemory['endpointsLostMs']
  readonly nextDueMs: number | undefined
}

/** In the order of their names, so that no plan depends on who came first. */
function lookAtServices(
  facts: readonly VipFact[],
  memory: VipMemory,
  { node, gates }: VipContext,
  nowMs: number,
): ServicesSeen {
  const reasons: Reason[] = []
  const shut: ShutGate[] = []
  const lost: VipFact[] = []
  const endpointsLostMs = new Map<string, number | undefined>()
  let nextDueMs: number | undefined
  for (const fact of sortedByService(facts)) {
    const { key } = fact.service
    const verdict = judgeFact(fact, node, familyOf(fact.vip), gates)
    if (verdict.kind === 'open') {
      reasons.push({ fact, why: verdict.why })
      if (fact.policy === 'Cluster') endpointsLostMs.set(key, undefined)
    } else if (verdict.kind === 'shut') shut.push(verdict.shut)
    else if (verdict.keep)
      reasons.push({ fact, why: `Service ${key} has no usable endpoint, and its VIP is kept` })
    else if (memory.isAnnounced && memory.endpointsLostMs.has(key)) {
      // Who never had an endpoint while the VIP was announced has nothing to lose.
      const lostMs = memory.endpointsLostMs.get(key) ?? nowMs
      const dueMs = lostMs + CLUSTER_WITHDRAW_DELAY_MS
      endpointsLostMs.set(key, lostMs)
      if (nowMs < dueMs) {
        nextDueMs = earliest(nextDueMs, dueMs)
        const seconds = CLUSTER_WITHDRAW_DELAY_MS / 1000
        reasons.push({ fact, why: `Service ${key} lost its last endpoint less than ${seconds} s ago` })
      } else {
        lost.push(fact)
        shut.push(verdict.shut)
      }
    } else shut.push(verdict.shut)
  }
  return { reasons, shut, lost, endpointsLostMs, nextDueMs }
}

/** A Cluster VIP that would be withdrawn once too often stays instead. Undefined: nothing of the kind. */
function keepFlapping(
  { lost }: ServicesSeen,
  { flaps }: VipMemory,
  damping: FlapDamping | undefined,
  nowMs: number,
): { reasons: Reason[]; flaps: FlapRecord; nextDueMs: number } | undefined {
  if (!damping || lost.length === 0) return undefined
  const next = flaps.suppressedMs === undefined ? addFlap(flaps, damping, nowMs) : flaps
  const nextDueMs = reuseMs(next, damping)
  if (nextDueMs === undefined) return undefined
  const until = new Date(nextDueMs).toISOString()
  const reasons = lost.map((fact) => ({
    fact,
    why: `Service ${fact.service.key} has no usable endpoint; it flaps, so the withdrawal is suppressed until ${until}`,
  }))
  return { reasons, flaps: next, nextDueMs }
}

interface NextState {
  readonly memory: VipMemory
  readonly shut: readonly ShutGate[]
  readonly nextDueMs: number | undefined
}

/** For a VIP that is announced. */
function stayOrGo(
  isWanted: boolean,
  shut: readonly ShutGate[],
  memory: VipMemory,
  damping: FlapDamping | undefined,
  nowMs: number,
): NextState {
  if (isWanted) return { memory, shut: [], nextDueMs: undefined }
  const wasLost = shut.length > 0 && !shut.some(isByWish)
  const flaps = wasLost && damping ? addFlap(memory.flaps, damping, nowMs) : memory.flaps
  return {
    memory: { ...memory, isAnnounced: false, wasLost, servableSinceMs: undefined, flaps },
    shut: [],
    nextDueMs: undefined,
  }
}

/** For one that is not. */
function waitOrCome(
  isWanted: boolean,
  memory: VipMemory,
  { holdDownMs, damping }: RoutingGates,
  nowMs: number,
): NextState {
  if (!isWanted) return { memory: { ...memory, servableSinceMs: undefined }, shut: [], nextDueMs: undefined }
  const servableSinceMs = memory.servableSinceMs ?? nowMs
  const heldUntilMs = memory.wasLost ? servableSinceMs + holdDownMs : servableSinceMs
  const suppressedUntilMs = damping && reuseMs(memory.flaps, damping)
  const shut = [
    ...(nowMs < heldUntilMs ? [heldDown(heldUntilMs, holdDownMs)] : []),
    ...(suppressedUntilMs !== undefined && damping
      ? [suppressed(suppressedUntilMs, penaltyAt(memory.flaps, damping, nowMs), damping)]
      : []),
  ]
  if (shut.length > 0) {
    const dueMs = Math.max(heldUntilMs, suppressedUntilMs ?? heldUntilMs)
    return { memory: { ...memory, servableSinceMs }, shut, nextDueMs: dueMs }
  }
  return {
    memory: { ...memory, isAnnounced: true, wasLost: false, servableSinceMs: undefined },
    shut: [],
    nextDueMs: undefined,
  }
}

function heldDown(untilMs: number, holdDownMs: number): ShutGate {
  return {
    gate: 'hold-down',
    why: `it was withdrawn, and has to be servable for ${holdDownMs / 1000} s without a break before it comes back`,
    mend: `nothing, it comes at ${new Date(untilMs).toISOString()}`,
  }
}

function suppressed(untilMs: number, penalty: number, damping: FlapDamping): ShutGate {
  return {
    gate: 'suppressed',
    why: `it was withdrawn too often: penalty ${Math.round(penalty)}, suppressed above ${damping.suppressThreshold} until it is below ${damping.reuseThreshold}`,
    mend: `find out why its endpoints come and go; it comes back by itself at ${new Date(untilMs).toISOString()}`,
  }
}

function noRule(reasons: readonly Reason[]): ShutGate {
  const names = [...new Set(reasons.map(({ fact }) => fact.service.key))].join(', ')
  const kinds = [...new Set(reasons.flatMap(({ fact }) => fact.kinds))].join(', ')
  return {
    gate: 'no-rule',
    why: `no rule gives this ${kinds} of Service ${names} to a peer that carries its family`,
    mend: "a rule that names its kind, pool, namespace and labels, and one of the peers; 'weir bgp why' lists those that come near",
  }
}

function subjectOf({ vip, kinds, service }: VipFact, { poolOf }: VipContext): ExportSubject {
  return { kinds, family: familyOf(vip), pool: poolOf(vip), service }
}

function sortedByService(facts: readonly VipFact[]): readonly VipFact[] {
  if (facts.length < 2) return facts
  return [...facts].sort((a, b) => (a.service.key < b.service.key ? -1 : 1))
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.min(a, b)
}

function nodeRow(
  prefix: Prefix,
  source: 'loopback' | 'pod-cidr',
  why: string,
  routing: RulesOfRouting,
): Announcement[] {
  const { family } = prefixParts(prefix)
  const exports = exportsOf(routing, [{ kinds: [source], family, pool: undefined, service: undefined }])
  return exports.length === 0 ? [] : [{ prefix, family, source, why, exports }]
}

function vipRow(vip: Address, reasons: readonly Reason[], exports: readonly PeerExport[]): Announcement {
  const family = familyOf(vip)
  const prefix = `${vip}/${addressBits(family)}` as Prefix
  const why = reasons.map((reason) => reason.why).join('; ')
  const unreadable = reasons.flatMap(({ fact: { service } }) => {
    const text = service.announcing?.unreadable
    return text === undefined ? [] : [`Service ${service.key} asks for: ${text}`]
  })
  return {
    ...{ prefix, family, source: 'service', why, exports },
    ...(unreadable.length === 0 ? {} : { unreadable: unreadable.join('; ') }),
  }
}
