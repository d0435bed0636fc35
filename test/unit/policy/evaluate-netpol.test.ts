// The upstream end-to-end tests of NetworkPolicy ([sig-network] Netpol) by name, as truth tables over all pairs of pods.

import t from 'tap'
import type { Policy, PolicyPod } from '../../../src/model/policy.ts'
import { blockedPairs, netpolWorld, type Probe, pairsWhere } from './netpol-cluster.ts'
import {
  EVERYTHING,
  expression,
  labels,
  namedPort,
  namespaceNamed,
  networkPolicy,
  networks,
  pods,
  ports,
} from './rows.ts'

const inX = (pod: PolicyPod) => pod.namespace === 'x'
const is = (pod: PolicyPod, ...keys: string[]) => keys.includes(pod.key)
const named = (pod: PolicyPod, ...names: string[]) => names.includes(pod.labels['pod'] ?? '')
const podLabel = (name: string) => labels({ pod: name })
const ns = (name: string) => labels({ ns: name })
const inNamespaceX = namespaceNamed('x')
/** Of `x/a`, from the peers. */
const toXa = (...peers: ReturnType<typeof pods>[]) =>
  networkPolicy('x/to-a', podLabel('a'), { ingress: [{ peers }] })
const fromXa = (...peers: (ReturnType<typeof pods> | ReturnType<typeof networks>)[]) =>
  networkPolicy('x/from-a', podLabel('a'), { egress: [{ peers }] })
const denyIngress = networkPolicy('x/deny-ingress', EVERYTHING, { ingress: [] })
const denyAll = networkPolicy('x/deny-all', EVERYTHING, { ingress: [], egress: [] })

interface Case {
  readonly name: string
  readonly policies: readonly Policy[]
  /** Probe and whom it may not connect. */
  readonly tables: readonly [probe: Probe, isBlocked: (from: PolicyPod, to: PolicyPod) => boolean][]
}

const open = () => false
const intoX = (from: PolicyPod, to: PolicyPod) => !is(from, to.key) && inX(to)

const cases: readonly Case[] = [
  {
    name: "a 'default-deny-ingress' policy",
    policies: [denyIngress],
    tables: [
      [{}, (_, to) => inX(to)],
      [{ protocol: 'udp' }, (_, to) => inX(to)],
      [{ protocol: 'sctp', port: 81 }, (_, to) => inX(to)],
    ],
  },
  {
    name: "a 'default-deny-all' policy",
    policies: [denyAll],
    tables: [[{}, (from, to) => inX(from) || inX(to)]],
  },
  {
    name: 'traffic from pods within server namespace based on PodSelector',
    policies: [toXa(pods({ namespaces: inNamespaceX, pods: podLabel('b') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && !is(from, 'x/b')]],
  },
  {
    name: 'ingress traffic for a target',
    policies: [denyIngress, networkPolicy('x/open-a', podLabel('a'), { ingress: [{}] })],
    tables: [[{}, (_, to) => inX(to) && !named(to, 'a')]],
  },
  {
    name: 'ingress traffic from pods in all namespaces',
    policies: [toXa(pods({}))],
    tables: [[{}, open]],
  },
  {
    name: 'traffic only from a different namespace, based on NamespaceSelector',
    policies: [toXa(pods({ namespaces: ns('y') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && from.namespace !== 'y']],
  },
  {
    name: 'traffic based on PodSelector with MatchExpressions',
    policies: [toXa(pods({ namespaces: inNamespaceX, pods: expression('pod', 'In', 'b') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && !is(from, 'x/b')]],
  },
  {
    name: 'traffic based on NamespaceSelector with MatchExpressions',
    policies: [toXa(pods({ namespaces: expression('ns', 'In', 'y') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && from.namespace !== 'y']],
  },
  {
    name: 'traffic based on PodSelector or NamespaceSelector',
    policies: [
      toXa(
        pods({ namespaces: expression('ns', 'NotIn', 'x') }),
        pods({ namespaces: inNamespaceX, pods: podLabel('b') }),
      ),
    ],
    tables: [[{}, (from, to) => is(to, 'x/a') && is(from, 'x/c')]],
  },
  {
    name: 'traffic based on PodSelector and NamespaceSelector',
    policies: [toXa(pods({ namespaces: expression('ns', 'NotIn', 'x'), pods: podLabel('b') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && !is(from, 'y/b', 'z/b')]],
  },
  {
    name: 'traffic based on Multiple PodSelectors and NamespaceSelectors',
    policies: [
      toXa(pods({ namespaces: expression('ns', 'NotIn', 'x'), pods: expression('pod', 'In', 'b', 'c') })),
    ],
    tables: [[{}, (from, to) => is(to, 'x/a') && (inX(from) || named(from, 'a'))]],
  },
  {
    name: 'traffic based on any PodSelectors',
    policies: [
      toXa(
        pods({ namespaces: inNamespaceX, pods: podLabel('b') }),
        pods({ namespaces: inNamespaceX, pods: podLabel('c') }),
      ),
    ],
    tables: [[{}, (from, to) => is(to, 'x/a') && !is(from, 'x/b', 'x/c')]],
  },
  {
    name: 'traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector',
    policies: [toXa(pods({ namespaces: ns('y'), pods: podLabel('a') }))],
    tables: [
      [{}, (from, to) => is(to, 'x/a') && !is(from, 'y/a')],
      [{ protocol: 'udp' }, (from, to) => is(to, 'x/a') && !is(from, 'y/a')],
      [{ protocol: 'sctp' }, (from, to) => is(to, 'x/a') && !is(from, 'y/a')],
    ],
  },
  {
    name: 'traffic based on Ports',
    policies: [
      networkPolicy('x/port', podLabel('a'), {
        ingress: [{ peers: [pods({ namespaces: ns('y') })], ports: [ports('tcp', 81)] }],
      }),
    ],
    tables: [
      [{ port: 81 }, (from, to) => is(to, 'x/a') && from.namespace !== 'y'],
      [{ port: 80 }, (_, to) => is(to, 'x/a')],
      [{ port: 81, protocol: 'udp' }, (_, to) => is(to, 'x/a')],
    ],
  },
  {
    name: 'multiple, stacked policies with overlapping podSelectors',
    policies: [
      networkPolicy('x/81', podLabel('a'), {
        ingress: [{ peers: [pods({ namespaces: ns('y') })], ports: [ports('tcp', 81)] }],
      }),
      networkPolicy('x/80', EVERYTHING, {
        ingress: [{ peers: [pods({ namespaces: ns('y') })], ports: [ports('tcp', 80)] }],
      }),
    ],
    tables: [
      [{ port: 80 }, (from, to) => inX(to) && from.namespace !== 'y'],
      [{ port: 81 }, (from, to) => inX(to) && (!named(to, 'a') || from.namespace !== 'y')],
    ],
  },
  {
    name: 'allow-all policy',
    policies: [networkPolicy('x/allow-all', EVERYTHING, { ingress: [{}] })],
    tables: [
      [{}, open],
      [{ port: 81 }, open],
    ],
  },
  {
    name: 'ingress access on one named port',
    policies: [
      networkPolicy('x/named', EVERYTHING, { ingress: [{ ports: [namedPort('serve-81-tcp', 'tcp')] }] }),
    ],
    tables: [
      [{ port: 81 }, open],
      [{ port: 80 }, (_, to) => inX(to)],
    ],
  },
  {
    name: 'ingress access from namespace on one named port',
    policies: [
      networkPolicy('x/named', EVERYTHING, {
        ingress: [{ peers: [pods({ namespaces: ns('y') })], ports: [namedPort('serve-80-tcp', 'tcp')] }],
      }),
    ],
    tables: [
      [{ port: 80 }, (from, to) => inX(to) && from.namespace !== 'y'],
      [{ port: 81 }, (_, to) => inX(to)],
    ],
  },
  {
    name: 'egress access on one named port',
    policies: [
      networkPolicy('x/named', EVERYTHING, { egress: [{ ports: [namedPort('serve-80-tcp', 'tcp')] }] }),
    ],
    tables: [
      [{ port: 80 }, open],
      [{ port: 81 }, (from) => inX(from)],
    ],
  },
  {
    name: 'deny ingress from pods on other namespaces',
    policies: [
      networkPolicy('x/own', EVERYTHING, { ingress: [{ peers: [pods({ namespaces: inNamespaceX })] }] }),
    ],
    tables: [[{}, (from, to) => inX(to) && !inX(from)]],
  },
  {
    name: 'deny egress from pods based on PodSelector',
    policies: [networkPolicy('x/quiet-a', podLabel('a'), { egress: [] })],
    tables: [[{}, (from) => is(from, 'x/a')]],
  },
  {
    name: 'deny egress from all pods in a namespace',
    policies: [networkPolicy('x/quiet', EVERYTHING, { egress: [] })],
    tables: [[{}, (from) => inX(from)]],
  },
  {
    name: 'work with Ingress, Egress specified together',
    policies: [
      networkPolicy('x/both', podLabel('a'), {
        ingress: [{ peers: [pods({ namespaces: inNamespaceX, pods: podLabel('b') })] }],
        egress: [{ ports: [ports('tcp', 80)] }],
      }),
    ],
    tables: [
      [{ port: 80 }, (from, to) => is(to, 'x/a') && !is(from, 'x/b')],
      [{ port: 81 }, (from, to) => is(from, 'x/a') || (is(to, 'x/a') && !is(from, 'x/b'))],
    ],
  },
  {
    name: 'denying of egress traffic on the client side (even if the server explicitly allows this traffic)',
    policies: [
      networkPolicy('x/client', podLabel('a'), {
        egress: [{ peers: [pods({ namespaces: ns('y'), pods: podLabel('a') })] }],
      }),
      networkPolicy('y/server-a', podLabel('a'), {
        ingress: [{ peers: [pods({ namespaces: ns('x'), pods: podLabel('a') })] }],
      }),
      networkPolicy('y/server-b', podLabel('b'), {
        ingress: [{ peers: [pods({ namespaces: ns('x'), pods: podLabel('a') })] }],
      }),
    ],
    tables: [
      [{}, (from, to) => (is(from, 'x/a') && !is(to, 'y/a')) || (is(to, 'y/a', 'y/b') && !is(from, 'x/a'))],
    ],
  },
  {
    name: 'egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector',
    policies: [fromXa(pods({ namespaces: ns('y'), pods: podLabel('a') }))],
    tables: [[{}, (from, to) => is(from, 'x/a') && !is(to, 'y/a')]],
  },
  {
    name: 'ingress policy allowing any port traffic to a server on a specific protocol',
    policies: [networkPolicy('x/tcp', podLabel('a'), { ingress: [{ ports: [ports('tcp')] }] })],
    tables: [
      [{ port: 80 }, open],
      [{ port: 81 }, open],
      [{ port: 80, protocol: 'udp' }, (_, to) => is(to, 'x/a')],
    ],
  },
  {
    name: 'multiple ingress policies with ingress allow-all policy taking precedence',
    policies: [
      networkPolicy('x/80', EVERYTHING, { ingress: [{ ports: [ports('tcp', 80)] }] }),
      networkPolicy('x/allow-all', EVERYTHING, { ingress: [{}] }),
    ],
    tables: [
      [{ port: 80 }, open],
      [{ port: 81 }, open],
    ],
  },
  {
    name: 'multiple egress policies with egress allow-all policy taking precedence',
    policies: [
      networkPolicy('x/80', EVERYTHING, { egress: [{ ports: [ports('tcp', 80)] }] }),
      networkPolicy('x/allow-all', EVERYTHING, { egress: [{}] }),
    ],
    tables: [
      [{ port: 80 }, open],
      [{ port: 81 }, open],
    ],
  },
  {
    name: 'egress access to server in CIDR block',
    policies: [fromXa(networks('10.0.3.2/32'), networks('fd00::3:2/128'))],
    tables: [[{}, (from, to) => is(from, 'x/a') && !is(to, 'z/b')]],
  },
  {
    name: 'except clause while egress access to server in CIDR block',
    policies: [
      fromXa(networks('10.0.3.0/24', ['10.0.3.2/32']), networks('fd00::3:0/112', ['fd00::3:2/128'])),
    ],
    tables: [[{}, (from, to) => is(from, 'x/a') && (to.namespace !== 'z' || named(to, 'b'))]],
  },
  {
    name: 'an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed',
    policies: [
      fromXa(networks('10.0.3.0/24', ['10.0.3.2/32']), networks('fd00::3:0/112', ['fd00::3:2/128'])),
      networkPolicy('x/also', podLabel('a'), {
        egress: [{ peers: [networks('10.0.3.2/32'), networks('fd00::3:2/128')] }],
      }),
    ],
    tables: [[{}, (from, to) => is(from, 'x/a') && to.namespace !== 'z']],
  },
  {
    name: 'ingress and egress policies can be controlled independently based on PodSelector',
    policies: [
      toXa(pods({ namespaces: inNamespaceX, pods: podLabel('b') })),
      fromXa(pods({ namespaces: inNamespaceX, pods: podLabel('c') })),
    ],
    tables: [[{}, (from, to) => (is(to, 'x/a') && !is(from, 'x/b')) || (is(from, 'x/a') && !is(to, 'x/c'))]],
  },
  {
    name: "not mistakenly treat 'protocol: SCTP' as 'protocol: TCP'",
    policies: [networkPolicy('x/sctp', EVERYTHING, { ingress: [{ ports: [ports('sctp', 81)] }] })],
    tables: [
      [{ port: 81 }, intoX],
      [{ port: 80 }, intoX],
      [{ port: 81, protocol: 'sctp' }, open],
    ],
  },
  {
    name: 'properly isolate pods that are selected by a policy allowing SCTP',
    policies: [networkPolicy('x/sctp', podLabel('a'), { ingress: [{ ports: [ports('sctp', 80)] }] })],
    tables: [
      [{ port: 80 }, (_, to) => is(to, 'x/a')],
      [{ port: 80, protocol: 'udp' }, (_, to) => is(to, 'x/a')],
    ],
  },
  {
    name: 'not allow access by TCP when a policy specifies only UDP',
    policies: [networkPolicy('x/udp', podLabel('a'), { ingress: [{ ports: [ports('udp', 81)] }] })],
    tables: [
      [{ port: 81 }, (_, to) => is(to, 'x/a')],
      [{ port: 81, protocol: 'udp' }, open],
    ],
  },
  {
    name: 'traffic based on NamespaceSelector with MatchLabels using default ns label',
    policies: [toXa(pods({ namespaces: namespaceNamed('y') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && from.namespace !== 'y']],
  },
  {
    name: 'traffic based on NamespaceSelector with MatchExpressions using default ns label',
    policies: [toXa(pods({ namespaces: expression('kubernetes.io/metadata.name', 'NotIn', 'x') }))],
    tables: [[{}, (from, to) => is(to, 'x/a') && inX(from)]],
  },
]

for (const { name, policies, tables } of cases)
  t.test(name, async (t) => {
    const base = netpolWorld(policies)
    for (const [probe, isBlocked] of tables)
      t.same(blockedPairs(base, probe), pairsWhere(base, isBlocked), JSON.stringify(probe))
  })
