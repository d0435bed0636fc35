// Cilium's kinds at L3/L4: empty and missing lists, entities, deny over allow, enableDefaultDeny, prefixes that are the outside's, shared
// lists of prefixes, Services, nodes, ICMP, named ports, and policies that failed closed.

import t from 'tap'
import type { Family } from '../../../src/model/address.ts'
import {
  type Policy,
  type PolicyDirection,
  type PolicyEntity,
  type PolicyPacket,
  type PolicyPeer,
  type PolicyWorld,
  SERVICE_ACCOUNT_LABEL,
} from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { NODE, netpolWorld, OTHER_NODE, OUTSIDE, twoNodes, withPod, XA, XB, YA } from './netpol-cluster.ts'
import {
  ciliumPolicy,
  clusterNetworkPolicy,
  EVERYTHING,
  entity,
  expression,
  labels,
  namedPort,
  namespaceNamed,
  networkPolicy,
  networks,
  packet,
  pods,
  ports,
  prefix,
} from './rows.ts'

const OUTSIDE_V6 = '2001:db8::7'
const onlyA = labels({ pod: 'a' })

const base: PolicyWorld = netpolWorld([], {
  nodes: twoNodes,
  apiServers: [OTHER_NODE, '198.51.100.6'],
  networkGroups: [
    {
      name: 'office',
      labels: { kind: 'staff' },
      prefixes: [prefix('203.0.113.0/24'), prefix('2001:db8::/32')],
    },
    { name: 'guests', labels: { kind: 'guest' }, prefixes: [prefix('198.51.100.0/25')] },
    { name: 'empty', labels: { kind: 'staff' }, prefixes: [] },
  ],
  services: [
    { key: 'y/web', namespace: 'y', labels: { app: 'web' }, endpoints: ['10.0.2.1', 'fd00::2:1'] },
    { key: 'z/legacy', namespace: 'z', labels: { app: 'legacy' }, endpoints: [OUTSIDE, OTHER_NODE] },
  ],
})

function verdict(
  policies: readonly Policy[],
  asked: PolicyPacket,
  direction: PolicyDirection = 'ingress',
  world = base,
) {
  return judge({ ...world, policies }, asked, direction).verdict
}

const into = (...peers: PolicyPeer[]) => ciliumPolicy('x/in', onlyA, { ingress: [{ peers }] })
const out = (...peers: PolicyPeer[]) => ciliumPolicy('x/out', onlyA, { egress: [{ peers }] })

t.test(
  'an empty list is nobody, an empty selector everybody in scope, a missing list whoever it is',
  async (t) => {
    t.equal(verdict([into()], packet(YA, XA)), 'deny')
    t.equal(verdict([into(pods({}))], packet(YA, XA)), 'allow')
    t.equal(verdict([into(pods({}))], packet(OUTSIDE, XA)), 'deny', 'no pod')
    t.equal(verdict([into(pods({ namespaces: namespaceNamed('x') }))], packet(YA, XA)), 'deny')
    t.equal(verdict([ciliumPolicy('x/any', onlyA, { ingress: [{}] })], packet(OUTSIDE, XA)), 'allow')
    t.equal(verdict([ciliumPolicy('x/none', onlyA, { ingress: [{ ports: [] }] })], packet(YA, XA)), 'deny')
    t.equal(verdict([ciliumPolicy('x/empty', onlyA, { ingress: [] })], packet(YA, XA)), 'deny')
    t.equal(
      verdict([ciliumPolicy('x/other', onlyA, { egress: [] })], packet(YA, XA)),
      'allow',
      'a missing direction is not isolated',
    )
  },
)

t.test('entities', async (t) => {
  const who = {
    'a pod': YA,
    'the own node': NODE,
    'another node': OTHER_NODE,
    'an API server outside': '198.51.100.6',
    outside: OUTSIDE,
    'outside by IPv6': OUTSIDE_V6,
    masqueraded: OTHER_NODE,
  } as const
  const expected: Readonly<Record<PolicyEntity, readonly (keyof typeof who)[]>> = {
    all: Object.keys(who) as (keyof typeof who)[],
    world: ['an API server outside', 'outside', 'outside by IPv6', 'masqueraded'],
    'world-ipv4': ['an API server outside', 'outside', 'masqueraded'],
    'world-ipv6': ['outside by IPv6'],
    cluster: ['a pod', 'the own node', 'another node'],
    host: ['the own node'],
    'remote-node': ['another node'],
    'kube-apiserver': ['another node', 'an API server outside'],
    ingress: [],
    init: [],
    health: [],
    unmanaged: [],
    none: [],
  }
  for (const [name, matching] of Object.entries(expected) as [PolicyEntity, readonly string[]][])
    for (const [whoever, address] of Object.entries(who)) {
      const own = address.includes(':') ? 'fd00::1:1' : XA
      const want = matching.includes(whoever) ? 'allow' : 'deny'
      const isMasqueraded = whoever === 'masqueraded'
      if (!isMasqueraded)
        t.equal(verdict([out(entity(name))], packet(own, address), 'egress'), want, `to ${name}: ${whoever}`)
      if (whoever !== 'the own node')
        t.equal(
          verdict([into(entity(name))], packet(address, own, { isMasqueraded })),
          want,
          `from ${name}: ${whoever}`,
        )
    }
})

t.test('deny beats allow, of one policy and of several, and opens nothing', async (t) => {
  const allow = { action: 'allow', peers: [pods({})] } as const
  const deny = { action: 'deny', peers: [pods({ pods: onlyA })], ports: [ports('tcp', 80)] } as const
  for (const rules of [
    [allow, deny],
    [deny, allow],
  ]) {
    const policy = ciliumPolicy('x/both', EVERYTHING, { ingress: rules })
    t.equal(verdict([policy], packet(YA, XA)), 'deny')
    t.equal(verdict([policy], packet(YA, XA, { port: 81 })), 'allow')
    t.equal(verdict([policy], packet('10.0.2.2', XA)), 'allow')
  }
  const onlyDeny = ciliumPolicy('guard', EVERYTHING, { ingress: [deny], enableDefaultDeny: false })
  t.equal(verdict([onlyDeny], packet(YA, XA, { port: 81 })), 'allow', 'without default deny the rest is open')
  t.equal(
    verdict(
      [{ ...onlyDeny, ingress: { isolates: true, rules: onlyDeny.ingress?.rules ?? [] } }],
      packet(YA, XA, { port: 81 }),
    ),
    'deny',
  )
  t.equal(
    verdict([onlyDeny, networkPolicy('x/open', EVERYTHING, { ingress: [{}] })], packet(YA, XA)),
    'deny',
    'over NetworkPolicy too',
  )
  const admin = clusterNetworkPolicy('admin', 'admin', { ingress: [{ action: 'allow', peers: [pods({})] }] })
  t.equal(verdict([onlyDeny, admin], packet(YA, XA)), 'allow', 'but not over the admin tier')
})

t.test('enableDefaultDeny: false allows and isolates nothing; another policy may', async (t) => {
  const dns = ciliumPolicy('dns', EVERYTHING, {
    egress: [{ ports: [ports('udp', 53)] }],
    enableDefaultDeny: false,
  })
  t.equal(verdict([dns], packet(XA, YA, { protocol: 'udp', port: 53 }), 'egress'), 'allow')
  t.equal(verdict([dns], packet(XA, YA), 'egress'), 'allow', 'nobody isolates')
  const isolate = networkPolicy('x/isolate', EVERYTHING, { egress: [] })
  t.equal(verdict([dns, isolate], packet(XA, YA), 'egress'), 'deny')
  t.equal(
    verdict([dns, isolate], packet(XA, YA, { protocol: 'udp', port: 53 }), 'egress'),
    'allow',
    'the union counts',
  )
  const baseline = clusterNetworkPolicy('base', 'baseline', { egress: [{ action: 'deny' }] })
  t.equal(
    verdict([dns, baseline], packet(XA, YA), 'egress'),
    'deny',
    'what it does not match goes on to the baseline',
  )
  t.equal(verdict([dns, baseline], packet(XA, YA, { protocol: 'udp', port: 53 }), 'egress'), 'allow')
})

t.test('prefixes are the outside: neither pods nor nodes, but masqueraded packets', async (t) => {
  const everything = networks('0.0.0.0/0', [], 'outside')
  for (const [other, expected] of [
    [YA, 'deny'],
    [OTHER_NODE, 'deny'],
    [OUTSIDE, 'allow'],
    ['198.51.100.6', 'allow'],
  ] as const) {
    t.equal(verdict([into(everything)], packet(other, XA)), expected, other)
    t.equal(verdict([out(everything)], packet(XA, other), 'egress'), expected, other)
  }
  t.equal(verdict([into(everything)], packet(OTHER_NODE, XA, { isMasqueraded: true })), 'allow')
  t.equal(
    verdict([into(networks('203.0.113.0/24', ['203.0.113.4/30'], 'outside'))], packet(OUTSIDE, XA)),
    'deny',
    'excepted',
  )
})

t.test('shared lists of prefixes, by name and by label', async (t) => {
  const group = (
    groups: { name: string } | { labels: ReturnType<typeof labels> },
    except: readonly string[] = [],
    covers: 'outside' | 'everything' = 'outside',
  ) => into({ kind: 'network-groups', groups, except: except.map(prefix), covers })
  const staff = { labels: labels({ kind: 'staff' }) }
  t.equal(verdict([group({ name: 'office' })], packet(OUTSIDE, XA)), 'allow')
  t.equal(verdict([group({ name: 'office' })], packet(OUTSIDE_V6, 'fd00::1:1')), 'allow')
  t.equal(verdict([group({ name: 'office' }, ['203.0.113.0/28'])], packet(OUTSIDE, XA)), 'deny')
  t.equal(verdict([group({ name: 'guests' })], packet(OUTSIDE, XA)), 'deny')
  t.equal(verdict([group({ name: 'nowhere' })], packet(OUTSIDE, XA)), 'deny')
  t.equal(verdict([group({ name: 'empty' })], packet(OUTSIDE, XA)), 'deny')
  t.equal(verdict([group(staff)], packet(OUTSIDE, XA)), 'allow')
  t.equal(verdict([group({ labels: expression('kind', 'In', 'guest') })], packet(OUTSIDE, XA)), 'deny')
  const pod = withPod(base, 'y/a', { addresses: [OUTSIDE] })
  t.equal(
    verdict([group({ name: 'office' })], packet(OUTSIDE, XA), 'ingress', pod),
    'deny',
    'a pod of such an address is no outsider',
  )
  t.equal(
    verdict([group({ name: 'office' }, [], 'everything')], packet(OUTSIDE, XA), 'ingress', pod),
    'allow',
  )
})

t.test('a deny of lists that cannot be read is of everybody outside', async (t) => {
  const deny = (
    groups: Extract<PolicyPeer, { kind: 'network-groups' }>['groups'],
    except: readonly string[] = [],
  ) => {
    const peer: PolicyPeer = {
      ...{ kind: 'network-groups', covers: 'outside', unread: 'everywhere' },
      ...{ groups, except: except.map(prefix) },
    }
    const { ingress, ...policy } = into(peer)
    const rules = (ingress?.rules ?? []).map((rule) => ({ ...rule, action: 'deny' as const }))
    return { ...policy, ingress: { isolates: false, rules } }
  }
  const withGroups = (networkGroups: typeof base.networkGroups) => ({ ...base, networkGroups })
  const of = (policy: ReturnType<typeof deny>, source: string, world = base) =>
    verdict([policy], packet(source, source.includes(':') ? 'fd00::1:1' : XA), 'ingress', world)
  for (const source of [OUTSIDE, OUTSIDE_V6, '198.51.100.6']) {
    t.equal(of(deny({ name: 'nowhere' }), source), 'deny', source)
    t.equal(of(deny({ name: 'empty' }), source), 'allow', 'an empty list is one')
  }
  t.equal(of(deny({ name: 'nowhere' }), YA), 'allow', 'a pod is not outside')
  t.equal(of(deny({ name: 'nowhere' }, ['203.0.113.0/28']), OUTSIDE), 'allow', 'excepted all the same')
  t.equal(of(deny({ labels: labels({ kind: 'none' }) }), OUTSIDE), 'allow', 'labels may select none')
  t.equal(of(deny({ labels: EVERYTHING }), OUTSIDE, withGroups([])), 'deny', 'there is no list at all')
  const broken = [{ name: 'g', labels: { kind: 'x' }, prefixes: [], isBroken: true as const }]
  t.equal(of(deny({ name: 'g' }), OUTSIDE, withGroups(broken)), 'deny')
  t.equal(of(deny({ labels: EVERYTHING }), OUTSIDE, withGroups(broken)), 'deny')
  t.equal(of(deny({ labels: labels({ kind: 'y' }) }), OUTSIDE, withGroups(broken)), 'allow', 'not selected')
})

t.test('the endpoints of Services, by name and by label', async (t) => {
  const to = (services: Extract<PolicyPeer, { kind: 'services' }>['services']) => [
    out({ kind: 'services', services }),
  ]
  const byLabel = (namespaces: ReturnType<typeof labels>, selected: ReturnType<typeof labels>) =>
    to({ namespaces, labels: selected })
  t.equal(verdict(to({ key: 'y/web' }), packet(XA, YA), 'egress'), 'allow')
  t.equal(verdict(to({ key: 'y/web' }), packet('fd00::1:1', 'fd00::2:1'), 'egress'), 'allow')
  t.equal(verdict(to({ key: 'y/web' }), packet(XA, '10.0.2.2'), 'egress'), 'deny')
  t.equal(verdict(to({ key: 'z/legacy' }), packet(XA, OUTSIDE), 'egress'), 'allow', 'endpoints outside')
  t.equal(verdict(to({ key: 'z/legacy' }), packet(XA, OTHER_NODE), 'egress'), 'allow', 'and on a node')
  t.equal(verdict(byLabel(EVERYTHING, labels({ app: 'web' })), packet(XA, YA), 'egress'), 'allow')
  t.equal(verdict(byLabel(namespaceNamed('z'), labels({ app: 'web' })), packet(XA, YA), 'egress'), 'deny')
  t.equal(
    verdict(
      byLabel(namespaceNamed('y'), labels({ 'io.kubernetes.service.name': 'web' })),
      packet(XA, YA),
      'egress',
    ),
    'allow',
  )
  t.equal(
    verdict(
      [into({ kind: 'services', services: { key: 'z/legacy' } })],
      packet(OTHER_NODE, XA, { isMasqueraded: true }),
    ),
    'deny',
  )
})

t.test('nodes by label, the own one among them', async (t) => {
  const to = (role: string) => [out({ kind: 'nodes', labels: labels({ role }) })]
  t.equal(verdict(to('worker'), packet(XA, OTHER_NODE), 'egress'), 'allow')
  t.equal(verdict(to('worker'), packet(XA, NODE), 'egress'), 'deny')
  t.equal(verdict(to('control'), packet(XA, NODE), 'egress'), 'allow')
  const from = [into({ kind: 'nodes', labels: EVERYTHING })]
  t.equal(verdict(from, packet(OTHER_NODE, XA)), 'allow')
  t.equal(verdict(from, packet(OTHER_NODE, XA, { isMasqueraded: true })), 'deny')
  t.equal(verdict(from, packet(OUTSIDE, XA)), 'deny')
})

t.test('ICMP by type and family, not by port', async (t) => {
  const icmp = (family: Family, type: number) => [
    ciliumPolicy('x/icmp', onlyA, { ingress: [{ ports: [{ kind: 'icmp', family, type }] }] }),
  ]
  const echo = (type: number, isV6 = false) =>
    packet(isV6 ? 'fd00::2:1' : YA, isV6 ? 'fd00::1:1' : XA, { protocol: 'icmp', port: type })
  t.equal(verdict(icmp('ipv4', 8), echo(8)), 'allow')
  t.equal(verdict(icmp('ipv4', 8), echo(7)), 'deny')
  t.equal(verdict(icmp('ipv4', 8), echo(9)), 'deny')
  t.equal(verdict(icmp('ipv4', 0), echo(0)), 'allow')
  t.equal(verdict(icmp('ipv6', 128), echo(128, true)), 'allow')
  t.equal(verdict(icmp('ipv4', 128), echo(128, true)), 'deny')
  t.equal(verdict(icmp('ipv6', 8), echo(8)), 'deny')
  t.equal(verdict(icmp('ipv4', 8), packet(YA, XA, { port: 8 })), 'deny', 'no TCP port')
  t.equal(verdict([ciliumPolicy('x/tcp', onlyA, { ingress: [{ ports: [ports('tcp')] }] })], echo(8)), 'deny')
  t.equal(verdict([ciliumPolicy('x/any', onlyA, { ingress: [{}] })], echo(8)), 'allow')
})

t.test('named ports, also of any protocol', async (t) => {
  const web = withPod(base, 'y/a', {
    namedPorts: [
      { name: 'dns', protocol: 'udp', port: 53 },
      { name: 'dns', protocol: 'tcp', port: 5353 },
    ],
  })
  const to = (protocol?: 'tcp' | 'udp') => [
    ciliumPolicy('x/dns', onlyA, { egress: [{ ports: [namedPort('dns', protocol)] }] }),
  ]
  const ask = (policies: readonly Policy[], protocol: 'tcp' | 'udp', port: number) =>
    verdict(policies, packet(XA, YA, { protocol, port }), 'egress', web)
  t.equal(ask(to(), 'udp', 53), 'allow')
  t.equal(ask(to(), 'tcp', 5353), 'allow')
  t.equal(ask(to(), 'tcp', 53), 'deny')
  t.equal(ask(to('udp'), 'tcp', 5353), 'deny')
  t.equal(ask(to('udp'), 'udp', 53), 'allow')
})

t.test('the service account is a label of its pod, whatever the pod says of itself', async (t) => {
  const robot = withPod(base, 'y/a', {
    serviceAccount: 'robot',
    labels: { pod: 'a', [SERVICE_ACCOUNT_LABEL]: 'admin' },
  })
  const from = (account: string) => [into(pods({ pods: labels({ [SERVICE_ACCOUNT_LABEL]: account }) }))]
  t.equal(verdict(from('robot'), packet(YA, XA), 'ingress', robot), 'allow')
  t.equal(verdict(from('admin'), packet(YA, XA), 'ingress', robot), 'deny')
  const subject = ciliumPolicy('x/robots', labels({ [SERVICE_ACCOUNT_LABEL]: 'robot' }), { ingress: [] })
  t.equal(verdict([subject], packet(YA, XA)), 'allow')
  t.equal(
    verdict([subject], packet(YA, XA), 'ingress', withPod(base, 'x/a', { serviceAccount: 'robot' })),
    'deny',
  )
})

t.test('scope: a namespaced policy selects in its namespace, a clusterwide one everywhere', async (t) => {
  t.equal(verdict([ciliumPolicy('x/deny', EVERYTHING, { ingress: [] })], packet(XA, YA)), 'allow')
  t.equal(verdict([ciliumPolicy('deny', EVERYTHING, { ingress: [] })], packet(XA, YA)), 'deny')
  const some = { kind: 'pods', namespaces: expression('ns', 'In', 'y', 'z'), pods: EVERYTHING } as const
  t.equal(verdict([ciliumPolicy('deny', some, { ingress: [] })], packet(XA, YA)), 'deny')
  t.equal(verdict([ciliumPolicy('deny', some, { ingress: [] })], packet(YA, XA)), 'allow')
})

t.test('a policy that failed closed isolates; what others allow stays', async (t) => {
  const fault = { path: 'spec.ingress[0].fromFQDNs', text: 'is not supported', mend: 'Remove it' }
  const failed = ciliumPolicy('x/failed', onlyA, { ingress: [] }, { faults: [fault] })
  t.equal(verdict([failed], packet(YA, XA)), 'deny')
  t.equal(verdict([failed], packet(XA, YA), 'egress'), 'allow', 'in the directions it names')
  t.equal(verdict([failed], packet(YA, XB)), 'allow')
  t.equal(verdict([failed, into(pods({}))], packet(YA, XA)), 'allow')
})

t.test('the parts of one object are policies of their own', async (t) => {
  const parts = [0, 1].map((part) => ({
    ...ciliumPolicy('x/parts', onlyA, { ingress: [{ ports: [ports('tcp', 80 + part)] }] }),
    part,
  }))
  const judged = judge({ ...base, policies: parts }, packet(YA, XA, { port: 81 }), 'ingress')
  t.match(judged, { verdict: 'allow', cause: { policy: { key: 'x/parts', part: 1 } } })
  t.match(judge({ ...base, policies: parts }, packet(YA, XA, { port: 82 }), 'ingress').cause, {
    kind: 'isolation',
    policies: [{ part: 0 }, { part: 1 }],
  })
})
