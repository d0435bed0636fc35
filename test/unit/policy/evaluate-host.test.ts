// Policies of nodes: whom they protect, and the ports at which a node stays in touch.

import t from 'tap'
import type { Policy, PolicyDirection, PolicyPacket } from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { NODE, netpolWorld, OTHER_NODE, OUTSIDE, twoNodes, XA, YA } from './netpol-cluster.ts'
import { ciliumPolicy, EVERYTHING, entity, labels, networks, packet, ports } from './rows.ts'

const base = netpolWorld([], {
  nodes: twoNodes,
})

function verdict(policies: readonly Policy[], asked: PolicyPacket, direction: PolicyDirection = 'ingress') {
  return judge({ ...base, policies }, asked, direction).verdict
}

t.test('host policies protect the node that judges, and no pod', async (t) => {
  const host = ciliumPolicy(
    'host',
    { kind: 'nodes', labels: labels({ role: 'control' }) },
    {
      ingress: [
        { peers: [entity('remote-node')] },
        { ports: [ports('tcp', 22)] },
        { action: 'deny', peers: [networks('203.0.113.0/24', [], 'outside')] },
      ],
      egress: [{ peers: [entity('cluster')] }],
    },
  )
  t.equal(verdict([host], packet(OTHER_NODE, NODE)), 'allow')
  t.equal(verdict([host], packet(YA, NODE)), 'deny', 'a pod of its own, too')
  t.equal(verdict([host], packet(YA, NODE, { port: 22 })), 'allow')
  t.equal(verdict([host], packet(OUTSIDE, NODE, { port: 22 })), 'deny')
  t.equal(verdict([host], packet(NODE, OUTSIDE), 'egress'), 'deny')
  t.equal(verdict([host], packet(NODE, YA), 'egress'), 'allow')
  t.equal(verdict([host], packet(NODE, NODE)), 'allow', 'it is not cut off from itself')
  t.equal(verdict([host], packet(OTHER_NODE, NODE, { isMasqueraded: true })), 'deny', 'masqueraded: no node')
  t.equal(verdict([host], packet(YA, XA)), 'allow', 'pods are not its subject')
  t.equal(verdict([host], packet(OUTSIDE, OTHER_NODE)), 'allow', 'nor a node of other labels')
  t.equal(
    verdict([{ ...host, subject: { kind: 'nodes', labels: EVERYTHING } }], packet(OUTSIDE, OTHER_NODE)),
    'allow',
    'another node judges for itself',
  )
  t.equal(
    verdict([host], packet(NODE, OUTSIDE, { isMasqueraded: true }), 'egress'),
    'allow',
    'what it only lends its address is not its own',
  )
})

t.test('a node stays in touch at its fail-safe ports unless a deny names ports', async (t) => {
  const range = (protocol: 'tcp' | 'udp', first: number, last = first) => ({ protocol, first, last })
  const kept = {
    ...base,
    failSafePorts: { ingress: [range('tcp', 22), range('udp', 3784, 3785)], egress: [range('tcp', 179)] },
  }
  const host = (rules: Parameters<typeof ciliumPolicy>[2]) => [
    ciliumPolicy('host', { kind: 'nodes', labels: EVERYTHING }, rules),
  ]
  const ask = (
    policies: readonly Policy[],
    port: number,
    protocol: 'tcp' | 'udp' = 'tcp',
    direction: PolicyDirection = 'ingress',
  ) => {
    const asked =
      direction === 'ingress'
        ? packet(OUTSIDE, NODE, { port, protocol })
        : packet(NODE, OUTSIDE, { port, protocol })
    const { verdict: given, cause } = judge({ ...kept, policies }, asked, direction)
    return `${given} ${cause.kind}`
  }
  const isolated = host({ ingress: [], egress: [] })
  t.equal(ask(isolated, 22), 'allow fail-safe')
  t.equal(ask(isolated, 3785, 'udp'), 'allow fail-safe')
  for (const [port, protocol] of [
    [23, 'tcp'],
    [21, 'tcp'],
    [22, 'udp'],
    [3786, 'udp'],
    [179, 'tcp'],
  ] as const)
    t.equal(ask(isolated, port, protocol), 'deny isolation', `${protocol} ${port}`)
  t.equal(ask(isolated, 179, 'tcp', 'egress'), 'allow fail-safe')
  t.equal(ask(isolated, 22, 'tcp', 'egress'), 'deny isolation', 'each direction has its own')
  const deny = (...named: Parameters<typeof ports>[]) =>
    host({
      ingress: [{ action: 'deny', ...(named.length > 0 && { ports: named.map((each) => ports(...each)) }) }],
    })
  t.equal(ask(deny(), 22), 'allow fail-safe', 'everything is not said in so many words')
  t.equal(ask(deny(['tcp']), 22), 'allow fail-safe', 'nor is a protocol')
  t.equal(ask(deny(['tcp'], ['udp', 53]), 22), 'allow fail-safe', 'nor a protocol beside ports')
  t.equal(ask(deny(['tcp', 22]), 22), 'deny rule')
  t.equal(ask(deny(['tcp', 1, 1024]), 22), 'deny rule')
  t.equal(ask(deny(['tcp', 80]), 22), 'allow fail-safe')
  t.equal(ask(host({ ingress: [{}, { action: 'deny' }] }), 22), 'allow rule')
  t.equal(ask([], 22), 'allow default')
  const ofPods = [ciliumPolicy('x/deny', EVERYTHING, { ingress: [] })]
  t.equal(
    judge({ ...kept, policies: ofPods }, packet(OUTSIDE, XA, { port: 22 }), 'ingress').verdict,
    'deny',
    'pods have none',
  )
})
