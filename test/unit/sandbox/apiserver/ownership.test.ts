// Who owns what: server-side apply and managedFields between writers, ownerReferences between objects.

import t from 'tap'
import { removeCertificates, startServer } from './test-server.ts'

const api = await startServer()
const maps = '/api/v1/namespaces/default/configmaps'
const deployments = '/apis/apps/v1/namespaces/default/deployments'

t.teardown(async () => {
  await api.close()
  await removeCertificates()
})

const apply = (path: string, manager: string, body: unknown, query = '') =>
  api.send('PATCH', `${path}?fieldManager=${manager}${query}`, body, {
    'content-type': 'application/apply-patch+yaml',
  })

const container = (name: string, extra: object = {}): object => ({ name, image: `${name}:1`, ...extra })
const deployment = (name: string, replicas: number | undefined, containers: object[]): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    ...(replicas === undefined ? {} : { replicas }),
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers } },
  },
})

t.test('apply creates, owns its fields, and drops what it no longer names', async (t) => {
  const map = (data: object): object => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'applied' },
    data,
  })
  const created = await apply(`${maps}/applied`, 'one', map({ a: '1', b: '2' }))
  t.equal(created.status, 201)
  t.match(created.body.metadata.managedFields, [
    {
      manager: 'one',
      operation: 'Apply',
      apiVersion: 'v1',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:data': { 'f:a': {}, 'f:b': {} } },
    },
  ])
  const second = await apply(`${maps}/applied`, 'two', map({ c: '3' }))
  t.strictSame(second.body.data, { a: '1', b: '2', c: '3' })
  const dropped = await apply(`${maps}/applied`, 'one', map({ a: '1' }))
  t.strictSame(dropped.body.data, { a: '1', c: '3' })
  const same = await apply(`${maps}/applied`, 'one', map({ a: '1' }))
  t.equal(same.body.metadata.resourceVersion, dropped.body.metadata.resourceVersion)
})

t.test('changing what another owns is a conflict, unless forced', async (t) => {
  await apply(`${deployments}/fought`, 'one', deployment('fought', 2, [container('main')]))
  const refused = await apply(
    `${deployments}/fought`,
    'two',
    deployment('fought', 3, [container('main', { image: 'other' })]),
  )
  t.equal(refused.status, 409)
  t.match(refused.body, {
    reason: 'Conflict',
    message:
      /^Apply failed with 2 conflicts: conflicts with "one":\n- \.spec\.replicas\n- \.spec\.template\.spec\.containers\[name="main"\]\.image$/,
    details: {
      causes: [
        { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.spec.replicas' },
        {},
      ],
    },
  })
  const agreed = await apply(`${deployments}/fought`, 'two', deployment('fought', 2, [container('side')]))
  t.equal(agreed.status, 200, 'the same value is shared, an own list item is added')
  t.strictSame(
    agreed.body.spec.template.spec.containers.map((entry: { name: string }) => entry.name),
    ['main', 'side'],
  )
  const forced = await apply(
    `${deployments}/fought`,
    'two',
    deployment('fought', 3, [container('side')]),
    '&force=true',
  )
  t.equal(forced.body.spec.replicas, 3)
  const gone = await apply(`${deployments}/fought`, 'two', deployment('fought', 3, []))
  t.strictSame(
    gone.body.spec.template.spec.containers.map((entry: { name: string }) => entry.name),
    ['main'],
  )
})

t.test('an ordinary write takes ownership of what it changes', async (t) => {
  await apply(`${deployments}/scaled`, 'one', deployment('scaled', 2, [container('main')]))
  await api.send(
    'PATCH',
    `${deployments}/scaled?fieldManager=scaler`,
    { spec: { replicas: 5 } },
    { 'content-type': 'application/merge-patch+json' },
  )
  const refused = await apply(`${deployments}/scaled`, 'one', deployment('scaled', 2, [container('main')]))
  t.match(
    refused.body.message,
    /^Apply failed with 1 conflict: conflict with "scaler" using apps\/v1 at .*Z: \.spec\.replicas$/,
  )
  const released = await apply(
    `${deployments}/scaled`,
    'one',
    deployment('scaled', undefined, [container('main')]),
  )
  t.equal(released.body.spec.replicas, 5, 'a field left to its new owner stays')
  t.equal(
    (await api.send('PATCH', `${deployments}/scaled`, {}, { 'content-type': 'application/apply-patch+yaml' }))
      .status,
    400,
  )
})

const owned = (name: string, owner: { name: string; uid: string }, block = false): object => ({
  metadata: {
    name,
    ownerReferences: [
      { apiVersion: 'v1', kind: 'ConfigMap', ...owner, controller: true, blockOwnerDeletion: block },
    ],
  },
})

const family = async (name: string): Promise<string> => {
  const parent = await api.send('POST', maps, { metadata: { name } })
  const owner = { name, uid: parent.body.metadata.uid }
  const child = await api.send('POST', maps, owned(`${name}-child`, owner, true))
  await api.send(
    'POST',
    maps,
    owned(`${name}-grandchild`, { name: `${name}-child`, uid: child.body.metadata.uid }, true),
  )
  return parent.body.metadata.uid
}

/** Collection runs a turn of the event loop later. */
const exists = async (name: string): Promise<boolean> => {
  for (let turn = 0; turn < 4; turn += 1) await api.send('GET', '/healthz')
  return (await api.send('GET', `${maps}/${name}`)).status === 200
}

t.test('background deletion takes dependents along, down the family', async (t) => {
  await family('background')
  await api.send('DELETE', `${maps}/background`, { propagationPolicy: 'Background' })
  t.notOk(await exists('background-child'))
  t.notOk(await exists('background-grandchild'))
})

t.test('foreground deletion waits for blocking dependents', async (t) => {
  await family('foreground')
  const patch = { 'content-type': 'application/merge-patch+json' }
  await api.send(
    'PATCH',
    `${maps}/foreground-grandchild`,
    { metadata: { finalizers: ['example.com/hold'] } },
    patch,
  )
  const asked = await api.send('DELETE', `${maps}/foreground`, { propagationPolicy: 'Foreground' })
  t.strictSame(asked.body.metadata.finalizers, ['foregroundDeletion'])
  t.ok(await exists('foreground'))
  t.ok(await exists('foreground-child'))
  await api.send('PATCH', `${maps}/foreground-grandchild`, { metadata: { finalizers: null } }, patch)
  t.notOk(await exists('foreground-child'))
  t.notOk(await exists('foreground'))
})

t.test('orphaning deletion lets dependents live without an owner', async (t) => {
  await family('orphaned')
  await api.send('DELETE', `${maps}/orphaned`, { propagationPolicy: 'Orphan' })
  t.notOk(await exists('orphaned'))
  t.ok(await exists('orphaned-child'))
  t.equal((await api.send('GET', `${maps}/orphaned-child`)).body.metadata.ownerReferences, undefined)
})

t.test(
  'a dependent of an owner that never was is collected; one with another live owner is kept',
  async (t) => {
    await api.send('POST', maps, owned('foundling', { name: 'nobody', uid: 'no-such-uid' }))
    t.notOk(await exists('foundling'))
    const live = await api.send('POST', maps, { metadata: { name: 'live' } })
    const reference = (name: string, uid: string): object => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name,
      uid,
    })
    await api.send('POST', maps, {
      metadata: {
        name: 'shared',
        ownerReferences: [reference('nobody', 'no-such-uid'), reference('live', live.body.metadata.uid)],
      },
    })
    t.ok(await exists('shared'))
    t.equal((await api.send('GET', `${maps}/shared`)).body.metadata.ownerReferences.length, 1)
  },
)
