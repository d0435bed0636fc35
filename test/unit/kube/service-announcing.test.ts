// What Services' annotations say of their announcements: ours and kube-router's.

import t from 'tap'
import type * as api from '../../../src/kube/objects.ts'
import { toService } from '../../../src/kube/to-model.ts'

function annotated(annotations: Record<string, string>, spec: Partial<api.Service['spec']> = {}) {
  return toService({
    metadata: { namespace: 'shop', name: 'web', labels: { app: 'web' }, annotations },
    spec: { clusterIP: '10.96.0.10', ports: [{ port: 80 }], ...spec },
  })
}

t.test('annotations', async (t) => {
  const none = { communities: [], largeCommunities: [], prepend: 0 }
  const cases: [Record<string, string>, unknown][] = [
    [{}, undefined],
    [{ 'weir.network/forwarding': 'dsr' }, undefined],
    [
      { 'weir.network/bgp-communities': '65101:100, no-export,65101:1:2' },
      {
        attributes: {
          communities: ['65101:100', '65535:65281'],
          largeCommunities: ['65101:1:2'],
          prepend: 0,
        },
        advertise: {},
      },
    ],
    [
      {
        'weir.network/bgp-local-pref': '200',
        'weir.network/bgp-med': '0',
        'weir.network/bgp-prepend': '2',
      },
      { attributes: { ...none, localPref: 200, med: 0, prepend: 2 }, advertise: {} },
    ],
    [
      { 'weir.network/bgp-peers': 'tor2, tor1, tor1' },
      { attributes: none, peers: ['tor1', 'tor2'], advertise: {} },
    ],
    [
      {
        'kube-router.io/service.advertise.clusterip': 'true',
        'kube-router.io/service.advertise.externalip': 'false',
        'kube-router.io/service.advertise.loadbalancerip': 'true',
      },
      {
        attributes: none,
        advertise: { 'cluster-ip': true, 'external-ip': false, 'load-balancer-ip': true },
      },
    ],
    [
      { 'kube-router.io/service.advertise.loadbalancerip': 'False' },
      { attributes: none, advertise: { 'load-balancer-ip': false } },
    ],
    [
      { 'weir.network/bgp-without-endpoints': 'keep' },
      { attributes: none, advertise: {}, withoutEndpoints: 'keep' },
    ],
    [
      { 'kube-router.io/service.skiplbips': '' },
      { attributes: none, advertise: { 'load-balancer-ip': false } },
    ],
  ]
  for (const [annotations, expected] of cases) {
    const model = annotated(annotations)
    t.same(model?.announcing, expected, JSON.stringify(annotations))
    t.equal(model?.announcing?.unreadable, undefined)
    t.strictSame(model?.problems, [])
  }
})

t.test(
  'what cannot be read is told of, and marks the whole where routes would be others without it',
  async (t) => {
    const model = annotated({
      'weir.network/bgp-communities': '65101:100,noexport',
      'weir.network/bgp-med': '-1',
      'weir.network/bgp-prepend': '256',
      'kube-router.io/service.advertise.clusterip': 'yes',
    })
    t.same(model?.announcing?.advertise, { 'cluster-ip': false }, 'as kube-router takes it')
    t.strictSame(model?.announcing?.attributes, {
      communities: ['65101:100'],
      largeCommunities: [],
      prepend: 0,
    })
    t.match(
      model?.problems.map(({ what, why }) => `${what} ${why}`),
      [
        /bgp-communities 'noexport' is no community \(did you mean 'no-export'\?\)/,
        /bgp-med '-1' is out of range/,
        /bgp-prepend '256' is out of range; write a whole number from 0 to 255/,
        /advertise\.clusterip 'yes' is not known/,
      ],
    )
    t.match(
      model?.announcing?.unreadable,
      /^annotation weir\.network\/bgp-communities 'noexport' is no community \(did you mean 'no-export'\?\).*bgp-med '-1'.*; and 1 more$/,
    )
    const unreadable = (annotations: Record<string, string>) => annotated(annotations)?.announcing?.unreadable
    t.match(
      unreadable({ 'weir.network/bgp-comunities': 'no-export' }),
      /did you mean 'weir.network\/bgp-communities'/,
    )
    t.match(unreadable({ 'weir.network/bgp-peer': 'tor1' }), /did you mean 'weir.network\/bgp-peers'/)
    // Neither says who is told, nor with what.
    t.equal(unreadable({ 'weir.network/bgp-without-endpoints': 'kep' }), undefined)
    t.equal(unreadable({ 'weir.network/bgp-without-endpoint': 'keep' }), undefined)
    t.equal(unreadable({ 'weir.network/bgp-something-later': 'x' }), undefined)
  },
)

t.test("kube-router's service.local makes both policies Local", async (t) => {
  t.match(annotated({ 'kube-router.io/service.local': 'true' }), {
    externalTrafficPolicy: 'Local',
    internalTrafficPolicy: 'Local',
  })
  t.match(annotated({ 'kube-router.io/service.local': 'false' }), {
    externalTrafficPolicy: 'Cluster',
    internalTrafficPolicy: 'Cluster',
  })
})

t.test('labels are kept for rules that select by them', async (t) => {
  t.strictSame(annotated({})?.labels, { app: 'web' })
})

t.test('a key with a slip in it is told, with the one that was meant', async (t) => {
  const told = (annotations: Record<string, string>) =>
    annotated(annotations)?.problems.map(({ what, why }) => `${what} ${why}`) ?? []
  t.match(told({ 'weir.network/bgp-comunities': 'no-export' }), [
    /bgp-comunities 'no-export' is not followed.*mean 'weir.network\/bgp-communities'/,
  ])
  t.match(told({ 'kube-router.io/service.advertise.loadbalancer': 'false' }), [
    /mean 'kube-router.io\/service.advertise.loadbalancerip'/,
  ])
  t.match(told({ 'weir.network/balancng': 'random' }), [
    /annotation weir.network\/balancng 'random' is not followed.*mean 'weir.network\/balancing'/,
  ])
  t.match(told({ 'weir.network/weight': '5' }), [/it is an annotation of an EndpointSlice/])
  t.same(told({ 'weir.network/forwarding': 'dsr', 'kube-router.io/service.dsr': 'tunnel', 'a/b': 'c' }), [])
})
