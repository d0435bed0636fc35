import t from 'tap'
import type { Service } from '../../../src/kube/objects.ts'
import { readAddressCondition, readAddressWish } from '../../../src/kube/service-addressing.ts'

const service = (annotations: Record<string, string>, spec: Partial<Service['spec']> = {}): Service => ({
  metadata: { name: 'web', namespace: 'shop', annotations },
  spec: { type: 'LoadBalancer', selector: { b: '2', a: '1' }, ...spec },
})

const NO_WISH = { addresses: [], pool: undefined, sharing: undefined, invalid: undefined }

t.test('what a Service asks of its addresses', async (t) => {
  const cases: readonly [string, Service, unknown][] = [
    ['nothing', service({}), undefined],
    ['spec.loadBalancerIP', service({}, { loadBalancerIP: '203.0.113.9' }), { addresses: ['203.0.113.9'] }],
    ...[
      'weir.network/load-balancer-ips',
      'lbipam.cilium.io/ips',
      'io.cilium/lb-ipam-ips',
      'metallb.io/loadBalancerIPs',
      'metallb.universe.tf/loadBalancerIPs',
    ].map((name): [string, Service, unknown] => [
      name,
      service({ [name]: '203.0.113.9, 2001:DB8::9' }),
      { addresses: ['203.0.113.9', '2001:db8::9'] },
    ]),
    [
      'an annotation before the field, ours before others',
      service(
        { 'metallb.io/loadBalancerIPs': '203.0.113.8', 'weir.network/load-balancer-ips': '203.0.113.9' },
        { loadBalancerIP: '203.0.113.7' },
      ),
      { addresses: ['203.0.113.9'] },
    ],
    [
      'what cannot be read',
      service({ 'lbipam.cilium.io/ips': '203.0.113.9,203.0.113.300' }),
      { invalid: /'203.0.113.300' is not an IP address/ },
    ],
    [
      'two of a family',
      service({ 'lbipam.cilium.io/ips': '203.0.113.9,203.0.113.8' }),
      { invalid: /one address of each family/ },
    ],
    ['a pool', service({ 'weir.network/address-pool': 'gold' }), { pool: 'gold' }],
    ["MetalLB's pool", service({ 'metallb.io/address-pool': 'gold' }), { pool: 'gold' }],
    [
      'sharing',
      service({ 'weir.network/sharing-key': 'k' }),
      { sharing: { key: 'k', namespaces: [], pods: 'a=1,b=2' } },
    ],
    [
      'sharing across namespaces',
      service({ 'lbipam.cilium.io/sharing-key': 'k', 'lbipam.cilium.io/sharing-cross-namespace': 'b, a' }),
      { sharing: { key: 'k', namespaces: ['a', 'b'] } },
    ],
    [
      'sharing with all namespaces',
      service({ 'weir.network/sharing-key': 'k', 'weir.network/sharing-cross-namespace': '*' }),
      { sharing: { key: 'k', namespaces: 'all' } },
    ],
    [
      "MetalLB's sharing",
      service({ 'metallb.io/allow-shared-ip': 'k' }),
      { sharing: { key: 'k', namespaces: 'all' } },
    ],
    ['another type', service({ 'weir.network/address-pool': 'gold' }, { type: 'NodePort' }), undefined],
    ['another class', service({}, { loadBalancerIP: '203.0.113.9', loadBalancerClass: 'other' }), undefined],
  ]
  for (const [name, object, expected] of cases) {
    const wish = readAddressWish(object)
    if (expected === undefined) t.equal(wish, undefined, name)
    else t.match(wish, { ...NO_WISH, ...(expected as object) }, name)
  }
})

t.test('our condition is read, and of all others nothing', async (t) => {
  const other = { type: 'cilium.io/IPAMRequestSatisfied', status: 'True' as const }
  const ours = {
    type: 'weir.network/AddressAllocated',
    status: 'False' as const,
    reason: 'PoolExhausted',
    message: 'why',
  }
  const withConditions = (...conditions: (typeof other | typeof ours)[]) =>
    readAddressCondition({ ...service({}), status: { conditions } })
  t.equal(withConditions(), undefined)
  t.equal(withConditions(other), undefined)
  t.same(withConditions(other, ours), { status: 'False', reason: 'PoolExhausted', message: 'why' })
})
