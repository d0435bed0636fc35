// `weir policy`: which policies this node follows, and why one packet is let through or is not; audits and simulations are beside it.

import type { DirectionView, PolicyAnswer, ServiceWay } from '../agent/policy-explain.ts'
import type { Tally } from '../agent/policy-records.ts'
import type { PolicyRow, RuleAnswer } from '../agent/policy-view.ts'
import { formatFields, formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import { type Action, type ActionSet, runAction, type ValuesOf } from './actions.ts'
import { AGENT_OPTIONS, askAgent, printAnswer, refusedAsUsage } from './ask-agent.ts'
import type { Command } from './main.ts'
import { UsageError } from './options.ts'
import { AUDIT_ACTION, AUDIT_OPTIONS, RECORD_WORDS } from './policy-audit.ts'
import { SIMULATE_ACTION, SIMULATE_OPTIONS } from './policy-simulate.ts'
import { lineTexts } from './rule-lines.ts'
import { withSentences } from './short-lists.ts'

const OPTIONS = {
  ...AGENT_OPTIONS,
  from: { type: 'string' },
  to: { type: 'string' },
  port: { type: 'string' },
  ...AUDIT_OPTIONS,
  ...SIMULATE_OPTIONS,
} as const

type Values = ValuesOf<typeof OPTIONS>

const INDENT = '  '

const LIST: Action<Values> = {
  takes: '',
  words: 0,
  summary: 'every policy, whom of this node it protects, and what of it is not followed',
  about: `Every policy that this node's agent knows: its tier, the directions it speaks of, whether it is in force
    or audited, how many pods of this node it selects (or that it selects the node), how many packets it dropped here
    or would have (audited), and which fields of it are not followed, with the mend.`,
  example: 'weir policy list',
  options: [],
  run: async (values) => {
    printAnswer(values, await askAgent<PolicyRow[]>(values, '/v1/policies'), formatPolicies)
    return 0
  },
}

const EXPLAIN: Action<Values> = {
  takes: 'RULE | --from POD|NODE|ADDRESS --to POD|NODE|ADDRESS --port 80/tcp',
  words: 1,
  summary: 'whether a connection is allowed, by which rule and line of YAML, and what the kernel says',
  about: `Whether a connection is allowed, at the sender's end (egress) and at the receiver's (ingress), and by which rule:
    first by the objects as they are, then by the rows in this node's kernel, for what of the two is a pod here or this
    node. Both must agree. To the address and port of a Service, a ClusterIP, node port or load balancer's, it is followed to the endpoints, one
    answer for all of which the same is true. Each rule, and the peer and the port of it that match first, are shown with
    their lines in what kubectl get -o yaml prints. The exit status is 0 when it is allowed, whichever endpoint it is led to, 1 when it is
    denied, and 2 when it could not be told (no such pod, no endpoint, no answer of the agent). With RULE instead, the number of a rule as events, weir flow drops -o json and the kernel's rows have it: its policy, its
    place there and its line.`,
  example: 'weir policy explain --from shop/cart --to shop/web --port 8080/tcp',
  optionsHelp: `  --from, --to POD|NODE|ADDRESS
                              NAMESPACE/NAME of a pod (a name alone is in default), a node's name, or an address
  --port PORT/PROTOCOL        the pod's own port, or its name; the Service's at a Service's address; of ICMP the type: 8/icmp
`,
  options: ['from', 'to', 'port'],
  run: async (values, [rule]) => {
    if (rule !== undefined) return await explainRule(values, rule)
    const query = new URLSearchParams()
    for (const name of ['from', 'to', 'port'] as const) {
      const value = values[name]
      if (value === undefined)
        throw new UsageError(
          `--${name} is missing. Mend: weir policy explain --from shop/cart --to shop/web --port 8080/tcp`,
        )
      query.set(name, value)
    }
    const answers = await refusedAsUsage(askAgent<PolicyAnswer[]>(values, `/v1/policy?${query}`))
    printAnswer(values, answers, formatExplanation)
    return answers.every(({ isAllowed }) => isAllowed) ? 0 : 1
  },
}

async function explainRule(values: Values, rule: string): Promise<number> {
  if (values.from !== undefined || values.to !== undefined || values.port !== undefined)
    throw new UsageError(
      'a rule stands alone. Mend: weir policy explain RULE, or --from, --to and --port without it',
    )
  const path = `/v1/policy/rule?id=${encodeURIComponent(rule)}`
  const answer = await refusedAsUsage(askAgent<RuleAnswer>(values, path))
  printAnswer(values, answer, formatRule)
  return 0
}

export const POLICY_ACTIONS: ActionSet<typeof OPTIONS> = {
  command: 'weir policy',
  options: OPTIONS,
  actions: { list: LIST, explain: EXPLAIN, audit: AUDIT_ACTION, simulate: SIMULATE_ACTION },
}

export const policyCommand: Command = {
  summary: 'policies: why a connection is allowed or denied, what an audit saw, what a change would do',
  run: (args) => runAction(POLICY_ACTIONS, args),
}

export function formatPolicies(rows: readonly PolicyRow[], width = PAGE_WIDTH): string {
  if (rows.length === 0) return 'No policies: every pod may speak to everybody.\n'
  const inOrder = [...rows].sort((a, b) => (`${a.kind} ${a.policy}` < `${b.kind} ${b.policy}` ? -1 : 1))
  const cells = inOrder.map(({ kind, policy, tier, directions, mode, recorded, faults, ...row }) => [
    kind,
    policy,
    tier,
    directions.join(' '),
    mode,
    subjectsOf(row),
    recorded ? recordedText(recorded) : '',
    faults.length > 0 ? String(faults.length) : '',
  ])
  const header = ['KIND', 'POLICY', 'TIER', 'DIRECTIONS', 'MODE', 'PODS HERE', 'PACKETS', 'FAULTS']
  const table = formatTable(header, cells, { width, flexible: ['POLICY', 'DIRECTIONS', 'PACKETS'] })
  const below = inOrder.flatMap(({ kind, policy, faults }) =>
    faults.map((fault) => `${kind} ${policy}: ${fault}`),
  )
  return withSentences(table, below, width)
}

/** How many pods, or that it is the node. */
function subjectsOf({ subjectCount, selectsNode }: Pick<PolicyRow, 'subjectCount' | 'selectsNode'>): string {
  if (!selectsNode) return String(subjectCount)
  return subjectCount === 0 ? 'the node' : `${subjectCount}, the node`
}

/** `3 would drop, 12 dropped` */
function recordedText(tally: Tally): string {
  const kinds = ['would-drop', 'would-pass', 'dropped'] as const
  return kinds.flatMap((kind) => (tally[kind] > 0 ? [`${tally[kind]} ${RECORD_WORDS[kind]}`] : [])).join(', ')
}

export function formatRule({ rule, text, name, lines }: RuleAnswer, width = PAGE_WIDTH): string {
  const place = name && (name.index < 0 ? 'none of its rules' : `rule ${name.index} of ${name.direction}`)
  const fields = [
    ...(name && place ? ([['policy', `${name.kind} ${name.key}, ${place}`]] as const) : []),
    ...lineTexts(lines).map((text) => ['written', text] as const),
  ]
  return `Rule ${rule}: ${text}\n${fields.length > 0 ? `${formatFields(fields, width, INDENT)}\n` : ''}`
}

export function formatExplanation(answers: readonly PolicyAnswer[], width = PAGE_WIDTH): string {
  const paragraphs = answers.map((answer) => {
    const { source, destination, protocol, port, isAllowed, service, refusal, masqueraded } = answer
    const by = service ? `, ${service.name}` : ''
    const head = `${source} to ${destination}, ${protocol} ${port}${by}: ${isAllowed ? 'allowed' : 'denied'}`
    const fields = [
      ...(service ? wayFields(service) : []),
      ...(refusal === undefined ? [] : [['refused', refusal] as const]),
      ...fieldsOf('egress', answer.egress),
      ...fieldsOf('ingress', answer.ingress),
      ...(masqueraded ? hiddenFields(masqueraded, answer) : []),
    ]
    return `${head}\n${formatFields(fields, width, INDENT)}`
  })
  const isMixed = answers.some(({ isAllowed }) => isAllowed) && answers.some(({ isAllowed }) => !isAllowed)
  const mixed = isMixed ? ['Allowed on some of these paths, denied on others.'] : []
  return `${[...paragraphs, ...mixed].join('\n\n')}\n`
}

const ENDPOINTS_SHOWN = 8

function wayFields({ how, endpoints, lent, leftOut }: ServiceWay) {
  const more = endpoints.length - ENDPOINTS_SHOWN
  const shown = endpoints.slice(0, more > 1 ? ENDPOINTS_SHOWN : undefined).join(', ')
  const others = [
    ...(more > 1 ? [`${more} more`] : []),
    ...(leftOut > 0 ? [`${leftOut} that were not looked at`] : []),
  ]
  return [
    ['endpoints', [shown, ...others].join(' and ')] as const,
    ['path', how] as const,
    ...(lent.length > 0 ? [['source', lent.join(', ')] as const] : []),
  ]
}

/** Whoever hides behind a node's address is the outside's, and gets what that gets. */
function hiddenFields(hidden: DirectionView, { source, ingress }: PolicyAnswer) {
  const what = `traffic with source NAT to ${source} (node ports, pods' masquerade), an external client to policy`
  const isSame = hidden.cause === ingress.cause && hidden.kernel?.verdict === ingress.kernel?.verdict
  if (isSame) return [['masqueraded', `${what}: the same`] as const]
  return fieldsOf('masqueraded', { ...hidden, cause: `${what}: ${hidden.cause}` })
}

function fieldsOf(name: string, { cause, kernel, unjudged, lines = [] }: DirectionView) {
  return [
    [name, cause] as const,
    ...lineTexts(lines).map((text) => ['written', text] as const),
    ['kernel', kernel ? kernelText(kernel) : `not asked: ${unjudged}`] as const,
  ]
}

function kernelText({
  agrees,
  verdict,
  cause,
  rule,
  set,
  identity,
}: NonNullable<DirectionView['kernel']>): string {
  const said = `${verdict === 'allow' ? 'allowed' : 'denied'}: ${cause} (rule ${rule}, set ${set}, identity ${identity})`
  return `${agrees ? 'agrees' : 'DOES NOT AGREE'}, ${said}`
}
