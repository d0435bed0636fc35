// Tiers, priorities, deny, pass and default-deny become one flat class: verdicts by protocol and port.
//
// In: the rules that match one peer, in the order in which they are asked (see `model/policy.ts`). Each is asked for the ports that no
// rule before it decided; what it passes on is open again when its tier ends. Where audited policies select the subject it is done twice,
// without them (in force) and with them (what would be), and laid over each other.

import type { PolicyTier, RuleAction } from '../../model/policy.ts'
import {
  CLASS_PROTOCOLS,
  type ClassRow,
  type PortInterval,
  RULE_DEFAULT,
  RULE_FAIL_SAFE,
  type RuleId,
} from './rows.ts'
import { type NamedPorts, type RulePorts, spansFor } from './rule-ports.ts'
import { ALL_PORTS, cutSpans, joinSpans, type Span } from './spans.ts'

const TIERS: readonly PolicyTier[] = ['admin', 'normal', 'baseline']

export type ClassContent = Pick<ClassRow, 'protocols' | 'uniform'>

export interface FlatRule {
  readonly tier: PolicyTier
  readonly action: RuleAction
  readonly rule: RuleId
  readonly ports: RulePorts
  readonly isAudit: boolean
  readonly keepsExisting: boolean
}

/** Denies what no rule of the normal tier decided. */
export interface Isolation {
  readonly rule: RuleId
  readonly keepsExisting: boolean
}

export interface FlattenContext {
  /** By the policies in force. */
  readonly isolation: Isolation | undefined
  /** By all of them. */
  readonly wouldIsolate: Isolation | undefined
  /** Of whom the rules' names of ports are: the peer of egress, the subject of ingress. */
  readonly namedPorts: NamedPorts
  /** By `CLASS_PROTOCOLS`: ports that only a deny which names ports closes. */
  readonly failSafe: readonly (readonly Span[])[] | undefined
}

interface Piece extends Span {
  readonly isAllowed: boolean
  readonly rule: RuleId
  readonly keepsExisting: boolean
}

interface Pass {
  readonly rules: readonly FlatRule[]
  readonly protocol: number
  readonly namedPorts: NamedPorts
  readonly isolation: Isolation | undefined
  readonly open: readonly Span[]
  /** Cause of what nothing decided. */
  readonly otherwise: RuleId
}

function isAsked(rule: FlatRule, tier: PolicyTier): boolean {
  return rule.tier === tier && (rule.action !== 'pass' || tier !== 'normal')
}

/** Every open port decided, in no order. */
function decide({ rules, protocol, namedPorts, isolation, open: all, otherwise }: Pass): Piece[] {
  const pieces: Piece[] = []
  const add = (spans: readonly Span[], verdict: Omit<Piece, 'first' | 'last'>) => {
    for (const { first, last } of spans) pieces.push({ first, last, ...verdict })
  }
  let open = all
  for (const tier of TIERS) {
    const passed: Span[] = []
    for (const rule of rules) {
      if (open.length === 0) break
      if (!isAsked(rule, tier)) continue
      const { inside, outside } = cutSpans(open, spansFor(rule.ports, protocol, namedPorts))
      open = outside
      if (rule.action === 'pass') passed.push(...inside)
      else {
        const isAllowed = rule.action === 'allow'
        add(inside, { isAllowed, rule: rule.rule, keepsExisting: !isAllowed && rule.keepsExisting })
      }
    }
    if (passed.length > 0) open = joinSpans([...open, ...passed])
    if (tier === 'normal' && isolation) {
      add(open, { isAllowed: false, ...isolation })
      open = []
    }
  }
  add(open, { isAllowed: true, rule: otherwise, keepsExisting: false })
  return pieces
}

/** Verdicts of all ports of a protocol, ascending. */
function decideAll(pass: Omit<Pass, 'open' | 'otherwise'>, failSafe: readonly Span[]): Piece[] {
  if (failSafe.length === 0)
    return decide({ ...pass, open: ALL_PORTS, otherwise: RULE_DEFAULT }).sort((a, b) => a.first - b.first)
  const { inside, outside } = cutSpans(ALL_PORTS, failSafe)
  const explicit = pass.rules.map((rule) =>
    rule.action === 'deny' ? { ...rule, ports: { ...rule.ports, spans: rule.ports.explicit } } : rule,
  )
  const kept = decide({
    ...pass,
    rules: explicit,
    isolation: undefined,
    open: inside,
    otherwise: RULE_FAIL_SAFE,
  })
  const rest = decide({ ...pass, open: outside, otherwise: RULE_DEFAULT })
  return [...kept, ...rest].sort((a, b) => a.first - b.first)
}

function isSameVerdict(a: Omit<PortInterval, 'first'>, b: Omit<PortInterval, 'first'>): boolean {
  return (
    a.isAllowed === b.isAllowed &&
    a.rule === b.rule &&
    a.wouldBeRule === b.wouldBeRule &&
    a.keepsExisting === b.keepsExisting
  )
}

/** Both cover all ports, ascending. @param wouldBe undefined: as enforced */
function overlay(enforced: readonly Piece[], wouldBe: readonly Piece[] | undefined): readonly PortInterval[] {
  const intervals: PortInterval[] = []
  let other = 0
  for (const piece of enforced) {
    for (let first = piece.first; first <= piece.last; ) {
      while (wouldBe && (wouldBe[other]?.last ?? first) < first) other += 1
      const audited = wouldBe?.[other]
      const differs = audited !== undefined && audited.isAllowed !== piece.isAllowed
      const { isAllowed, rule, keepsExisting } = piece
      const interval = { first, isAllowed, rule, wouldBeRule: differs ? audited.rule : 0, keepsExisting }
      const before = intervals.at(-1)
      if (!before || !isSameVerdict(before, interval)) intervals.push(interval)
      first = Math.min(piece.last, audited?.last ?? piece.last) + 1
    }
  }
  return intervals
}

function uniformOf(protocols: readonly (readonly PortInterval[])[]): PortInterval | undefined {
  const [interval] = protocols[0] ?? []
  if (!interval) return undefined
  const isUniform = protocols.every(
    ([first, ...others]) => others.length === 0 && first && isSameVerdict(first, interval),
  )
  return isUniform ? interval : undefined
}

/** @param rules those that match the peer, in the order in which they are asked */
export function flatten(rules: readonly FlatRule[], context: FlattenContext): ClassContent {
  const { isolation, wouldIsolate, namedPorts, failSafe } = context
  const isAudited = isolation !== wouldIsolate || rules.some((rule) => rule.isAudit)
  const inForce = isAudited ? rules.filter((rule) => !rule.isAudit) : rules
  const judge = (protocol: number) => {
    const safe = failSafe?.[protocol] ?? []
    const enforced = decideAll({ rules: inForce, protocol, namedPorts, isolation }, safe)
    if (!isAudited) return overlay(enforced, undefined)
    return overlay(enforced, decideAll({ rules, protocol, namedPorts, isolation: wouldIsolate }, safe))
  }
  // Where rules mean all ports or none, protocols are alike: one list serves them all.
  const alike = new Map<string, readonly PortInterval[]>()
  const protocols = CLASS_PROTOCOLS.map((_, protocol) => {
    const shape = shapeOf(rules, protocol, context)
    const known = shape === undefined ? undefined : alike.get(shape)
    if (known) return known
    const intervals = judge(protocol)
    if (shape !== undefined) alike.set(shape, intervals)
    return intervals
  })
  return { protocols, uniform: uniformOf(protocols) }
}

/** @returns undefined where single ports matter */
function shapeOf(rules: readonly FlatRule[], protocol: number, context: FlattenContext): string | undefined {
  if ((context.failSafe?.[protocol] ?? []).length > 0) return undefined
  let shape = ''
  for (const { ports } of rules) {
    const spans = spansFor(ports, protocol, context.namedPorts)
    if (spans.length > 0 && spans !== ALL_PORTS) return undefined
    shape += spans.length > 0 ? '+' : '-'
  }
  return shape
}

/** One verdict for everything. */
export function uniformContent(isAllowed: boolean, rule: RuleId): ClassContent {
  const uniform = { first: 0, isAllowed, rule, wouldBeRule: 0, keepsExisting: false }
  const intervals = [uniform]
  return { protocols: CLASS_PROTOCOLS.map(() => intervals), uniform }
}
