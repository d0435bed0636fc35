// Upstream's end-to-end tests of NetworkPolicy ([sig-network] Netpol) about who: isolation, selectors, and blocks of addresses.

import {
  type AddressOf,
  type CasePod,
  EVERYTHING,
  egress,
  expression,
  ingress,
  inX,
  inY,
  is,
  namespaceNamed,
  networkPolicy,
  ns,
  one,
  type PolicyCase,
  podLabel,
} from './cluster.ts'

const denyIngress = networkPolicy('deny-ingress', ingress(EVERYTHING))

/** Of x/a, from these peers alone. */
function toXa(name: string, peers: readonly object[], isAllowed: (from: CasePod) => boolean): PolicyCase {
  return one(
    name,
    [networkPolicy('to-a', ingress(podLabel('a'), { from: peers }))],
    (from, to) => is(to, 'x/a') && !isAllowed(from),
  )
}

/** x/a may speak to these blocks alone. */
function fromXa(blocks: (addressOf: AddressOf) => readonly object[], name = 'from-a') {
  return (addressOf: AddressOf) =>
    networkPolicy(name, egress(podLabel('a'), { to: blocks(addressOf).map((ipBlock) => ({ ipBlock })) }))
}

/** The network of the pod's node without the pod, of each family. */
function networksExcept(key: string) {
  return (addressOf: AddressOf) => {
    const [ipv4, ipv6] = addressOf(key)
    return [
      { cidr: ipv4.replace(/\.\d+$/, '.0/24'), except: [`${ipv4}/32`] },
      { cidr: `${ipv6.replace(/::.*$/, '::')}/64`, except: [`${ipv6}/128`] },
    ]
  }
}

function blocksOf(key: string) {
  return (addressOf: AddressOf) => {
    const [ipv4, ipv6] = addressOf(key)
    return [{ cidr: `${ipv4}/32` }, { cidr: `${ipv6}/128` }]
  }
}

const onNodeOfZb = ({ node }: CasePod) => node === 'node2'

const isolation: readonly PolicyCase[] = [
  one(
    "NP-001, NP-002, NP-003, NP-019 should support a 'default-deny-ingress' policy (TCP, UDP, SCTP)",
    [networkPolicy('deny-ingress', { podSelector: {} })],
    (_, to) => inX(to),
  ),
  one(
    "NP-001, NP-002, NP-003 should support a 'default-deny-all' policy",
    [networkPolicy('deny-all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })],
    (from, to) => inX(from) || inX(to),
  ),
  one(
    'NP-001 should enforce policy to allow ingress traffic for a target',
    [denyIngress, networkPolicy('open-a', ingress(podLabel('a'), {}))],
    (_, to) => inX(to) && to.name !== 'a',
  ),
  {
    name: 'NP-001, NP-003 should support allow-all policy',
    steps: [
      { what: 'without it', objects: () => [denyIngress], isBlocked: (_, to) => inX(to) },
      {
        what: 'with it',
        objects: () => [denyIngress, networkPolicy('allow-all', ingress(EVERYTHING, {}))],
        isBlocked: () => false,
      },
    ],
  },
  one(
    'NP-002, NP-011 should deny egress from pods based on PodSelector',
    [networkPolicy('quiet-a', egress(podLabel('a')))],
    (from) => is(from, 'x/a'),
  ),
  one(
    'NP-002, NP-011 should deny egress from all pods in a namespace',
    [networkPolicy('quiet', egress(EVERYTHING))],
    (from) => inX(from),
  ),
  one(
    'NP-002, NP-011 should enforce policies to check ingress and egress policies can be controlled independently based on PodSelector',
    [
      networkPolicy('to-a', ingress(podLabel('a'), { from: [{ podSelector: podLabel('b') }] })),
      networkPolicy('from-a', egress(podLabel('a'), { to: [{ podSelector: podLabel('c') }] })),
    ],
    (from, to) => (is(to, 'x/a') && !is(from, 'x/b')) || (is(from, 'x/a') && !is(to, 'x/c')),
  ),
  one(
    'NP-001, NP-011 should support denying of egress traffic on the client side (even if the server explicitly allows this traffic)',
    [
      networkPolicy(
        'client',
        egress(podLabel('a'), { to: [{ namespaceSelector: ns('y'), podSelector: podLabel('a') }] }),
      ),
      ...['a', 'b'].map((name) =>
        networkPolicy(
          `y/server-${name}`,
          ingress(podLabel(name), { from: [{ namespaceSelector: ns('x'), podSelector: podLabel('a') }] }),
        ),
      ),
    ],
    (from, to) => (is(from, 'x/a') && !is(to, 'y/a')) || (is(to, 'y/a', 'y/b') && !is(from, 'x/a')),
  ),
]

const selectors: readonly PolicyCase[] = [
  toXa(
    'NP-004 should enforce policy to allow traffic from pods within server namespace based on PodSelector',
    [{ podSelector: podLabel('b') }],
    (from) => is(from, 'x/b'),
  ),
  {
    name: 'NP-004 should enforce policy to allow ingress traffic from pods in all namespaces',
    steps: [
      { what: 'without it', objects: () => [denyIngress], isBlocked: (_, to) => inX(to) },
      {
        what: 'with it',
        objects: () => [
          denyIngress,
          networkPolicy('from-all', ingress(podLabel('a'), { from: [{ namespaceSelector: {} }] })),
        ],
        isBlocked: (_, to) => is(to, 'x/b', 'x/c'),
      },
    ],
  },
  toXa(
    'NP-004 should enforce policy to allow traffic only from a different namespace, based on NamespaceSelector',
    [{ namespaceSelector: ns('y') }],
    inY,
  ),
  toXa(
    'NP-005 should enforce policy based on PodSelector with MatchExpressions',
    [{ podSelector: expression('pod', 'In', 'b') }],
    (from) => is(from, 'x/b'),
  ),
  toXa(
    'NP-005 should enforce policy based on NamespaceSelector with MatchExpressions',
    [{ namespaceSelector: expression('ns', 'In', 'y') }],
    inY,
  ),
  toXa(
    'NP-005 peers by NotIn and DoesNotExist of a key that nobody has',
    [
      { podSelector: expression('absent', 'NotIn', 'b') },
      { namespaceSelector: expression('absent', 'DoesNotExist'), podSelector: podLabel('c') },
    ],
    (from) => inX(from) || from.name === 'c',
  ),
  toXa(
    'NP-004, NP-005 should enforce policy based on PodSelector or NamespaceSelector',
    [{ namespaceSelector: expression('ns', 'NotIn', 'x') }, { podSelector: podLabel('b') }],
    (from) => !is(from, 'x/c'),
  ),
  toXa(
    'NP-004, NP-005 should enforce policy based on PodSelector and NamespaceSelector',
    [{ namespaceSelector: expression('ns', 'NotIn', 'x'), podSelector: podLabel('b') }],
    (from) => is(from, 'y/b', 'z/b'),
  ),
  toXa(
    'NP-004, NP-005 should enforce policy based on Multiple PodSelectors and NamespaceSelectors',
    [
      {
        namespaceSelector: expression('ns', 'NotIn', 'x'),
        podSelector: expression('pod', 'In', 'b', 'c'),
      },
    ],
    (from) => !inX(from) && from.name !== 'a',
  ),
  toXa(
    'NP-004 should enforce policy based on any PodSelectors',
    [{ podSelector: podLabel('b') }, { podSelector: podLabel('c') }],
    (from) => is(from, 'x/b', 'x/c'),
  ),
  toXa(
    'NP-004 should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector (TCP, UDP, SCTP)',
    [{ namespaceSelector: ns('y'), podSelector: podLabel('a') }],
    (from) => is(from, 'y/a'),
  ),
  one(
    'NP-004 should deny ingress from pods on other namespaces',
    [networkPolicy('own', ingress(EVERYTHING, { from: [{ podSelector: {} }] }))],
    (from, to) => inX(to) && !inX(from),
  ),
  one(
    'NP-004 should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector',
    [
      networkPolicy(
        'from-a',
        egress(podLabel('a'), { to: [{ namespaceSelector: ns('y'), podSelector: podLabel('a') }] }),
      ),
    ],
    (from, to) => is(from, 'x/a') && !is(to, 'y/a'),
  ),
  toXa(
    'NP-005 should enforce policy to allow traffic based on NamespaceSelector with MatchLabels using default ns label',
    [{ namespaceSelector: namespaceNamed('y') }],
    inY,
  ),
  toXa(
    'NP-005 should enforce policy based on NamespaceSelector with MatchExpressions using default ns label',
    [{ namespaceSelector: expression('kubernetes.io/metadata.name', 'NotIn', 'x') }],
    (from) => !inX(from),
  ),
]

const blocks: readonly PolicyCase[] = [
  one(
    'NP-006 should allow egress access to server in CIDR block',
    (addressOf) => [fromXa(blocksOf('z/b'))(addressOf)],
    (from, to) => is(from, 'x/a') && !is(to, 'z/b'),
  ),
  one(
    'NP-006 should enforce except clause while egress access to server in CIDR block',
    (addressOf) => [fromXa(networksExcept('z/b'))(addressOf)],
    (from, to) => is(from, 'x/a') && (!onNodeOfZb(to) || is(to, 'z/b')),
  ),
  one(
    'NP-006 should ensure an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed',
    (addressOf) => [fromXa(networksExcept('z/b'))(addressOf), fromXa(blocksOf('z/b'), 'also')(addressOf)],
    (from, to) => is(from, 'x/a') && !onNodeOfZb(to),
  ),
  one(
    'NP-006 denied by pod, allowed by address: the union allows',
    (addressOf) => [
      denyIngress,
      networkPolicy(
        'by-address',
        ingress(podLabel('a'), { from: blocksOf('y/b')(addressOf).map((ipBlock) => ({ ipBlock })) }),
      ),
    ],
    (from, to) => inX(to) && !(is(to, 'x/a') && is(from, 'y/b')),
  ),
  one(
    'NP-019 a block of one family opens that family alone',
    (addressOf) => [
      networkPolicy(
        'ipv4-alone',
        ingress(podLabel('a'), { from: [{ ipBlock: { cidr: `${addressOf('y/b')[0]}/32` } }] }),
      ),
    ],
    (from, to, { family }) => is(to, 'x/a') && !(is(from, 'y/b') && family === 4),
  ),
]

export const NETPOL_PEER_CASES: readonly PolicyCase[] = [...isolation, ...selectors, ...blocks]
