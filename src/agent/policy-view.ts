// Policy as the local API shows it: which policies there are and whom of this node's pods they protect, and why one packet is let
// through or is not: by the evaluator, from the objects, and by the kernel's rows, which must agree.

import { type KernelRuling, lookUpPolicy, type PolicyReads } from '../datapath/policy-lookup.ts'
import { NODE_SUBJECT } from '../datapath/policy-tables.ts'
import type { PolicyObject } from '../kube/policies/resources.ts'
import { type Address, familyOf, parseAddress } from '../model/address.ts'
import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyDirection,
  type PolicyFault,
  type PolicyPacket,
  type PolicyWorld,
} from '../model/policy.ts'
import { isSamePolicy, type PolicyRuleRef, partPaths } from '../model/policy-judgement.ts'
import type { RuleId } from '../policy/compile/rows.ts'
import type { BuiltInCause, RuleName } from '../policy/compile/rule-ids.ts'
import { describeJudgement } from '../policy/describe-cause.ts'
import { type ExplainedJudgement, judge } from '../policy/evaluate.ts'
import { subjectMatches } from '../policy/matching.ts'
import { knownGroups, unreadGroups } from '../policy/network-groups.ts'
import { type Party, partyAt } from '../policy/parties.ts'
import { RequestError } from './local-api.ts'
import { faultText } from './policy-fault.ts'
import type { PolicyLines, RuleLine, WrittenRule } from './policy-lines.ts'
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

/** How the kernel's rows say it. */
interface KernelView {
  readonly verdict: 'allow' | 'deny'
  readonly cause: string
  /** As the cause is numbered. */
  readonly rule: RuleId
  readonly set: number
  readonly identity: number
  readonly agrees: boolean
}

export interface DirectionView {
  readonly verdict: 'allow' | 'deny'
  readonly cause: string
  /** Undefined: it is not this node that judges it. */
  readonly kernel: KernelView | undefined
  /** Why there is no word of the kernel. */
  readonly unjudged: string | undefined
  /** Where the rules that decide it are written. */
  readonly lines: readonly RuleLine[]
}

export interface PolicyAnswer {
  readonly source: string
  readonly destination: string
  readonly protocol: string
  readonly port: number
  readonly isAllowed: boolean
  readonly egress: DirectionView
  readonly ingress: DirectionView
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

/** Of each family that both ends have. Throws RequestError. */
export async function explainPolicy(
  query: URLSearchParams,
  parts: PolicyViewParts,
): Promise<readonly PolicyAnswer[]> {
  const { protocol, port } = readPort(query.get('port') ?? '')
  const sources = addressesOf('from', query.get('from') ?? '', parts.world)
  const destinations = addressesOf('to', query.get('to') ?? '', parts.world)
  const answers = sources.flatMap((source) =>
    destinations
      .filter((destination) => familyOf(destination) === familyOf(source))
      .map((destination) => answerOf({ source, destination, protocol, port }, parts)),
  )
  if (answers.length > 0) return await Promise.all(answers)
  throw new RequestError(400, `${sources.join(' ')} and ${destinations.join(' ')} are of different families`)
}

type Ends = Pick<PolicyPacket, 'protocol' | 'port'> & {
  readonly source: Address
  readonly destination: Address
}

async function answerOf(ends: Ends, parts: PolicyViewParts): Promise<PolicyAnswer> {
  const [egress, ingress] = await Promise.all([
    directionOf(ends, 'egress', parts),
    directionOf(ends, 'ingress', parts),
  ])
  return { ...ends, isAllowed: egress.verdict === 'allow' && ingress.verdict === 'allow', egress, ingress }
}

async function directionOf(
  ends: Ends,
  direction: PolicyDirection,
  parts: PolicyViewParts,
): Promise<DirectionView> {
  const { node, world } = parts
  const [subject, peer] =
    direction === 'egress' ? [ends.source, ends.destination] : [ends.destination, ends.source]
  const party = partyAt(world, subject, node)
  const judgesAt = party.kind === 'pod' ? party.pod.node : party.kind === 'node' ? party.node.name : node
  const packet = { ...ends, node: judgesAt, isMasqueraded: false, isHairpin: false }
  const judgement = judge(world, packet, direction)
  const cause = describeJudgement(judgement, { policies: world.policies, direction })
  const lines = await parts.lines.of(writtenRules(judgement, direction, world))
  const view = { verdict: judgement.verdict, cause, lines }
  const unjudged = unjudgedText(party, parts)
  if (unjudged !== undefined) return { ...view, kernel: undefined, unjudged }
  const peerParty = partyAt(world, peer, node)
  const ruling = lookUpPolicy(parts.rows, {
    ...{ direction, subject, peer, port: ends.port, isOfHost: party.kind === 'node' },
    protocol: ends.protocol === 'icmp' && familyOf(peer) === 'ipv6' ? 'icmpv6' : ends.protocol,
    isFromHost: peerParty.kind === 'node' && peerParty.isJudge,
  })
  return { ...view, kernel: kernelView(ruling, judgement.verdict, parts), unjudged: undefined }
}

/** Why the rows of this node say nothing of whom is asked about; undefined: they do. */
function unjudgedText(party: Party, { node, rows }: PolicyViewParts): string | undefined {
  if (party.kind === 'outside') return 'it is neither a pod nor a node of this cluster'
  const judge = party.kind === 'pod' ? party.pod.node : party.node.name
  if (judge !== node) return `node ${judge} judges it`
  if (party.kind === 'pod' || rows.subjects.get(NODE_SUBJECT)) return undefined
  return 'no policy selects this node'
}

function kernelView(
  { isAllowed, rule, set, identity }: KernelRuling,
  wanted: 'allow' | 'deny',
  { nameOf }: PolicyViewParts,
): KernelView {
  const verdict = isAllowed ? 'allow' : 'deny'
  return { verdict, cause: ruleText(rule, nameOf(rule)), rule, set, identity, agrees: verdict === wanted }
}

/** What decides it, what audited policies would decide it by, and what left it to them. */
function writtenRules(
  { cause, wouldBe, passedBy }: ExplainedJudgement,
  direction: PolicyDirection,
  { policies }: PolicyWorld,
): readonly WrittenRule[] {
  const placesOf = (ref: PolicyRuleRef): readonly WrittenRule[] => {
    const { policy, path } = ref
    const rules = policies.find((one) => isSamePolicy(one, policy))?.[direction]?.rules ?? []
    const index = rules.findIndex((rule) => rule.path === path)
    return [path, ...partPaths(ref)].map((place) => ({ ...policy, direction, path: place, index }))
  }
  const decided = [cause, ...(wouldBe ? [wouldBe.cause] : [])].flatMap((one): readonly WrittenRule[] => {
    if (one.kind === 'isolation')
      return one.policies.map((ref) => ({ ...ref, direction, path: '', index: -1 }))
    return one.kind === 'rule' ? placesOf(one) : []
  })
  return [...decided, ...passedBy.flatMap(placesOf)]
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

const PORT_TEXT = /^(\d{1,5})(?:\/(tcp|udp|sctp|icmp))?$/i

function readPort(text: string): Pick<PolicyPacket, 'protocol' | 'port'> {
  const [, digits, protocol = 'tcp'] = PORT_TEXT.exec(text) ?? []
  const port = Number(digits)
  const known = protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp' | 'icmp'
  const most = known === 'icmp' ? 255 : 65_535
  if (digits !== undefined && port <= most) return { protocol: known, port }
  throw new RequestError(
    400,
    `'${text}' is no port; write 80/tcp, 53/udp, 9/sctp, or of ICMP the type, 8/icmp`,
  )
}

/** A pod is `namespace/name`, or its name alone in the namespace default; a node's name is its own. */
function addressesOf(option: string, text: string, world: PolicyWorld): readonly Address[] {
  const address = parseAddress(text)
  if (address !== undefined) return [address]
  const key = text.includes('/') ? text : `default/${text}`
  const pod = world.pods.find((one) => one.key === key)
  if (pod) return pod.addresses as readonly Address[]
  const node = world.nodes.find(({ name }) => name === text)
  if (node) return node.addresses as readonly Address[]
  throw new RequestError(
    404,
    `--${option} '${text}' is neither an address, nor a pod with an address of its own, nor a node; write NAMESPACE/NAME as kubectl get pods -A has it, or the node's name`,
  )
}
