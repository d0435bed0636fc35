// `weir policy simulate` from the file to the page: what is read of it, which flows it is held against, and what is told.

import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { RequestError } from '../../../src/agent/local-api.ts'
import type { PolicyRecord } from '../../../src/agent/policy-records.ts'
import type { SeenContext } from '../../../src/agent/policy-seen.ts'
import { type SimulateParts, simulatePolicies } from '../../../src/agent/policy-simulate.ts'
import { formatSimulation } from '../../../src/cli/policy-simulate.ts'
import type { FlowEntry } from '../../../src/datapath/flow-table.ts'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import { address } from '../../../src/model/address.ts'
import type { PolicyWorld } from '../../../src/model/policy.ts'
import { node, pod, world } from '../policy/rows.ts'

const WEB = address('10.0.1.1')
const WEB6 = address('fd00::1:1')
const CART = address('10.0.2.1')
const CART6 = address('fd00::2:1')
const NODE1 = address('192.0.2.1')
const NODE2 = address('192.0.2.2')
const OUTSIDER = address('203.0.113.7')

const GUARD = {
  metadata: { namespace: 'shop', name: 'guard' },
  spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ ports: [{ port: 80 }] }] },
}
const OBJECTS = [toPolicyObject('NetworkPolicy', GUARD)]
const WORLD: PolicyWorld = world({
  policies: OBJECTS.flatMap(({ policies }) => policies),
  pods: [
    pod('shop/web', { labels: { app: 'web' }, addresses: [WEB, WEB6], node: 'n1' }),
    pod('shop/cart', { labels: { app: 'cart' }, addresses: [CART, CART6], node: 'n2' }),
  ],
  nodes: [node('n1', { addresses: [NODE1] }), node('n2', { addresses: [NODE2] })],
  networkGroups: [{ name: 'office', labels: {}, prefixes: [] }],
})

const SEEN: SeenContext = {
  node: 'n1',
  podAt: (ifindex, family) => (ifindex === 7 ? { ipv4: WEB, ipv6: WEB6 }[family] : undefined),
  backend: (id) => (id === 2 ? { address: WEB, port: 80 } : undefined),
  nodeAt: (family) => (family === 'ipv4' ? NODE1 : undefined),
  isOwn: (one) => one === WEB || one === WEB6 || one === NODE1,
  isNode: (one) => one === NODE2,
  lentPorts: { snat: { first: 61_000, last: 65_535 }, masquerade: undefined },
}

const flow = (overrides: Partial<FlowEntry>): FlowEntry => ({
  ...{ kind: 'POD', state: 'ESTABLISHED', idleTicks: 0, client: CART, clientPort: 40_000, protocol: 6 },
  ...{ frontendId: 0, backendId: undefined, snatPort: 0 },
  ...overrides,
})
const served = { ifindex: 7, port: 80, isServer: true, isFromHost: false, isOfHost: false }

const FLOWS: readonly FlowEntry[] = [
  flow({ podEnd: served }),
  flow({ podEnd: served, client: CART6 }),
  // From behind node 2's address, by a Service from outside, of a device that is gone, and one direction of a Service's flow.
  flow({ podEnd: served, client: NODE2, clientPort: 61_001 }),
  flow({ kind: 'TO_LOCAL', client: OUTSIDER, backendId: 2, frontendId: 1 }),
  flow({ podEnd: { ...served, ifindex: 8 } }),
  flow({ kind: 'REPLY', client: OUTSIDER }),
  // What the pod began.
  flow({ podEnd: { ...served, port: 40_001, isServer: false }, client: CART, clientPort: 6379 }),
]

const DROPPED: PolicyRecord = {
  ...{ kind: 'dropped', direction: 'ingress', source: 'shop/cart', destination: 'shop/web', protocol: 'tcp' },
  ...{ port: 81, rule: 'NetworkPolicy shop/guard isolates ingress', count: 5, firstMs: 0, lastMs: 0 },
  last: { source: CART, sourcePort: 40_002, destination: WEB },
}

function parts(flows: readonly FlowEntry[] = FLOWS): SimulateParts {
  return {
    ...{ node: 'n1', world: WORLD, objects: OBJECTS, records: [DROPPED], seen: SEEN },
    existingConnections: 'recheck',
    flows: { capacity: flows.length, entries: (first, count) => flows.slice(first, first + count) },
  }
}

const NEW = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guard, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: cart}}}]
    ports: [{port: 80, endPort: 81}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop, annotations: {weir.network/existing-connections: keep}}
spec: {podSelector: {}, policyTypes: [Egress]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
`

t.test('a changed and a new policy, as it is told', async (t) => {
  const answer = await simulatePolicies(NEW, [], parts())
  t.match(answer, { flows: 7, records: 1, unnamed: 1, more: 0, workloads: ['shop/web'] })
  t.match(answer.objects, [
    { kind: 'NetworkPolicy', key: 'shop/guard', change: 'changed', faults: [] },
    { key: 'shop/out', change: 'new', keepsExisting: true },
  ])
  t.match(answer.leftOut, [/^document 3: a Deployment says nothing of policy here/])
  const rows = answer.changes.map(({ source, destination, port, direction, before, after, seen }) => [
    ...[source, destination, port, direction, before.verdict, after.verdict, seen],
  ])
  t.strictSame(rows, [
    ['outside', 'shop/web', 80, 'ingress', 'allow', 'deny', { flow: 2, drop: 0, audit: 0 }],
    ['shop/web', 'shop/cart', 6379, 'egress', 'allow', 'deny', { flow: 1, drop: 0, audit: 0 }],
    ['shop/cart', 'shop/web', 81, 'ingress', 'deny', 'allow', { flow: 0, drop: 5, audit: 0 }],
  ])
  const text = formatSimulation(answer)
  t.match(
    text,
    /^NetworkPolicy shop\/guard: changed\nNetworkPolicy shop\/out: new\n\nSOURCE +DESTINATION +PORT/,
  )
  t.match(text, /^shop\/cart +shop\/web +81\/tcp +ingress +5 dropped +denied +allowed +\[\d\]$/m)
  t.match(text, /^\[\d\] allowed by NetworkPolicy shop\/guard, spec\.ingress\[0\]/m)
  t.match(text, /Looked at 7 flows and 1 records/)
  t.match(text, /go on where it denies them: NetworkPolicy shop\/out\./)
  t.ok(text.split('\n').every((line) => line.length <= 120))
})

t.test('an object taken away, and nothing that changes', async (t) => {
  const { changes, objects } = await simulatePolicies('', ['netpol/shop/guard'], parts())
  t.match(objects, [{ key: 'shop/guard', change: 'deleted' }])
  t.match(changes, [{ port: 81, before: { verdict: 'deny' }, after: { verdict: 'allow' } }])
  const same = await simulatePolicies(
    JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', ...GUARD }),
    [],
    parts(),
  )
  t.match(same, { changes: [], objects: [{ change: 'same' }] })
  t.match(formatSimulation(same), /^NetworkPolicy shop\/guard: same\n\nNothing would change\.\n/)
})

t.test('every kind, in Lists too, and what of it is not followed', async (t) => {
  const cilium = (kind: string, spec: object) => ({
    apiVersion: 'cilium.io/v2',
    kind,
    metadata: { name: 'x' },
    spec,
  })
  const items = [
    cilium('CiliumNetworkPolicy', { endpointSelector: {}, egress: [{ toFQDNs: [{}] }] }),
    cilium('CiliumClusterwideNetworkPolicy', {
      endpointSelector: {},
      ingressDeny: [{ fromCIDRSet: [{ cidrGroupRef: 'office' }] }],
    }),
    { ...cilium('CiliumCIDRGroup', { externalCIDRs: ['203.0.113.0/24'] }), metadata: { name: 'office' } },
    {
      ...{
        apiVersion: 'policy.networking.k8s.io/v1alpha2',
        kind: 'ClusterNetworkPolicy',
        metadata: { name: 'y' },
      },
      spec: {
        tier: 'Admin',
        priority: 1,
        subject: { namespaces: {} },
        egress: [{ action: 'Deny', to: [{ namespaces: {} }] }],
      },
    },
  ]
  const answer = await simulatePolicies(
    JSON.stringify({ kind: 'List', apiVersion: 'v1', items }),
    [],
    parts(),
  )
  t.match(answer.objects, [
    { key: 'default/x', change: 'new', faults: [/^spec\.egress\[0\]\.toFQDNs: is not supported.*Mend: /] },
    { key: 'x', change: 'new', faults: [] },
    { key: 'y', change: 'new', faults: [] },
    { kind: 'CiliumCIDRGroup', key: 'office', change: 'changed' },
  ])
  const verdicts = answer.changes.map(({ source, port, after }) => `${source} ${port} ${after.cause}`)
  t.ok(
    verdicts.some((text) =>
      /^outside 80 denied by CiliumClusterwideNetworkPolicy x, spec\.ingressDeny\[0\]/.test(text),
    ),
  )
  t.ok(
    verdicts.some((text) =>
      /^shop\/web 6379 denied by ClusterNetworkPolicy y \(admin tier, priority 1\)/.test(text),
    ),
  )
})

t.test('what cannot be read is told by place, with the mend', async (t) => {
  const meta = 'metadata: {name: x}'
  const cases = [
    ['', [], /there is no policy in the file: it is empty\. Mend: /],
    [
      'kind: NetworkPolicies\n',
      [],
      /a NetworkPolicies says nothing of policy here \(did you mean NetworkPolicy\?\)/,
    ],
    ['a: [', [], /^document 1, line 1: .* Mend: write YAML/],
    ['a: 1\n', [], /^document 1: kind: is missing\. Mend: write whole objects/],
    [
      `kind: NetworkPolicy\napiVersion: v1\n${meta}`,
      [],
      /apiVersion: "v1" of NetworkPolicy is not followed\. Mend: write networking\.k8s\.io\/v1/,
    ],
    ['kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\n', [], /metadata\.name: is missing/],
    [
      `kind: CiliumCIDRGroup\napiVersion: cilium.io/v2\n${meta}\nspec: {externalCIDRs: [10.0.0.0/33]}`,
      [],
      /spec\.externalCIDRs\[0\]: "10\.0\.0\.0\/33" is not a network\. Mend: /,
    ],
    [`kind: NetworkPolicy\n${meta}\nspec: *none\n`, [], /^document 1: Unresolved alias .* Mend: write YAML/],
    ['', ['NetworkPolicy/shop/gaurd'], /there is no NetworkPolicy 'shop\/gaurd'.*did you mean shop\/guard/],
    ['', ['NetworkPolice/shop/guard'], /no such kind.*did you mean NetworkPolicy/],
  ] as const
  for (const [text, deleted, message] of cases)
    await t.rejects(simulatePolicies(text, deleted, parts()), { constructor: RequestError, message })
})

t.test('a file is read as kubectl reads it', async (t) => {
  const policy = (spec: string, more = '') =>
    `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: shop${more}}\nspec: ${spec}\n`
  const said = async (text: string) => {
    const { objects, leftOut } = await simulatePolicies(text, [], parts())
    return { faults: objects.map(({ faults }) => faults), leftOut }
  }
  t.strictSame(await said(policy('{<<: {podSelector: {}}, ingress: []}')), { faults: [[]], leftOut: [] })
  t.match(await said(policy('{podSelector: {matchLabels: {a: yes}}}')), { faults: [[/a: true is not text/]] })
  t.strictSame(await said(policy('{podSelector: {matchLabels: {a: 2020-01-01, b: 22:22}}}')), {
    faults: [[]],
    leftOut: [],
  })
  t.strictSame(
    await said(`${policy('{nonsense: 1}')}---\n${policy('{podSelector: {}}')}`),
    {
      faults: [[]],
      leftOut: ['document 1: NetworkPolicy shop/x is written again in document 2, which holds'],
    },
    'the last of one name is what stays',
  )
  const items = policy('{podSelector: {}}').trim().replaceAll('\n', '\n  ')
  t.strictSame(await said(`kind: NetworkPolicyList\nitems:\n- ${items}\n`), { faults: [[]], leftOut: [] })
  t.match(await said(policy('{podSelector: {}}', ', annotations: {weir.network/policy-mode: 5}')), {
    faults: [[/policy-mode'\]: 5 is not known/]],
  })
})

t.test("the node's own flows, where policies protect nodes", async (t) => {
  const spec = {
    nodeSelector: {},
    ingressDeny: [{ fromEntities: ['world'], toPorts: [{ ports: [{ port: '9100' }] }] }],
  }
  const kind = 'CiliumClusterwideNetworkPolicy'
  const file = JSON.stringify({ apiVersion: 'cilium.io/v2', kind, metadata: { name: 'host' }, spec })
  const flows = [
    flow({ podEnd: { ...served, ifindex: 0, isOfHost: true, port: 9100 }, client: OUTSIDER }),
    flow({ podEnd: { ...served, ifindex: 0, isOfHost: true, port: 9101 }, client: OUTSIDER }),
  ]
  const { changes } = await simulatePolicies(file, [], parts(flows))
  t.match(changes, [{ source: 'outside', destination: 'node n1', port: 9100, after: { verdict: 'deny' } }])
})

t.test('a large table does not hold the agent up', async (t) => {
  const many = Array.from({ length: 60_000 }, (_, index) =>
    flow({ podEnd: served, client: address(`203.${index >> 16}.${(index >> 8) & 255}.${index & 255}`) }),
  )
  let turns = 0
  let isDone = false
  const counting = (async () => {
    while (!isDone) {
      await setImmediate()
      turns += 1
    }
  })()
  const { changes } = await simulatePolicies(NEW, [], parts(many))
  isDone = true
  await counting
  t.match(changes[0], { source: 'outside', seen: { flow: 60_000 } })
  t.ok(turns >= 50, `${turns} turns`)
})
