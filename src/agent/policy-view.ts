// Policy as the local API shows it: which policies there are and whom of this node's pods they protect, and which rule a number stands for.

import type { PolicyReads } from '../datapath/policy-lookup.ts'
import type { PolicyObject } from '../kube/policies/resources.ts'
import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyDirection,
  type PolicyFault,
  type PolicyWorld,
} from '../model/policy.ts'
import type { RuleId } from '../policy/compile/rows.ts'
import type { BuiltInCause, RuleName } from '../policy/compile/rule-ids.ts'
import { subjectMatches } from '../policy/matching.ts'
import { knownGroups, unreadGroups } from '../policy/network-groups.ts'
import { type Party, partyAt } from '../policy/parties.ts'
import { RequestError } from './local-api.ts'
import { faultText } from './policy-fault.ts'
import type { PolicyLines, RuleLine } from './policy-lines.ts'
import type { Tally } from './policy-records.ts'
import { ruleText } from './policy-rule.ts'

export interface PolicyRow {
  readonly kind: string
  readonly policy: string
  /** With the priority where it counts: `admin 10`. */
  readonly tier: string
  readonly directions: readonly PolicyDirection[]
  readonly mode: 'enforce' | 'audit'
  /** Pods of this node that it selects, the first by name. */
  readonly subjects: readonly string[]
  readonly subjectCount: number
  /** It selects this node itself. */
  readonly selectsNode: boolean
  /** What of it is not followed, and what is followed but wrong. */
  readonly faults: readonly string[]
  /** Packets that it dropped, or would have dropped or let pass, as this node was told; absent: none. */
  readonly recorded?: Tally | undefined
}

export interface PolicyViewParts {
  readonly node: string
  readonly world: PolicyWorld
  readonly rows: PolicyReads
  readonly nameOf: (rule: RuleId) => RuleName | BuiltInCause | undefined
  readonly lines: Pick<PolicyLines, 'of'>
}

const SUBJECTS_SHOWN_MAX = 20

export function listPolicies(
  objects: Iterable<PolicyObject>,
  { node, world }: Pick<PolicyViewParts, 'node' | 'world'>,
  tallies: ReadonlyMap<string, Tally> = new Map(),
): PolicyRow[] {
  const own = world.pods
    .filter((pod) => pod.node === node)
    .flatMap((pod) => {
      const [first] = pod.addresses
      return first === undefined ? [] : [{ key: pod.key, party: partyAt(world, first, node) }]
    })
  const self = world.nodes.find(({ name }) => name === node)
  const nodeItself = self && { kind: 'node' as const, address: '', node: self, isJudge: true }
  return [...objects].map((object) => ({
    ...rowOf(object, own, nodeItself, unreadGroups(object.policies, knownGroups(world))),
    recorded: tallies.get(`${object.kind} ${object.key}`),
  }))
}

function rowOf(
  object: PolicyObject,
  own: readonly { key: string; party: Party }[],
  nodeItself: Party | undefined,
  unread: readonly PolicyFault[],
): PolicyRow {
  const { kind, key, policies, faults, notes } = object
  const subjects = own
    .filter(({ party }) => policies.some(({ subject }) => subjectMatches(subject, party)))
    .map((one) => one.key)
    .sort()
  const [first] = policies
  return {
    kind,
    policy: key,
    tier: first === undefined ? '' : tierOf(first),
    directions: POLICY_DIRECTIONS.filter((name) => policies.some((one) => one[name])),
    mode: first?.isAudit ? 'audit' : 'enforce',
    subjects: subjects.slice(0, SUBJECTS_SHOWN_MAX),
    subjectCount: subjects.length,
    selectsNode: nodeItself !== undefined && policies.some((one) => subjectMatches(one.subject, nodeItself)),
    faults: [...faults, ...unread, ...notes].map(faultText),
  }
}

function tierOf({ tier, priority }: Policy): string {
  return tier === 'normal' ? tier : `${tier} ${priority}`
}

/** What a rule's number, as events and rows carry it, stands for. */
export interface RuleAnswer {
  readonly rule: RuleId
  /** In words. */
  readonly text: string
  /** Undefined: it is no policy's. */
  readonly name: RuleName | undefined
  readonly lines: readonly RuleLine[]
}

/** Throws RequestError. */
export async function explainRule(
  text: string,
  { nameOf, lines }: Pick<PolicyViewParts, 'nameOf' | 'lines'>,
): Promise<RuleAnswer> {
  const rule = /^\d{1,10}$/.test(text) ? Number(text) : -1
  const name = rule < 0 ? undefined : nameOf(rule)
  if (name === undefined)
    throw new RequestError(
      404,
      rule < 0
        ? `'${text}' is no number of a rule; 'weir policy explain --from … --to … --port …' and events name them`
        : `rule ${rule} is unknown here: its policy has been gone for long, or another node told the number, where it means another rule`,
    )
  const written = typeof name === 'object' ? name : undefined
  return {
    ...{ rule, text: ruleText(rule, name), name: written },
    lines: written ? await lines.of([written]) : [],
  }
}
