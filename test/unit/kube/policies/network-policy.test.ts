// NetworkPolicy: what each field means, and what closes when one cannot be followed.

import t from 'tap'
import { toNetworkPolicy } from '../../../../src/kube/policies/network-policy.ts'
import { ALL, is, object, ports, SHOP, told, where } from './read.ts'

const read = (spec: string, metadata = {}) => toNetworkPolicy(object(spec, metadata))

t.test('whom it protects, in which directions', async (t) => {
  const cases: [string, string, boolean, boolean][] = [
    ['no types, no sections', 'podSelector: {}', true, false],
    ['no types, an egress section', '{podSelector: {}, egress: []}', true, true],
    ['egress alone', '{podSelector: {}, policyTypes: [Egress], ingress: [{}]}', false, true],
    ['both', '{podSelector: {}, policyTypes: [Ingress, Egress]}', true, true],
    ['an empty list of types', '{podSelector: {}, policyTypes: []}', true, false],
  ]
  for (const [name, spec, ingress, egress] of cases) {
    const policy = read(spec)
    t.equal(policy.ingress?.isolates ?? false, ingress, `${name}: ingress`)
    t.equal(policy.egress?.isolates ?? false, egress, `${name}: egress`)
    t.strictSame(policy.faults, [], name)
  }
  const { key, tier, subject } = read('podSelector: {matchLabels: {app: web}}')
  t.match({ key, tier }, { key: 'shop/web', tier: 'normal' })
  t.strictSame(subject, { kind: 'pods', namespaces: SHOP, pods: is('app', 'web') })
})

t.test('peers', async (t) => {
  const peers = (from: string) =>
    read(`{podSelector: {}, ingress: [{from: ${from}}]}`).ingress?.rules[0]?.peers
  t.equal(peers('[]'), 'any')
  t.strictSame(peers('[{podSelector: {matchLabels: {a: b}}}]'), [
    { kind: 'pods', namespaces: SHOP, pods: is('a', 'b') },
  ])
  t.strictSame(peers('[{namespaceSelector: {}}]'), [{ kind: 'pods', namespaces: ALL, pods: ALL }])
  t.strictSame(
    peers(
      '[{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [b, a]}]}, podSelector: {}}]',
    ),
    [{ kind: 'pods', namespaces: where(['team', 'NotIn', 'a', 'b']), pods: ALL }],
  )
  t.strictSame(peers('[{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]'), [
    { kind: 'networks', prefix: '10.0.0.0/8', except: ['10.1.0.0/16'], covers: 'everything' },
  ])
  t.equal(
    read('{podSelector: {}, egress: [{}]}').egress?.rules[0]?.peers,
    'any',
    'an empty rule is for everyone',
  )
})

t.test('ports', async (t) => {
  const found = (list: string) =>
    read(`{podSelector: {}, ingress: [{ports: ${list}}]}`).ingress?.rules[0]?.ports
  t.equal(found('[]'), 'any')
  t.strictSame(found('[{}]'), [ports('tcp', 0, 65_535)])
  t.strictSame(found('[{protocol: UDP}]'), [ports('udp', 0, 65_535)])
  t.strictSame(found('[{port: 80}, {port: 53, protocol: UDP}]'), [ports('tcp', 80), ports('udp', 53)])
  t.strictSame(found('[{port: 80, endPort: 89, protocol: SCTP}]'), [ports('sctp', 80, 89)])
  t.strictSame(found('[{port: http}]'), [{ kind: 'named', protocol: 'tcp', name: 'http' }])
})

t.test('what cannot be followed closes its pods, and says where', async (t) => {
  const cases: [string, RegExp][] = [
    ['{podSelector: {}, ingress: [{form: []}]}', /^spec\.ingress\[0\]\.form: is a field that is not known/],
    ['{podSelector: {}, ingress: [{from: [{}]}]}', /^spec\.ingress\[0\]\.from\[0\]: names nobody/],
    [
      '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0/8}}]}]}',
      /cidr: "10\.0\.0\/8" is not a network/,
    ],
    [
      '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}',
      /except\[0\]: "11\.0\.0\.0\/16" is not inside 10\.0\.0\.0\/8/,
    ],
    ['{podSelector: {}, ingress: [{ports: [{port: 0}]}]}', /ports\[0\]\.port: 0 is not a port/],
    ['{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 79}]}]}', /endPort: 79 is not a port from 80/],
    ['{podSelector: {}, ingress: [{ports: [{port: http, endPort: 79}]}]}', /port: "http" is not a port/],
    ['{podSelector: {}, ingress: [{ports: [{protocol: TPC}]}]}', /protocol: "TPC" is not known/],
    ['{podSelector: {matchExpressions: [{key: a, operator: In}]}}', /values: does not go with In/],
    ['{podSelector: {}, policyTypes: [Ingres]}', /policyTypes\[0\]: "Ingres" is not known/],
  ]
  for (const [spec, told0] of cases) {
    const policy = read(spec)
    t.match(told(policy.faults)[0], told0)
    t.strictSame(policy.ingress, { isolates: true, rules: [] }, 'nothing is allowed in')
  }
  const { faults } = read('{podSelector: {}, ingress: [{form: []}]}')
  t.match(faults[0]?.mend, /did you mean 'from'/)
})

t.test('annotations', async (t) => {
  const annotated = (annotations: Record<string, string>) => read('podSelector: {}', { annotations })
  t.match(annotated({ 'weir.network/policy-mode': 'audit' }), { isAudit: true })
  t.match(annotated({ 'weir.network/existing-connections': 'keep' }), {
    isAudit: false,
    existingConnections: 'keep',
  })
  const slip = annotated({ 'weir.network/policy-mode': 'audti' })
  t.equal(slip.isAudit, false, 'a slip enforces')
  t.match(told(slip.notes ?? []), [/policy-mode'\]: "audti" is not known; enforce holds/])
  t.strictSame(slip.faults, [], 'and the rules hold')
})

t.test('a slip in the name of a section closes what may be meant', async (t) => {
  const directions = (spec: string) => {
    const { ingress, egress } = toNetworkPolicy(object(`{podSelector: {}, ${spec}}`))
    return [ingress, egress].map((one) => one?.isolates ?? false)
  }
  t.strictSame(directions('egres: [{}]'), [true, true])
  t.strictSame(directions('policyType: [Egress]'), [true, true])
  t.strictSame(directions('ingres: [{}]'), [true, false])
  for (const slip of ['egres: []', 'Egress: []'])
    t.strictSame(
      directions(`policyTypes: [Ingress], ${slip}`),
      [true, false],
      'the types leave it out, as the API means it',
    )
})

t.test('what may be meant is closed: a direction of an unknown type, pods of half a selector', async (t) => {
  const types = toNetworkPolicy(object('{podSelector: {}, policyTypes: [Ingress, Egres]}'))
  const closed = { isolates: true, rules: [] }
  t.strictSame([types.ingress, types.egress], [closed, closed])
  const half = '{matchLabels: {app: web}, matchExpressions: [{key: a, operator: In}]}'
  const { subject } = toNetworkPolicy(object(`{podSelector: ${half}}`))
  t.strictSame(subject, { kind: 'pods', namespaces: SHOP, pods: is('app', 'web') })
})
