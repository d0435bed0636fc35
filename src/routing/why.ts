// Why a prefix is announced, or is not: every gate, rule and check between a Service and a router, in the order they are asked, with what
// would open those that are shut. Pure; it repeats the planner's questions and asks them one by one.

import type { Address, Family, Prefix } from '../model/address.ts'
import { type AnnouncementRow, REFUSAL_MENDS, type RefusedAnnouncement } from '../model/announcement.ts'
import { showCommunity } from '../model/communities.ts'
import type { AnnounceKind, DrainMark, PeerExport, RouteAttributes } from '../model/routing.ts'
import { type ExportSubject, type RuleMismatch, ruleMismatch } from './exports.ts'
import type { VipContext } from './plan-announcements.ts'
import { judgeFact, type VipFact } from './vip-gates.ts'
import type { VipView } from './vip-plans.ts'

export interface WhyFacts {
  readonly prefix: Prefix
  readonly family: Family
  /** Of the node itself: `loopback` or `pod-cidr`; undefined: an address of Services, if of anybody. */
  readonly own: 'loopback' | 'pod-cidr' | undefined
  readonly pool: string | undefined
  /** Services of this node that have the address, whatever it is to them. */
  readonly facts: readonly VipFact[]
  /** Undefined: no plan looks at it, for no rule names its kind. */
  readonly view: VipView | undefined
  readonly context: VipContext
  /** What the planner asks for, or would if every gate were open, before guard and pace. */
  readonly exports: readonly PeerExport[]
  readonly refusal: RefusedAnnouncement | undefined
  /** Why a change of it is not told yet. */
  readonly waits: string | undefined
  /** As gobgpd has it. */
  readonly told: AnnouncementRow['status'] | undefined
  readonly mark: DrainMark | undefined
  /** Names of the peers whose session is up. */
  readonly established: ReadonlySet<string>
}

/** One question and its answer. */
export interface WhyCheck {
  readonly check: string
  readonly isOpen: boolean
  readonly detail: string
  /** What would open it. */
  readonly mend?: string
}

export interface WhyPeer {
  readonly peer: string
  readonly isTold: boolean
  /** As the peer gets them, a drain's mark included. */
  readonly attributes: RouteAttributes | undefined
  readonly detail: string
}

export interface Why {
  readonly prefix: Prefix
  /** The address that was asked about, where it has no prefix of its own, and this tells of the one that leads to it. */
  readonly asked?: Address
  readonly isAnnounced: boolean
  /** One sentence. */
  readonly summary: string
  readonly checks: readonly WhyCheck[]
  readonly peers: readonly WhyPeer[]
}

export function explainPrefix(facts: WhyFacts): Why {
  const checks = [
    askedFor(facts),
    ...facts.facts.map((fact) => serviceGate(fact, facts)),
    ...vipGates(facts),
    ...ruleChecks(facts),
    ...facts.facts.flatMap(annotationCheck),
    ...guardCheck(facts),
    ...(facts.waits === undefined ? [] : [{ check: 'pace', isOpen: false, detail: facts.waits }]),
    ...daemonCheck(facts),
    ...drainCheck(facts),
  ]
  const isAnnounced = facts.told?.kind === 'announced' && facts.exports.length > 0
  return {
    prefix: facts.prefix,
    isAnnounced,
    summary: summarize(facts, checks, isAnnounced),
    checks,
    peers: peersOf(facts),
  }
}

function summarize(facts: WhyFacts, checks: readonly WhyCheck[], isAnnounced: boolean): string {
  const { prefix, view, own } = facts
  if (isAnnounced) {
    const why = view?.announcement?.why ?? (own === undefined ? '' : 'it is of the node itself')
    return `${prefix} is announced: ${why}`
  }
  return `${prefix} is not announced: ${whatHoldsItBack(facts, checks)}`
}

/** Of several Services one is enough, so a shut gate of another holds nothing back. */
function whatHoldsItBack({ view, refusal, waits }: WhyFacts, checks: readonly WhyCheck[]): string {
  if (view && !view.announcement) return view.shut.map(({ why }) => why).join('; ')
  if (refusal) return refusal.reason
  if (waits !== undefined) return waits
  return checks.find(({ isOpen }) => !isOpen)?.detail ?? 'gobgpd has not been told yet'
}

function askedFor({ prefix, own, facts, pool }: WhyFacts): WhyCheck {
  const check = 'asked for'
  if (own !== undefined) return { check, isOpen: true, detail: `it is this node's ${own}` }
  const from = pool === undefined ? 'it is from no pool' : `it is from pool ${pool}`
  if (facts.length > 0) {
    const services = facts
      .map(({ service, kinds }) => `Service ${service.key} (${kinds.join(', ')})`)
      .join(', ')
    return { check, isOpen: true, detail: `${services}; ${from}` }
  }
  return {
    check,
    isOpen: false,
    detail: `no Service of this node has ${prefix}, and it is not the node's own; ${from}`,
    mend: "see 'kubectl get services -A' for who should have it",
  }
}

function serviceGate(fact: VipFact, { context, family }: WhyFacts): WhyCheck {
  const check = `gate of ${fact.service.key}`
  const verdict = judgeFact(fact, context.node, family, context.gates)
  if (verdict.kind === 'open') return { check, isOpen: true, detail: verdict.why }
  const { why, mend } = verdict.shut
  if (verdict.kind === 'lost' && verdict.keep)
    return { check, isOpen: true, detail: `${why}, and its VIP is kept` }
  return { check, isOpen: false, detail: why, mend }
}

/** Those that no Service has, but the VIP: hold-down, suppression, and the grace that keeps it. */
function vipGates({ view }: WhyFacts): WhyCheck[] {
  if (!view) return []
  if (view.announcement) return [{ check: 'VIP', isOpen: true, detail: view.announcement.why }]
  return view.shut
    .filter(({ gate }) => gate === 'hold-down' || gate === 'suppressed')
    .map(({ gate, why, mend }) => ({ check: gate, isOpen: false, detail: why, mend }))
}

const MISMATCHES: Readonly<Record<RuleMismatch, string>> = {
  kind: 'names other kinds of addresses',
  family: 'is for the other family',
  pool: 'asks for another pool',
  namespace: 'is for other namespaces',
  labels: 'selects Services by labels that this one has not',
}

function ruleChecks(facts: WhyFacts): WhyCheck[] {
  const subjects = subjectsOf(facts)
  if (subjects.length === 0) return []
  const { rules } = facts.context.routing
  if (rules.length === 0)
    return [{ check: 'rules', isOpen: false, detail: 'there are no rules of announcing', mend: 'write one' }]
  const checks = rules.map((rule): WhyCheck & { readonly isNear: boolean } => {
    const misses = subjects.map((subject) => ruleMismatch(rule, subject))
    const matches = misses.includes(undefined)
    const to = rule.peers === undefined ? 'every peer' : rule.peers.join(', ') || 'nobody'
    const does = rule.isOnlyAttributes ? `adds attributes for ${to}` : `gives it to ${to}`
    const miss = misses.find((one) => one !== undefined && one !== 'kind') ?? 'kind'
    return {
      check: `rule ${rule.source}`,
      isOpen: matches,
      detail: matches ? does : MISMATCHES[miss],
      isNear: matches || miss !== 'kind',
    }
  })
  const near = checks.filter(({ isNear }) => isNear)
  const shown = (near.length > 0 ? near : checks).map(({ isNear: _, ...check }) => check)
  // Where one rule lets it out, those that do not are no obstacle.
  return facts.exports.length > 0 ? shown.filter(({ isOpen }) => isOpen) : [...shown, ...nobody(shown)]
}

function nobody(rules: readonly WhyCheck[]): WhyCheck[] {
  if (rules.some(({ isOpen }) => !isOpen)) return []
  return [
    {
      check: 'peers',
      isOpen: false,
      detail: 'no peer that a rule names is there and carries this family',
      mend: "a session that carries it, or another rule; the Service's annotation weir.network/bgp-peers may leave none",
    },
  ]
}

function subjectsOf({ own, family, pool, facts }: WhyFacts): readonly ExportSubject[] {
  if (own !== undefined)
    return [{ kinds: [own] as AnnounceKind[], family, pool: undefined, service: undefined }]
  return facts.map(({ kinds, service }) => ({ kinds, family, pool, service }))
}

function annotationCheck({ service: { key, announcing } }: VipFact): WhyCheck[] {
  const { unreadable, overruled } = announcing ?? {}
  const text = unreadable ?? overruled
  if (text === undefined) return []
  const detail = overruled === undefined ? text : `${text}; what they said before that stays in force`
  const mend = 'write the annotation as it is meant, or take it away'
  return [{ check: `annotations of ${key}`, isOpen: unreadable === undefined, detail, mend }]
}

/** Of what nobody asks for it has judged nothing. */
function guardCheck(facts: WhyFacts): WhyCheck[] {
  const { refusal } = facts
  if (!refusal && isUnasked(facts)) return []
  if (!refusal) return [{ check: 'guard', isOpen: true, detail: 'nothing is held against it' }]
  const { reason, code } = refusal
  // The annotation's own line says how to mend it.
  const mend = code === 'bad-annotation' ? {} : { mend: REFUSAL_MENDS[code] }
  return [{ check: 'guard', isOpen: false, detail: reason, ...mend }]
}

function isUnasked({ own, facts }: WhyFacts): boolean {
  return own === undefined && facts.length === 0
}

function daemonCheck({ told, exports }: WhyFacts): WhyCheck[] {
  if (told === undefined || exports.length === 0) return []
  if (told.kind === 'announced')
    return [{ check: 'gobgpd', isOpen: true, detail: `has it since ${new Date(told.sinceMs).toISOString()}` }]
  const detail = told.reason ?? 'has not been told yet'
  return [{ check: 'gobgpd', isOpen: false, detail, mend: "see 'weir bgp peers'" }]
}

function drainCheck({ mark }: WhyFacts): WhyCheck[] {
  if (!mark) return []
  return [
    {
      check: 'drain',
      isOpen: true,
      detail: `this node drains: everything it announces carries ${mark.communities.map(showCommunity).join(' ')}`,
    },
  ]
}

function peersOf(facts: WhyFacts): WhyPeer[] {
  const { exports, context, family, mark, told, established } = facts
  const nothing = isUnasked(facts) ? 'nobody asks for it' : 'no rule gives it to this peer'
  return context.routing.peers.map((peer) => {
    const given = exports.find(({ peers }) => peers.includes(peer.name))
    const base = { peer: peer.name, attributes: undefined }
    if (!peer.families.includes(family))
      return { ...base, isTold: false, detail: `its session does not carry ${family}` }
    if (!given) return { ...base, isTold: false, detail: nothing }
    const isUp = established.has(peer.name)
    const isTold = told?.kind === 'announced' && isUp
    const when = isUp ? 'as soon as nothing holds it back' : 'when its session comes up'
    return {
      peer: peer.name,
      isTold,
      attributes: mark ? marked(given.attributes, mark) : given.attributes,
      detail: isTold ? 'told' : `would be told ${when}`,
    }
  })
}

function marked(attributes: RouteAttributes, { communities, med, prepend }: DrainMark): RouteAttributes {
  return {
    ...attributes,
    communities: [...new Set([...attributes.communities, ...communities])].sort(),
    ...(med === undefined ? {} : { med }),
    prepend: attributes.prepend + prepend,
  }
}
