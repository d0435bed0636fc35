// The families of cyclonus: targets, peers alone and in pairs, ports and protocols alone and in pairs, namespaces by their default label,
// conflicts of deny and allow. What is expected is said of each item once, and of a combination by 'or' (peers, ports) and 'and'.

import t from 'tap'
import type { LabelSelector } from '../../../src/model/label-selector.ts'
import type {
  PolicyPeer,
  PolicyPod,
  PolicyWorld,
  PortMatch,
  PortProtocol,
} from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { blockedPairs, netpolWorld, pairsWhere } from './netpol-cluster.ts'
import {
  EVERYTHING,
  expression,
  labels,
  namedPort,
  namespaceNamed,
  networkPolicy,
  networks,
  packet,
  pods,
  ports,
} from './rows.ts'

const label = (pod: PolicyPod) => pod.labels['pod'] ?? ''

t.test('targets: each namespace, pods by nothing, by label, by expression', async (t) => {
  const selectors: readonly [LabelSelector, (pod: PolicyPod) => boolean][] = [
    [EVERYTHING, () => true],
    [labels({ pod: 'a' }), (pod) => label(pod) === 'a'],
    [expression('pod', 'In', 'b', 'c'), (pod) => label(pod) !== 'a'],
    [expression('pod', 'NotIn', 'b'), (pod) => label(pod) !== 'b'],
    [expression('pod', 'Exists'), () => true],
    [expression('pod', 'DoesNotExist'), () => false],
    [expression('absent', 'NotIn', 'b'), () => true],
    [labels({ pod: 'a', absent: 'b' }), () => false],
  ]
  for (const namespace of ['x', 'y', 'z'])
    for (const [selector, isSelected] of selectors) {
      const base = netpolWorld([networkPolicy(`${namespace}/target`, selector, { ingress: [], egress: [] })])
      const isTarget = (pod: PolicyPod) => pod.namespace === namespace && isSelected(pod)
      t.same(
        blockedPairs(base),
        pairsWhere(base, (from, to) => isTarget(from) || isTarget(to)),
        `${namespace} ${JSON.stringify(selector)}`,
      )
    }
})

t.test('rules: deny-all and allow-all of each direction and both', async (t) => {
  for (const ingress of [undefined, [], [{}]])
    for (const egress of [undefined, [], [{}]]) {
      const base = netpolWorld([
        networkPolicy('x/rules', EVERYTHING, { ...(ingress && { ingress }), ...(egress && { egress }) }),
      ])
      t.same(
        blockedPairs(base),
        pairsWhere(
          base,
          (from, to) =>
            (egress?.length === 0 && from.namespace === 'x') ||
            (ingress?.length === 0 && to.namespace === 'x'),
        ),
        JSON.stringify({ ingress, egress }),
      )
    }
})

type PeerItem = readonly [PolicyPeer, isIn: (pod: PolicyPod) => boolean]

/** Every mix of pods × namespaces, and prefixes of both families with and without an exception. */
const peerItems: readonly PeerItem[] = [
  [pods({ namespaces: namespaceNamed('x') }), (pod) => pod.namespace === 'x'],
  [pods({ namespaces: namespaceNamed('x'), pods: labels({ pod: 'b' }) }), (pod) => pod.key === 'x/b'],
  [pods({}), () => true],
  [pods({ pods: labels({ pod: 'b' }) }), (pod) => label(pod) === 'b'],
  [pods({ namespaces: labels({ ns: 'y' }) }), (pod) => pod.namespace === 'y'],
  [pods({ namespaces: labels({ ns: 'y' }), pods: labels({ pod: 'b' }) }), (pod) => pod.key === 'y/b'],
  [pods({ namespaces: labels({ ns: 'nowhere' }) }), () => false],
]
const networkItems: readonly (readonly [PolicyPeer, PolicyPeer, isIn: (pod: PolicyPod) => boolean])[] = [
  [networks('10.0.0.0/8'), networks('fd00::/16'), () => true],
  [
    networks('10.0.0.0/8', ['10.0.2.0/24']),
    networks('fd00::/16', ['fd00::2:0/112']),
    (pod) => pod.namespace !== 'y',
  ],
  [
    networks('10.0.3.0/30', ['10.0.3.2/32']),
    networks('fd00::3:0/126', ['fd00::3:2/128']),
    (pod) => ['z/a', 'z/c'].includes(pod.key),
  ],
]

t.test('peers: none, each alone, and all pairs, in both directions', async (t) => {
  const items: readonly (readonly [readonly PolicyPeer[], (pod: PolicyPod) => boolean])[] = [
    ...peerItems.map(([peer, isIn]) => [[peer], isIn] as const),
    ...networkItems.map(([v4, v6, isIn]) => [[v4, v6], isIn] as const),
  ]
  const none = [[], () => false] as const
  for (const [left, isInLeft] of items)
    for (const [right, isInRight] of [none, ...items]) {
      const peers = [...left, ...right]
      const isIn = (pod: PolicyPod) => isInLeft(pod) || isInRight(pod)
      const into = netpolWorld([networkPolicy('x/peers', labels({ pod: 'a' }), { ingress: [{ peers }] })])
      t.same(
        blockedPairs(into),
        pairsWhere(into, (from, to) => to.key === 'x/a' && !isIn(from)),
        `from ${JSON.stringify(peers)}`,
      )
      const out = netpolWorld([networkPolicy('x/peers', labels({ pod: 'a' }), { egress: [{ peers }] })])
      t.same(
        blockedPairs(out),
        pairsWhere(out, (from, to) => from.key === 'x/a' && !isIn(to)),
        `to ${JSON.stringify(peers)}`,
      )
    }
})

type PortItem = readonly [PortMatch, isIn: (protocol: PortProtocol, port: number) => boolean]

const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const
/** A port of a protocol may have any name; these are misleading on purpose, as a container may have them. */
const portItems: readonly PortItem[] = [
  ...PROTOCOLS.flatMap((wanted): PortItem[] => [
    [ports(wanted), (protocol) => protocol === wanted],
    [ports(wanted, 80), (protocol, port) => protocol === wanted && port === 80],
    [ports(wanted, 81), (protocol, port) => protocol === wanted && port === 81],
    [ports(wanted, 53, 80), (protocol, port) => protocol === wanted && port <= 80],
    [ports(wanted, 53, 84), (protocol) => protocol === wanted],
    [ports(wanted, 7981), () => false],
    [namedPort(`serve-81-${wanted}`, wanted), (protocol, port) => protocol === wanted && port === 81],
    [namedPort(`serve-81-${wanted}`), (protocol, port) => protocol === wanted && port === 81],
    [namedPort('serve-7981-udp', wanted), () => false],
  ]),
  // The name of another protocol's port.
  [namedPort('serve-81-udp', 'tcp'), () => false],
  [namedPort('serve-80-tcp', 'sctp'), () => false],
]

/** Which of y/a → x/a and x/a → y/a are allowed, port by port and protocol by protocol. */
function allowed(base: PolicyWorld, direction: 'ingress' | 'egress'): readonly string[] {
  const [source, destination] = direction === 'ingress' ? ['10.0.2.1', '10.0.1.1'] : ['10.0.1.1', '10.0.2.1']
  return PROTOCOLS.flatMap((protocol) =>
    [80, 81]
      .filter(
        (port) => judge(base, packet(source, destination, { protocol, port }), direction).verdict === 'allow',
      )
      .map((port) => `${protocol}/${port}`),
  )
}

t.test('ports and protocols: none, each alone, and all pairs, in both directions', async (t) => {
  for (const [left, isInLeft] of portItems)
    for (const [right, isInRight] of portItems) {
      const wanted = PROTOCOLS.flatMap((protocol) =>
        [80, 81]
          .filter((port) => isInLeft(protocol, port) || isInRight(protocol, port))
          .map((port) => `${protocol}/${port}`),
      )
      const rules = [{ ports: [left, right] }]
      for (const direction of ['ingress', 'egress'] as const) {
        const base = netpolWorld([networkPolicy('x/ports', labels({ pod: 'a' }), { [direction]: rules })])
        t.same(allowed(base, direction), wanted, `${direction} ${JSON.stringify(rules)}`)
      }
    }
  const open = netpolWorld([networkPolicy('x/ports', labels({ pod: 'a' }), { ingress: [{ ports: 'any' }] })])
  t.equal(allowed(open, 'ingress').length, 6)
  const none = netpolWorld([networkPolicy('x/ports', labels({ pod: 'a' }), { ingress: [{ ports: [] }] })])
  t.equal(allowed(none, 'ingress').length, 0, 'an empty list in the model is nothing')
})

t.test(
  'conflicts: deny and allow of one pair by pod and by address, of source and destination',
  async (t) => {
    const source = {
      byPod: pods({ namespaces: labels({ ns: 'y' }), pods: labels({ pod: 'b' }) }),
      byAddress: networks('10.0.2.2/32'),
    }
    const outside = {
      byPod: pods({ namespaces: labels({ ns: 'z' }) }),
      byAddress: networks('0.0.0.0/0', ['10.0.2.2/32']),
    }
    const connects = (policies: Parameters<typeof netpolWorld>[0]) =>
      (['egress', 'ingress'] as const).every(
        (direction) =>
          judge(netpolWorld(policies), packet('10.0.2.2', '10.0.1.1'), direction).verdict === 'allow',
      )
    const into = (name: string, peer: PolicyPeer) =>
      networkPolicy(`x/${name}`, labels({ pod: 'a' }), { ingress: [{ peers: [peer] }] })
    for (const allow of [source.byPod, source.byAddress])
      for (const deny of [outside.byPod, outside.byAddress]) {
        t.ok(connects([into('allow', allow), into('deny', deny)]), 'the union of both allows')
        t.ok(connects([into('z', allow), into('a', deny)]), 'whatever they are called')
        t.notOk(connects([into('deny', deny)]))
        t.notOk(
          connects([into('allow', allow), networkPolicy('y/quiet', labels({ pod: 'b' }), { egress: [] })]),
          'the source itself may not',
        )
        t.ok(
          connects([
            into('allow', allow),
            networkPolicy('y/quiet', labels({ pod: 'b' }), { egress: [] }),
            networkPolicy('y/speak', labels({ pod: 'b' }), {
              egress: [{ peers: [networks('10.0.1.1/32')] }],
            }),
          ]),
          'unless another policy of its own allows it',
        )
      }
  },
)
