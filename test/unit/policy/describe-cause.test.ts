// The sentences for verdicts.

import t from 'tap'
import type { Policy, PolicyDirection, PolicyPacket } from '../../../src/model/policy.ts'
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
        'spec.egress[0].toFQDNs: is not supported yet. Allow the addresses by toCIDR',
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
