// Policy as the local API shows it: which policies there are and whom of this node's pods they protect, and why one packet is let
// through or is not: by the evaluator, from the objects, and by the kernel's rows, which must agree.

import { type KernelRuling, lookUpPolicy, type PolicyReads } from '../datapath/policy-lookup.ts'
import type { PolicyObject } from '../kube/policies/resources.ts'
import { type Address, familyOf, parseAddress } from '../model/address.ts'
import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyDirection,
  type PolicyPacket,
  type PolicyWorld,
} from '../model/policy.ts'
import type { RuleId } from '../policy/compile/rows.ts'
import type { BuiltInCause, RuleName } from '../policy/compile/rule-ids.ts'
import { describeJudgement } from '../policy/describe-cause.ts'
import { judge } from '../policy/evaluate.ts'
import { subjectMatches } from '../policy/matching.ts'
import { type Party, partyAt } from '../policy/parties.ts'
import { RequestError } from './local-api.ts'

export interface PolicyRow {
  readonly kind: string
  readonly policy: string
  /** With the priority where it counts: `admin 10`. */
  readonly tier: string
  readonly directions: readonly PolicyDirection[]
  readonly mode: 'enforce' | 'audit' | 'refused'
  /** Pods of this node that it selects, the first by name. */
  readonly subjects: readonly string[]
  readonly subjectCount: number
  /** What of it is not followed, and what is followed but wrong. */
  readonly faults: readonly string[]
}

/** How the kernel's rows say it. */
interface KernelView {
  readonly verdict: 'allow' | 'deny'
  readonly cause: string
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
}

const SUBJECTS_SHOWN_MAX = 20

export function listPolicies(
  objects: Iterable<PolicyObject>,
  { node, world }: Pick<PolicyViewParts, 'node' | 'world'>,
): PolicyRow[] {
  const own = world.pods
    .filter((pod) => pod.node === node)
    .flatMap((pod) => {
      const [first] = pod.addresses
      return first === undefined ? [] : [{ key: pod.key, party: partyAt(world, first, node) }]
    })
  return [...objects].map((object) => rowOf(object, own))
}

function rowOf(object: PolicyObject, own: readonly { key: string; party: Party }[]): PolicyRow {
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
    mode: first === undefined ? 'refused' : first.isAudit ? 'audit' : 'enforce',
    subjects: subjects.slice(0, SUBJECTS_SHOWN_MAX),
    subjectCount: subjects.length,
    faults: [...faults, ...notes].map(({ path, text, mend }) => `${path}: ${text}. Mend: ${mend}`),
  }
}

function tierOf({ tier, priority }: Policy): string {
  return tier === 'normal' ? tier : `${tier} ${priority}`
}

/** Of each family that both ends have. Throws RequestError. */
export function explainPolicy(query: URLSearchParams, parts: PolicyViewParts): PolicyAnswer[] {
  const { protocol, port } = readPort(query.get('port') ?? '')
  const sources = addressesOf('from', query.get('from') ?? '', parts.world)
  const destinations = addressesOf('to', query.get('to') ?? '', parts.world)
  const answers = sources.flatMap((source) =>
    destinations
      .filter((destination) => familyOf(destination) === familyOf(source))
      .map((destination) => answerOf({ source, destination, protocol, port }, parts)),
  )
  if (answers.length > 0) return answers
  throw new RequestError(400, `${sources.join(' ')} and ${destinations.join(' ')} are of different families`)
}

type Ends = Pick<PolicyPacket, 'protocol' | 'port'> & {
  readonly source: Address
  readonly destination: Address
}

function answerOf(ends: Ends, parts: PolicyViewParts): PolicyAnswer {
  const egress = directionOf(ends, 'egress', parts)
  const ingress = directionOf(ends, 'ingress', parts)
  return { ...ends, isAllowed: egress.verdict === 'allow' && ingress.verdict === 'allow', egress, ingress }
}

function directionOf(ends: Ends, direction: PolicyDirection, parts: PolicyViewParts): DirectionView {
  const { node, world } = parts
  const [subject, peer] =
    direction === 'egress' ? [ends.source, ends.destination] : [ends.destination, ends.source]
  const party = partyAt(world, subject, node)
  const judgesAt = party.kind === 'pod' ? party.pod.node : node
  const packet = { ...ends, node: judgesAt, isMasqueraded: false, isHairpin: false }
  const judgement = judge(world, packet, direction)
  const cause = describeJudgement(judgement, { policies: world.policies, direction })
  const view = { verdict: judgement.verdict, cause }
  if (party.kind !== 'pod')
    return { ...view, kernel: undefined, unjudged: 'it is no pod, and pods alone are judged' }
  if (judgesAt !== node) return { ...view, kernel: undefined, unjudged: `node ${judgesAt} judges it` }
  const peerParty = partyAt(world, peer, node)
  const ruling = lookUpPolicy(parts.rows, {
    ...{ direction, subject, peer, port: ends.port },
    protocol: ends.protocol === 'icmp' && familyOf(peer) === 'ipv6' ? 'icmpv6' : ends.protocol,
    isFromHost: peerParty.kind === 'node' && peerParty.isJudge,
  })
  return { ...view, kernel: kernelView(ruling, judgement.verdict, parts), unjudged: undefined }
}

function kernelView(
  { isAllowed, rule, set, identity }: KernelRuling,
  wanted: 'allow' | 'deny',
  { nameOf }: PolicyViewParts,
): KernelView {
  const verdict = isAllowed ? 'allow' : 'deny'
  return { verdict, cause: ruleText(rule, nameOf(rule)), set, identity, agrees: verdict === wanted }
}

const BUILT_IN_TEXTS: Readonly<Record<BuiltInCause, string>> = {
  none: 'no rule',
  default: 'no policy decides it',
  self: 'it speaks to itself',
  'own-node': 'its own node speaks to it',
  'no-room': 'the rows found no room, which closes',
  'fail-safe': 'a port at which the node stays in touch',
  unknown: 'nothing is known of the pod yet, which closes',
}

/** A rule's number in words. */
export function ruleText(rule: RuleId, name: RuleName | BuiltInCause | undefined): string {
  if (name === undefined) return `rule ${rule}, of a policy that is gone`
  if (typeof name === 'string') return BUILT_IN_TEXTS[name]
  const { kind, key, direction, index, path } = name
  return index < 0 ? `${kind} ${key} isolates ${direction}` : `${kind} ${key}, ${path}`
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

/** A pod is `namespace/name`, or its name alone in the namespace default. */
function addressesOf(option: string, text: string, world: PolicyWorld): readonly Address[] {
  const address = parseAddress(text)
  if (address !== undefined) return [address]
  const key = text.includes('/') ? text : `default/${text}`
  const pod = world.pods.find((one) => one.key === key)
  if (pod) return pod.addresses as readonly Address[]
  throw new RequestError(
    404,
    `--${option} '${text}' is neither an address nor a pod with an address of its own; write NAMESPACE/NAME as kubectl get pods -A has it`,
  )
}
