// The planner of routing: what this node should announce, and why. Node facts, or the facts of one VIP, in; announcements out; pure,
// with the time and its own small memory as parameters. vip-plans.ts asks it about the VIPs that a change touches.
//
// A VIP is announced when the datapath holds it and a usable endpoint exists: on this node where the Service's policy is Local,
// anywhere where it is Cluster. Readiness of the API object alone is never enough. It is withdrawn
//   - at once when the datapath no longer holds it, or when a Local Service loses its last endpoint here: other nodes serve it;
//   - after a grace period when a Cluster Service loses its last endpoint anywhere: no node serves it better, so a rollout's gap
//     of a second need not reach every router. Until then the datapath refuses connections by itself.
// A VIP that several Services share stays while any of them qualifies.

import {
  type Address,
  addressBits,
  type Family,
  familyOf,
  type Prefix,
  prefixParts,
} from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { TrafficPolicy } from '../model/service.ts'

export const CLUSTER_WITHDRAW_DELAY_MS = 2_000

export interface NodeFacts {
  readonly loopbacks: readonly Prefix[]
  readonly podCidrs: readonly Prefix[]
}

/** One VIP of one Service, as the datapath and the endpoints stand now. */
export interface VipFact {
  readonly vip: Address
  /** `namespace/name`, for `why`. */
  readonly service: string
  /** The datapath has this VIP's frontends and backends loaded. */
  readonly isHeld: boolean
  readonly usableAnywhere: number
  readonly usableLocal: number
  readonly externalTrafficPolicy: TrafficPolicy
}

/** An announced VIP of a Cluster Service. */
export interface VipRecord {
  /** When the first plan found it without an endpoint; undefined while it has one. */
  readonly lostMs: number | undefined
}

/** What the planner remembers of one VIP, by Service; start with an empty one. */
export type VipMemory = ReadonlyMap<string, VipRecord>

export interface VipPlan {
  readonly announcement: Announcement | undefined
  readonly memory: VipMemory
  /** Plan again no later than this: a grace period ends then. */
  readonly nextDueMs: number | undefined
}

/** The node's own addresses and its pods' networks. */
export function planNode({ loopbacks, podCidrs }: NodeFacts): Announcement[] {
  return [
    ...loopbacks.map((prefix) => nodeRow(prefix, 'loopback', 'address of this node')),
    ...podCidrs.map((prefix) => nodeRow(prefix, 'pod-cidr', 'pods of this node')),
  ]
}

/** @param facts of one VIP, from every Service that has it */
export function planVip(facts: readonly VipFact[], memory: VipMemory, nowMs: number): VipPlan {
  const nextMemory = new Map<string, VipRecord>()
  const whys: string[] = []
  let nextDueMs: number | undefined
  for (const fact of facts) {
    const verdict = judgeVip(fact, memory.get(fact.service), nowMs)
    if (!verdict) continue
    if (verdict.record) nextMemory.set(fact.service, verdict.record)
    if (verdict.dueMs !== undefined) nextDueMs = Math.min(nextDueMs ?? verdict.dueMs, verdict.dueMs)
    whys.push(verdict.why)
  }
  const vip = facts[0]?.vip
  const announcement = vip === undefined || whys.length === 0 ? undefined : vipRow(vip, whys.join('; '))
  return { announcement, memory: nextMemory, nextDueMs }
}

interface VipVerdict {
  readonly why: string
  readonly record?: VipRecord
  readonly dueMs?: number
}

/** Undefined: do not announce for this Service's sake. */
function judgeVip(fact: VipFact, record: VipRecord | undefined, nowMs: number): VipVerdict | undefined {
  if (!fact.isHeld) return undefined
  const subject = `Service ${fact.service}`
  if (fact.externalTrafficPolicy === 'Local')
    return fact.usableLocal > 0
      ? { why: `${subject} has ${countEndpoints(fact.usableLocal)} on this node` }
      : undefined
  if (fact.usableAnywhere > 0)
    return { why: `${subject} has ${countEndpoints(fact.usableAnywhere)}`, record: { lostMs: undefined } }
  if (!record) return undefined
  const lostMs = record.lostMs ?? nowMs
  const dueMs = lostMs + CLUSTER_WITHDRAW_DELAY_MS
  if (nowMs >= dueMs) return undefined
  return {
    why: `${subject} lost its last endpoint less than ${CLUSTER_WITHDRAW_DELAY_MS / 1000} s ago`,
    record: { lostMs },
    dueMs,
  }
}

function countEndpoints(count: number): string {
  return count === 1 ? '1 usable endpoint' : `${count} usable endpoints`
}

function nodeRow(prefix: Prefix, source: 'loopback' | 'pod-cidr', why: string): Announcement {
  return { prefix, family: prefixParts(prefix).family, source, why }
}

function vipRow(vip: Address, why: string): Announcement {
  const family: Family = familyOf(vip)
  return { prefix: `${vip}/${addressBits(family)}` as Prefix, family, source: 'service', why }
}
