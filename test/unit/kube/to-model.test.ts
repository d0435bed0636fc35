// Kubernetes objects → model: what is ours, what is another's, and what an absent field means.

import t from 'tap'
import type * as api from '../../../src/kube/objects.ts'
import { toEndpointSlice, toNode, toService } from '../../../src/kube/to-model.ts'

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
  t.strictSame(model?.ports, [{ name: '', protocol: 'TCP', port: 80 }])
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
    [{ address: '10.244.1.2', nodeName: 'node1', ready: true, serving: true, terminating: false }],
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
  t.match(toEndpointSlice(slice({ endpoints: unready }))?.endpoints, [{ ready: false, serving: false }])
})

t.test('nodes: the first InternalIP of each family', async (t) => {
  const addresses = [
    { type: 'Hostname', address: 'node1' },
    { type: 'ExternalIP', address: '198.51.100.1' },
    { type: 'InternalIP', address: '10.255.0.1' },
    { type: 'InternalIP', address: 'fd00:255::1' },
    { type: 'InternalIP', address: '10.255.0.99' },
  ]
  t.strictSame(toNode({ metadata: { name: 'node1' }, status: { addresses } }), {
    name: 'node1',
    internalIps: { ipv4: '10.255.0.1', ipv6: 'fd00:255::1' },
    podCidrs: [],
  })
  t.strictSame(toNode({ metadata: { name: 'bare' } }), { name: 'bare', internalIps: {}, podCidrs: [] })
})
