// What the compiler of policy is told of the tables' changes, and the world that evaluators see, from the same tables.

import t from 'tap'
import { PolicyChanges, policyWorld } from '../../../src/agent/policy-world.ts'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import { toEndpointSlice, toUnservedSlice } from '../../../src/kube/to-model.ts'
import { toNode } from '../../../src/kube/to-node-model.ts'
import type { PolicyPod } from '../../../src/model/policy.ts'
import type { EndpointSlice, ObjectKey, UnservedSlice } from '../../../src/model/service.ts'
import type { WorldChange } from '../../../src/policy/compile/objects.ts'
import { pod } from '../policy/rows.ts'
import { tables } from './policy-world-tables.ts'

const slice = (name: string, service: string, ...addresses: string[]) =>
  toEndpointSlice({
    metadata: { namespace: 'default', name, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address] })),
    ports: [],
  }) as EndpointSlice

const cilium = (specs: readonly object[], annotations: Record<string, string> = {}, name = 'web') =>
  toPolicyObject('CiliumNetworkPolicy', {
    metadata: { namespace: 'shop', name, annotations },
    ...{ specs },
  })

/** On the node `here`, one change after another. */
function following(all: ReturnType<typeof tables>, onChange: () => void) {
  const changes = new PolicyChanges(all, 'here', onChange)
  const waiting: WorldChange[] = []
  return {
    next: () => {
      waiting.push(...changes.take())
      return waiting.shift()
    },
    close: () => changes.close(),
  }
}

const SELECTS = { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] }
const DENIES = { endpointSelector: {}, egressDeny: [{ toEntities: ['world'] }] }

t.test('an object of several parts: each is told when it differs, and when it is gone', async (t) => {
  const all = tables()
  let asked = 0
  const changes = following(all, () => {
    asked += 1
  })
  const told = () =>
    Object.fromEntries([...(changes.next()?.policies ?? [])].map(([id, one]) => [id, one?.part]))
  t.equal(changes.next(), undefined, 'nothing yet')
  all.policy.objects.CiliumNetworkPolicy.set('shop/web', cilium([SELECTS, DENIES]))
  t.equal(asked, 1)
  t.same(told(), { 'CiliumNetworkPolicy shop/web 0': 0, 'CiliumNetworkPolicy shop/web 1': 1 })
  all.policy.objects.CiliumNetworkPolicy.set('shop/web', {
    ...cilium([SELECTS, DENIES]),
    condition: { status: 'True', reason: 'Valid', message: '' },
  })
  t.same(told(), {}, 'a condition is no other policy')
  all.policy.objects.CiliumNetworkPolicy.set('shop/web', cilium([SELECTS]))
  t.same(told(), { 'CiliumNetworkPolicy shop/web 1': undefined })
  all.policy.objects.CiliumNetworkPolicy.delete('shop/web')
  t.same(told(), { 'CiliumNetworkPolicy shop/web 0': undefined })
  changes.close()
})

t.test("Services are their slices' addresses, and the API server is one of them", async (t) => {
  const all = tables()
  const changes = following(all, () => {})
  all.slices.set('default/a', slice('a', 'web', '10.0.0.2', '10.0.0.1'))
  all.slices.set('default/k', slice('k', 'kubernetes', '192.0.2.1'))
  const first = changes.next()
  t.same(first?.services?.get('default/web'), {
    key: 'default/web',
    namespace: 'default',
    labels: {},
    endpoints: ['10.0.0.1', '10.0.0.2'],
  })
  t.same(first?.apiServers, ['192.0.2.1'])
  all.slices.set('default/a', { ...slice('a', 'web', '10.0.0.1', '10.0.0.2'), weight: 2 })
  t.equal(changes.next(), undefined, 'what policy does not see is no change')
  all.slices.delete('default/a')
  t.same([...(changes.next()?.services ?? [])], [['default/web', undefined]])
  t.same(
    policyWorld(all, { ingress: [], egress: [] }).services.map(({ key }) => key),
    ['default/kubernetes'],
  )
})

t.test(
  'headless Services and those of another proxy are known as well, by their labels and all their slices',
  async (t) => {
    const all = tables()
    const changes = following(all, () => {})
    const [key, foreign] = ['default/db', 'default/foreign'].map((one) => one as ObjectKey) as [
      ObjectKey,
      ObjectKey,
    ]
    const unserved = (name: string, label: string, address: string) =>
      toUnservedSlice({
        metadata: { namespace: 'default', name, labels: { 'kubernetes.io/service-name': 'db', [label]: '' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: [address] }],
      }) as UnservedSlice
    all.unserved.services.set(key, { key, labels: { app: 'db' } })
    all.unserved.services.set(foreign, { key: foreign, labels: {} })
    all.unserved.slices.set('default/h', unserved('h', 'service.kubernetes.io/headless', '10.0.0.3'))
    // One that somebody made without the label.
    all.slices.set('default/a', slice('a', 'db', '10.0.0.1'))
    const wanted = { key, namespace: 'default', labels: { app: 'db' }, endpoints: ['10.0.0.1', '10.0.0.3'] }
    t.same(changes.next()?.services?.get(key), wanted)
    t.same(policyWorld(all, { ingress: [], egress: [] }).services, [
      wanted,
      { key: foreign, namespace: 'default', labels: {}, endpoints: [] },
    ])
    all.unserved.slices.delete('default/h')
    t.same(changes.next()?.services?.get(key)?.endpoints, ['10.0.0.1'])
    all.unserved.services.delete(foreign)
    t.same([...(changes.next()?.services ?? [])], [[foreign, undefined]])
  },
)

t.test("a node's annotations are none of policy's", async (t) => {
  const all = tables()
  const changes = following(all, () => {})
  const node = (annotations: Record<string, string>) =>
    toNode({
      metadata: { name: 'n', labels: { zone: 'a' }, annotations },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.9' }] },
    })
  all.nodes.set('n', node({}))
  t.same(changes.next()?.nodes?.get('n'), { name: 'n', labels: { zone: 'a' }, addresses: ['192.0.2.9'] })
  all.nodes.set('n', node({ 'weir.network/other': 'x' }))
  t.equal(changes.next(), undefined)
  all.policy.pods.set('default/a', { key: 'default/a' } as PolicyPod)
  t.same([...(changes.next()?.pods ?? [])], [['default/a', { key: 'default/a' }]])
})

t.test('changes are told in the order in which they came, in runs that no packet meets two of', async (t) => {
  const all = tables()
  const changes = new PolicyChanges(all, 'here', () => {})
  const put = (name: string, node: string, app: string) =>
    all.policy.pods.set(`shop/${name}`, pod(`shop/${name}`, { labels: { app }, node }))
  const say = (name: string, specs: readonly object[]) =>
    all.policy.objects.CiliumNetworkPolicy.set(`shop/${name}`, cilium(specs, {}, name))
  const told = () =>
    changes
      .take()
      .map(({ policies, pods, namespaces }) => [
        ...[...(policies ?? [])].map(([id]) => id),
        ...[...(pods ?? [])].map(([key, one]) => `${key} ${one?.labels['app']}`),
        ...(namespaces?.keys() ?? []),
      ])
  put('a', 'here', 'x')
  say('web', [SELECTS])
  put('b', 'there', 'x')
  t.equal(told().length, 1, 'a world that is there is one')
  put('b', 'there', 'y')
  put('c', 'there', 'y')
  say('web', [DENIES])
  put('b', 'there', 'z')
  all.policy.pods.delete('shop/a')
  put('d', 'here', 'x')
  put('c', 'there', 'z')
  put('b', 'there', 'x')
  all.policy.namespaces.set('shop', {})
  t.same(told(), [
    ['shop/b y', 'shop/c y'],
    ['CiliumNetworkPolicy shop/web 0'],
    ['shop/b z'],
    ['shop/a undefined'],
    ['shop/d x'],
    ['shop/c z', 'shop/b x'],
    ['shop'],
  ])
  for (let step = 0; step < 1000; step += 1) {
    put('b', 'there', `${step}`)
    say('web', step % 2 === 0 ? [SELECTS] : [DENIES])
  }
  say('last', [SELECTS])
  const flood = told()
  t.ok(flood.length < 300, 'a flood is cut into no more than can be taken')
  t.same(flood.at(-1), ['CiliumNetworkPolicy shop/last 0', 'shop/b 999'])
  t.same(told(), [])
  changes.close()
})

t.test('what protects nodes is followed as what protects pods is', async (t) => {
  const object = toPolicyObject('CiliumClusterwideNetworkPolicy', {
    metadata: { name: 'host' },
    ...{ spec: { nodeSelector: {}, ingress: [{ fromEntities: ['cluster'] }] } },
  })
  t.match(object.policies, [{ key: 'host', subject: { kind: 'nodes' }, ingress: { isolates: true } }])
  t.same(object.faults, [])
})

t.test('the condition that stands in the status is read', async (t) => {
  const conditions = [{ type: 'Valid', status: 'False', reason: 'x', message: 'y' }] as const
  const object = toPolicyObject('CiliumNetworkPolicy', {
    metadata: { namespace: 'shop', name: 'web' },
    ...{ spec: { ...SELECTS, nonsense: 1 }, status: { conditions: [...conditions] } },
  })
  t.same(object.condition, { status: 'False', reason: 'x', message: 'y' })
  t.match(object.faults, [{ path: 'spec.nonsense' }])
  t.same(object.policies[0]?.ingress, { isolates: true, rules: [] })
})
