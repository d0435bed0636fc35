// What policy says of one packet in one direction, and why: the words that the evaluator, the compiled maps and the screen share.

import type { Policy, PolicyKind } from './policy.ts'

export type PolicyVerdict = 'allow' | 'deny'

/** Names one policy: see `Policy`. */
export interface PolicyRef {
  readonly kind: PolicyKind
  readonly key: string
  readonly part: number
}

/** Names one rule of a policy, by where it is written: `spec.ingress[2]`. */
export interface PolicyRuleRef {
  readonly policy: PolicyRef
  readonly path: string
  /** The first of its peers and of its ports that matched, below `path`: `from[2]`, `ports[1]`; absent: it names none, or who tells does not know. */
  readonly peer?: string | undefined
  readonly port?: string | undefined
}

/** Where the parts of a rule are written that matched. */
export function partPaths({ path, peer, port }: PolicyRuleRef): readonly string[] {
  return [peer, port].flatMap((part) => (part === undefined ? [] : [`${path}.${part}`]))
}

export type PolicyCause =
  /** It matched. Of several rules of the normal tier that say the same it is the first, policies ordered by `comparePolicies`. */
  | ({ readonly kind: 'rule' } & PolicyRuleRef)
  /** All that isolate the subject, in the same order; no rule of the normal tier matched. A cause told by one number names one of them. */
  | { readonly kind: 'isolation'; readonly policies: readonly PolicyRef[] }
  /** Nothing decided it. */
  | { readonly kind: 'default' }
  /** To itself. */
  | { readonly kind: 'self' }
  /** To a pod from the node it runs on. */
  | { readonly kind: 'own-node' }
  /** Nothing decided it but what does not count at a port where the node stays in touch. */
  | { readonly kind: 'fail-safe' }

/** A verdict and its cause. */
export interface PolicyRuling {
  readonly verdict: PolicyVerdict
  readonly cause: PolicyCause
}

/** The ruling in force; and where the audited policies would turn it, what it would be with them. */
export interface PolicyJudgement extends PolicyRuling {
  readonly wouldBe: PolicyRuling | undefined
}

export function policyRef({ kind, key, part }: PolicyRef): PolicyRef {
  return { kind, key, part }
}

export function isSamePolicy(a: PolicyRef, b: PolicyRef): boolean {
  return a.kind === b.kind && a.key === b.key && a.part === b.part
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * The order of policies within a tier: by priority, then by name. In the normal tier it decides no verdict, but which of several rules
 * that say the same is called the cause.
 */
export function comparePolicies(
  a: PolicyRef & Pick<Policy, 'priority'>,
  b: PolicyRef & Pick<Policy, 'priority'>,
): number {
  return (
    a.priority - b.priority || compareText(a.key, b.key) || compareText(a.kind, b.kind) || a.part - b.part
  )
}
