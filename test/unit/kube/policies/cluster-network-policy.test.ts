// ClusterNetworkPolicy: tiers, rules in order, and rules that fail closed one by one.

import t from 'tap'
import { toClusterNetworkPolicy } from '../../../../src/kube/policies/cluster-network-policy.ts'
import { ALL, is, object, ports, told } from './read.ts'

const HEAD = 'tier: Admin, priority: 5, subject: {namespaces: {}}'
const EVERYBODY = { kind: 'pods', namespaces: ALL, pods: ALL }
const read = (spec: string, version = 'v1beta1') =>
  toClusterNetworkPolicy(object(spec, { namespace: undefined }), version)
const rules = (list: string, section = 'ingress') => {
  const policy = read(`{${HEAD}, ${section}: ${list}}`)
  return { rules: policy[section as 'ingress' | 'egress']?.rules, faults: told(policy.faults) }
}

t.test('tier, priority, subject', async (t) => {
  const policy = read(
    '{tier: Baseline, priority: 1000, subject: {pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {}}}, egress: []}',
  )
  t.strictSame(policy.faults, [])
  t.match(policy, { key: 'web', tier: 'baseline', priority: 1000, ingress: undefined })
  t.strictSame(policy.subject, { kind: 'pods', namespaces: is('a', 'b'), pods: ALL })
  t.strictSame(policy.egress, { isolates: false, rules: [] }, 'it isolates nobody')
})

t.test('rules, as they are written', async (t) => {
  const { rules: found, faults } = rules(
    `[{name: one, action: Pass, to: [{namespaces: {}}, {networks: [10.0.0.0/8, "2001:db8::/32"]}], protocols: [{tcp: {destinationPort: {number: 80}}}]},
      {action: Accept, to: [{nodes: {matchLabels: {a: b}}}], protocols: [{udp: {destinationPort: {range: {start: 5, end: 9}}}}, {destinationNamedPort: web}, {sctp: {}}]},
      {action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {a: b}}}}]}]`,
    'egress',
  )
  t.strictSame(faults, [])
  t.strictSame(found, [
    {
      action: 'pass',
      peers: [
        { kind: 'pods', namespaces: ALL, pods: ALL },
        { kind: 'networks', prefix: '10.0.0.0/8', except: [], covers: 'everything' },
        { kind: 'networks', prefix: '2001:db8::/32', except: [], covers: 'everything' },
      ],
      ports: [ports('tcp', 80)],
      path: 'spec.egress[0]',
      name: 'one',
      places: { peers: ['to[0]', 'to[1].networks[0]', 'to[1].networks[1]'], ports: ['protocols[0]'] },
    },
    {
      action: 'allow',
      peers: [{ kind: 'nodes', labels: is('a', 'b') }],
      ports: [
        ports('udp', 5, 9),
        { kind: 'named', protocol: undefined, name: 'web' },
        ports('sctp', 0, 65_535),
      ],
      path: 'spec.egress[1]',
      places: { peers: ['to[0]'], ports: ['protocols[0]', 'protocols[1]', 'protocols[2]'] },
    },
    {
      action: 'deny',
      peers: [{ kind: 'pods', namespaces: ALL, pods: is('a', 'b') }],
      ports: 'any',
      path: 'spec.egress[2]',
      places: { peers: ['to[0]'], ports: [] },
    },
  ])
})

t.test('a rule that cannot be followed fails closed, the others hold', async (t) => {
  const good = '{action: Accept, from: [{namespaces: {}}]}'
  const port = 'protocols: [{tcp: {destinationPort: {number: 80}}}]'
  const cases: [string, Record<string, unknown>][] = [
    [
      `{action: Accept, from: [{galaxies: {}}], ${port}}`,
      { action: 'allow', peers: [], ports: [ports('tcp', 80)] },
    ],
    [
      `{action: Deny, from: [{galaxies: {}}], ${port}}`,
      { action: 'deny', peers: 'any', ports: [ports('tcp', 80)] },
    ],
    [`{action: Pass, from: [{galaxies: {}}]}`, { action: 'deny', peers: 'any', ports: 'any' }],
    [`{action: Allow, from: [{namespaces: {}}]}`, { action: 'deny', peers: 'any', ports: 'any' }],
    [
      `{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 0}}}]}`,
      { action: 'deny', peers: 'any', ports: 'any' },
    ],
    [`{action: Accept, from: []}`, { action: 'allow', peers: [] }],
  ]
  for (const [bad, wanted] of cases) {
    const { rules: found, faults } = rules(`[${bad}, ${good}]`)
    t.match(found?.[0], wanted, bad)
    t.match(found?.[1], { action: 'allow', peers: [{ kind: 'pods' }], ports: 'any' })
    t.match(faults, [/^spec\.ingress\[0\]/], bad)
  }
  const named = rules('[{action: Accept, to: [{domainNames: [example.com]}]}]', 'egress')
  t.match(named, {
    rules: [{ action: 'allow', peers: [] }],
    faults: ['spec.egress[0].to[0].domainNames: is not supported'],
  })
})

t.test('heads that cannot be read', async (t) => {
  t.match(told(read('{tier: Admon, priority: 5, subject: {namespaces: {}}}').faults), [
    /tier: "Admon" is not known/,
  ])
  t.match(told(read('{tier: Admin, priority: 1001, subject: {namespaces: {}}}').faults), [
    /priority: 1001 is not a/,
  ])
  t.strictSame(told(read('{tier: Admin, priority: "5", subject: {namespaces: {}}}').faults), [
    'spec.priority: "5" is not a number',
  ])
  const { subject, faults } = read('{tier: Admin, priority: 1, subject: {}}')
  t.match(told(faults), [/spec\.subject: selects nobody/])
  t.strictSame(subject, EVERYBODY)
})

t.test('what is not followed of the head closes the whole policy, whoever it may mean', async (t) => {
  const head = (subject: string, more = '') =>
    `tier: Admin, priority: 1, subject: ${subject}${more}, egress: [${RULES}], ingress: []`
  const RULES = `{action: Accept, to: [{namespaces: {}}]}, {action: Pass, to: [{nodes: {}}]},
    {action: Deny, to: [{networks: [192.0.2.0/24]}], protocols: [{tcp: {}}]}`
  const nodes = { kind: 'nodes', labels: ALL }
  const network = { kind: 'networks', prefix: '192.0.2.0/24', except: [], covers: 'everything' }
  const closed = [
    { action: 'allow', peers: [] },
    { action: 'deny', peers: [nodes] },
    { action: 'deny', peers: [network], ports: [ports('tcp', 0, 65_535)] },
  ]
  const half = '{matchLabels: {app: web}, matchExpressions: [{key: a, operator: Inn, values: [b]}]}'
  const cases: [string, string, object][] = [
    [
      'an operator that nobody knows',
      `{namespaces: ${half}}`,
      { ...EVERYBODY, namespaces: is('app', 'web') },
    ],
    ['it alone', '{namespaces: {matchExpressions: [{key: a, operator: Inn}]}}', EVERYBODY],
    [
      'one of two selectors',
      `{pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: ${half}}}`,
      { kind: 'pods', namespaces: is('team', 'a'), pods: is('app', 'web') },
    ],
    ['both selectors', '{pods: {podSelector: {}}, namespaces: {}}', EVERYBODY],
    ['a kind of subject of later', '{galaxies: {}}', EVERYBODY],
    ['none', '{}', EVERYBODY],
    ['no object', '7', EVERYBODY],
  ]
  for (const [what, subject, wanted] of cases) {
    const policy = read(`{${head(subject)}}`)
    t.match(told(policy.faults), [/^spec\.subject/], what)
    t.strictSame(policy.subject, wanted, what)
    t.match(policy.egress?.rules, closed, what)
    t.strictSame(policy.ingress, { isolates: false, rules: [] })
  }
  t.match(
    read(`{${head('{namespaces: {}}', ', mood: bad')}}`).egress?.rules,
    closed,
    'a field beside the rules',
  )
  t.match(read(`{egress: [${RULES}]}`), { tier: 'admin', subject: EVERYBODY, egress: { rules: closed } })
  t.match(read(`{${HEAD}, egress: [${RULES}]}`).egress?.rules, [
    { action: 'allow', peers: [{}] },
    { action: 'pass' },
  ])
  const none = toClusterNetworkPolicy({ metadata: { name: 'x' } }, 'v1beta1')
  t.match(
    none,
    { ingress: undefined, egress: undefined, faults: [{ path: 'spec' }] },
    'no spec, no direction',
  )
})

t.test('a section or an item that cannot be rules denies', async (t) => {
  const denied = { action: 'deny', peers: 'any', ports: 'any' }
  t.match(rules('7'), { rules: [denied], faults: [/^spec\.ingress: 7 is not a list/] })
  t.match(rules('[7, {action: Accept, from: [{namespaces: {}}]}]').rules, [denied, { action: 'allow' }])
})

t.test('a slip in the name of a direction denies it', async (t) => {
  const accept = '[{action: Accept, from: [{namespaces: {}}]}]'
  const { ingress, egress, faults } = read(`{${HEAD}, ingres: ${accept}}`)
  t.match(ingress, { rules: [{ action: 'deny', peers: 'any', ports: 'any', path: 'spec.ingress' }] })
  t.equal(egress, undefined)
  t.match(faults, [{ path: 'spec.ingres', mend: /did you mean 'ingress'/ }])
  const both = read(`{${HEAD}, ingress: ${accept}, Ingress: ${accept}}`)
  t.match(both.ingress?.rules, [
    { action: 'allow', peers: [] },
    { action: 'deny', peers: 'any' },
  ])
})

t.test('one peer is one thing; networks, by version', async (t) => {
  const two = rules('[{action: Deny, to: [{namespaces: {}, networks: [10.0.0.0/8]}]}]', 'egress')
  t.match(two, {
    rules: [{ action: 'deny', peers: 'any' }],
    faults: [/to\[0\]: has namespaces beside networks/],
  })
  t.match(rules('[{action: Deny, from: [{networks: [10.0.0.0/8]}]}]').faults, [
    /from\[0\]\.networks: .* is of egress rules only/,
  ])
  const networks = '[{action: Deny, to: [{networks: [10.1.2.3/8]}]}]'
  const said = (version: string) => read(`{${HEAD}, egress: ${networks}}`, version)
  for (const version of ['v1alpha2', 'v1beta1'])
    t.match(said(version), { faults: [], egress: { rules: [{ peers: [{ prefix: '10.0.0.0/8' }] }] } })
  t.strictSame(said('v1alpha2').notes, [])
  t.match(told(said('v1beta1').notes ?? []), [/networks\[0\]: "10\.1\.2\.3\/8" has bits beyond its length/])
})
