// The reference evaluator: what policy says of one packet, read off the objects. Plain, slow, and in the order in which model/policy.ts
// writes the precedence down. `weir policy simulate` and `why` ask it, and the tests hold the compiled maps against it; so it shares
// nothing with the compiler but the model.
//
// In: every object that decides, and the first packet of a connection as it is after translation. Out: the verdict of one direction, its
// cause, and what the audited policies would change.

import type {
  DirectionRules,
  Policy,
  PolicyDirection,
  PolicyPacket,
  PolicyRule,
  PolicyTier,
  PolicyWorld,
} from '../model/policy.ts'
import {
  comparePolicies,
  type PolicyCause,
  type PolicyJudgement,
  type PolicyRuleRef,
  type PolicyRuling,
  policyRef,
} from '../model/policy-judgement.ts'
import { isInRange, namesPorts, peerMatches, portMatches, subjectMatches } from './matching.ts'
import { destinationOf, isSameParty, type Party, sourceOf } from './parties.ts'

/** A ruling, and the rules that left their tier to the ones below on the way to it. */
interface ExplainedRuling extends PolicyRuling {
  readonly passedBy: readonly PolicyRuleRef[]
}

export interface ExplainedJudgement extends PolicyJudgement, ExplainedRuling {}

/** One packet in one direction. */
interface Question {
  readonly world: PolicyWorld
  readonly packet: PolicyPacket
  readonly direction: PolicyDirection
  readonly source: Party
  readonly destination: Party
  /** Whose policies are asked: the source of egress, the destination of ingress. */
  readonly subject: Party
  readonly peer: Party
  /** The subject is the node, and it stays in touch at this port. */
  readonly isFailSafe: boolean
}

/** A policy that selects the subject, with its rules for the direction. */
interface Applicable {
  readonly policy: Policy
  readonly rules: DirectionRules
}

export function judge(
  world: PolicyWorld,
  packet: PolicyPacket,
  direction: PolicyDirection,
): ExplainedJudgement {
  const source = sourceOf(world, packet)
  const destination = destinationOf(world, packet)
  const [subject, peer] = direction === 'egress' ? [source, destination] : [destination, source]
  const isFailSafe =
    subject.kind === 'node' &&
    (world.failSafePorts?.[direction] ?? []).some((range) => isInRange(range, packet))
  const question = { world, packet, direction, source, destination, subject, peer, isFailSafe }
  const enforced = rulingBy(
    world.policies.filter((policy) => !policy.isAudit),
    question,
  )
  const withAudited = rulingBy(world.policies, question)
  const { verdict, cause } = withAudited
  return { ...enforced, wouldBe: verdict === enforced.verdict ? undefined : { verdict, cause } }
}

function rulingBy(policies: readonly Policy[], question: Question): ExplainedRuling {
  const { packet, source, destination, subject } = question
  const isToItself = isSameParty(source, destination)
  const isHairpin = isToItself && packet.isHairpin && subject.kind === 'pod'
  if (isToItself && !isHairpin) return ruling('allow', { kind: 'self' })
  if (isOwnNode(source, destination)) return ruling('allow', { kind: 'own-node' })

  const applicable = (tier: PolicyTier) => applicableOf(policies, tier, question)
  const admin = judgeOrdered(applicable('admin'), question)
  if (admin.decision) return admin.decision
  const normal = isHairpin ? undefined : judgeUnordered(applicable('normal'), question)
  if (normal) return { ...normal, passedBy: admin.passedBy }
  const baseline = judgeOrdered(applicable('baseline'), question)
  const passedBy = [...admin.passedBy, ...baseline.passedBy]
  if (baseline.decision) return { ...baseline.decision, passedBy }
  const isSaved =
    question.isFailSafe && rulingBy(policies, { ...question, isFailSafe: false }).verdict === 'deny'
  return { ...ruling('allow', { kind: isSaved ? 'fail-safe' : 'default' }), passedBy }
}

function ruling(verdict: PolicyRuling['verdict'], cause: PolicyCause): ExplainedRuling {
  return { verdict, cause, passedBy: [] }
}

/** Kubernetes wants the kubelet's probes to arrive, whatever the pod's policies say, or the node's. */
function isOwnNode(source: Party, destination: Party): boolean {
  return source.kind === 'node' && destination.kind === 'pod' && source.node.name === destination.pod.node
}

/** The policies of a tier that speak of the subject in this direction, in the tier's order. */
function applicableOf(
  policies: readonly Policy[],
  tier: PolicyTier,
  { subject, direction }: Question,
): readonly Applicable[] {
  return policies
    .filter((policy) => policy.tier === tier && subjectMatches(policy.subject, subject))
    .sort(comparePolicies)
    .flatMap((policy) => {
      const rules = policy[direction]
      return rules ? [{ policy, rules }] : []
    })
}

/** The admin and the baseline tier: the first rule that matches decides; a pass decides that this tier does not. */
function judgeOrdered(
  applicable: readonly Applicable[],
  question: Question,
): { readonly decision: ExplainedRuling | undefined; readonly passedBy: readonly PolicyRuleRef[] } {
  for (const { policy, rules } of applicable)
    for (const rule of rules.rules) {
      const match = matchOf(rule, question)
      if (match === undefined) continue
      const ref = refOf(policy, rule, match)
      if (rule.action === 'pass') return { decision: undefined, passedBy: [ref] }
      return { decision: ruling(rule.action, { kind: 'rule', ...ref }), passedBy: [] }
    }
  return { decision: undefined, passedBy: [] }
}

/** The normal tier: a deny that matches, else an allow that matches, else denied where a policy isolates. */
function judgeUnordered(applicable: readonly Applicable[], question: Question): ExplainedRuling | undefined {
  for (const action of ['deny', 'allow'] as const)
    for (const { policy, rules } of applicable)
      for (const rule of rules.rules) {
        const match = rule.action === action ? matchOf(rule, question) : undefined
        if (match) return ruling(action, { kind: 'rule', ...refOf(policy, rule, match) })
      }
  const isolating = applicable.filter(({ rules }) => rules.isolates)
  if (isolating.length === 0 || question.isFailSafe) return undefined
  return ruling('deny', { kind: 'isolation', policies: isolating.map(({ policy }) => policyRef(policy)) })
}

/** Which of a rule's peers and ports are meant first; -1: it names none. */
interface Match {
  readonly peer: number
  readonly port: number
}

/** Undefined: the rule is about others. */
function matchOf({ action, peers, ports }: PolicyRule, question: Question): Match | undefined {
  const { world, packet, peer, destination, isFailSafe } = question
  const peerIndex = peers === 'any' ? -1 : peers.findIndex((candidate) => peerMatches(candidate, peer, world))
  if (peers !== 'any' && peerIndex < 0) return undefined
  const mustName = isFailSafe && action === 'deny'
  if (ports === 'any') return mustName ? undefined : { peer: peerIndex, port: -1 }
  const portIndex = ports.findIndex(
    (candidate) => (!mustName || namesPorts(candidate)) && portMatches(candidate, packet, destination),
  )
  return portIndex < 0 ? undefined : { peer: peerIndex, port: portIndex }
}

function refOf(policy: Policy, { path, places }: PolicyRule, match: Match): PolicyRuleRef {
  const [peer, port] = [places?.peers[match.peer], places?.ports[match.port]]
  return {
    ...{ policy: policyRef(policy), path },
    ...(peer === undefined ? {} : { peer }),
    ...(port === undefined ? {} : { port }),
  }
}
