// Sentences for verdicts: what `weir policy explain` and `why` print, whether the cause was evaluated or read from the kernel.

import { type Policy, type PolicyDirection, rulesOf } from '../model/policy.ts'
import {
  isSamePolicy,
  type PolicyCause,
  type PolicyJudgement,
  type PolicyRef,
  type PolicyRuleRef,
  type PolicyRuling,
  type PolicyVerdict,
} from '../model/policy-judgement.ts'

/** More names than these are counted. */
const NAMES_MAX = 3

/** Where the policies that causes name are found; one that is gone by now is still called by its name. */
interface Telling {
  readonly policies: readonly Policy[]
  readonly direction: PolicyDirection
}

const PAST: Readonly<Record<PolicyVerdict, string>> = { allow: 'allowed', deny: 'denied' }

function find(policies: readonly Policy[], ref: PolicyRef): Policy | undefined {
  return policies.find((policy) => isSamePolicy(policy, ref))
}

/** `ClusterNetworkPolicy guard (admin tier, priority 10)`. */
function nameOf(ref: PolicyRef, policies: readonly Policy[]): string {
  const policy = find(policies, ref)
  const place =
    policy === undefined || policy.tier === 'normal'
      ? ''
      : ` (${policy.tier} tier, priority ${policy.priority})`
  return `${ref.kind} ${ref.key}${place}`
}

/** `NetworkPolicy shop/web, spec.ingress[2].from[0], ports[1]`, and how its author calls the rule. */
function ruleText({ policy, path, peer, port }: PolicyRuleRef, policies: readonly Policy[]): string {
  const place = peer === undefined ? path : `${path}.${peer}`
  const found = find(policies, policy)
  const name = found && rulesOf(found).find((rule) => rule.path === path)?.name
  const text = [nameOf(policy, policies), place, ...(port === undefined ? [] : [port])].join(', ')
  return name === undefined ? text : `${text} ('${name}')`
}

function joined(names: readonly string[]): string {
  if (names.length > NAMES_MAX)
    return `${names.slice(0, NAMES_MAX).join(', ')} and ${names.length - NAMES_MAX} more`
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** The parts of one object are one name. */
function isolationText(refs: readonly PolicyRef[], { policies, direction }: Telling): string {
  const names = [...new Set(refs.map((ref) => nameOf(ref, policies)))]
  const faults = refs.flatMap((ref) => {
    const fault = find(policies, ref)?.faults[0]
    return fault
      ? [`; ${ref.kind} ${ref.key} allows nothing: ${fault.path}: ${fault.text}. Mend: ${fault.mend}`]
      : []
  })
  const verb = names.length > 1 ? 'isolate' : 'isolates'
  return `${joined(names)} ${verb} ${direction}, and no rule allows this${faults[0] ?? ''}`
}

/** What follows the verdict: ` by …` or `: …`. */
function causeText(cause: PolicyCause, telling: Telling): string {
  switch (cause.kind) {
    case 'rule':
      return ` by ${ruleText(cause, telling.policies)}`
    case 'isolation':
      return `: ${isolationText(cause.policies, telling)}`
    case 'default':
      return ': no policy decides it'
    case 'self':
      return ': whoever speaks to itself may'
    case 'own-node':
      return ': the node may always speak to its own pods'
    case 'fail-safe':
      return ': the node stays in touch at this port unless a rule denies it by number'
  }
}

/** `denied by NetworkPolicy shop/web, spec.ingress[2]`. */
export function describeRuling({ verdict, cause }: PolicyRuling, telling: Telling): string {
  return `${PAST[verdict]}${causeText(cause, telling)}`
}

/** The ruling, what left it to lower tiers (where that is known), and what audited policies would make of it. */
export function describeJudgement(
  judgement: PolicyJudgement & { readonly passedBy?: readonly PolicyRuleRef[] },
  telling: Telling,
): string {
  const passed = (judgement.passedBy ?? []).map((rule) => ruleText(rule, telling.policies))
  const passedText = passed.length > 0 ? ` (passed on by ${joined(passed)})` : ''
  const { wouldBe } = judgement
  const auditText =
    wouldBe === undefined ? '' : `; if audited policies were in force: ${describeRuling(wouldBe, telling)}`
  return `${describeRuling(judgement, telling)}${passedText}${auditText}`
}
