// `weir policy`: which policies this node follows, and why one packet is let through or is not.

import type { DirectionView, PolicyAnswer, PolicyRow } from '../agent/policy-view.ts'
import { formatFields, formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import { type Action, type ActionSet, runAction, type ValuesOf } from './actions.ts'
import { AGENT_OPTIONS, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { UsageError } from './options.ts'
import { withSentences } from './short-lists.ts'

const OPTIONS = {
  ...AGENT_OPTIONS,
  from: { type: 'string' },
  to: { type: 'string' },
  port: { type: 'string' },
} as const

type Values = ValuesOf<typeof OPTIONS>

const INDENT = '  '

const LIST: Action<Values> = {
  takes: '',
  words: 0,
  summary: 'every policy, whom of this node it protects, and what of it is not followed',
  about: `Every policy that this node's agent knows: its tier, the directions it speaks of, whether it is in force
    or audited, how many pods of this node it selects, and which fields of it are not followed, with the mend.`,
  example: 'weir policy list',
  options: [],
  run: async (values) => {
    printAnswer(values, await askAgent<PolicyRow[]>(values, '/v1/policies'), formatPolicies)
    return 0
  },
}

const EXPLAIN: Action<Values> = {
  takes: '--from POD|ADDRESS --to POD|ADDRESS --port 80/tcp',
  words: 0,
  summary: 'whether a connection is allowed, by which rule, and what the kernel says',
  about: `Whether a connection is allowed, at the sender's end (egress) and at the receiver's (ingress), and by which rule:
    first by the objects as they are, then by the rows in this node's kernel, for those of the two pods that run
    here. Both must agree. What a Service leads to is asked by the endpoint's own address and port. The exit status is
    0 when it is allowed, 1 when it is denied.`,
  example: 'weir policy explain --from shop/cart --to shop/web --port 8080/tcp',
  optionsHelp: `  --from, --to POD|ADDRESS    NAMESPACE/NAME of a pod (a name alone is in default), or an address
  --port PORT/PROTOCOL        the pod's own port; of ICMP the type: 8/icmp
`,
  options: ['from', 'to', 'port'],
  run: async (values) => {
    const query = new URLSearchParams()
    for (const name of ['from', 'to', 'port'] as const) {
      const value = values[name]
      if (value === undefined)
        throw new UsageError(
          `--${name} is missing. Mend: weir policy explain --from shop/cart --to shop/web --port 8080/tcp`,
        )
      query.set(name, value)
    }
    const answers = await askAgent<PolicyAnswer[]>(values, `/v1/policy?${query}`)
    printAnswer(values, answers, formatExplanation)
    return answers.every(({ isAllowed }) => isAllowed) ? 0 : 1
  },
}

export const POLICY_ACTIONS: ActionSet<typeof OPTIONS> = {
  command: 'weir policy',
  options: OPTIONS,
  actions: { list: LIST, explain: EXPLAIN },
}

export const policyCommand: Command = {
  summary: 'policies, and why a connection is allowed or denied',
  run: (args) => runAction(POLICY_ACTIONS, args),
}

export function formatPolicies(rows: readonly PolicyRow[], width = PAGE_WIDTH): string {
  if (rows.length === 0) return 'No policies: every pod may speak to everybody.\n'
  const inOrder = [...rows].sort((a, b) => (`${a.kind} ${a.policy}` < `${b.kind} ${b.policy}` ? -1 : 1))
  const cells = inOrder.map(({ kind, policy, tier, directions, mode, subjectCount, faults }) => [
    kind,
    policy,
    tier,
    directions.join(' '),
    mode,
    String(subjectCount),
    faults.length > 0 ? String(faults.length) : '',
  ])
  const header = ['KIND', 'POLICY', 'TIER', 'DIRECTIONS', 'MODE', 'PODS HERE', 'FAULTS']
  const table = formatTable(header, cells, { width, flexible: ['POLICY', 'DIRECTIONS'] })
  const below = inOrder.flatMap(({ kind, policy, faults }) =>
    faults.map((fault) => `${kind} ${policy}: ${fault}`),
  )
  return withSentences(table, below, width)
}

export function formatExplanation(answers: readonly PolicyAnswer[], width = PAGE_WIDTH): string {
  const paragraphs = answers.map((answer) => {
    const { source, destination, protocol, port, isAllowed } = answer
    const head = `${source} to ${destination}, ${protocol} ${port}: ${isAllowed ? 'allowed' : 'denied'}`
    const fields = [...fieldsOf('egress', answer.egress), ...fieldsOf('ingress', answer.ingress)]
    return `${head}\n${formatFields(fields, width, INDENT)}`
  })
  return `${paragraphs.join('\n\n')}\n`
}

function fieldsOf(name: string, { cause, kernel, unjudged }: DirectionView) {
  return [[name, cause] as const, ['kernel', kernel ? kernelText(kernel) : `not asked: ${unjudged}`] as const]
}

function kernelText({ agrees, verdict, cause, set, identity }: NonNullable<DirectionView['kernel']>): string {
  const said = `${verdict === 'allow' ? 'allowed' : 'denied'}: ${cause} (set ${set}, identity ${identity})`
  return `${agrees ? 'agrees' : 'DOES NOT AGREE'}, ${said}`
}
