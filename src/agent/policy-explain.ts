// Why one connection is let through or is not: by the evaluator, from the objects, and by the kernel's rows, which must agree. To a Service's
// address it is followed to the endpoints, and what policy says the same of is one answer.

import { setImmediate } from 'node:timers/promises'
import { type KernelRuling, lookUpPolicy } from '../datapath/policy-lookup.ts'
import { NODE_SUBJECT } from '../datapath/policy-tables.ts'
import { type Address, endText, familyOf, parseAddress, prefixContains } from '../model/address.ts'
import type { PolicyDirection, PolicyPacket, PolicyWorld } from '../model/policy.ts'
import { isSamePolicy, type PolicyRuleRef, partPaths } from '../model/policy-judgement.ts'
import type { RuleId } from '../policy/compile/rows.ts'
import { describeJudgement } from '../policy/describe-cause.ts'
import { type ExplainedJudgement, judge } from '../policy/evaluate.ts'
import { type Party, partyAt } from '../policy/parties.ts'
import { RequestError } from './local-api.ts'
import type { RuleLine, WrittenRule } from './policy-lines.ts'
import { ruleText } from './policy-rule.ts'
import type { PolicyServices } from './policy-services.ts'
import type { PolicyViewParts } from './policy-view.ts'
import { type Asked, ENDPOINTS_MAX, type ReachedService, type Way, waysTo } from './policy-ways.ts'

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

/** What leads it on. */
export interface ServiceWay {
  /** `Service shop/web`. */
  readonly name: string
  readonly how: string
  /** `shop/web-1 10.0.1.1:8080`: of all of them the same is said. */
  readonly endpoints: readonly string[]
  /** Nodes' addresses with which it arrives; empty: with the sender's own. */
  readonly lent: readonly string[]
  /** Endpoints of which nothing is said, for they are too many. */
  readonly leftOut: number
}

export interface PolicyAnswer {
  readonly source: string
  readonly destination: string
  readonly protocol: string
  readonly port: number
  readonly isAllowed: boolean
  /** Undefined: it goes to the destination itself. */
  readonly service?: ServiceWay
  /** Why it goes nowhere, whatever policy says. */
  readonly refusal?: string
  readonly egress: DirectionView
  readonly ingress: DirectionView
  /** From a node's address: what those get who hide behind it. */
  readonly masqueraded?: DirectionView
}

export interface ExplainParts extends PolicyViewParts {
  readonly services: PolicyServices
}

type Port = Pick<PolicyPacket, 'protocol' | 'port'>

interface Ends extends Port {
  readonly source: Address
  readonly destination: Address
}

/** Of each family that both ends have. Throws RequestError. */
export async function explainPolicy(
  query: URLSearchParams,
  parts: ExplainParts,
): Promise<readonly PolicyAnswer[]> {
  const [from, to] = [query.get('from') ?? '', query.get('to') ?? '']
  const sources = addressesOf('from', from, parts.world)
  const destinations = addressesOf('to', to, parts.world)
  const port = readPort(query.get('port') ?? '', destinations, parts.world)
  const pairs = sources.flatMap((source) =>
    destinations
      .filter((destination) => familyOf(destination) === familyOf(source))
      .map((destination) => ({ source, destination, ...port })),
  )
  if (pairs.length === 0)
    throw new RequestError(
      400,
      `${sources.join(' ')} and ${destinations.join(' ')} are of different families`,
    )
  const command = `weir policy explain --from ${from} --to ${to} --port ${port.port}/${port.protocol}`
  const answers = await Promise.all(pairs.map((ends) => answersOf(ends, { ...parts, command })))
  return answers.flat()
}

interface Asking extends ExplainParts {
  /** What is asked, to be asked on another node. */
  readonly command: string
}

async function answersOf(ends: Ends, asking: Asking): Promise<readonly PolicyAnswer[]> {
  const { destination, protocol, port } = ends
  const reached = asking.services.at({ address: destination, protocol, port })
  return reached ? await answersByService(ends, reached, asking) : [await plainAnswer(ends, asking)]
}

const OWN = { isMasqueraded: false, isHairpin: false }

async function plainAnswer(ends: Ends, asking: Asking): Promise<PolicyAnswer> {
  const asked = { ...ends, ...OWN }
  const views = {
    egress: await written(viewOf(asked, 'egress', asking), asking),
    ingress: await written(viewOf(asked, 'ingress', asking), asking),
  }
  const hidden = isOtherNode(ends, asking)
    ? await written(viewOf({ ...asked, isMasqueraded: true }, 'ingress', asking), asking)
    : undefined
  return { ...ends, isAllowed: areAllowed(views), ...views, ...(hidden ? { masqueraded: hidden } : {}) }
}

/** It is a node that judges elsewhere, which sends for others, too. */
function isOtherNode({ source, destination }: Ends, { world, node }: Asking): boolean {
  const judge = placeOf(partyAt(world, destination, node)) ?? node
  const from = partyAt(world, source, judge)
  return from.kind === 'node' && !from.isJudge
}

interface Judged extends Record<PolicyDirection, View> {
  readonly ways: readonly Way[]
}

async function answersByService(
  ends: Ends,
  reached: ReachedService,
  asking: Asking,
): Promise<readonly PolicyAnswer[]> {
  const { world, node, services } = asking
  const from = placeOf(partyAt(world, ends.source, node))
  const connection = { ...ends, family: familyOf(ends.source), from }
  const ways = waysTo(connection, reached, { ...services, node })
  if (ways.length === 0)
    throw new RequestError(
      404,
      `${reached.name} has no endpoint that a connection from ${ends.source} is led to${from === undefined ? '' : ` on node ${from}`}: it is dropped or refused before policy is asked. Mend: weir service get shows its endpoints`,
    )
  const plan = reached.planAt(reached.owner ?? from ?? node)
  const refusal = refusalOf(ends, reached, plan?.sourceRanges ?? [])
  const leftOut = Math.max(0, (plan?.cluster.length ?? 0) - ENDPOINTS_MAX)
  const groups = await judgeWays(ways, asking)
  return await Promise.all(
    groups.map(async ({ ways, egress, ingress }): Promise<PolicyAnswer> => {
      const views = { egress: await written(egress, asking), ingress: await written(ingress, asking) }
      const service = {
        ...{ name: reached.name, how: ways[0]?.how ?? '', leftOut },
        endpoints: unique(ways.map(({ endpoint }) => endpointText(endpoint, asking))),
        lent: unique(
          ways.flatMap(({ lentBy, ingress }) =>
            lentBy === undefined ? [] : [`${ingress.source} (node ${lentBy})`],
          ),
        ),
      }
      const isAllowed = areAllowed(views) && refusal === undefined
      return { ...ends, isAllowed, service, ...(refusal ? { refusal } : {}), ...views }
    }),
  )
}

/** What policy says the same of is one; shown is the one of which the kernel has most to say. */
async function judgeWays(ways: readonly Way[], asking: Asking): Promise<readonly Judged[]> {
  const groups = new Map<string, Judged>()
  for (const sameWays of Map.groupBy(ways, (way) =>
    JSON.stringify([way.egress, way.ingress, way.how]),
  ).values()) {
    const [way] = sameWays
    if (way === undefined) continue
    const egress = viewOf(way.egress, 'egress', asking)
    const ingress = viewOf(way.ingress, 'ingress', asking)
    const key = JSON.stringify([way.how, egress.verdict, egress.cause, ingress.verdict, ingress.cause])
    const known = groups.get(key)
    const told = { egress: moreTelling(known?.egress, egress), ingress: moreTelling(known?.ingress, ingress) }
    groups.set(key, { ways: [...(known?.ways ?? []), ...sameWays], ...told })
    await setImmediate()
  }
  return [...groups.values()]
}

function moreTelling(known: View | undefined, view: View): View {
  const rank = ({ kernel }: View) => (kernel === undefined ? 0 : kernel.agrees ? 1 : 2)
  return known === undefined || rank(view) > rank(known) ? view : known
}

function refusalOf(
  { source }: Ends,
  { name, kind }: ReachedService,
  ranges: readonly Parameters<typeof prefixContains>[0][],
): string | undefined {
  if (kind !== 'load-balancer' || ranges.length === 0) return undefined
  if (ranges.some((range) => prefixContains(range, source))) return undefined
  return `${name} does not admit ${source}: its loadBalancerSourceRanges are ${ranges.join(', ')}`
}

function areAllowed({ egress, ingress }: Record<PolicyDirection, DirectionView>): boolean {
  return egress.verdict === 'allow' && ingress.verdict === 'allow'
}

function endpointText({ address, port }: Way['endpoint'], { world, node }: Asking): string {
  const party = partyAt(world, address, node)
  const end = endText(address, port)
  if (party.kind === 'outside') return end
  return `${party.kind === 'pod' ? party.pod.key : `node ${party.node.name}`} ${end}`
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)]
}

/** The node where somebody is. */
function placeOf(party: Party): string | undefined {
  if (party.kind === 'outside') return undefined
  return party.kind === 'pod' ? party.pod.node : party.node.name
}

/** Not yet with its lines, which the API server is asked for. */
interface View extends Omit<DirectionView, 'lines'> {
  readonly rules: readonly WrittenRule[]
}

async function written({ rules, ...view }: View, { lines }: Asking): Promise<DirectionView> {
  return { ...view, lines: await lines.of(rules) }
}

function viewOf(asked: Asked, direction: PolicyDirection, asking: Asking): View {
  const { node, world } = asking
  const [subject, peer] =
    direction === 'egress' ? [asked.source, asked.destination] : [asked.destination, asked.source]
  const party = partyAt(world, subject, node)
  const packet = { ...asked, node: placeOf(party) ?? node }
  const judgement = judge(world, packet, direction)
  const cause = describeJudgement(judgement, { policies: world.policies, direction })
  const view = { verdict: judgement.verdict, cause, rules: writtenRules(judgement, direction, world) }
  const unjudged = unjudgedText(party, asked, asking)
  if (unjudged !== undefined) return { ...view, kernel: undefined, unjudged }
  const peerParty = partyAt(world, peer, node)
  const ruling = lookUpPolicy(asking.rows, {
    ...{ direction, subject, peer, port: asked.port, isOfHost: party.kind === 'node' },
    protocol: asked.protocol === 'icmp' && familyOf(peer) === 'ipv6' ? 'icmpv6' : asked.protocol,
    isFromHost: peerParty.kind === 'node' && peerParty.isJudge,
    isMasqueraded: asked.isMasqueraded,
  })
  return { ...view, kernel: kernelView(ruling, judgement.verdict, asking), unjudged: undefined }
}

/** Why the rows of this node say nothing of whom is asked about; undefined: they do. */
function unjudgedText(
  party: Party,
  { isHairpin }: Asked,
  { node, rows, command }: Asking,
): string | undefined {
  if (party.kind === 'outside') return 'it is neither a pod nor a node of this cluster'
  const judge = placeOf(party)
  if (judge !== node) return `node ${judge} judges it. There: ${command}`
  if (isHairpin) return 'a Service leads the pod back to itself, which is judged by other rows'
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

const PORT_TEXT = /^(\d{1,5})(?:\/(tcp|udp|sctp|icmp))?$/i
/** As containers' ports are named. */
const PORT_NAME = /^[a-z0-9-]{1,15}$/i

function readPort(text: string, destinations: readonly Address[], world: PolicyWorld): Port {
  const [, digits, protocol = 'tcp'] = PORT_TEXT.exec(text) ?? []
  const port = Number(digits)
  const known = protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp' | 'icmp'
  const most = known === 'icmp' ? 255 : 65_535
  if (digits !== undefined && port <= most) return { protocol: known, port }
  if (digits === undefined && PORT_NAME.test(text)) return portNamed(text, destinations, world)
  throw new RequestError(
    400,
    `'${text}' is no port; write 80/tcp, 53/udp, 9/sctp, of ICMP the type, 8/icmp, or the name of a port of the pod`,
  )
}

function portNamed(name: string, destinations: readonly Address[], world: PolicyWorld): Port {
  const pod = world.pods.find(({ addresses, isFinished, isHostNetwork }) =>
    isFinished || isHostNetwork ? false : destinations.some((one) => addresses.includes(one)),
  )
  const found = pod?.namedPorts.find((one) => one.name === name)
  if (found) return { protocol: found.protocol, port: found.port }
  const names = pod?.namedPorts.map((one) => one.name).join(', ')
  const lacks = pod ? `pod ${pod.key} names no port '${name}'${names ? `, but ${names}` : ''}` : undefined
  throw new RequestError(
    400,
    `${lacks ?? `'${name}' is no port: only pods have named ones`}; write the number, as 80/tcp`,
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
    `--${option} '${text}' is neither an address, nor a pod with an address of its own, nor a node; write NAMESPACE/NAME as kubectl get pods -A has it, the node's name, or a Service's address`,
  )
}
