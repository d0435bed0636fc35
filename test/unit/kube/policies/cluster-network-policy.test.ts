// ClusterNetworkPolicy: tiers, rules in order, and rules that fail closed one by one.

import t from 'tap'
import { toClusterNetworkPolicy } from '../../../../src/kube/policies/cluster-network-policy.ts'
import { ALL, is, object, ports, told } from './read.ts'

const HEAD = 'tier: Admin, priority: 5, subject: {namespaces: {}}'
const read = (spec: string) => toClusterNetworkPolicy(object(spec, { namespace: undefined }))
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
    },
    {
      action: 'deny',
      peers: [{ kind: 'pods', namespaces: ALL, pods: is('a', 'b') }],
      ports: 'any',
      path: 'spec.egress[2]',
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
  const { subject, faults } = read('{tier: Admin, priority: 1, subject: {}}')
  t.match(told(faults), [/spec\.subject: nothing selects nobody/])
  t.match(subject, { namespaces: { requirements: [{ operator: 'In', values: [] }] } }, 'it protects nobody')
})
