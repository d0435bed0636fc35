// ClusterNetworkPolicy: the upstream conformance tests by their short names, and the rules they do not touch (hairpin, no implicit
// isolation, equal priorities, ICMP, pods and nodes in networks).

import t from 'tap'
import type {
  Policy,
  PolicyDirection,
  PolicyPacket,
  PolicyRule,
  PolicyWorld,
} from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import {
  NODE,
  netpolWorld,
  OTHER_NODE,
  OUTSIDE,
  twoNodes,
  withPod,
  XA,
  XB,
  YA,
  ZA,
} from './netpol-cluster.ts'
import {
  clusterNetworkPolicy,
  EVERYTHING,
  labels,
  namedPort,
  namespaceNamed,
  networkPolicy,
  networks,
  packet,
  pod,
  pods,
  ports,
} from './rows.ts'

const inX = namespaceNamed('x')
const fromY = [pods({ namespaces: namespaceNamed('y') })]
const TIERS = ['admin', 'baseline'] as const
const DIRECTIONS = ['ingress', 'egress'] as const
const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const

function told(
  policies: readonly Policy[],
  asked: PolicyPacket,
  direction: PolicyDirection,
  base?: PolicyWorld,
) {
  const { verdict, cause, passedBy } = judge(
    { ...(base ?? netpolWorld([], { nodes: twoNodes })), policies },
    asked,
    direction,
  )
  const by = cause.kind === 'rule' ? `${cause.policy.key} ${cause.path}` : cause.kind
  return `${verdict} ${[...passedBy.map(({ policy, path }) => `${policy.key} ${path}`), by].join(', ')}`
}

/** A packet between x/a, whose policy is asked, and the other. */
function between(
  direction: PolicyDirection,
  other: string,
  overrides: Partial<PolicyPacket> = {},
): PolicyPacket {
  return direction === 'ingress' ? packet(other, XA, overrides) : packet(XA, other, overrides)
}

const cluster = (
  name: string,
  tier: 'admin' | 'baseline',
  direction: PolicyDirection,
  rules: readonly Partial<PolicyRule>[],
  priority = 10,
) => clusterNetworkPolicy(name, tier, { namespaces: inX, priority, [direction]: rules })

for (const tier of TIERS)
  for (const direction of DIRECTIONS)
    for (const protocol of PROTOCOLS)
      t.test(
        `${tier} ${direction} ${protocol}: rule order is respected, at the port that is specified`,
        async (t) => {
          const at80 = [ports(protocol, 80)]
          const ask = (rules: readonly Partial<PolicyRule>[], other = YA, port = 80) =>
            told(
              [cluster('cnp', tier, direction, rules)],
              between(direction, other, { protocol, port }),
              direction,
            )
          const rule = (index: number) => `cnp spec.${direction}[${index}]`
          const accept = { action: 'allow', peers: fromY } as const
          const deny = { action: 'deny', peers: fromY } as const
          const pass = { action: 'pass', peers: fromY } as const
          t.equal(ask([accept, deny]), `allow ${rule(0)}`)
          t.equal(ask([deny, accept]), `deny ${rule(0)}`)
          t.equal(
            ask([pass, deny]),
            `allow ${rule(0)}, default`,
            'a pass leaves the tier, and nothing is below',
          )
          t.equal(ask([deny, pass]), `deny ${rule(0)}`)
          t.equal(ask([{ ...accept, ports: at80 }, deny]), `allow ${rule(0)}`)
          t.equal(ask([{ ...accept, ports: at80 }, deny], YA, 81), `deny ${rule(1)}`)
          t.equal(ask([{ ...deny, ports: at80 }, accept]), `deny ${rule(0)}`)
          t.equal(ask([{ ...deny, ports: at80 }, accept], YA, 81), `allow ${rule(1)}`)
          t.equal(ask([{ ...deny, ports: [ports(protocol, 81, 90)] }]), 'allow default')
          t.equal(ask([{ ...deny, ports: [ports(protocol, 79, 80)] }]), `deny ${rule(0)}`)
          t.equal(ask([deny], ZA), 'allow default', 'no implicit isolation')
        },
      )

for (const tier of TIERS) {
  t.test(`${tier} gress: protocols and directions mixed`, async (t) => {
    const policy = clusterNetworkPolicy('gress', tier, {
      namespaces: inX,
      ingress: [
        { action: 'allow', peers: fromY, ports: [ports('tcp', 80), ports('udp', 53), ports('sctp', 9003)] },
        { action: 'deny', peers: fromY },
      ],
      egress: [
        { action: 'deny', peers: fromY, ports: [ports('tcp', 8080), ports('udp', 5353)] },
        { action: 'pass', peers: fromY, ports: [ports('sctp')] },
      ],
    })
    const ask = (direction: PolicyDirection, protocol: PolicyPacket['protocol'], port: number) =>
      told([policy], between(direction, YA, { protocol, port }), direction)
    t.equal(ask('ingress', 'tcp', 80), 'allow gress spec.ingress[0]')
    t.equal(ask('ingress', 'udp', 53), 'allow gress spec.ingress[0]')
    t.equal(ask('ingress', 'sctp', 9003), 'allow gress spec.ingress[0]')
    t.equal(ask('ingress', 'udp', 80), 'deny gress spec.ingress[1]')
    t.equal(ask('ingress', 'icmp', 8), 'deny gress spec.ingress[1]', 'without protocols: everything')
    t.equal(ask('ingress', 'other', 0), 'deny gress spec.ingress[1]')
    t.equal(ask('egress', 'tcp', 8080), 'deny gress spec.egress[0]')
    t.equal(ask('egress', 'sctp', 8080), 'allow gress spec.egress[1], default')
    t.equal(ask('egress', 'tcp', 80), 'allow default')
    t.equal(ask('egress', 'icmp', 8), 'allow default')
  })

  t.test(`${tier} egress inline CIDR peers: pods, nodes, outsiders and ICMP`, async (t) => {
    const ask = (
      rules: readonly Partial<PolicyRule>[],
      other: string,
      overrides: Partial<PolicyPacket> = {},
    ) => told([cluster('cidr', tier, 'egress', rules)], between('egress', other, overrides), 'egress')
    const toOne = { action: 'allow', peers: [networks(`${YA}/32`)] } as const
    const denyAll = { action: 'deny', peers: [networks('0.0.0.0/0')] } as const
    t.equal(ask([toOne, denyAll], YA), 'allow cidr spec.egress[0]')
    for (const other of ['10.0.2.2', OTHER_NODE, NODE, OUTSIDE])
      t.equal(ask([toOne, denyAll], other), 'deny cidr spec.egress[1]', other)
    t.equal(ask([denyAll], OUTSIDE, { protocol: 'icmp', port: 8 }), 'deny cidr spec.egress[0]')
    t.equal(
      ask([{ action: 'pass', peers: [networks('203.0.113.0/24')] }, denyAll], OUTSIDE),
      'allow cidr spec.egress[0], default',
    )
  })

  t.test(`${tier} named ports: the destination's, per pod`, async (t) => {
    let base = withPod(netpolWorld([], { nodes: twoNodes }), 'x/a', {
      namedPorts: [{ name: 'web', protocol: 'tcp', port: 80 }],
    })
    base = withPod(base, 'y/a', {
      namedPorts: [
        { name: 'web', protocol: 'udp', port: 53 },
        { name: 'web', protocol: 'tcp', port: 8080 },
      ],
    })
    const denyWeb = [{ action: 'deny', peers: fromY, ports: [namedPort('web')] }] as const
    const ask = (direction: PolicyDirection, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
      told(
        [cluster('named', tier, direction, denyWeb)],
        between(direction, YA, { port, protocol }),
        direction,
        base,
      )
    t.equal(ask('ingress', 80), 'deny named spec.ingress[0]')
    t.equal(ask('ingress', 8080), 'allow default')
    t.equal(ask('egress', 8080), 'deny named spec.egress[0]')
    t.equal(ask('egress', 53, 'udp'), 'deny named spec.egress[0]')
    t.equal(ask('egress', 53), 'allow default')
    t.equal(ask('egress', 80), 'allow default')
  })

  t.test(`${tier} egress node peers: by label, the own one too, never pods`, async (t) => {
    const base = netpolWorld([], { nodes: twoNodes })
    const withHost = {
      ...base,
      pods: [...base.pods, pod('y/host', { addresses: [OTHER_NODE], isHostNetwork: true, node: 'n2' })],
    }
    const ask = (role: string, other: string) =>
      told(
        [
          cluster('nodes', tier, 'egress', [
            { action: 'deny', peers: [{ kind: 'nodes', labels: labels({ role }) }] },
          ]),
        ],
        between('egress', other),
        'egress',
        withHost,
      )
    t.equal(ask('worker', OTHER_NODE), 'deny nodes spec.egress[0]', 'with a pod of the host network on it')
    t.equal(ask('control', OTHER_NODE), 'allow default')
    t.equal(ask('control', NODE), 'deny nodes spec.egress[0]')
    t.equal(ask('worker', YA), 'allow default')
    t.equal(ask('worker', OUTSIDE), 'allow default')
  })
}

t.test(
  'CNPAdminTierPriorityField: the lower number wins, whatever the names; a pass leads to the baseline',
  async (t) => {
    const ask = (...policies: Policy[]) => told(policies, between('ingress', YA), 'ingress')
    const all = (action: PolicyRule['action']) => [{ action, peers: fromY }]
    const first = cluster('z-first', 'admin', 'ingress', all('allow'), 1)
    const second = cluster('a-second', 'admin', 'ingress', all('deny'), 2)
    t.equal(ask(second, first), 'allow z-first spec.ingress[0]')
    t.equal(ask({ ...second, priority: 0 }, first), 'deny a-second spec.ingress[0]', 'priorities changed')
    const passing = cluster('passing', 'admin', 'ingress', all('pass'), 0)
    const baseline = cluster('baseline', 'baseline', 'ingress', all('deny'), 500)
    t.equal(ask(second, first, passing, baseline), 'deny passing spec.ingress[0], baseline spec.ingress[0]')
    t.equal(
      ask(passing, cluster('last', 'baseline', 'ingress', all('allow'), 499), baseline),
      'allow passing spec.ingress[0], last spec.ingress[0]',
    )
    t.equal(
      ask(cluster('b', 'admin', 'ingress', all('allow')), cluster('a', 'admin', 'ingress', all('deny'))),
      'deny a spec.ingress[0]',
      'of one priority the name decides',
    )
    t.equal(
      ask(
        cluster('b', 'baseline', 'ingress', all('pass'), 1),
        cluster('a', 'baseline', 'ingress', all('deny'), 2),
      ),
      'allow b spec.ingress[0], default',
      'a pass of the baseline leads to the default',
    )
  },
)

t.test('CNPAdminTierIntegration: admin over NetworkPolicy over baseline', async (t) => {
  const ask = (...policies: Policy[]) => told(policies, between('ingress', YA), 'ingress')
  const admin = (action: PolicyRule['action']) =>
    cluster('admin', 'admin', 'ingress', [{ action, peers: fromY }])
  const baseline = cluster('baseline', 'baseline', 'ingress', [{ action: 'deny', peers: fromY }])
  const allow = networkPolicy('x/allow', EVERYTHING, { ingress: [{}] })
  const isolate = networkPolicy('x/isolate', EVERYTHING, { ingress: [] })
  const passed = 'admin spec.ingress[0]'
  t.equal(ask(admin('deny'), allow, baseline), 'deny admin spec.ingress[0]')
  t.equal(ask(admin('allow'), isolate, baseline), 'allow admin spec.ingress[0]')
  t.equal(ask(admin('pass'), allow, baseline), `allow ${passed}, x/allow spec.ingress[0]`)
  t.equal(
    ask(admin('pass'), isolate, {
      ...baseline,
      ingress: {
        isolates: false,
        rules: [
          { ...admin('allow').ingress?.rules[0], action: 'allow', peers: 'any', ports: 'any', path: 'p' },
        ],
      },
    }),
    `deny ${passed}, isolation`,
    'isolation is final',
  )
  t.equal(ask(admin('pass'), baseline), `deny ${passed}, baseline spec.ingress[0]`)
  t.equal(ask(admin('pass')), `allow ${passed}, default`)
  t.equal(ask(allow, baseline), 'allow x/allow spec.ingress[0]')
  t.equal(
    ask(networkPolicy('x/out', EVERYTHING, { egress: [] }), baseline),
    'deny baseline spec.ingress[0]',
    'a policy of the other direction decides nothing',
  )
  t.equal(
    told(
      [
        cluster('admin', 'admin', 'egress', [{ action: 'allow', peers: fromY }]),
        networkPolicy('y/isolate', EVERYTHING, { ingress: [] }),
      ],
      packet(XA, YA),
      'ingress',
    ),
    'deny isolation',
    'who may send is not thereby let in',
  )
})

t.test('the subject: by namespace and pod, never the host network', async (t) => {
  const policy = clusterNetworkPolicy('subject', 'admin', {
    namespaces: inX,
    pods: labels({ pod: 'a' }),
    ingress: [{ action: 'deny' }],
  })
  const base = netpolWorld([], { nodes: twoNodes })
  const withHost = {
    ...base,
    pods: [
      ...base.pods,
      pod('x/host', { labels: { pod: 'a' }, addresses: [OTHER_NODE], isHostNetwork: true }),
    ],
  }
  t.equal(told([policy], packet(YA, XA), 'ingress'), 'deny subject spec.ingress[0]')
  t.equal(told([policy], packet(YA, XB), 'ingress'), 'allow default')
  t.equal(told([policy], packet(XA, YA), 'ingress'), 'allow default')
  t.equal(told([policy], packet(YA, OTHER_NODE), 'ingress', withHost), 'allow default')
  t.equal(told([policy], packet(NODE, XA), 'ingress'), 'allow own-node', 'its own node is never cut off')
})

t.test('hairpin: to itself always, through a Service as this kind says and no other', async (t) => {
  const deny = (tier: 'admin' | 'baseline') =>
    cluster('deny', tier, 'egress', [{ action: 'deny', peers: [pods({ namespaces: inX })] }])
  const isolate = networkPolicy('x/isolate', EVERYTHING, { egress: [], ingress: [] })
  const hairpin = packet(XA, XA, { isHairpin: true })
  for (const tier of TIERS) {
    t.equal(told([deny(tier), isolate], packet(XA, XA), 'egress'), 'allow self')
    t.equal(told([deny(tier), isolate], hairpin, 'egress'), 'deny deny spec.egress[0]')
    t.equal(told([deny(tier), isolate], hairpin, 'ingress'), 'allow default')
  }
  const pass = cluster('pass', 'admin', 'egress', [{ action: 'pass' }], 1)
  t.equal(
    told([pass, isolate, deny('baseline')], hairpin, 'egress'),
    'deny pass spec.egress[0], deny spec.egress[0]',
  )
  t.equal(
    told([deny('admin'), isolate], packet(XA, XB, { isHairpin: true }), 'egress'),
    'deny deny spec.egress[0]',
  )
  t.equal(
    told([isolate], packet(XA, XB, { isHairpin: true }), 'egress'),
    'deny isolation',
    'to another it is none',
  )
})

t.test('audited rules of the tiers', async (t) => {
  const audited = {
    ...cluster('trial', 'admin', 'ingress', [{ action: 'deny', peers: fromY }], 0),
    isAudit: true,
  }
  const judged = judge(
    netpolWorld([audited, cluster('real', 'admin', 'ingress', [{ action: 'allow' }])]),
    packet(YA, XA),
    'ingress',
  )
  t.equal(judged.verdict, 'allow')
  t.match(judged.cause, { kind: 'rule', policy: { key: 'real' } })
  t.match(judged.wouldBe, { verdict: 'deny', cause: { kind: 'rule', policy: { key: 'trial' } } })
})
