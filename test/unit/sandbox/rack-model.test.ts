// Names, address arithmetic, the address plan and the plan file: all pure.

import t from 'tap'
import { nearMatches } from '../../../src/model/near-matches.ts'
import { hostNames, linkLocalOf, makeAddressPlan, NODES_MAX } from '../../../src/sandbox/address-plan.ts'
import {
  formatAddress,
  formatNetwork,
  networksOverlap,
  nthSubnet,
  parseAddress,
  parseNetwork,
} from '../../../src/sandbox/ip-arithmetic.ts'
import { findLink } from '../../../src/sandbox/links.ts'
import {
  checkRackName,
  INTERFACE_NAME_MAX,
  linkInterface,
  namespaceName,
  ownsNamespace,
  podInterface,
  podNamespaceName,
  RACK_NAME_MAX,
} from '../../../src/sandbox/names.ts'
import { parsePlan, planDocument, planFromDocument } from '../../../src/sandbox/plan-file.ts'
import { enterArgv } from '../../../src/sandbox/process.ts'

t.test('a rack owns the namespaces of its hosts and pods, and no other', (t) => {
  for (const [namespace, isOwn] of [
    ['weir-node1', true],
    ['weir-tor2', true],
    ['weir-pod-default.web-1', true],
    ['weir-mine', false],
    ['weir-node1x', false],
    ['weir2-node1', false],
    ['weir', false],
  ] as const) {
    t.equal(ownsNamespace('weir', namespace), isOwn, `${namespace}: ${isOwn}`)
  }
  t.equal(namespaceName('weir', 'node1'), 'weir-node1')
  t.equal(podNamespaceName('weir', { namespace: 'default', name: 'web-1' }), 'weir-pod-default.web-1')
  t.end()
})

t.test('a name that cannot be is refused with its mend', (t) => {
  t.throws(() => checkRackName('my-rack'), { code: 'bad-name', message: /hold only a-z and 0-9.*Mend:/ })
  t.throws(() => checkRackName('a'.repeat(RACK_NAME_MAX + 1)), { code: 'name-too-long' })
  t.throws(() => linkInterface('a-far-neighbour'), { code: 'name-too-long', message: /allows 15/ })
  t.throws(() => podNamespaceName('weir', { namespace: 'n', name: 'p'.repeat(253) }), {
    code: 'name-too-long',
  })
  t.equal(checkRackName('t4711'), 't4711')
  t.end()
})

t.test("a pod's interface fits the kernel and depends on namespace and name", (t) => {
  const web = podInterface({ namespace: 'default', name: 'web' })
  t.match(web, /^pod[0-9a-f]{12}$/)
  t.equal(web.length, INTERFACE_NAME_MAX)
  t.not(web, podInterface({ namespace: 'other', name: 'web' }))
  t.end()
})

t.test('addresses survive parsing and printing, in canonical form', (t) => {
  for (const [text, canonical] of [
    ['10.255.0.1', '10.255.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['fd00:255::1', 'fd00:255::1'],
    ['FD00:0254:0001:0:0:0:0:0000', 'fd00:254:1::'],
    ['::', '::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ] as const) {
    const value = parseAddress(text)
    t.equal(
      value === undefined ? undefined : formatAddress(text.includes(':') ? 'ipv6' : 'ipv4', value),
      canonical,
    )
  }
  for (const wrong of [
    '10.0.0',
    '10.0.0.256',
    '10.0.0.0x1',
    '1::2::3',
    '1:2:3',
    'fd00:255::g',
    '1:2:3:4:5:6:7:8::',
    '',
  ]) {
    t.equal(parseAddress(wrong), undefined, `'${wrong}' is none`)
  }
  t.end()
})

t.test('networks: host bits are refused, subnets counted, overlaps seen', (t) => {
  t.equal(parseNetwork('10.0.0.1/24'), undefined)
  t.equal(parseNetwork('10.0.0.0/33'), undefined)
  t.equal(parseNetwork('10.0.0.1'), undefined, 'an address is no network')
  const base = parseNetwork('10.244.0.0/16')
  const inner = parseNetwork('10.244.7.0/24')
  if (!base || !inner) throw new Error('both are networks')
  t.equal(formatNetwork(nthSubnet(base, 24, 7)), '10.244.7.0/24')
  t.ok(networksOverlap(base, inner) && networksOverlap(inner, base))
  t.end()
})

t.test('the default plan is the documented one', (t) => {
  const plan = makeAddressPlan(12)
  const node = plan.nodes[11]
  t.match(node, {
    name: 'node12',
    asn: 65112,
    loopback: { ipv4: '10.255.0.12', ipv6: 'fd00:255::12' },
    podCidr: { ipv4: '10.244.12.0/24', ipv6: 'fd00:244:12::/64' },
    uplinks: [
      {
        tor: 'tor1',
        interface: 'to-tor1',
        torAsn: 65001,
        local: { ipv4: '10.254.1.23' },
        peer: { ipv6: 'fd00:254:1::22' },
      },
      {
        tor: 'tor2',
        interface: 'to-tor2',
        torAsn: 65002,
        local: { ipv4: '10.254.2.23' },
        peer: { ipv6: 'fd00:254:2::22' },
      },
    ],
  })
  t.match(plan.clients[1], {
    address: { ipv4: '10.253.2.10', ipv6: 'fd00:253:2::10' },
    gateway: { ipv4: '10.253.2.1', ipv6: 'fd00:253:2::1' },
  })
  t.same(hostNames(makeAddressPlan(1)), ['spine', 'tor1', 'tor2', 'client1', 'client2', 'node1'])
  t.equal(plan.links.length, 2 + 2 + 24)
  t.equal(makeAddressPlan(3, 'shared').nodes[2]?.asn, 65100)
  t.end()
})

t.test('no address and no interface of a host is given twice in the largest rack', (t) => {
  const plan = makeAddressPlan(NODES_MAX)
  const ends = plan.links.flatMap((link) => [link.upper, link.lower])
  for (const family of ['ipv4', 'ipv6'] as const) {
    const addresses = [
      ...ends.map((end) => end.address[family]),
      ...plan.nodes.map((node) => node.loopback[family]),
    ]
    t.equal(new Set(addresses).size, addresses.length, `${family} addresses are distinct`)
  }
  t.equal(new Set(ends.map((end) => `${end.host} ${end.interface}`)).size, ends.length)
  t.ok(ends.every((end) => end.interface.length <= INTERFACE_NAME_MAX))
  t.end()
})

t.test('a plan file overrides what it names and keeps the rest', (t) => {
  const text =
    'nodes: 2\nnodeAsn: shared\npods: { ipv4: 172.16.0.0/12 }\nasns: { tor1: 4200000001 }\nmtu: { fabric: 1500 }\n'
  const plan = parsePlan(text, 'plan.yaml')
  t.equal(plan.nodes.length, 2)
  t.match(plan.nodes[1], { asn: 65100, podCidr: { ipv4: '172.16.2.0/24', ipv6: 'fd00:244:2::/64' } })
  t.equal(plan.tors[0]?.asn, 4_200_000_001)
  t.equal(plan.links.find((link) => link.kind === 'node-tor')?.mtu, 1500)
  t.same(
    planFromDocument(planDocument(plan), 'state'),
    plan,
    'what the state file keeps yields the same plan',
  )
  t.equal(parsePlan(text, 'plan.yaml', { nodes: 5 }).nodes.length, 5, 'the command line wins')
  t.same(parsePlan('', 'empty.yaml'), makeAddressPlan(3))
  t.end()
})

t.test('unnumbered uplinks have MACs of their own, and link-local addresses by them', (t) => {
  t.equal(linkLocalOf('02:00:00:01:02:40'), 'fe80::ff:fe01:240')
  t.equal(linkLocalOf('52:54:00:12:34:56'), 'fe80::5054:ff:fe12:3456')
  const plan = planFromDocument({ nodes: NODES_MAX, unnumbered: true }, 'test')
  const links = plan.links.filter(({ kind }) => kind === 'node-tor')
  t.ok(links.every(({ families }) => families.length === 0))
  const macs = links.flatMap(({ upper, lower }) => [upper.mac, lower.mac])
  t.equal(new Set(macs).size, 4 * NODES_MAX)
  t.ok(plan.links.filter((link) => !links.includes(link)).every(({ upper }) => upper.mac === undefined))
  t.same(planFromDocument(planDocument(plan), 'state'), plan)
  t.end()
})

t.test('a wrong plan names the key and the nearest known one', (t) => {
  for (const [text, message] of [
    ['nodez: 3', /nodez: unknown key \(did you mean 'nodes'\?\)/],
    ['pools: { ipv5: 10.0.0.0/8 }', /pools\.ipv5: unknown key \(did you mean 'ipv4'\?\)/],
    ['pods: { ipv4: 10.244.0.1/16 }', /pods\.ipv4: '10\.244\.0\.1\/16' is not an IPv4 prefix/],
    ['pods: { ipv4: 10.244.1.0/24 }', /at most \/16/],
    ['loopbacks: { ipv6: 10.0.0.0/8 }', /loopbacks\.ipv6: .* is not an IPv6 prefix/],
    ['pods: { ipv4: 10.96.0.0/16 }', /pods\.ipv4 \(10\.96\.0\.0\/16\) overlaps services\.ipv4/],
    ['nodes: 65', /nodes: .*64/],
    ['asns: { tor1: 65002 }', /asns collide/],
    ['asns: { spine: 65101 }', /asns collide/],
    ['mtu: { fabric: 900 }', /mtu\.fabric/],
    ['{ unnumbered: true, singleFamily: { node1: ipv4 } }', /unnumbered and singleFamily do not go together/],
    ['a: [', /not valid YAML/],
    ['just text', /plan\.yaml is refused/],
  ] as const) {
    t.throws(() => parsePlan(text, 'plan.yaml'), { code: 'bad-plan', message }, text)
  }
  t.end()
})

t.test('a link is found by either end, and a misspelt one is guessed', (t) => {
  const plan = makeAddressPlan(2)
  t.equal(findLink(plan, 'node2:to-tor1'), findLink(plan, 'tor1:to-node2'))
  t.throws(() => findLink(plan, 'node2:tor1'), {
    code: 'unknown-link',
    message: /did you mean node2:to-tor1/,
  })
  t.same(nearMatches('sttaus', ['status', 'up', 'down']), ['status'])
  t.same(nearMatches('xyz', ['status', 'up']), [])
  t.end()
})

t.test('entering keeps mounts, joins the cgroup first, and keeps the pid', (t) => {
  t.same(enterArgv({}, ['true']), ['true'])
  t.same(enterArgv({ namespace: 'weir-node1' }, ['ip', 'link']), [
    'nsenter',
    '--net=/run/netns/weir-node1',
    '--',
    'ip',
    'link',
  ])
  const argv = enterArgv({ cgroup: '/cg/x' }, ['echo', 'a b', '$HOME'])
  t.same(argv.slice(-4), ['/cg/x', 'echo', 'a b', '$HOME'], 'arguments are passed, not quoted into a script')
  t.end()
})
