// `weir policy list` and `explain`: what the agent answers, from a world that was compiled to rows, and how it is printed.

import t from 'tap'
import { RequestError } from '../../../src/agent/local-api.ts'
import type { PolicyAnswer } from '../../../src/agent/policy-explain.ts'
import { PolicyLines } from '../../../src/agent/policy-lines.ts'
import { explainRule, listPolicies } from '../../../src/agent/policy-view.ts'
import { formatExplanation, formatPolicies, formatRule } from '../../../src/cli/policy.ts'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import type { PolicyWorld } from '../../../src/model/policy.ts'
import { node, pod, world } from '../policy/rows.ts'
import { explain, explainParts } from './explain-bed.ts'

const WRITTEN = {
  metadata: { namespace: 'shop', name: 'web' },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: 'cart' } } }], ports: [{ port: 80 }] }],
  },
}

const OBJECTS = [
  toPolicyObject('NetworkPolicy', WRITTEN),
  toPolicyObject('CiliumNetworkPolicy', {
    metadata: { namespace: 'shop', name: 'l7' },
    ...{ spec: { endpointSelector: { matchLabels: { app: 'far' } }, egress: [{ toFQDNs: [{}] }] } },
  }),
]

const HOST = toPolicyObject('CiliumClusterwideNetworkPolicy', {
  metadata: { name: 'host' },
  ...{ spec: { nodeSelector: { matchLabels: { role: 'edge' } }, ingress: [{ fromEntities: ['cluster'] }] } },
})

const WORLD: PolicyWorld = world({
  policies: OBJECTS.flatMap(({ policies }) => policies),
  pods: [
    pod('shop/web', { labels: { app: 'web' }, addresses: ['10.0.1.1', 'fd00::1:1'], node: 'n1' }),
    pod('shop/cart', { labels: { app: 'cart' }, addresses: ['10.0.1.2', 'fd00::1:2'], node: 'n1' }),
    pod('shop/far', { labels: { app: 'far' }, addresses: ['10.0.2.1'], node: 'n2' }),
  ],
  nodes: [
    node('n1', { addresses: ['192.0.2.1'], labels: { role: 'edge' } }),
    node('n2', { addresses: ['192.0.2.2'] }),
  ],
})

/** The API server has the one, and not the other. */
const lines = new PolicyLines({
  list: async (_resource, query) => {
    const items = query?.fieldSelector === 'metadata.name=web' ? [WRITTEN] : []
    return { metadata: {}, items } as never
  },
})

const parts = (asked = WORLD) => explainParts(asked, { lines })

const ask = (from: string, to: string, port: string, asked = WORLD) => explain([from, to, port], parts(asked))

t.test('allowed and denied, in both families, by objects and by rows', async (t) => {
  const allowed = await ask('shop/cart', 'shop/web', '80/tcp')
  t.equal(allowed.length, 2)
  for (const { isAllowed, egress, ingress } of allowed) {
    t.ok(isAllowed)
    t.match(egress, { verdict: 'allow', kernel: { agrees: true, cause: 'no policy decides it' } })
    t.match(ingress, { cause: 'allowed by NetworkPolicy shop/web, spec.ingress[0]' })
    t.match(ingress.kernel, {
      agrees: true,
      verdict: 'allow',
      cause: 'NetworkPolicy shop/web, spec.ingress[0]',
    })
  }
  const [denied] = await ask('10.0.1.2', '10.0.1.1', '81')
  t.match(denied, {
    isAllowed: false,
    ingress: { verdict: 'deny', kernel: { agrees: true, verdict: 'deny' } },
  })
  t.equal(denied?.ingress.kernel?.cause, 'NetworkPolicy shop/web isolates ingress')
})

t.test('the other node judges its own, and its refused policy says why', async (t) => {
  const [answer] = await ask('shop/far', 'shop/web', '80/tcp')
  t.match(answer?.egress, {
    verdict: 'deny',
    kernel: undefined,
    unjudged: /^node n2 judges it\. There: weir policy explain --from/,
  })
  t.match(answer?.egress.cause, /CiliumNetworkPolicy shop\/l7 allows nothing: spec\.egress\[0\]\.toFQDNs/)
  t.match(answer?.ingress, { verdict: 'deny', kernel: { agrees: true } })
})

t.test('the own node to its pods, the outside, and ICMP', async (t) => {
  t.match(await ask('192.0.2.1', 'shop/web', '8/icmp'), [
    {
      isAllowed: true,
      egress: { unjudged: /no policy selects this node/, cause: /own pods/ },
      ingress: { kernel: { agrees: true, cause: /own node/ } },
    },
  ])
  t.match(await ask('203.0.113.1', 'shop/web', '80/tcp'), [
    { isAllowed: false, ingress: { kernel: { agrees: true } } },
  ])
  t.match(await ask('shop/web', '203.0.113.1', '8/icmp'), [
    { isAllowed: true, egress: { kernel: { agrees: true } } },
  ])
})

t.test('nodes, by their names', async (t) => {
  const ssh = { protocol: 'tcp', first: 22, last: 22 } as const
  const failSafePorts = { ingress: [ssh], egress: [ssh] }
  const asked = { ...WORLD, failSafePorts, policies: [...WORLD.policies, ...HOST.policies] }
  const judged = async (from: string, to: string, port: string) => (await ask(from, to, port, asked))[0]
  t.match((await judged('203.0.113.1', 'n1', '80/tcp'))?.ingress, {
    verdict: 'deny',
    kernel: { agrees: true, verdict: 'deny', cause: /host isolates ingress/ },
  })
  t.match((await judged('203.0.113.1', 'n1', '22/tcp'))?.ingress, {
    verdict: 'allow',
    kernel: { agrees: true, cause: /stays in touch/ },
  })
  t.match((await judged('shop/cart', 'n1', '80/tcp'))?.ingress, {
    verdict: 'allow',
    kernel: { agrees: true, cause: /host, spec\.ingress\[0\]/ },
  })
  t.match((await judged('n1', 'shop/web', '81/tcp'))?.egress, { verdict: 'allow', kernel: { agrees: true } })
  t.match(await judged('n1', 'n2', '80/tcp'), {
    egress: { verdict: 'allow', kernel: { agrees: true } },
    ingress: { verdict: 'allow', unjudged: /^node n2 judges it\. There: weir policy explain --from/ },
  })
  const list = formatPolicies(listPolicies([HOST], { node: 'n1', world: asked }))
  t.match(list, /^CiliumClusterwideNetworkPolicy +host +normal +ingress +enforce +the node *$/m)
})

t.test('what cannot be asked', async (t) => {
  for (const [from, to, port, message] of [
    ['shop/cart', 'shop/nobody', '80', /--to 'shop\/nobody' is neither/],
    ['shop/cart', 'shop/web', 'http', /pod shop\/web names no port 'http'/],
    ['shop/cart', '203.0.113.1', 'http', /'http' is no port: only pods have named ones/],
    ['shop/cart', 'shop/web', '80/http', /'80\/http' is no port/],
    ['shop/cart', 'shop/web', '65536', /is no port/],
    ['fd00::9', 'shop/far', '80', /different families/],
  ] as const)
    await t.rejects(ask(from, to, port), { constructor: RequestError, message })
})

t.test('as printed', async (t) => {
  const text = formatExplanation(await ask('10.0.1.2', '10.0.1.1', '81/tcp'))
  t.match(
    text,
    /^10\.0\.1\.2 to 10\.0\.1\.1, tcp 81: denied\n {2}egress {3}allowed: no policy decides it\n {2}kernel {3}agrees, allowed/,
  )
  t.match(text, /ingress {2}denied: NetworkPolicy shop\/web isolates ingress, and no rule allows this/)
  const list = formatPolicies(listPolicies(OBJECTS, { node: 'n1', world: WORLD }))
  t.match(list, /^KIND +POLICY +TIER +DIRECTIONS +MODE +PODS HERE +PACKETS +FAULTS$/m)
  t.match(list, /^NetworkPolicy +shop\/web +normal +ingress +enforce +1 *$/m)
  t.match(list, /^CiliumNetworkPolicy +shop\/l7 +normal +egress +enforce +0 +1$/m)
  t.match(list, /^CiliumNetworkPolicy shop\/l7: spec\.egress\[0\]\.toFQDNs/m)
  t.ok(list.split('\n').every((line) => line.length <= 120))
  t.match(formatPolicies([]), /No policies/)
  const tallies = new Map([['NetworkPolicy shop/web', { dropped: 12, 'would-drop': 3, 'would-pass': 0 }]])
  const counted = formatPolicies(listPolicies(OBJECTS, { node: 'n1', world: WORLD }, tallies))
  t.match(counted, /^NetworkPolicy +shop\/web .* 1 +3 would drop, 12 dropped *$/m)
})

t.test('where a rule is written: the line of what kubectl prints', async (t) => {
  const command = 'kubectl get networkpolicies -n shop web -o yaml'
  const [allowed] = await ask('10.0.1.2', '10.0.1.1', '80')
  const rule = { kind: 'NetworkPolicy', policy: 'shop/web', command }
  t.strictSame(allowed?.ingress.lines, [
    { ...rule, index: 0, path: 'spec.ingress[0]', line: 8, text: '- from:' },
    { ...rule, index: 0, path: 'spec.ingress[0].from[0]', line: 9, text: '- podSelector:' },
    { ...rule, index: 0, path: 'spec.ingress[0].ports[0]', line: 13, text: '- port: 80' },
  ])
  const wide = formatExplanation([allowed as PolicyAnswer], 400)
  t.match(
    wide,
    /^ {2}ingress +allowed by NetworkPolicy shop\/web, spec\.ingress\[0\]\.from\[0\], ports\[0\]$/m,
  )
  t.match(
    wide,
    /^ {2}written +line 8, '- from:' \(spec\.ingress\[0\]\); line 9, .*; line 13, '- port: 80' \(spec\.ingress\[0\]\.ports\[0\]\), of kubectl get networkpolicies -n shop web -o yaml$/m,
  )
  const text = formatExplanation(await ask('10.0.1.2', '10.0.1.1', '81'))
  t.match(
    text,
    /^ {2}written +line 7, 'ingress:' \(spec\.ingress\), of kubectl get networkpolicies -n shop web -o yaml$/m,
  )
  const [gone] = await ask('shop/far', 'shop/web', '80')
  t.match(gone?.egress.lines, [{ kind: 'CiliumNetworkPolicy', line: undefined, problem: 'it is gone' }])

  const number = allowed?.ingress.kernel?.rule
  t.type(number, 'number')
  const explained = formatRule(await explainRule(String(number), parts()))
  t.match(explained, /^Rule \d+: NetworkPolicy shop\/web, spec\.ingress\[0\]$/m)
  t.match(explained, /^ {2}policy +NetworkPolicy shop\/web, rule 0 of ingress$/m)
  t.match(explained, /^ {2}written +line 8, '- from:' \(spec\.ingress\[0\]\), of kubectl/m)
  t.match(formatRule(await explainRule('1', parts())), /^Rule 1: no policy decides it$/m)
  await t.rejects(explainRule('4000000', parts()), { message: /rule 4000000 is unknown/ })
  await t.rejects(explainRule('web', parts()), { message: /'web' is no number/ })
})
