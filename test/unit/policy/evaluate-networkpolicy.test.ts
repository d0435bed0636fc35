// The semantic rules of NetworkPolicy that truth tables over pods do not show: who an address is, what a named port is, addresses
// outside, other protocols, and the cause of each verdict.

import t from 'tap'
import type { Policy, PolicyDirection, PolicyPacket, PolicyWorld } from '../../../src/model/policy.ts'
import type { PolicyCause } from '../../../src/model/policy-judgement.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { NODE, netpolWorld, OTHER_NODE, OUTSIDE, twoNodes, withPod, XA, XB, YA } from './netpol-cluster.ts'
import {
  EVERYTHING,
  entity,
  expression,
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

const onlyA = labels({ pod: 'a' })

const denyIngress = networkPolicy('x/deny', EVERYTHING, { ingress: [] })
const denyEgress = networkPolicy('x/deny', EVERYTHING, { egress: [] })

function verdict(
  policies: readonly Policy[],
  direction: PolicyDirection,
  asked: PolicyPacket,
  base: PolicyWorld = netpolWorld([], { nodes: twoNodes }),
): string {
  return judge({ ...base, policies }, asked, direction).verdict
}

const named = (key: string) => ({ kind: 'NetworkPolicy', key, part: 0 })
const byRule = (key: string, path: string) => ({ kind: 'rule', policy: named(key), path })

t.test('each verdict has its cause', async (t) => {
  const policies = [
    networkPolicy('x/web', onlyA, {
      ingress: [
        { peers: [pods({ namespaces: namespaceNamed('y') })], ports: [ports('tcp', 80)] },
        { peers: [] },
      ],
    }),
    networkPolicy('x/also', onlyA, { ingress: [{ ports: [ports('tcp', 81)] }], egress: [{}] }),
  ]
  const cases: readonly [PolicyDirection, PolicyPacket, verdict: 'allow' | 'deny', cause: unknown][] = [
    ['ingress', packet(YA, XA), 'allow', byRule('x/web', 'spec.ingress[0]')],
    ['ingress', packet(YA, XA, { port: 81 }), 'allow', byRule('x/also', 'spec.ingress[0]')],
    ['ingress', packet(XB, XA), 'deny', { kind: 'isolation', policies: [named('x/also'), named('x/web')] }],
    ['ingress', packet(YA, XB), 'allow', { kind: 'default' }],
    ['egress', packet(YA, XA), 'allow', { kind: 'default' }],
    ['egress', packet(XA, YA), 'allow', byRule('x/also', 'spec.egress[0]')],
    ['ingress', packet(XA, XA), 'allow', { kind: 'self' }],
    ['ingress', packet(NODE, XA), 'allow', { kind: 'own-node' }],
  ]
  for (const [direction, asked, expected, cause] of cases) {
    const judged = judge(netpolWorld(policies, { nodes: twoNodes }), asked, direction)
    const text = `${direction} ${asked.source} → ${asked.destination}:${asked.port}`
    t.equal(judged.verdict, expected, text)
    t.strictSame(judged.cause, cause as PolicyCause, text)
    t.equal(judged.wouldBe, undefined)
  }
})

t.test('isolation is per direction', async (t) => {
  t.equal(verdict([denyIngress], 'ingress', packet(YA, XA)), 'deny')
  t.equal(verdict([denyIngress], 'egress', packet(XA, YA)), 'allow')
  t.equal(verdict([denyEgress], 'egress', packet(XA, YA)), 'deny')
  t.equal(verdict([denyEgress], 'ingress', packet(YA, XA)), 'allow')
})

t.test(
  'a policy selects pods of its own namespace, also those of the same labels elsewhere not',
  async (t) => {
    t.equal(verdict([denyIngress], 'ingress', packet(XA, YA)), 'allow')
    const own = networkPolicy('x/own', EVERYTHING, {
      ingress: [{ peers: [pods({ namespaces: namespaceNamed('x'), pods: onlyA })] }],
    })
    t.equal(verdict([own], 'ingress', packet(XA, XB)), 'allow')
    t.equal(verdict([own], 'ingress', packet(YA, XB)), 'deny')
  },
)

t.test('expressions hold of pods that lack the key, as Kubernetes has it', async (t) => {
  const from = (peers: ReturnType<typeof pods>) => [
    networkPolicy('x/from', onlyA, { ingress: [{ peers: [peers] }] }),
  ]
  const bare = withPod(netpolWorld([]), 'y/a', { labels: {} })
  for (const [selector, expected] of [
    [expression('pod', 'In', 'a'), 'deny'],
    [expression('pod', 'NotIn', 'a'), 'allow'],
    [expression('pod', 'Exists'), 'deny'],
    [expression('pod', 'DoesNotExist'), 'allow'],
    [EVERYTHING, 'allow'],
  ] as const) {
    t.equal(verdict(from(pods({ pods: selector })), 'ingress', packet(YA, XA), bare), expected)
    const namespaces = new Map([...bare.namespaces, ['y', { 'kubernetes.io/metadata.name': 'y' }] as const])
    const ofNamespace = { requirements: selector.requirements.map((each) => ({ ...each, key: 'ns' })) }
    t.equal(
      verdict(from(pods({ namespaces: ofNamespace })), 'ingress', packet(YA, XA), { ...bare, namespaces }),
      expected,
      'and of namespaces',
    )
  }
  const unheard = { ...bare, namespaces: new Map() }
  t.equal(
    verdict(from(pods({ namespaces: namespaceNamed('y') })), 'ingress', packet(YA, XA), unheard),
    'allow',
    'a name is known before labels',
  )
})

t.test('ipBlock by family; edges, exceptions, pods, nodes and outsiders alike', async (t) => {
  const block = (text: string, except: readonly string[] = []) => [
    networkPolicy('x/block', onlyA, {
      ingress: [{ peers: [networks(text, except)] }],
      egress: [{ peers: [networks(text, except)] }],
    }),
  ]
  const cases: readonly [string, readonly string[], string, 'allow' | 'deny'][] = [
    ['203.0.113.0/25', [], '203.0.113.0', 'allow'],
    ['203.0.113.0/25', [], '203.0.113.127', 'allow'],
    ['203.0.113.0/25', [], '203.0.113.128', 'deny'],
    ['203.0.113.0/25', [], '203.0.112.255', 'deny'],
    ['203.0.113.0/24', ['203.0.113.64/26'], '203.0.113.63', 'allow'],
    ['203.0.113.0/24', ['203.0.113.64/26'], '203.0.113.64', 'deny'],
    ['203.0.113.0/24', ['203.0.113.64/26'], '203.0.113.127', 'deny'],
    ['203.0.113.0/24', ['203.0.113.64/26'], '203.0.113.128', 'allow'],
    ['203.0.113.7/32', [], OUTSIDE, 'allow'],
    ['0.0.0.0/0', [], OUTSIDE, 'allow'],
    ['0.0.0.0/0', [], YA, 'allow'],
    ['0.0.0.0/0', [], OTHER_NODE, 'allow'],
    ['0.0.0.0/0', ['10.0.0.0/8'], YA, 'deny'],
    ['::/0', [], YA, 'deny'],
    ['0.0.0.0/0', [], 'fd00::2:1', 'deny'],
    ['::/0', [], 'fd00::2:1', 'allow'],
    ['2001:db8::/32', ['2001:db8:1::/48'], '2001:db8::ffff', 'allow'],
    ['2001:db8::/32', ['2001:db8:1::/48'], '2001:db8:1::', 'deny'],
    ['2001:db8::/32', ['2001:db8:1::/48'], '2001:db8:2::', 'allow'],
    ['2001:db8::/32', [], '2001:db7:ffff:ffff:ffff:ffff:ffff:ffff', 'deny'],
  ]
  for (const [text, except, other, expected] of cases) {
    const own = other.includes(':') ? 'fd00::1:1' : XA
    const name = `${text} without [${except}]: ${other}`
    t.equal(verdict(block(text, except), 'ingress', packet(other, own)), expected, name)
    t.equal(verdict(block(text, except), 'egress', packet(own, other)), expected, name)
  }
})

t.test('ports by number and range, both ends in it, and no protocol but the one named', async (t) => {
  const range = [networkPolicy('x/range', onlyA, { ingress: [{ ports: [ports('tcp', 80, 90)] }] })]
  for (const [port, expected] of [
    [79, 'deny'],
    [80, 'allow'],
    [90, 'allow'],
    [91, 'deny'],
  ] as const)
    t.equal(verdict(range, 'ingress', packet(YA, XA, { port })), expected, String(port))
  const whole = [networkPolicy('x/whole', onlyA, { ingress: [{ ports: [ports('tcp')] }] })]
  for (const port of [0, 1, 65535]) t.equal(verdict(whole, 'ingress', packet(YA, XA, { port })), 'allow')
  for (const protocol of ['udp', 'sctp', 'icmp', 'other'] as const)
    t.equal(verdict(whole, 'ingress', packet(YA, XA, { protocol, port: 80 })), 'deny', protocol)
})

t.test('a named port is what the destination pod calls so', async (t) => {
  let base = netpolWorld([], { nodes: twoNodes })
  const http = (port: number, protocol: 'tcp' | 'udp' = 'tcp') => ({ name: 'http', protocol, port })
  base = withPod(base, 'x/a', { namedPorts: [http(8080)] })
  base = withPod(base, 'y/a', { namedPorts: [http(9090), http(53, 'udp')] })
  base = withPod(base, 'y/b', { namedPorts: [{ name: 'other', protocol: 'tcp', port: 8080 }] })
  const into = [networkPolicy('x/in', EVERYTHING, { ingress: [{ ports: [namedPort('http', 'tcp')] }] })]
  const out = [networkPolicy('x/out', EVERYTHING, { egress: [{ ports: [namedPort('http', 'tcp')] }] })]
  const outAny = [networkPolicy('x/out', EVERYTHING, { egress: [{ ports: [namedPort('http')] }] })]
  t.equal(verdict(into, 'ingress', packet(YA, XA, { port: 8080 }), base), 'allow', 'its own number')
  t.equal(verdict(into, 'ingress', packet(YA, XA, { port: 9090 }), base), 'deny', "the peer's number")
  t.equal(verdict(into, 'ingress', packet(YA, XB, { port: 8080 }), base), 'deny', 'a pod that lacks it')
  t.equal(verdict(out, 'egress', packet(XA, YA, { port: 9090 }), base), 'allow', "the peer's number")
  t.equal(verdict(out, 'egress', packet(XA, YA, { port: 8080 }), base), 'deny', "the subject's number")
  t.equal(verdict(out, 'egress', packet(XA, '10.0.2.2', { port: 8080 }), base), 'deny', 'another name')
  t.equal(verdict(out, 'egress', packet(XA, OUTSIDE, { port: 9090 }), base), 'deny', 'no pod has no names')
  t.equal(verdict(out, 'egress', packet(XA, OTHER_NODE, { port: 9090 }), base), 'deny', 'a node has none')
  t.equal(
    verdict(out, 'egress', packet(XA, YA, { port: 53, protocol: 'udp' }), base),
    'deny',
    'of another protocol',
  )
  t.equal(verdict(outAny, 'egress', packet(XA, YA, { port: 53, protocol: 'udp' }), base), 'allow')
  t.equal(verdict(outAny, 'egress', packet(XA, YA, { port: 53, protocol: 'tcp' }), base), 'deny')
})

t.test('itself and its own node reach a pod; other nodes do not', async (t) => {
  for (const [source, expected] of [
    [XA, 'allow'],
    [NODE, 'allow'],
    [OTHER_NODE, 'deny'],
    [YA, 'deny'],
  ] as const)
    t.equal(verdict([denyIngress], 'ingress', packet(source, XA)), expected, source)
  t.equal(verdict([denyEgress], 'egress', packet(XA, XA)), 'allow')
  t.equal(verdict([denyEgress], 'egress', packet(XA, NODE)), 'deny', 'outwards the own node is anyone')
  t.equal(
    verdict([denyIngress], 'ingress', packet(NODE, XA, { isMasqueraded: true })),
    'deny',
    'an outsider behind the node address is not the node',
  )
  const hairpin = packet(XA, XA, { isHairpin: true })
  t.equal(verdict([denyEgress], 'egress', hairpin), 'allow', 'also through a Service')
  t.equal(verdict([denyIngress], 'ingress', hairpin), 'allow')
})

t.test('pods of the host network are their node, as subject and as peer', async (t) => {
  const base = netpolWorld([], { nodes: twoNodes })
  const withHost = {
    ...base,
    pods: [
      ...base.pods,
      pod('x/host', {
        labels: { pod: 'a' },
        addresses: [OTHER_NODE],
        node: 'n2',
        isHostNetwork: true,
        namedPorts: [{ name: 'http', protocol: 'tcp', port: 80 }],
      }),
    ],
  }
  t.equal(
    verdict([denyIngress], 'ingress', packet(YA, OTHER_NODE), withHost),
    'allow',
    'no policy of pods is applied to a node',
  )
  t.equal(verdict([denyEgress], 'egress', packet(OTHER_NODE, YA), withHost), 'allow')
  const fromA = networkPolicy('y/from-a', EVERYTHING, { ingress: [{ peers: [pods({ pods: onlyA })] }] })
  t.equal(verdict([fromA], 'ingress', packet(XA, YA), withHost), 'allow')
  t.equal(verdict([fromA], 'ingress', packet(OTHER_NODE, YA), withHost), 'deny', 'its labels open nothing')
  const byAddress = networkPolicy('y/from-node', EVERYTHING, {
    ingress: [{ peers: [networks('192.168.0.0/24')] }],
  })
  t.equal(verdict([byAddress], 'ingress', packet(OTHER_NODE, YA), withHost), 'allow')
  const toName = networkPolicy('y/to', EVERYTHING, { egress: [{ ports: [namedPort('http')] }] })
  t.equal(verdict([toName], 'egress', packet(YA, OTHER_NODE), withHost), 'deny', 'nor its named ports')
})

t.test('isolation holds for every protocol, an open rule for every one too', async (t) => {
  const open = networkPolicy('x/open', onlyA, { ingress: [{}] })
  for (const protocol of ['tcp', 'udp', 'sctp', 'icmp', 'other'] as const) {
    t.equal(verdict([denyIngress], 'ingress', packet(YA, XB, { protocol, port: 0 })), 'deny', protocol)
    t.equal(verdict([denyIngress, open], 'ingress', packet(YA, XA, { protocol, port: 0 })), 'allow', protocol)
  }
})

t.test('finished pods are nobody: their address is of whoever has it now', async (t) => {
  const base = netpolWorld([], { nodes: twoNodes })
  const ended = withPod(base, 'y/a', { isFinished: true })
  const fromA = networkPolicy('x/from-a', EVERYTHING, { ingress: [{ peers: [pods({ pods: onlyA })] }] })
  t.equal(verdict([fromA], 'ingress', packet(YA, XB)), 'allow')
  t.equal(verdict([fromA], 'ingress', packet(YA, XB), ended), 'deny')
  t.equal(
    verdict([networkPolicy('y/deny', EVERYTHING, { egress: [] })], 'egress', packet(YA, XB), ended),
    'allow',
    'nor is it protected',
  )
  const reused = withPod(ended, 'z/c', { addresses: [YA] })
  const fromC = networkPolicy('x/from-c', EVERYTHING, {
    ingress: [{ peers: [pods({ pods: labels({ pod: 'c' }) })] }],
  })
  t.equal(verdict([fromA], 'ingress', packet(YA, XB), reused), 'deny')
  t.equal(verdict([fromC], 'ingress', packet(YA, XB), reused), 'allow')
  const handedOn = { ...reused, pods: [...reused.pods].reverse() }
  t.equal(
    verdict([fromC], 'ingress', packet(YA, XB), handedOn),
    'allow',
    'in whatever order they are heard of',
  )
})

t.test('a masqueraded packet is the world, at the address it came from', async (t) => {
  const masqueraded = packet(OTHER_NODE, XA, { isMasqueraded: true })
  const from = (...peers: Parameters<typeof networkPolicy>[2]['ingress'] & object) => [
    networkPolicy('x/from', onlyA, { ingress: peers }),
  ]
  t.equal(
    verdict(from({ peers: [networks('192.168.0.0/24')] }), 'ingress', masqueraded),
    'allow',
    'ipBlock goes by the address',
  )
  t.equal(verdict(from({ peers: [pods({})] }), 'ingress', masqueraded), 'deny')
  t.equal(verdict(from({ peers: [entity('remote-node')] }), 'ingress', masqueraded), 'deny')
  t.equal(verdict(from({ peers: [entity('world')] }), 'ingress', masqueraded), 'allow')
})

t.test('audited policies are recorded, the others hold', async (t) => {
  const audited = { ...denyIngress, isAudit: true }
  const judged = judge(netpolWorld([audited]), packet(YA, XA), 'ingress')
  t.strictSame(judged, {
    verdict: 'allow',
    cause: { kind: 'default' },
    passedBy: [],
    wouldBe: { verdict: 'deny', cause: { kind: 'isolation', policies: [named('x/deny')] } },
  })
  const opening = networkPolicy('x/open', EVERYTHING, { ingress: [{}] }, { isAudit: true })
  const opened = judge(netpolWorld([denyIngress, opening]), packet(YA, XA), 'ingress')
  t.equal(opened.verdict, 'deny')
  t.strictSame(opened.wouldBe, {
    verdict: 'allow',
    cause: byRule('x/open', 'spec.ingress[0]') as PolicyCause,
  })
  const same = judge(netpolWorld([denyIngress, { ...audited, key: 'x/a-deny' }]), packet(YA, XA), 'ingress')
  t.equal(same.wouldBe, undefined, 'where both say the same there is nothing to record')
  t.strictSame(
    same.cause,
    { kind: 'isolation', policies: [named('x/deny')] },
    'nor is an audited one the cause',
  )
})
