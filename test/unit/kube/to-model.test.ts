// Kubernetes objects → model: what is ours, what is another's, and what an absent field means.

import t from 'tap'
import type * as api from '../../../src/kube/objects.ts'
import { toEndpointSlice, toService } from '../../../src/kube/to-model.ts'
import { toLocalPod, toNode, toServiceCidr } from '../../../src/kube/to-node-model.ts'

const service = (spec: Partial<api.Service['spec']> = {}, more: Partial<api.Service> = {}): api.Service => ({
  metadata: { namespace: 'shop', name: 'web', creationTimestamp: '2026-01-02T03:04:05Z' },
  spec: { clusterIP: '10.96.0.10', clusterIPs: ['10.96.0.10', 'fd00:96::a'], ports: [{ port: 80 }], ...spec },
  ...more,
})

const labelled = (label: string) => ({
  metadata: { namespace: 'shop', name: 'web', labels: { [label]: '' } },
})

t.test('Services that are not ours', async (t) => {
  const cases: [string, api.Service][] = [
    ['headless', service({ clusterIP: 'None', clusterIPs: ['None'] })],
    ['no ClusterIP yet', service({ clusterIP: '', clusterIPs: [] })],
    ['ExternalName with a stale ClusterIP', service({ type: 'ExternalName' })],
    [
      "another proxy's, whatever the label's value",
      service({}, labelled('service.kubernetes.io/service-proxy-name')),
    ],
    ['labelled headless', service({}, labelled('service.kubernetes.io/headless'))],
  ]
  for (const [name, object] of cases) t.equal(toService(object), undefined, name)
})

t.test('defaults, families and order', async (t) => {
  const model = toService(service())
  t.strictSame(model?.clusterIps, ['10.96.0.10', 'fd00:96::a'])
  t.strictSame(model?.ports, [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }])
  t.equal(model?.externalTrafficPolicy, 'Cluster')
  t.equal(model?.affinitySeconds, 0)
  t.equal(toService(service({ sessionAffinity: 'ClientIP' }))?.affinitySeconds, 10_800)
  t.strictSame(model?.loadBalancerFamilies, [], 'a ClusterIP Service asks for no address')
  t.strictSame(
    toService(service({ type: 'LoadBalancer', ipFamilies: ['IPv6', 'IPv4'] }))?.loadBalancerFamilies,
    ['ipv6', 'ipv4'],
  )
  t.strictSame(
    toService(service({ type: 'LoadBalancer', loadBalancerClass: 'other' }))?.loadBalancerFamilies,
    [],
  )
})

t.test('a Service of another class is never ours to write', async (t) => {
  t.equal(toService(service({ type: 'LoadBalancer', loadBalancerClass: 'other' }))?.isForeignBalancer, true)
  t.equal(toService(service({ type: 'LoadBalancer' }))?.isForeignBalancer, false)
  const ours = toService(service({ type: 'LoadBalancer', loadBalancerClass: 'weir.network/bgp' }))
  t.match(ours, { isForeignBalancer: false, loadBalancerFamilies: ['ipv4'] }, 'but our own class is')
})

t.test('addresses in status: served only for the type and mode, seen for the allocator always', async (t) => {
  const status = {
    loadBalancer: {
      ingress: [
        { ip: '203.0.113.1' },
        { ip: '203.0.113.2', ipMode: 'Proxy' as const },
        { hostname: 'lb.example' },
        { ip: 'bogus' },
      ],
    },
  }
  const balanced = toService(service({ type: 'LoadBalancer' }, { status }))
  t.strictSame(balanced?.loadBalancerIps, ['203.0.113.1'])
  t.strictSame(balanced?.statusIps, ['203.0.113.1', '203.0.113.2'])
  const changed = toService(service({ type: 'ClusterIP' }, { status }))
  t.strictSame(changed?.loadBalancerIps, [], 'a leftover status is not served')
  t.strictSame(changed?.statusIps, ['203.0.113.1', '203.0.113.2'], 'but is taken back')
  t.strictSame(toService(service({ externalIPs: ['010.000.000.001', 'x'] }))?.externalIps, ['10.0.0.1'])
})

const slice = (more: Partial<api.EndpointSlice> = {}): api.EndpointSlice => ({
  metadata: { namespace: 'shop', name: 'web-x', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }, { name: 'nothing' }],
  endpoints: [{ addresses: ['10.244.1.2', '10.244.1.3'], nodeName: 'node1' }],
  ...more,
})

t.test('slices', async (t) => {
  const model = toEndpointSlice(slice())
  t.equal(model?.service, 'shop/web')
  t.strictSame(
    model?.ports,
    [{ name: 'http', protocol: 'TCP', port: 8080 }],
    'a port without a number is none',
  )
  t.strictSame(
    model?.endpoints,
    [
      {
        address: '10.244.1.2',
        nodeName: 'node1',
        ready: true,
        serving: true,
        terminating: false,
        forZones: [],
        forNodes: [],
      },
    ],
    'absent conditions are ready; only the first address counts',
  )
  t.equal(toEndpointSlice(slice({ addressType: 'FQDN' })), undefined)
  t.equal(
    toEndpointSlice(slice({ metadata: { namespace: 'shop', name: 'web-x' } })),
    undefined,
    'nobody’s slice',
  )
  t.strictSame(
    toEndpointSlice(slice({ addressType: 'IPv6' }))?.endpoints,
    [],
    'addresses of the wrong family are skipped',
  )
  t.strictSame(toEndpointSlice(slice({ endpoints: null, ports: null }))?.endpoints, [])
  const leaving = [
    { addresses: ['10.244.1.2'], conditions: { ready: false, serving: true, terminating: true } },
  ]
  t.match(toEndpointSlice(slice({ endpoints: leaving }))?.endpoints, [
    { ready: false, serving: true, terminating: true },
  ])
  const unready = [{ addresses: ['10.244.1.2'], conditions: { ready: false } }]
  t.match(toEndpointSlice(slice({ endpoints: unready }))?.endpoints, [{ ready: false, serving: true }])
})

t.test('SVC-011 absent conditions: ready, serving, and not terminating, each by itself', async (t) => {
  const cases: [api.Endpoint['conditions'], [boolean, boolean, boolean]][] = [
    [undefined, [true, true, false]],
    [{}, [true, true, false]],
    [{ ready: false }, [false, true, false]],
    [{ serving: false }, [true, false, false]],
    [{ terminating: true, ready: false }, [false, true, true]],
  ]
  for (const [conditions, expected] of cases) {
    const endpoints = [{ addresses: ['10.244.1.2'], ...(conditions ? { conditions } : {}) }]
    const [read] = toEndpointSlice(slice({ endpoints }))?.endpoints ?? []
    t.strictSame([read?.ready, read?.serving, read?.terminating], expected, JSON.stringify(conditions))
  }
})

t.test('hints, weight and time of a slice', async (t) => {
  const model = toEndpointSlice({
    ...slice({
      endpoints: [
        {
          addresses: ['10.244.1.2'],
          hints: { forZones: [{ name: 'a' }, { name: 'b' }], forNodes: [{ name: 'node1' }] },
        },
      ],
    }),
    metadata: {
      ...slice().metadata,
      uid: 'u1',
      annotations: {
        'weir.network/weight': ' 7 ',
        'endpoints.kubernetes.io/last-change-trigger-time': '2026-01-02T03:04:05.678901234Z',
      },
    },
  })
  t.match(model, { uid: 'u1', weight: 7, endpoints: [{ forZones: ['a', 'b'], forNodes: ['node1'] }] })
  t.equal(model?.triggeredAtMs, Date.UTC(2026, 0, 2, 3, 4, 5, 678))
  t.equal(toEndpointSlice(slice())?.weight, 1)
  t.equal(toEndpointSlice(slice())?.triggeredAtMs, undefined)
})

t.test('what a load balancer asks for besides its addresses', async (t) => {
  const spec = {
    type: 'LoadBalancer' as const,
    externalTrafficPolicy: 'Local' as const,
    healthCheckNodePort: 31_000,
    loadBalancerSourceRanges: [' 192.0.2.77/24 ', '2001:db8::1/32'],
    ports: [{ port: 80, nodePort: 30_080 }],
  }
  const model = toService(service(spec))
  t.match(model, {
    healthCheckNodePort: 31_000,
    sourceRanges: ['192.0.2.0/24', '2001:db8::/32'],
    problems: [],
  })
  t.equal(model?.ports[0]?.nodePort, 30_080)
  t.equal(toService(service({ ...spec, externalTrafficPolicy: 'Cluster' }))?.healthCheckNodePort, 0)
  const cluster = toService(service({ ...spec, type: 'ClusterIP' }))
  t.match(cluster, { healthCheckNodePort: 0, sourceRanges: [] })
  t.equal(cluster?.ports[0]?.nodePort, 0, 'left over from another type')
})

t.test('annotations choose forwarding, balancing and topology; our own word wins', async (t) => {
  const annotated = (annotations: Record<string, string>) =>
    toService(service({}, { metadata: { namespace: 'shop', name: 'web', annotations } }))
  const cases: [Record<string, string>, Partial<ReturnType<typeof annotated>>][] = [
    [{}, { forwarding: undefined, balancing: 'maglev', topologyForExternal: false }],
    [{ 'weir.network/forwarding': 'snat' }, { forwarding: 'snat' }],
    [{ 'service.cilium.io/forwarding-mode': 'dsr' }, { forwarding: 'dsr' }],
    [{ 'kube-router.io/service.dsr': 'tunnel' }, { forwarding: 'dsr' }],
    [{ 'kube-router.io/service.dsr': 'tunnel', 'weir.network/forwarding': 'snat' }, { forwarding: 'snat' }],
    [{ 'weir.network/balancing': 'random' }, { balancing: 'random' }],
    [{ 'weir.network/topology-for-external': 'true' }, { topologyForExternal: true }],
  ]
  for (const [annotations, expected] of cases) {
    const model = annotated(annotations)
    t.match(model, expected, JSON.stringify(annotations))
    t.strictSame(model?.problems, [])
  }
  const wrong = annotated({ 'weir.network/forwarding': 'nat', 'weir.network/balancing': 'rr' })
  t.match(wrong, { forwarding: undefined, balancing: 'maglev' })
  t.strictSame(
    wrong?.problems.map(({ what }) => what),
    ["annotation weir.network/forwarding 'nat'", "annotation weir.network/balancing 'rr'"],
  )
})

t.test('SVC-028 what cannot be read is skipped and told of; the rest counts', async (t) => {
  const model = toService(
    service(
      {
        type: 'LoadBalancer',
        clusterIPs: ['10.96.0.10'],
        externalIPs: ['198.51.100.9', 'x', '2001:db8::9'],
        ports: [{ port: 80, nodePort: 99_999 }, { port: 0 }],
        loadBalancerSourceRanges: ['192.0.2.1', '10.0.0.0/8'],
      },
      { status: { loadBalancer: { ingress: [{ ip: 'y' }, { ip: '203.0.113.1' }] } } },
    ),
  )
  t.match(model, {
    externalIps: ['198.51.100.9'],
    ports: [{ port: 80, nodePort: 0 }],
    sourceRanges: ['10.0.0.0/8'],
    loadBalancerIps: ['203.0.113.1'],
  })
  t.equal(model?.ports.length, 1)
  t.strictSame(
    model?.problems.map(({ reason, what }) => [reason, what]),
    [
      ['InvalidValue', "spec.externalIPs[1] 'x'"],
      ['KubeProxyIncorrectIPVersion', "spec.externalIPs '2001:db8::9'"],
      ['InvalidValue', "status.loadBalancer.ingress[0].ip 'y'"],
      ['InvalidValue', "spec.ports[0].nodePort '99999'"],
      ['InvalidValue', "spec.ports[1].port '0'"],
      ['InvalidValue', "spec.loadBalancerSourceRanges[0] '192.0.2.1'"],
    ],
  )
  const mixed = toEndpointSlice({
    ...slice({
      ports: [{ port: 70_000 }, { port: 8080 }],
      endpoints: [
        { addresses: ['fd00::1'] },
        { addresses: ['10.244.1.2'] },
        { addresses: ['z'] },
        { addresses: [] },
      ],
    }),
    metadata: { ...slice().metadata, annotations: { 'weir.network/weight': '0' } },
  })
  t.strictSame(
    mixed?.endpoints.map((endpoint) => endpoint.address),
    ['10.244.1.2'],
  )
  t.strictSame(
    mixed?.problems.map(({ reason, what }) => [reason, what]),
    [
      ['KubeProxyIncorrectIPVersion', "endpoints[0].addresses[0] 'fd00::1'"],
      ['InvalidValue', "endpoints[2].addresses[0] 'z'"],
      ['InvalidValue', "ports[0].port '70000'"],
      ['InvalidValue', "annotation weir.network/weight '0'"],
    ],
  )
})

t.test('SVC-029 leading zeros are decimal and white space is trimmed', async (t) => {
  const model = toService(
    service({
      type: 'LoadBalancer',
      clusterIPs: ['010.096.0.010'],
      externalIPs: [' 198.051.100.009 '],
      loadBalancerSourceRanges: [' 010.0.0.0/8 '],
    }),
  )
  t.match(model, {
    clusterIps: ['10.96.0.10'],
    externalIps: ['198.51.100.9'],
    sourceRanges: ['10.0.0.0/8'],
    problems: [],
  })
})

t.test('nodes: the first InternalIP of each family, every address, zone and taint', async (t) => {
  const addresses = [
    { type: 'Hostname', address: 'node1' },
    { type: 'ExternalIP', address: '198.51.100.1' },
    { type: 'InternalIP', address: '10.255.0.1' },
    { type: 'InternalIP', address: 'fd00:255::1' },
    { type: 'InternalIP', address: '10.255.0.99' },
  ]
  t.strictSame(
    toNode({
      metadata: {
        name: 'node1',
        uid: 'u1',
        labels: { 'topology.kubernetes.io/zone': 'rack-a' },
        annotations: { 'kube-router.io/node.asn': '65101', 'node.alpha.kubernetes.io/ttl': '0' },
      },
      spec: {
        podCIDRs: ['10.244.1.0/24'],
        taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }],
      },
      status: { addresses },
    }),
    {
      name: 'node1',
      uid: 'u1',
      labels: { 'topology.kubernetes.io/zone': 'rack-a' },
      annotations: { 'kube-router.io/node.asn': '65101' },
      internalIps: { ipv4: '10.255.0.1', ipv6: 'fd00:255::1' },
      addresses: ['198.51.100.1', '10.255.0.1', 'fd00:255::1', '10.255.0.99'],
      podCidrs: ['10.244.1.0/24'],
      zone: 'rack-a',
      isLeaving: true,
      isCordoned: false,
      asksToDrain: false,
    },
  )
  const deleted = { name: 'gone', deletionTimestamp: '2026-01-01T00:00:00Z' }
  t.equal(toNode({ metadata: deleted }).isLeaving, true, 'being deleted')
  t.strictSame(toNode({ metadata: { name: 'bare' } }), {
    name: 'bare',
    uid: '',
    labels: {},
    annotations: {},
    internalIps: {},
    addresses: [],
    podCidrs: [],
    zone: undefined,
    isLeaving: false,
    isCordoned: false,
    asksToDrain: false,
  })
  const drains = (node: api.Node) => toNode(node).asksToDrain
  const taints = [{ key: 'weir.network/drain', effect: 'NoSchedule' as const }]
  t.ok(drains({ metadata: { name: 'n', labels: { 'weir.network/drain': '' } } }), 'by its label')
  t.ok(drains({ metadata: { name: 'n' }, spec: { taints } }), 'by its taint')
  t.ok(toNode({ metadata: { name: 'n' }, spec: { unschedulable: true } }).isCordoned)
})

t.test('pods: their addresses, host ports, and whether they run', async (t) => {
  const pod: api.Pod = {
    metadata: { namespace: 'shop', name: 'web-0', uid: 'u1' },
    spec: {
      containers: [
        {
          name: 'web',
          ports: [
            { containerPort: 8080 },
            { containerPort: 8080, hostPort: 80, protocol: 'TCP' },
            { containerPort: 53, hostPort: 53, protocol: 'UDP', hostIP: '10.255.0.1' },
          ],
        },
      ],
      initContainers: [
        { name: 'setup', ports: [{ containerPort: 1, hostPort: 1 }] },
        { name: 'sidecar', restartPolicy: 'Always', ports: [{ containerPort: 2, hostPort: 2 }] },
      ],
    },
    status: { phase: 'Running', podIPs: [{ ip: '10.244.1.2' }, { ip: 'fd00:244:1::2' }] },
  }
  t.match(toLocalPod(pod), {
    key: 'shop/web-0',
    uid: 'u1',
    addresses: ['10.244.1.2', 'fd00:244:1::2'],
    isHostNetwork: false,
    isRunning: true,
    hostPorts: [
      { protocol: 'TCP', hostPort: 80, hostIp: undefined, containerPort: 8080 },
      { protocol: 'UDP', hostPort: 53, hostIp: '10.255.0.1', containerPort: 53 },
      { protocol: 'TCP', hostPort: 2, containerPort: 2 },
    ],
  })
  t.equal(toLocalPod(pod).hostPorts.length, 3)
  const ended = [
    { ...pod, status: { phase: 'Succeeded' as const } },
    { ...pod, status: { phase: 'Failed' as const } },
    { ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-02T03:04:05Z' } },
  ]
  for (const object of ended) t.equal(toLocalPod(object).isRunning, false)
  t.equal(toLocalPod({ ...pod, spec: { ...pod.spec, hostNetwork: true } }).isHostNetwork, true)
})

t.test('ServiceCIDRs', async (t) => {
  t.strictSame(
    toServiceCidr({
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.96.0.0/16', 'x', 'fd00:96::/112'] },
    }),
    { name: 'kubernetes', prefixes: ['10.96.0.0/16', 'fd00:96::/112'] },
  )
})

t.test('API-012 what a later Kubernetes adds is passed over, and costs nothing else', async (t) => {
  // As JSON brings it: fields and values that the types here do not have.
  const read = <T>(object: T): T => JSON.parse(JSON.stringify(object)) as T
  const ports = [
    { name: 'quic', port: 443, protocol: 'QUIC' },
    { name: 'web', port: 80, protocol: 'TCP', novelty: { deep: [1] } },
  ] as unknown as NonNullable<api.Service['spec']['ports']>
  const spec = {
    clusterIP: '10.96.0.10',
    ports,
    externalTrafficPolicy: 'Sideways',
    internalTrafficPolicy: 'PreferSomething',
    sessionAffinity: 'Cookie',
    ipFamilies: ['IPv4', 'IPv8'],
    type: 'LoadBalancer',
    futureField: true,
  } as unknown as Partial<api.Service['spec']>
  t.match(toService(read(service(spec))), {
    ports: [{ name: 'web', port: 80, protocol: 'TCP' }],
    externalTrafficPolicy: 'Cluster',
    internalTrafficPolicy: 'Cluster',
    affinitySeconds: 0,
    loadBalancerFamilies: ['ipv4'],
    problems: [{ what: "spec.ports[0].protocol 'QUIC'" }],
  })
  const endpoints = [
    { addresses: ['10.244.1.1'], conditions: { ready: true, sleepy: true }, hints: { forRacks: ['a'] } },
  ] as unknown as api.Endpoint[]
  const slicePorts = [{ port: 1, protocol: 'QUIC' }, { port: 80 }] as unknown as api.EndpointPort[]
  t.match(toEndpointSlice(read(slice({ endpoints, ports: slicePorts }))), {
    ports: [{ port: 80, protocol: 'TCP' }],
    endpoints: [{ address: '10.244.1.1', ready: true, forZones: [], forNodes: [] }],
  })
  const unknownType = { addressType: 'IPv8' } as unknown as Partial<api.EndpointSlice>
  t.equal(toEndpointSlice(read(slice(unknownType))), undefined)
})
