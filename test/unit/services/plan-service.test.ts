// The service planner: which frontends, which tables, which backends, for every policy and option.

import t from 'tap'
import { address, type Prefix } from '../../../src/model/address.ts'
import type { Endpoint, EndpointSlice, Protocol, Service } from '../../../src/model/service.ts'
import type { DesiredPort } from '../../../src/services/desired.ts'
import { type PlanContext, planService } from '../../../src/services/plan-service.ts'
import { endpointRow, serviceRow, sliceRow } from '../model/rows.ts'

const LEAVING = { ready: false, serving: true, terminating: true }
const BROKEN = { ready: false, serving: false }

const CONTEXT: PlanContext = {
  nodeName: 'a',
  zone: () => 'east',
  forwarding: 'snat',
  isVip: (candidate) => candidate.startsWith('203.0.113.'),
  isNode: (name) => name !== 'nowhere',
  nodeOf: (candidate) => (candidate.startsWith('10.244.7.') ? 'seven' : undefined),
  mayBeExternal: (candidate) => candidate !== '10.255.0.9',
  nodeAddresses: () => [address('10.255.0.1'), address('fd00:255::1')],
  nodePortAddresses: () => [address('10.255.0.1'), address('fd00:255::1'), address('127.0.0.1')],
}

const VIP = address('203.0.113.7')

const slice = (name: string, endpoints: Endpoint[], overrides: Partial<EndpointSlice> = {}) =>
  sliceRow(name, { endpoints, ...overrides })

const endpoint = (text: string, nodeName: string, more: Partial<Endpoint> = {}): Endpoint =>
  endpointRow(text, { nodeName, ...more })

/** The ports somebody defined. */
const plan = (
  service: Partial<Service>,
  slices: readonly EndpointSlice[],
  context: Partial<PlanContext> = {},
): DesiredPort[] =>
  planService(serviceRow(service), slices, { ...CONTEXT, ...context }).filter(
    (port) => !port.id.includes('undefined-ports'),
  )

const frontendsOf = (port: DesiredPort | undefined): string[] =>
  (port?.frontends ?? []).map(
    ({ address: ip, port: number, protocol, external, kind }) =>
      `${kind} ${ip} ${number}/${protocol}${external ? ' external' : ''}`,
  )

const ipsOf = (port: DesiredPort | undefined, set: readonly number[] | undefined): (string | undefined)[] =>
  (set ?? []).map((index) => port?.backends[index]?.address)

const TWO = [slice('web-1', [endpoint('10.244.1.2', 'a'), endpoint('10.244.2.2', 'b')])]

t.test('SVC-001 a ClusterIP is served from a list of all ready endpoints', async (t) => {
  const [port, ...others] = plan({}, TWO)
  t.equal(others.length, 0)
  t.match(port, {
    id: 'shop/web 80/TCP ipv4',
    portName: 'shop/web 80/TCP',
    balancing: 'list',
    isRandom: false,
    anyEndpoint: true,
    cluster: [0, 1],
    local: [0],
  })
  t.strictSame(frontendsOf(port), ['cluster-ip 10.96.0.10 80/TCP'])
})

t.test('EXT-001 node ports on every configured node address, in each family', async (t) => {
  const ports = [
    { name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 },
    { name: 'dns', protocol: 'UDP', port: 53, nodePort: 30_053 },
    { name: 'sctp', protocol: 'SCTP', port: 90, nodePort: 30_090 },
  ] as const
  const planned = plan({ clusterIps: [address('10.96.0.10'), address('fd00:96::a')], ports }, TWO)
  t.strictSame(planned.map(frontendsOf), [
    [
      'cluster-ip 10.96.0.10 80/TCP',
      'node-port 10.255.0.1 30080/TCP external',
      'loopback 127.0.0.1 30080/TCP external',
    ],
    [
      'cluster-ip 10.96.0.10 53/UDP',
      'node-port 10.255.0.1 30053/UDP external',
      'loopback 127.0.0.1 30053/UDP external',
    ],
    [
      'cluster-ip 10.96.0.10 90/SCTP',
      'node-port 10.255.0.1 30090/SCTP external',
      'loopback 127.0.0.1 30090/SCTP external',
    ],
    ['cluster-ip fd00:96::a 80/TCP', 'node-port fd00:255::1 30080/TCP external'],
    ['cluster-ip fd00:96::a 53/UDP', 'node-port fd00:255::1 30053/UDP external'],
    ['cluster-ip fd00:96::a 90/SCTP', 'node-port fd00:255::1 30090/SCTP external'],
  ])
  t.equal(planned[0]?.balancing, 'list', 'no router spreads a node’s own address')
})

t.test('EXT-009 no node port, no frontend on the node', async (t) => {
  t.strictSame(frontendsOf(plan({ loadBalancerIps: [VIP] }, TWO)[0]), [
    'cluster-ip 10.96.0.10 80/TCP',
    'load-balancer 203.0.113.7 80/TCP external',
  ])
})

t.test('EXT-004 load-balancer addresses make the port a Maglev table', async (t) => {
  const [port] = plan({ loadBalancerIps: [VIP, address('203.0.113.8')] }, TWO)
  t.equal(port?.balancing, 'maglev')
  t.equal(port?.frontends.filter(({ kind }) => kind === 'load-balancer').length, 2)
})

t.test('EXT-006 externalIPs are served where the operator lets them be', async (t) => {
  const externalIps = [address('10.255.0.9'), address('198.51.100.9'), address('10.96.0.10')]
  t.strictSame(frontendsOf(plan({ externalIps }, [])[0]), [
    'cluster-ip 10.96.0.10 80/TCP',
    'external-ip 198.51.100.9 80/TCP external',
  ])
  t.strictSame(frontendsOf(plan({ externalIps }, [], { mayBeExternal: () => false })[0]), [
    'cluster-ip 10.96.0.10 80/TCP',
  ])
})

t.test('SVC-024 a family without a ClusterIP is not served, whatever else names it', async (t) => {
  const service = {
    externalIps: [address('2001:db8::9')],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 }] as const,
  }
  const planned = planService(serviceRow(service), TWO, CONTEXT)
  t.ok(planned.every((port) => port.family === 'ipv4'))
})

t.test('families are planned apart, from slices of their own', async (t) => {
  const planned = plan({ clusterIps: [address('10.96.0.10'), address('fd00:96::a')] }, [
    slice('web-4', [endpoint('10.244.1.2', 'a')]),
    slice('web-6', [endpoint('fd00:244:1::2', 'a')], { family: 'ipv6' }),
  ])
  t.strictSame(
    planned.map((port) => [port.family, port.portName, port.backends.map((backend) => backend.address)]),
    [
      ['ipv4', 'shop/web 80/TCP', ['10.244.1.2']],
      ['ipv6', 'shop/web 80/TCP', ['fd00:244:1::2']],
    ],
  )
})

t.test('EXT-007 source ranges are of their family, and of load-balancer addresses alone', async (t) => {
  const sourceRanges = ['192.0.2.0/24', '2001:db8::/32'] as Prefix[]
  const clusterIps = [address('10.96.0.10'), address('fd00:96::a')]
  const loadBalancerIps = [VIP, address('2001:db8:113::7')]
  const planned = plan({ clusterIps, loadBalancerIps, sourceRanges }, TWO)
  t.strictSame(
    planned.map((port) => port.sourceRanges),
    [['192.0.2.0/24'], ['2001:db8::/32']],
  )
  t.strictSame(plan({ sourceRanges }, TWO)[0]?.sourceRanges, [])
})

t.test('EXT-008 ranges that hold this node hold its VIPs', async (t) => {
  const sourceRanges = ['10.255.0.0/16'] as Prefix[]
  t.strictSame(plan({ loadBalancerIps: [VIP], sourceRanges }, TWO)[0]?.sourceRanges, [
    '10.255.0.0/16',
    '203.0.113.7/32',
  ])
})

t.test('EXT-012 forwarding: the Service’s choice, else the cluster’s', async (t) => {
  t.equal(plan({}, TWO)[0]?.forwarding, 'snat')
  t.equal(plan({ forwarding: 'dsr' }, TWO)[0]?.forwarding, 'dsr')
  t.equal(plan({}, TWO, { forwarding: 'dsr' })[0]?.forwarding, 'dsr')
})

t.test('random balancing and weights of slices', async (t) => {
  t.equal(plan({ balancing: 'random' }, TWO)[0]?.isRandom, true)
  const [port] = plan({}, [...TWO, slice('canary', [endpoint('10.244.3.3', 'c')], { weight: 5 })])
  t.strictSame(
    port?.backends.map(({ address: ip, weight }) => [ip, weight]),
    [
      ['10.244.1.2', 1],
      ['10.244.2.2', 1],
      ['10.244.3.3', 5],
    ],
  )
  t.equal(port?.balancing, 'maglev', 'a list knows no weights')
  t.equal(plan({}, [slice('web-1', TWO[0]?.endpoints as Endpoint[], { weight: 5 })])[0]?.balancing, 'list')
})

t.test('AFF-001 affinity belongs to the Service port', async (t) => {
  const planned = plan(
    { affinitySeconds: 10_800, clusterIps: [address('10.96.0.10'), address('fd00:96::a')] },
    TWO,
  )
  t.strictSame(
    planned.map((port) => [port.affinitySeconds, port.portName]),
    [
      [10_800, 'shop/web 80/TCP'],
      [10_800, 'shop/web 80/TCP'],
    ],
  )
})

t.test('traffic policies', async (t) => {
  const remote = [slice('web-1', [endpoint('10.244.2.2', 'b')])]
  const cases: {
    name: string
    service: Partial<Service>
    slices: EndpointSlice[]
    expected: Partial<DesiredPort>
  }[] = [
    {
      name: 'SVC-014 nothing usable anywhere',
      service: { externalTrafficPolicy: 'Local', loadBalancerIps: [VIP] },
      slices: [slice('web-1', [endpoint('10.244.2.2', 'b', BROKEN)])],
      expected: { anyEndpoint: false, cluster: [], local: [] },
    },
    {
      name: 'SVC-015 iTP Local: an endpoint elsewhere is known, but in no set',
      service: { internalTrafficPolicy: 'Local' },
      slices: remote,
      expected: { anyEndpoint: true, cluster: [], local: [], internalLocal: true, externalLocal: false },
    },
    {
      name: 'SVC-017 eTP Local keeps the Cluster set, for the short-circuit',
      service: { externalTrafficPolicy: 'Local', loadBalancerIps: [VIP] },
      slices: remote,
      expected: { anyEndpoint: true, cluster: [0], local: [], externalLocal: true, internalLocal: false },
    },
    {
      name: 'SVC-018 iTP Local of a Service with external addresses needs the Cluster set',
      service: { internalTrafficPolicy: 'Local', loadBalancerIps: [VIP] },
      slices: remote,
      expected: { cluster: [0], local: [], internalLocal: true, externalLocal: false },
    },
    {
      name: 'SVC-016 terminating here, ready elsewhere: the Local set falls back alone',
      service: { externalTrafficPolicy: 'Local', loadBalancerIps: [VIP] },
      slices: [slice('web-1', [endpoint('10.244.1.2', 'a', LEAVING), endpoint('10.244.2.2', 'b')])],
      expected: { cluster: [1], local: [0] },
    },
  ]
  for (const { name, service, slices, expected } of cases) {
    const planned = plan(service, slices)
    t.equal(planned.length, 1, name)
    t.match(planned[0], expected, name)
  }
})

t.test('what becomes of an endpoint that is not ready', async (t) => {
  const stateOf = (protocol: Protocol, conditions: Partial<Endpoint>) =>
    plan({ ports: [{ name: 'http', protocol, port: 80, nodePort: 0 }] }, [
      slice('web-1', [endpoint('10.244.1.2', 'a', conditions)], {
        ports: [{ name: 'http', protocol, port: 8080 }],
      }),
    ])[0]?.backends[0]?.state
  const cases: [string, Protocol, Partial<Endpoint>, string][] = [
    ['SVC-011 ready', 'UDP', {}, 'active'],
    ['SVC-025 ready though terminating', 'UDP', { terminating: true }, 'active'],
    ['CT-003 a serving-terminating endpoint keeps its flows', 'UDP', LEAVING, 'terminating'],
    ['CT-004 TCP flows outlive the endpoint', 'TCP', BROKEN, 'terminating'],
    ['CT-001 UDP flows leave what serves no more', 'UDP', BROKEN, 'gone'],
    ['CT-001 SCTP flows too', 'SCTP', BROKEN, 'gone'],
  ]
  for (const [name, protocol, conditions, expected] of cases)
    t.equal(stateOf(protocol, conditions), expected, name)
})

t.test('TOP-001 hints split a port with external addresses in two', async (t) => {
  const slices = [
    slice('web-1', [
      endpoint('10.244.1.2', 'a', { forZones: ['east'] }),
      endpoint('10.244.2.2', 'b', { forZones: ['west'] }),
    ]),
  ]
  const [only, ...none] = plan({}, slices)
  t.equal(none.length, 0)
  t.strictSame(ipsOf(only, only?.cluster), ['10.244.1.2'], 'no clients outside, no second table')
  const [inside, outside] = plan({ loadBalancerIps: [VIP] }, slices)
  t.strictSame(
    [inside?.id, frontendsOf(inside), ipsOf(inside, inside?.cluster), inside?.balancing],
    ['shop/web 80/TCP ipv4 inside', ['cluster-ip 10.96.0.10 80/TCP'], ['10.244.1.2'], 'list'],
  )
  t.strictSame(
    [outside?.id, frontendsOf(outside), ipsOf(outside, outside?.cluster), outside?.balancing],
    [
      'shop/web 80/TCP ipv4 outside',
      ['load-balancer 203.0.113.7 80/TCP external'],
      ['10.244.1.2', '10.244.2.2'],
      'maglev',
    ],
  )
  t.equal(inside?.portName, outside?.portName, 'affinity is shared')
  const together = plan({ loadBalancerIps: [VIP], topologyForExternal: true }, slices)
  t.strictSame(
    together.map((port) => [port.id, ipsOf(port, port.cluster)]),
    [['shop/web 80/TCP ipv4', ['10.244.1.2']]],
    'the annotation asks for hints outside too',
  )
})

t.test('TOP-003 a node’s zone is asked at every plan', async (t) => {
  const slices = [
    slice('web-1', [
      endpoint('10.244.1.2', 'a', { forZones: ['east'] }),
      endpoint('10.244.2.2', 'b', { forZones: ['west'] }),
    ]),
  ]
  const at = (zone: string | undefined) => {
    const [port] = plan({}, slices, { zone: () => zone })
    return ipsOf(port, port?.cluster)
  }
  t.strictSame(at('east'), ['10.244.1.2'])
  t.strictSame(at('west'), ['10.244.2.2'])
  t.strictSame(at(undefined), ['10.244.1.2', '10.244.2.2'])
})

t.test('SVC-009 several slices are one set; an endpoint that moves between them counts once', async (t) => {
  const [port] = plan({}, [
    slice('web-1', [endpoint('10.244.1.2', 'a', BROKEN), endpoint('10.244.2.2', 'b')]),
    slice('web-2', [endpoint('10.244.1.2', 'a')]),
  ])
  t.strictSame(
    port?.backends.map((backend) => backend.address),
    ['10.244.1.2', '10.244.2.2'],
  )
  t.strictSame([port?.cluster, port?.local], [[0, 1], [0]])
})

t.test('SVC-003 ports are matched by name and protocol; the rest of a slice is not ours', async (t) => {
  const ports = [
    { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
    { name: 'dns-tcp', protocol: 'TCP', port: 53, nodePort: 0 },
  ] as const
  const planned = plan({ ports }, [
    slice('web-1', [endpoint('10.244.1.2', 'a')], {
      ports: [
        { name: 'dns', protocol: 'UDP', port: 5353 },
        { name: 'dns-tcp', protocol: 'TCP', port: 5354 },
        { name: 'metrics', protocol: 'TCP', port: 9153 },
      ],
    }),
  ])
  t.strictSame(
    planned.map((port) => port.backends.map((backend) => `${backend.port}/${backend.protocol}`)),
    [['5353/UDP'], ['5354/TCP']],
  )
})

t.test('SVC-026 one named port with several numbers: all are backends at once', async (t) => {
  const [port] = plan({}, [
    slice('web-1', [endpoint('10.244.1.2', 'a')]),
    slice('web-2', [endpoint('10.244.2.2', 'b')], { ports: [{ name: 'http', protocol: 'TCP', port: 9090 }] }),
  ])
  t.strictSame(
    port?.backends.map((backend) => backend.port),
    [8080, 9090],
  )
})

t.test('the plan does not depend on the order of slices or endpoints', async (t) => {
  const one = slice('web-1', [endpoint('10.244.1.2', 'a'), endpoint('10.244.1.9', 'a')])
  const two = slice('web-2', [endpoint('10.244.3.1', 'c'), endpoint('10.244.1.9', 'a', { forZones: ['x'] })])
  const turned = slice('web-1', [...one.endpoints].reverse())
  t.strictSame(plan({}, [one, two]), plan({}, [two, turned]))
})

t.test('SVC-019 ports nobody defined are refused on addresses that are Services’ own', async (t) => {
  const planned = planService(
    serviceRow({
      externalIps: [address('198.51.100.9'), address('203.0.113.9')],
      loadBalancerIps: [VIP],
      ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 }],
    }),
    TWO,
    CONTEXT,
  ).filter((port) => port.id.includes('undefined-ports'))
  t.strictSame(planned.map(frontendsOf), [
    ['cluster-ip 10.96.0.10 0/ANY'],
    ['external-ip 203.0.113.9 0/ANY external'],
    ['load-balancer 203.0.113.7 0/ANY external'],
  ])
  t.ok(planned.every((port) => !port.anyEndpoint && port.backends.length === 0))
})

t.test(
  'endpoints without a node name: the one that claims the address, or only for clients inside',
  async (t) => {
    const slices = [slice('web-1', [endpointRow('10.244.7.1'), endpointRow('192.0.2.1')])]
    const [internal] = plan({}, slices)
    t.strictSame(
      internal?.backends.map((backend) => [backend.address, backend.nodeName]),
      [
        ['10.244.7.1', 'seven'],
        ['192.0.2.1', undefined],
      ],
    )
    const [inside, outside] = plan({ loadBalancerIps: [VIP] }, slices)
    t.strictSame(ipsOf(inside, inside?.cluster), ['10.244.7.1', '192.0.2.1'])
    t.strictSame(ipsOf(outside, outside?.cluster), ['10.244.7.1'])
  },
)

t.test(
  'endpoints on a node that the API does not know: sockets reach them, clients outside do not',
  async (t) => {
    const mixed = [slice('web-1', [endpoint('10.244.1.2', 'a'), endpoint('10.244.9.2', 'nowhere')])]
    const ports = plan({ loadBalancerIps: [VIP] }, mixed)
    const set = (id: string) => {
      const port = ports.find((one) => one.id.endsWith(id))
      return ipsOf(port, port?.cluster)
    }
    t.strictSame(set('inside'), ['10.244.1.2', '10.244.9.2'])
    t.strictSame(set('outside'), ['10.244.1.2'])
  },
)
