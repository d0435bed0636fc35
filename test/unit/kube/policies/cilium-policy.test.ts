// Cilium's policies at L3 and L4: selectors, peers, ports, what isolates, and what fails closed.

import t from 'tap'
import { toCiliumPolicies } from '../../../../src/kube/policies/cilium-policy.ts'
import { ALL, is, object, ports, SHOP, told, where } from './read.ts'

const read = (spec: string) => {
  const [policy] = toCiliumPolicies(object(spec), 'shop')
  if (!policy) throw new Error('no policy')
  return policy
}
const clusterwide = (spec: string) => {
  const [policy] = toCiliumPolicies(object(spec), undefined)
  if (!policy) throw new Error('no policy')
  return policy
}
const peersOf = (rule: string, section: 'ingress' | 'egress' = 'ingress') =>
  read(`{endpointSelector: {}, ${section}: [{${rule}}]}`)[section]?.rules[0]?.peers

t.test('what isolates', async (t) => {
  const cases: [string, boolean | undefined, boolean | undefined][] = [
    ['ingress: [{}]', true, undefined],
    ['ingress: []', undefined, undefined],
    ['ingressDeny: [{fromEntities: [world]}]', true, undefined],
    ['egress: [{}], enableDefaultDeny: {egress: false}', undefined, false],
    ['enableDefaultDeny: {ingress: true}', true, undefined],
  ]
  for (const [spec, ingress, egress] of cases) {
    const policy = read(`{endpointSelector: {}, ${spec}}`)
    t.strictSame(policy.faults, [], spec)
    t.equal(policy.ingress?.isolates, ingress, `${spec}: ingress`)
    t.equal(policy.egress?.isolates, egress, `${spec}: egress`)
  }
  t.strictSame(
    read('{endpointSelector: {}, ingress: [{}]}').ingress?.rules,
    [],
    'an empty rule matches nothing',
  )
})

t.test('selectors', async (t) => {
  t.strictSame(read('{endpointSelector: {matchLabels: {"k8s:app": web}}, ingress: [{}]}').subject, {
    kind: 'pods',
    namespaces: SHOP,
    pods: is('app', 'web'),
  })
  const cases: [string, unknown][] = [
    ['{}', { kind: 'pods', namespaces: SHOP, pods: ALL }],
    [
      '{matchLabels: {"k8s:io.kubernetes.pod.namespace": other, "any:a": b}}',
      { kind: 'pods', namespaces: is('kubernetes.io/metadata.name', 'other'), pods: is('a', 'b') },
    ],
    [
      '{matchExpressions: [{key: "k8s:io.cilium.k8s.namespace.labels.team", operator: Exists}]}',
      { kind: 'pods', namespaces: where(['team', 'Exists']), pods: ALL },
    ],
    [
      '{matchLabels: {io.cilium.k8s.policy.serviceaccount: robot}}',
      { kind: 'pods', namespaces: SHOP, pods: is('io.cilium.k8s.policy.serviceaccount', 'robot') },
    ],
    ['{matchLabels: {"reserved:world": ""}}', { kind: 'entity', entity: 'world' }],
  ]
  for (const [selector, wanted] of cases)
    t.strictSame(peersOf(`fromEndpoints: [${selector}]`), [wanted], selector)
  t.strictSame(
    clusterwide('{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}').ingress?.rules[0]?.peers,
    [{ kind: 'pods', namespaces: ALL, pods: ALL }],
  )
  t.strictSame(clusterwide('{nodeSelector: {matchLabels: {"k8s:zone": a}}, ingress: [{}]}').subject, {
    kind: 'nodes',
    labels: is('zone', 'a'),
  })
})

t.test('peers', async (t) => {
  t.strictSame(
    peersOf('fromEndpoints: [], toPorts: [{ports: [{port: "80"}]}]'),
    [],
    'an empty list is nobody',
  )
  t.equal(peersOf('toPorts: [{ports: [{port: "80"}]}]'), 'any', 'no list is everybody')
  t.strictSame(peersOf('fromEntities: [cluster, world-ipv6]'), [
    { kind: 'entity', entity: 'cluster' },
    { kind: 'entity', entity: 'world-ipv6' },
  ])
  t.strictSame(peersOf('fromCIDR: [192.0.2.1, 10.0.0.0/8]'), [
    { kind: 'networks', prefix: '192.0.2.1/32', except: [], covers: 'outside' },
    { kind: 'networks', prefix: '10.0.0.0/8', except: [], covers: 'outside' },
  ])
  t.strictSame(
    peersOf(
      'toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: g}, {cidrGroupSelector: {}}]',
      'egress',
    ),
    [
      { kind: 'networks', prefix: '10.0.0.0/8', except: ['10.1.0.0/16'], covers: 'outside' },
      { kind: 'network-groups', groups: { name: 'g' }, except: [], covers: 'outside' },
      { kind: 'network-groups', groups: { labels: ALL }, except: [], covers: 'outside' },
    ],
  )
  t.strictSame(peersOf('toNodes: [{matchLabels: {"k8s:a": b}}]', 'egress'), [
    { kind: 'nodes', labels: is('a', 'b') },
  ])
  t.strictSame(
    peersOf(
      'toServices: [{k8sService: {serviceName: db}}, {k8sServiceSelector: {selector: {}, namespace: x}}]',
      'egress',
    ),
    [
      { kind: 'services', services: { key: 'shop/db' } },
      { kind: 'services', services: { namespaces: is('kubernetes.io/metadata.name', 'x'), labels: ALL } },
    ],
  )
})

t.test('ports and messages', async (t) => {
  const found = (rule: string) => {
    const policy = read(`{endpointSelector: {}, ingress: [{${rule}}]}`)
    t.strictSame(policy.faults, [], rule)
    return policy.ingress?.rules[0]?.ports
  }
  const any = [ports('tcp', 80), ports('udp', 80), ports('sctp', 80)]
  t.strictSame(found('toPorts: [{ports: [{port: "80"}]}]'), any)
  t.strictSame(found('toPorts: [{ports: [{port: "80", endPort: 90, protocol: TCP}]}]'), [
    ports('tcp', 80, 90),
  ])
  t.strictSame(found('toPorts: [{ports: [{port: "0", protocol: UDP}]}]'), [ports('udp', 0, 65_535)])
  t.strictSame(found('toPorts: [{ports: [{port: http, protocol: TCP}, {port: dns}]}]'), [
    { kind: 'named', protocol: 'tcp', name: 'http' },
    { kind: 'named', protocol: undefined, name: 'dns' },
  ])
  t.strictSame(found('icmps: [{fields: [{type: 8}, {family: IPv6, type: EchoRequest}]}]'), [
    { kind: 'icmp', family: 'ipv4', type: 8 },
    { kind: 'icmp', family: 'ipv6', type: 128 },
  ])
})

t.test('denies stand beside allows, and each spec is a policy', async (t) => {
  const { ingress } = read(
    '{endpointSelector: {}, ingress: [{fromEntities: [all]}], ingressDeny: [{fromEntities: [world]}]}',
  )
  t.match(ingress?.rules, [
    { action: 'deny', path: 'spec.ingressDeny[0]' },
    { action: 'allow', path: 'spec.ingress[0]' },
  ])
  const both = toCiliumPolicies(
    {
      metadata: { namespace: 'shop', name: 'two' },
      specs: [
        { endpointSelector: {}, ingress: [{}] },
        { endpointSelector: {}, egress: [{}] },
      ],
    } as never,
    'shop',
  )
  t.match(both, [
    { key: 'shop/two', part: 0, ingress: { isolates: true }, egress: undefined },
    { key: 'shop/two', part: 1, ingress: undefined, egress: { isolates: true } },
  ])
})

t.test('what is not followed fails closed, in the directions that the policy names', async (t) => {
  const web = 'ports: [{port: "80"}]'
  const cases: [string, RegExp][] = [
    ['egress: [{toFQDNs: [{matchName: example.com}]}]', /^spec\.egress\[0\]\.toFQDNs: is not supported/],
    [`egress: [{toPorts: [{${web}, rules: {http: [{}]}}]}]`, /toPorts\[0\]\.rules: is not supported/],
    [`egress: [{toPorts: [{${web}, serverNames: [a]}]}]`, /serverNames: is not supported/],
    ['egress: [{toGroups: [{}]}]', /toGroups: is not supported/],
    ['egress: [{toEndpoints: [{}], toCIDR: [10.0.0.0/8]}]', /has toEndpoints beside toCIDR/],
    [
      'egress: [{toEndpoints: [{}], authentication: {mode: required}}]',
      /authentication: .* is not supported/,
    ],
    ['egress: [{toEntities: [wolrd]}]', /toEntities\[0\]: "wolrd" is no entity/],
    ['egress: [{toRequires: [{}]}]', /toRequires: .* takes no items/],
    [
      'egress: [{toEndpoints: [{matchLabels: {"container:a": b}}]}]',
      /asks for labels of the source 'container'/,
    ],
    [`egress: [{toPorts: [{${web}}], icmps: [{fields: [{type: 8}]}]}]`, /has toPorts beside icmps/],
    ['egress: [{toPorts: [{ports: []}]}]', /ports: is empty/],
    ['egress: [{toPorts: [{ports: [{port: "80", protocol: GRE}]}]}]', /protocol: "GRE" is not known/],
    ['egress: [{icmps: [{fields: [{type: Ehco}]}]}]', /type: "Ehco" is no type of message/],
    ['egress: [{toEndpoint: [{}]}]', /toEndpoint: is a field that is not known/],
  ]
  for (const [sections, wanted] of cases) {
    const policy = read(`{endpointSelector: {matchLabels: {app: web}}, ${sections}}`)
    t.match(told(policy.faults), [wanted], sections)
    t.strictSame(policy.egress, { isolates: true, rules: [] }, `${sections}: closed`)
    t.equal(policy.ingress, undefined, `${sections}: the other direction is not touched`)
    t.strictSame(
      policy.subject,
      { kind: 'pods', namespaces: SHOP, pods: is('app', 'web') },
      'its subjects alone',
    )
  }
  t.match(told(read('{endpointSelector: {}, nodeSelector: {}, ingress: [{}]}').faults), [/has both of/])
  t.match(told(read('{nodeSelector: {}, ingress: [{}]}').faults), [/not for policies of a namespace/])
  t.match(toCiliumPolicies({ metadata: { name: 'x' } }, 'shop')[0]?.faults, [{ path: 'spec' }])
  const empty = { metadata: { name: 'x' }, specs: [] } as Parameters<typeof toCiliumPolicies>[0]
  t.strictSame(toCiliumPolicies(empty, 'shop'), [], 'an empty list is one, and says nothing')
})

t.test('whom an unreadable policy protects: whoever may be meant', async (t) => {
  const shopPods = { kind: 'pods', namespaces: SHOP, pods: ALL }
  const allPods = { kind: 'pods', namespaces: ALL, pods: ALL }
  const webPods = { ...allPods, pods: is('app', 'web') }
  const zone = { kind: 'nodes', labels: is('zone', 'a') }
  const deny = 'ingressDeny: [{fromEntities: [world]}]'
  const broken = 'matchExpressions: [{key: a, operator: Inn, values: [b]}]'
  const both = 'endpointSelector: {matchLabels: {app: web}}, nodeSelector: {matchLabels: {zone: a}}'
  const cases: [spec: string, ofNamespace: unknown[], ofCluster: unknown[]][] = [
    [
      `{endpointSelector: {matchLabels: {app: web}, ${broken}}, ${deny}}`,
      [{ ...webPods, namespaces: SHOP }],
      [webPods],
    ],
    [
      `{endpointSelector: {matchLabels: {app: web}, nonsense: 1}, ${deny}}`,
      [{ ...webPods, namespaces: SHOP }],
      [webPods],
    ],
    [`{endpointSelector: {matchLabels: {"container:a": b}}, ${deny}}`, [shopPods], [allPods]],
    [`{endpointSelector: {matchLabels: {app: 1}}, ${deny}}`, [shopPods], [allPods]],
    [`{endpointSelector: web, ${deny}}`, [shopPods], [allPods]],
    [`{${deny}}`, [shopPods], [allPods]],
    [`{nodeSelector: {matchLabels: {zone: a}, ${broken}}, ${deny}}`, [shopPods], [zone]],
    [`{nodeSelector: zone, ${deny}}`, [shopPods], [{ kind: 'nodes', labels: ALL }]],
    [`{${both}, ${deny}}`, [{ ...webPods, namespaces: SHOP }], [webPods, zone]],
  ]
  for (const [spec, ofNamespace, ofCluster] of cases)
    for (const [namespace, wanted] of [
      ['shop', ofNamespace],
      [undefined, ofCluster],
    ] as const) {
      const found = toCiliumPolicies(object(spec), namespace)
      t.strictSame(
        found.map(({ subject }) => subject),
        wanted,
        `${spec} of ${namespace ?? 'the cluster'}`,
      )
      const denies = found.every(({ subject }) => subject.kind === 'pods') ? ['spec.ingressDeny[0]'] : []
      for (const { ingress, egress, faults } of found) {
        t.not(faults.length, 0)
        t.equal(ingress?.isolates, true, 'closed where it says')
        t.strictSame(
          ingress?.rules.map(({ action, path }) => action === 'deny' && path),
          denies,
          'no deny of a pod is lost',
        )
        t.equal(egress, undefined)
      }
      t.equal(new Set(found.map(({ part }) => part)).size, found.length)
    }
  const health = clusterwide(`{endpointSelector: {matchLabels: {"reserved:health": ""}}, ${deny}}`)
  t.match(told(health.faults), [/selects what is no pod/])
  t.match(
    health.subject,
    { namespaces: { requirements: [{ operator: 'In', values: [] }] } },
    'no pod is meant',
  )
  t.strictSame(
    clusterwide(`{endpointSelector: {matchLabels: {"reserved:init": ""}}, ${deny}}`).subject,
    allPods,
    'a pod may be that',
  )
})

t.test('what names a direction, readable or not', async (t) => {
  const closed = { isolates: true, rules: [] }
  for (const section of [
    'ingress: {}',
    'ingressDeny: {fromEntities: [world]}',
    'ingressDeny: [world]',
    'enableDefaultDeny: {ingress: "true"}',
  ]) {
    const policy = read(`{endpointSelector: {}, ${section}}`)
    t.not(policy.faults.length, 0, section)
    t.strictSame([policy.ingress, policy.egress], [closed, undefined], section)
  }
  const bare = { metadata: { namespace: 'shop', name: 'x' } }
  t.match(toCiliumPolicies(bare, 'shop'), [
    { subject: { namespaces: SHOP }, ingress: closed, egress: closed },
  ])
  t.match(toCiliumPolicies(bare, undefined), [{ faults: [{}], ingress: undefined, egress: undefined }])
  const odd = { ...bare, spec: { endpointSelector: {}, ingress: [{}] }, specs: {} } as never
  t.match(toCiliumPolicies(odd, undefined), [
    { faults: [] },
    {
      faults: [{ path: 'specs', text: '{} is not a list' }],
      subject: { namespaces: ALL, pods: ALL },
      ingress: closed,
      egress: closed,
    },
  ])
})

t.test('a slip in the name of a direction closes it', async (t) => {
  const closed = { isolates: true, rules: [] }
  const cases: [string, unknown, unknown][] = [
    ['ingres: [{}]', closed, undefined],
    ['egressdeny: []', undefined, closed],
    ['ingress: [{}], Egress: [{}]', closed, closed],
    ['descripton: x, ingress: [{}]', closed, undefined],
  ]
  for (const [spec, ingress, egress] of cases)
    t.match(read(`{endpointSelector: {}, ${spec}}`), { ingress, egress, faults: { length: 1 } }, spec)
})

t.test('lists of networks that are not there: of a deny everywhere', async (t) => {
  const sets = 'fromCIDRSet: [{cidrGroupRef: g}, {cidrGroupSelector: {}}, {cidr: 10.0.0.0/8}]'
  const { ingress, faults } = read(`{endpointSelector: {}, ingress: [{${sets}}], ingressDeny: [{${sets}}]}`)
  t.strictSame(faults, [])
  const unread = (index: number) =>
    ingress?.rules[index]?.peers !== 'any' &&
    ingress?.rules[index]?.peers.map((peer) => ('unread' in peer ? peer.unread : undefined))
  t.strictSame(unread(0), ['everywhere', 'everywhere', undefined])
  t.strictSame(unread(1), [undefined, undefined, undefined])
})

t.test('beside a fault what is readable of its denies stays', async (t) => {
  const denied = (spec: string, namespace?: string) =>
    toCiliumPolicies(object(spec, { namespace }), namespace).map(({ ingress, faults, subject }) => {
      t.not(faults.length, 0, spec)
      t.equal(ingress?.isolates, true, spec)
      return [subject.kind, ...(ingress?.rules ?? []).map(({ action, path }) => `${action} ${path}`)].join(
        ' ',
      )
    })
  const rules = `ingressDeny: [{fromCIDR: [192.0.2.0/24]}, {fromCIDR: [x]}, {fromEntities: [world], toPorts: [{ports: [{port: "22"}]}]}],
    ingress: [{fromEntities: [cluster]}, {fromGroups: [{}]}]`
  const kept = ['pods deny spec.ingressDeny[0] deny spec.ingressDeny[2]']
  t.strictSame(denied(`{endpointSelector: {}, ${rules}}`, 'shop'), kept)
  t.strictSame(
    denied(`{endpointSelector: {matchLabels: {a: 1}}, ${rules}}`),
    kept,
    'also for who may be meant',
  )
  t.strictSame(denied(`{nodeSelector: {}, ${rules}}`), [kept[0]?.replace('pods', 'nodes')])
  t.strictSame(
    denied(`{nodeSelector: {matchLabels: {a: 1}}, ${rules}}`),
    ['nodes'],
    'not for nodes that may not be meant: a deny closes fail-safe ports',
  )
  const all = Array.from({ length: 11 }, (_, index) =>
    index === 1 ? '{fromCIDR: [x]}' : '{fromEntities: [world]}',
  )
  t.match(denied(`{endpointSelector: {}, ingressDeny: [${all}]}`, 'shop'), [
    /ingressDeny\[0\] .*ingressDeny\[10\]$/,
  ])
})
