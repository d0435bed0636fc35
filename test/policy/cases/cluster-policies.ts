// The community's conformance tests of ClusterNetworkPolicy, by their short names. Their four houses are here: x is protected (Gryffindor);
// y has rules about everything it does (Ravenclaw), z/a about one port (Slytherin), z/c about all but one port (Hufflepuff), and z/b is
// in none.

import type { PolicyDirection, PortProtocol } from '../../../src/model/policy.ts'
import {
  type CaseNode,
  type CasePod,
  type CaseProbe,
  inX,
  inY,
  is,
  isAt,
  networkPolicy,
  ns,
  open,
  type PolicyCase,
  podLabel,
  step,
  type Table,
} from './cluster.ts'
import {
  type Action,
  at,
  clusterPolicy,
  HUFFLEPUFF,
  named,
  type OfOther,
  type Peer,
  RAVENCLAW,
  type Rule,
  range,
  rule,
  SLYTHERIN,
  swapped,
  TIERS,
  type Tier,
  towards,
  WORDS,
} from './cluster-policy-parts.ts'

/** Rules of one direction and protocol, in their order and in others. */
function byProtocol(tier: Tier, direction: PolicyDirection, protocol: PortProtocol): PolicyCase {
  const at80 = at(protocol, 80)
  const rules = [
    rule('Accept', RAVENCLAW),
    rule('Deny', RAVENCLAW),
    rule('Pass', RAVENCLAW),
    rule('Deny', SLYTHERIN, at80),
    rule('Pass', SLYTHERIN, at80),
    rule('Accept', HUFFLEPUFF, at80),
    rule('Deny', HUFFLEPUFF),
  ]
  const policy = (written: readonly Rule[]) => [clusterPolicy('rules', { tier, [direction]: written })]
  const isHufflepuffBlocked: OfOther = (other, probe) => is(other, 'z/c') && !isAt(probe, protocol, 80)
  const isSlytherinBlocked: OfOther = (other, probe) => is(other, 'z/a') && isAt(probe, protocol, 80)
  const deniesFirst = swapped(rules, 0, 1)
  return {
    name: `CNP-002, CNP-003, CNP-007, CNP-011 CNP${tier}Tier${WORDS[direction]}${protocol.toUpperCase()}`,
    steps: [
      step(
        'accepted before it is denied',
        policy(rules),
        towards(direction, (...asked) => isHufflepuffBlocked(...asked) || isSlytherinBlocked(...asked)),
      ),
      step(
        'denied before it is accepted',
        policy(deniesFirst),
        towards(
          direction,
          (other, probe) =>
            inY(other) || isHufflepuffBlocked(other, probe) || isSlytherinBlocked(other, probe),
        ),
      ),
      step(
        'passed before it is denied',
        policy(swapped(swapped(deniesFirst, 0, 2), 3, 4)),
        towards(direction, isHufflepuffBlocked),
      ),
    ],
  }
}

/** Both directions and all protocols in one. */
function gress(tier: Tier): PolicyCase {
  const narrow = [at('tcp', 80), at('udp', 81), at('sctp', 80)]
  const isNarrow = (probe: CaseProbe) =>
    isAt(probe, 'tcp', 80) || isAt(probe, 'udp', 81) || isAt(probe, 'sctp', 80)
  const rules = (...open: readonly object[]) => [
    rule('Accept', RAVENCLAW),
    rule('Deny', RAVENCLAW),
    rule('Deny', SLYTHERIN, ...narrow),
    rule('Pass', SLYTHERIN, ...narrow),
    rule('Accept', HUFFLEPUFF, ...open),
    rule('Deny', HUFFLEPUFF),
  ]
  const ingress = rules(...narrow)
  const egress = rules(at('tcp', 81), at('udp', 81), at('sctp', 80))
  const isOpenOut = (probe: CaseProbe) =>
    isAt(probe, 'tcp', 81) || isAt(probe, 'udp', 81) || isAt(probe, 'sctp', 80)
  const table =
    (isYBlocked: boolean, isSlytherinBlocked: boolean): Table =>
    (...asked) =>
      (['ingress', 'egress'] as const).some((direction) =>
        towards(direction, (other, probe) => {
          if (inY(other)) return isYBlocked
          if (is(other, 'z/a')) return isSlytherinBlocked && isNarrow(probe)
          return is(other, 'z/c') && !(direction === 'ingress' ? isNarrow(probe) : isOpenOut(probe))
        })(...asked),
      )
  const policy = (change: (rules: readonly Rule[]) => readonly Rule[]) => [
    clusterPolicy('gress', { tier, priority: 15, ingress: change(ingress), egress: change(egress) }),
  ]
  return {
    name: `CNP-002, CNP-003, CNP-007, CNP-011 CNP${tier}TierGress`,
    steps: [
      step(
        'allow-gress',
        policy((rules) => rules),
        table(false, true),
      ),
      step(
        'deny-gress',
        policy((rules) => swapped(rules, 0, 1)),
        table(true, true),
      ),
      step(
        'pass-gress',
        policy((rules) => swapped(rules, 2, 3)),
        table(false, false),
      ),
    ],
  }
}

function inlineCidrPeers(tier: Tier): PolicyCase {
  const policy = (...first: readonly Rule[]) =>
    clusterPolicy('inline', {
      tier,
      priority: 85,
      subject: { pods: { namespaceSelector: ns('x'), podSelector: {} } },
      egress: [
        ...first,
        rule('Accept', { namespaces: ns('z') }),
        rule('Deny', { networks: ['0.0.0.0/0', '::/0'] }),
      ],
    })
  // A block covers the pod's own address as well: it speaks to that as it likes, but not by a Service.
  const isHairpinBlocked = (pod: CasePod) => inX(pod)
  return {
    name: `CNP-003, CNP-005, CNP-008, CNP-011 CNP${tier}TierEgressInlineCIDRPeers`,
    steps: [
      {
        ...step('to z alone', [policy()], (from, to) => inX(from) && to.namespace !== 'z'),
        isHairpinBlocked,
        isNodeBlocked: inX,
      },
      {
        ...step(
          'and to two addresses',
          (addressOf) => [policy(rule('Accept', { networks: addressOf('y/a').map(hostPrefix) }))],
          (from, to) => inX(from) && to.namespace !== 'z' && !is(to, 'y/a'),
        ),
        isHairpinBlocked,
      },
      {
        ...step(
          'not to one of z, by its address',
          (addressOf) => [policy(rule('Deny', { networks: addressOf('z/b').map(hostPrefix) }))],
          (from, to) => inX(from) && (to.namespace !== 'z' || is(to, 'z/b')),
        ),
        isHairpinBlocked,
      },
    ],
  }
}

function hostPrefix(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`
}

function namedPort(tier: Tier, direction: PolicyDirection): PolicyCase {
  const protocol = direction === 'ingress' ? 'udp' : 'tcp'
  return {
    name: `CNP-007, CNP-011 CNP${tier}Tier${WORDS[direction]}NamedPort`,
    steps: [
      step(
        'a name and nothing else',
        [
          clusterPolicy('named', {
            tier,
            [direction]: [
              rule('Accept', HUFFLEPUFF, named(`serve-81-${protocol}`)),
              rule('Deny', HUFFLEPUFF),
            ],
          }),
        ],
        towards(direction, (other, probe) => is(other, 'z/c') && !isAt(probe, protocol, 81)),
      ),
    ],
  }
}

function nodePeers(tier: Tier): PolicyCase {
  const NODE1: Peer = { nodes: { matchLabels: { 'kubernetes.io/hostname': 'node1' } } }
  const egress = [
    rule('Accept', NODE1, at('tcp', 80)),
    rule('Pass', NODE1, at('udp', 80)),
    {
      action: 'Deny' as const,
      peers: [SLYTHERIN, { nodes: { matchLabels: { 'kubernetes.io/os': 'linux' } } }],
    },
  ]
  const isNodeBlocked = (from: CasePod, node: CaseNode, probe: CaseProbe) =>
    inX(from) && !(node === 'node1' && (isAt(probe, 'tcp', 80) || isAt(probe, 'udp', 80)))
  return {
    name: `CNP-006, CNP-011 CNP${tier}TierEgressNodePeers`,
    steps: [
      {
        ...step(
          'some ports of one node, and no node else',
          [clusterPolicy('nodes', { tier, priority: 75, egress })],
          (from, to) => inX(from) && is(to, 'z/a'),
        ),
        isNodeBlocked,
      },
    ],
  }
}

const both = (action: Action, peer: Peer) => ({
  ingress: [rule(action, peer)],
  egress: [rule(action, peer)],
})
const withSlytherin: Table = (from, to) => (inX(from) && is(to, 'z/a')) || (inX(to) && is(from, 'z/a'))

const priorityField: PolicyCase = {
  name: 'CNP-001, CNP-002, CNP-011 CNPAdminTierPriorityField',
  steps: (
    [
      ['60 comes after 50, which denies', 60, 'Accept', withSlytherin],
      ['40 comes first and passes; the baseline accepts', 40, 'Accept', open],
      ['and where the baseline denies', 40, 'Deny', withSlytherin],
    ] as const
  ).map(([what, priority, baseline, isBlocked]) =>
    step(
      what,
      [
        clusterPolicy('fifty', { tier: 'Admin', priority: 50, ...both('Deny', SLYTHERIN) }),
        clusterPolicy('moving', { tier: 'Admin', priority, ...both('Pass', SLYTHERIN) }),
        clusterPolicy('default', { tier: 'Baseline', ...both(baseline, SLYTHERIN) }),
      ],
      isBlocked,
    ),
  ),
}

const admin = (ingress: Action, egress: Action) =>
  clusterPolicy('admin', {
    tier: 'Admin',
    ingress: [rule(ingress, SLYTHERIN)],
    egress: [rule(egress, SLYTHERIN)],
  })
const baselineDeny = clusterPolicy('default', { tier: 'Baseline', ...both('Deny', SLYTHERIN) })
const slytherinAlone = networkPolicy('slytherin-alone', {
  podSelector: {},
  policyTypes: ['Ingress', 'Egress'],
  ingress: [{ from: [{ namespaceSelector: ns('z'), podSelector: podLabel('a') }] }],
  egress: [{ to: [{ namespaceSelector: ns('z'), podSelector: podLabel('a') }] }],
})
/** What the NetworkPolicy leaves, with Slytherin's directions. */
const besides =
  (isFromBlocked: boolean, isToBlocked: boolean): Table =>
  (from, to) => {
    if (inX(to) && is(from, 'z/a')) return isFromBlocked
    if (inX(from) && is(to, 'z/a')) return isToBlocked
    return inX(from) || inX(to)
  }

const integration: PolicyCase = {
  name: 'CNP-001, CNP-011 CNPAdminTierIntegration',
  steps: [
    step(
      'the admin tier denies what a NetworkPolicy allows',
      [admin('Deny', 'Deny'), slytherinAlone, baselineDeny],
      besides(true, true),
    ),
    step(
      'pass-ingress: the NetworkPolicy decides',
      [admin('Pass', 'Deny'), slytherinAlone, baselineDeny],
      besides(false, true),
    ),
    step(
      'pass-egress: the NetworkPolicy decides',
      [admin('Pass', 'Pass'), slytherinAlone, baselineDeny],
      besides(false, false),
    ),
    step('without it the baseline decides', [admin('Pass', 'Pass'), baselineDeny], withSlytherin),
    step('and without that, nothing', [admin('Pass', 'Pass')], open),
  ],
}

const others: readonly PolicyCase[] = [
  {
    name: 'CNP-007 ranges of ports, with both their ends',
    steps: [
      step(
        'denied',
        [
          clusterPolicy('ranges', {
            tier: 'Admin',
            ingress: [
              rule('Deny', RAVENCLAW, range('tcp', 79, 80), range('udp', 81, 90), range('sctp', 82, 90)),
            ],
          }),
        ],
        towards(
          'ingress',
          (other, probe) => inY(other) && (isAt(probe, 'tcp', 80) || isAt(probe, 'udp', 81)),
        ),
      ),
    ],
  },
  {
    name: 'CNP-008 CNPAdminTierHairpin: by a Service that leads back, not by its own address',
    steps: [
      {
        ...step(
          'x denied to x',
          [
            clusterPolicy('hairpin', {
              tier: 'Admin',
              priority: 15,
              ingress: [rule('Deny', { namespaces: ns('x') })],
            }),
          ],
          (from, to) => inX(from) && inX(to),
        ),
        isHairpinBlocked: inX,
      },
    ],
  },
  {
    name: "CNP-003, CNP-006 every pod is selected, and none on the host's network",
    steps: [
      {
        ...step(
          'y denied to all',
          [
            clusterPolicy('all', {
              tier: 'Admin',
              subject: { namespaces: {} },
              ingress: [rule('Deny', RAVENCLAW)],
            }),
          ],
          inY,
        ),
        isHairpinBlocked: inY,
        isNodeBlocked: () => false,
      },
    ],
  },
]

export const CLUSTER_POLICY_CASES: readonly PolicyCase[] = [
  ...TIERS.flatMap((tier) => [
    ...(['ingress', 'egress'] as const).flatMap((direction) =>
      (['tcp', 'udp', 'sctp'] as const).map((protocol) => byProtocol(tier, direction, protocol)),
    ),
    gress(tier),
    inlineCidrPeers(tier),
    namedPort(tier, 'ingress'),
    namedPort(tier, 'egress'),
    nodePeers(tier),
  ]),
  priorityField,
  integration,
  ...others,
]
