// The sentences for verdicts.

import t from 'tap'
import { parse } from 'yaml'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import type { Policy, PolicyDirection, PolicyKind, PolicyPacket } from '../../../src/model/policy.ts'
import { describeJudgement, describeRuling } from '../../../src/policy/describe-cause.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { netpolWorld } from './netpol-cluster.ts'
import { ciliumPolicy, clusterNetworkPolicy, EVERYTHING, networkPolicy, packet } from './rows.ts'

const [XA, YA, NODE] = ['10.0.1.1', '10.0.2.1', '192.168.0.1']

function sentence(
  policies: readonly Policy[],
  asked: PolicyPacket,
  direction: PolicyDirection = 'ingress',
): string {
  return describeJudgement(judge(netpolWorld(policies), asked, direction), { policies, direction })
}

const isolate = (name: string) => networkPolicy(`x/${name}`, EVERYTHING, { ingress: [] })
const open = networkPolicy('x/web', EVERYTHING, { ingress: [{}] })
const guard = clusterNetworkPolicy('guard', 'admin', { ingress: [{ action: 'deny' }] })

t.test('a sentence for every cause', async (t) => {
  const toXa = packet(YA, XA)
  const cases: readonly [string, readonly Policy[], PolicyPacket?, PolicyDirection?][] = [
    ['allowed: no policy decides it', []],
    ['allowed: whoever speaks to itself may', [guard], packet(XA, XA)],
    ['allowed: the node may always speak to its own pods', [guard], packet(NODE, XA)],
    ['allowed by NetworkPolicy x/web, spec.ingress[0]', [open]],
    ['denied by ClusterNetworkPolicy guard (admin tier, priority 10), spec.ingress[0]', [open, guard]],
    ['denied: NetworkPolicy x/a isolates ingress, and no rule allows this', [isolate('a')]],
    [
      'denied: NetworkPolicy x/a and NetworkPolicy x/b isolate ingress, and no rule allows this',
      [isolate('b'), isolate('a')],
    ],
    [
      'denied: NetworkPolicy x/a, NetworkPolicy x/b, NetworkPolicy x/c and 2 more isolate ingress, and no rule allows this',
      ['a', 'b', 'c', 'd', 'e'].map(isolate),
    ],
    [
      'denied: CiliumNetworkPolicy x/dns isolates egress, and no rule allows this; CiliumNetworkPolicy x/dns allows nothing: ' +
        'spec.egress[0].toFQDNs: is not supported yet. Mend: Allow the addresses by toCIDR',
      [
        ciliumPolicy(
          'x/dns',
          EVERYTHING,
          { egress: [] },
          {
            faults: [
              {
                path: 'spec.egress[0].toFQDNs',
                text: 'is not supported yet',
                mend: 'Allow the addresses by toCIDR',
              },
            ],
          },
        ),
      ],
      packet(XA, YA),
      'egress',
    ],
    [
      'denied: NetworkPolicy x/a isolates ingress, and no rule allows this (passed on by ClusterNetworkPolicy leave (admin tier, priority 10), spec.ingress[0])',
      [clusterNetworkPolicy('leave', 'admin', { ingress: [{ action: 'pass' }] }), isolate('a')],
    ],
    [
      'allowed by NetworkPolicy x/web, spec.ingress[0]; if audited policies were in force: denied by ClusterNetworkPolicy guard (admin tier, priority 10), spec.ingress[0]',
      [open, { ...guard, isAudit: true }],
    ],
  ]
  for (const [expected, policies, asked = toXa, direction = 'ingress'] of cases)
    t.equal(sentence(policies, asked, direction), expected)
})

t.test('parts of one object are one name, and a policy that is gone still has its name', async (t) => {
  const parts = [0, 1].map((part) => ({ ...ciliumPolicy('x/parts', EVERYTHING, { ingress: [] }), part }))
  t.equal(
    sentence(parts, packet(YA, XA)),
    'denied: CiliumNetworkPolicy x/parts isolates ingress, and no rule allows this',
  )
  const { verdict, cause } = judge(netpolWorld([guard]), packet(YA, XA), 'ingress')
  t.equal(
    describeRuling({ verdict, cause }, { policies: [], direction: 'ingress' }),
    'denied by ClusterNetworkPolicy guard, spec.ingress[0]',
  )
})

t.test('which peer and which port of a rule, as its kind writes them', async (t) => {
  const read = (kind: PolicyKind, spec: string): readonly Policy[] => {
    const namespace = kind.startsWith('Cluster') ? undefined : 'x'
    const { policies, faults } = toPolicyObject(kind, {
      metadata: { name: 'p', ...(namespace === undefined ? {} : { namespace }) },
      ...{ spec: parse(spec) },
    })
    t.strictSame(faults, [], spec)
    return policies
  }
  const y = '{matchLabels: {kubernetes.io/metadata.name: y}}'
  const cases: readonly [string, PolicyKind, string, PolicyPacket, PolicyDirection][] = [
    [
      'spec.ingress[1].from[1], ports[2]',
      'NetworkPolicy',
      `{podSelector: {}, ingress: [{ports: [{port: 1}]}, {from: [{podSelector: {}}, {namespaceSelector: ${y}}],
        ports: [{protocol: UDP}, {port: 81}, {port: 70, endPort: 90}]}]}`,
      packet(YA, XA),
      'ingress',
    ],
    [
      'spec.egress[0].to[1].networks[2], protocols[1]',
      'ClusterNetworkPolicy',
      `{tier: Admin, priority: 10, subject: {namespaces: {}}, egress: [{action: Deny,
        to: [{nodes: {}}, {networks: ["2001:db8::/32", 203.0.113.0/24, 0.0.0.0/0]}], protocols: [{udp: {}}, {tcp: {}}]}]}`,
      packet(XA, YA),
      'egress',
    ],
    [
      'spec.ingressDeny[0].fromEntities[1], toPorts[1].ports[1]',
      'CiliumNetworkPolicy',
      `{endpointSelector: {}, ingressDeny: [{fromEntities: [host, cluster],
        toPorts: [{ports: [{port: "443"}]}, {ports: [{port: "53", protocol: UDP}, {port: "80"}]}]}]}`,
      packet(YA, XA),
      'ingress',
    ],
    [
      'spec.ingress[0], icmps[0].fields[1]',
      'CiliumNetworkPolicy',
      '{endpointSelector: {}, ingress: [{icmps: [{fields: [{type: 0}, {type: EchoRequest}]}]}]}',
      { ...packet(YA, XA), protocol: 'icmp', port: 8 },
      'ingress',
    ],
  ]
  for (const [place, kind, spec, asked, direction] of cases) {
    const told = sentence(read(kind, spec), asked, direction)
    t.equal(told.slice(told.indexOf(', spec') + 2), place, told)
  }
})
