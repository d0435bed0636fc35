// Creating, reading, changing and deleting objects by HTTP, and what the server answers when it refuses.

import t from 'tap'
import { removeCertificates, startServer } from './test-server.ts'

const api = await startServer()
const maps = '/api/v1/namespaces/default/configmaps'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const deployment = (name: string, spec: object = {}): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image: 'one' }] } },
    ...spec,
  },
})

t.teardown(async () => {
  await api.close()
  await removeCertificates()
})

t.test('an object is created, read, replaced and deleted', async (t) => {
  const created = await api.send('POST', maps, { metadata: { name: 'first' }, data: { a: '1' } })
  t.equal(created.status, 201)
  t.match(created.body, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'first', namespace: 'default' },
  })
  t.match(created.body.metadata.uid, /^[0-9a-f-]{36}$/)
  const read = await api.send('GET', `${maps}/first`)
  t.strictSame(read.body, created.body)
  const replaced = await api.send('PUT', `${maps}/first`, { ...read.body, data: { a: '2' } })
  t.equal(replaced.status, 200)
  t.equal(replaced.body.data.a, '2')
  t.not(replaced.body.metadata.resourceVersion, read.body.metadata.resourceVersion)
  const again = await api.send('PUT', `${maps}/first`, replaced.body)
  t.equal(
    again.body.metadata.resourceVersion,
    replaced.body.metadata.resourceVersion,
    'an unchanged write is none',
  )
  const deleted = await api.send('DELETE', `${maps}/first`)
  t.match(deleted.body, { kind: 'Status', status: 'Success', details: { name: 'first', kind: 'configmaps' } })
  const gone = await api.send('GET', `${maps}/first`)
  t.equal(gone.status, 404)
  t.match(gone.body, {
    reason: 'NotFound',
    message: 'configmaps "first" not found',
    details: { name: 'first', kind: 'configmaps' },
  })
})

t.test('refusals carry the reason and wording clients expect', async (t) => {
  await api.send('POST', maps, { metadata: { name: 'taken' }, data: { a: '1' } })
  const cases: [
    string,
    [string, string, unknown?, Record<string, string>?],
    number,
    string,
    string | RegExp,
  ][] = [
    [
      'a second one of the same name',
      ['POST', maps, { metadata: { name: 'taken' } }],
      409,
      'AlreadyExists',
      'configmaps "taken" already exists',
    ],
    [
      'a stale resourceVersion',
      ['PUT', `${maps}/taken`, { metadata: { name: 'taken', resourceVersion: '1' } }],
      409,
      'Conflict',
      'Operation cannot be fulfilled on configmaps "taken": the object has been modified; please apply your changes to the latest version and try again',
    ],
    [
      'a namespace that is not there',
      ['POST', '/api/v1/namespaces/none/configmaps', { metadata: { name: 'x' } }],
      404,
      'NotFound',
      'namespaces "none" not found',
    ],
    [
      'a bad name',
      ['POST', maps, { metadata: { name: 'Not_Good' } }],
      422,
      'Invalid',
      /^ConfigMap "Not_Good" is invalid: metadata.name: Invalid value: "Not_Good": a lowercase RFC 1123/,
    ],
    [
      'no name',
      ['POST', maps, { metadata: {} }],
      422,
      'Invalid',
      /metadata.name: Required value: name or generateName is required/,
    ],
    [
      'another kind',
      ['POST', maps, { kind: 'Secret', apiVersion: 'v1', metadata: { name: 'x' } }],
      400,
      'BadRequest',
      /cannot be handled as a ConfigMap/,
    ],
    [
      'an unknown kind',
      ['GET', '/api/v1/namespaces/default/gadgets'],
      404,
      'NotFound',
      'the server could not find the requested resource',
    ],
    [
      'a wrong precondition',
      ['DELETE', `${maps}/taken`, { preconditions: { uid: 'other' } }],
      409,
      'Conflict',
      /Precondition failed: UID in precondition: other/,
    ],
    [
      'protobuf wanted',
      ['GET', `${maps}/taken`, undefined, { accept: 'application/vnd.kubernetes.protobuf' }],
      406,
      'NotAcceptable',
      /only the following media types/,
    ],
    [
      'CBOR sent',
      ['POST', maps, 'k8s', { 'content-type': 'application/cbor' }],
      415,
      'UnsupportedMediaType',
      /unknown format/,
    ],
    [
      'an unknown field under strict validation',
      ['POST', `${deployments}?fieldValidation=Strict`, deployment('typo', { replica: 2 })],
      400,
      'BadRequest',
      'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica"',
    ],
  ]
  for (const [name, request, status, reason, message] of cases) {
    const reply = await api.send(...request)
    t.match(reply.body, { kind: 'Status', status: 'Failure', code: status, reason, message }, name)
    t.equal(reply.status, status, name)
  }
  const unauthenticated = await api.send('GET', maps, undefined, { authorization: 'Bearer wrong' })
  t.equal(unauthenticated.status, 401)
})

t.test('unknown fields warn or pass by fieldValidation, and are never stored', async (t) => {
  const warned = await api.send('POST', deployments, deployment('warned', { replica: 2 }))
  t.equal(warned.status, 201)
  t.equal(warned.headers['warning'], '299 - "unknown field \\"spec.replica\\""')
  t.notOk('replica' in warned.body.spec)
  const ignored = await api.send(
    'POST',
    `${deployments}?fieldValidation=Ignore`,
    deployment('ignored', { replica: 2 }),
  )
  t.equal(ignored.headers['warning'], undefined)
})

t.test('status and the rest are written apart; generation counts changes of the rest', async (t) => {
  const created = await api.send('POST', deployments, { ...deployment('parts'), status: { replicas: 9 } })
  t.equal(created.body.status, undefined)
  t.equal(created.body.metadata.generation, 1)
  t.equal(created.body.spec.replicas, 1, 'defaulted')
  const json = { 'content-type': 'application/merge-patch+json' }
  const status = await api.send(
    'PATCH',
    `${deployments}/parts/status`,
    { spec: { replicas: 5 }, status: { replicas: 3 } },
    json,
  )
  t.match(status.body, { spec: { replicas: 1 }, status: { replicas: 3 }, metadata: { generation: 1 } })
  const main = await api.send(
    'PATCH',
    `${deployments}/parts`,
    { spec: { replicas: 5 }, status: { replicas: 7 } },
    json,
  )
  t.match(main.body, { spec: { replicas: 5 }, status: { replicas: 3 }, metadata: { generation: 2 } })
  const scale = await api.send('GET', `${deployments}/parts/scale`)
  t.match(scale.body, {
    kind: 'Scale',
    spec: { replicas: 5 },
    status: { replicas: 3, selector: 'app=parts' },
  })
  const scaled = await api.send('PUT', `${deployments}/parts/scale`, { ...scale.body, spec: { replicas: 0 } })
  t.equal(scaled.body.spec.replicas, 0)
  t.equal((await api.send('GET', `${deployments}/parts`)).body.spec.replicas, 0)
})

t.test('patches of every type', async (t) => {
  await api.send('POST', deployments, deployment('patched'))
  const cases: [
    string,
    unknown,
    (body: { spec: { replicas: number; template: { spec: { containers: object[] } } } }) => unknown,
    unknown,
  ][] = [
    ['application/merge-patch+json', { spec: { replicas: 2 } }, (body) => body.spec.replicas, 2],
    [
      'application/strategic-merge-patch+json',
      { spec: { template: { spec: { containers: [{ name: 'side', image: 'two' }] } } } },
      (body) => body.spec.template.spec.containers.length,
      2,
    ],
    [
      'application/json-patch+json',
      [{ op: 'replace', path: '/spec/replicas', value: 4 }],
      (body) => body.spec.replicas,
      4,
    ],
    [
      'application/json-patch+json',
      [
        { op: 'test', path: '/spec/replicas', value: 4 },
        { op: 'remove', path: '/spec/template/spec/containers/0' },
      ],
      (body) => body.spec.template.spec.containers.length,
      1,
    ],
  ]
  for (const [type, patch, read, expected] of cases) {
    const reply = await api.send('PATCH', `${deployments}/patched`, patch, { 'content-type': type })
    t.equal(reply.status, 200, type)
    t.strictSame(read(reply.body), expected, type)
  }
  const missing = await api.send(
    'PATCH',
    `${deployments}/patched`,
    [{ op: 'remove', path: '/spec/nothing' }],
    {
      'content-type': 'application/json-patch+json',
    },
  )
  t.equal(missing.status, 422)
  const wrong = await api.send('PATCH', `${deployments}/patched`, {}, { 'content-type': 'application/json' })
  t.equal(wrong.status, 415)
})

t.test('a dry run answers as the real thing and stores nothing', async (t) => {
  const reply = await api.send('POST', `${maps}?dryRun=All`, { metadata: { name: 'dry' } })
  t.equal(reply.status, 201)
  t.equal((await api.send('GET', `${maps}/dry`)).status, 404)
})

t.test('generateName makes a fresh name', async (t) => {
  const names = new Set<string>()
  for (let count = 0; count < 3; count += 1) {
    const reply = await api.send('POST', maps, { metadata: { generateName: 'made-' } })
    t.match(reply.body.metadata.name, /^made-[a-z0-9]{5}$/)
    names.add(reply.body.metadata.name)
  }
  t.equal(names.size, 3)
})

t.test('grace periods and finalizers hold an object until they are done', async (t) => {
  const pods = '/api/v1/namespaces/default/pods'
  await api.send('POST', pods, {
    metadata: { name: 'graceful' },
    spec: { nodeName: 'node1', containers: [{ name: 'main' }] },
  })
  const asked = await api.send('DELETE', `${pods}/graceful`)
  t.match(asked.body, { kind: 'Pod', metadata: { deletionGracePeriodSeconds: 30, deletionTimestamp: /Z$/ } })
  t.equal((await api.send('GET', `${pods}/graceful`)).status, 200)
  await api.send('DELETE', `${pods}/graceful`, { gracePeriodSeconds: 0 })
  t.equal((await api.send('GET', `${pods}/graceful`)).status, 404)

  await api.send('POST', maps, { metadata: { name: 'held', finalizers: ['example.com/hold'] } })
  const held = await api.send('DELETE', `${maps}/held`)
  t.match(held.body, {
    kind: 'ConfigMap',
    metadata: { finalizers: ['example.com/hold'], deletionTimestamp: /Z$/ },
  })
  const patch = { 'content-type': 'application/merge-patch+json' }
  const more = await api.send(
    'PATCH',
    `${maps}/held`,
    { metadata: { finalizers: ['example.com/hold', 'b.com/x'] } },
    patch,
  )
  t.match(more.body.message, /no new finalizers can be added if the object is being deleted/)
  await api.send('PATCH', `${maps}/held`, { metadata: { finalizers: null } }, patch)
  t.equal((await api.send('GET', `${maps}/held`)).status, 404)
})

t.test('deleting a namespace takes its content along; three can not be deleted', async (t) => {
  await api.send('POST', '/api/v1/namespaces', { metadata: { name: 'brief' } })
  await api.send('POST', '/api/v1/namespaces/brief/configmaps', {
    metadata: { name: 'held', finalizers: ['example.com/hold'] },
  })
  await api.send('POST', '/api/v1/namespaces/brief/configmaps', { metadata: { name: 'free' } })
  const deleted = await api.send('DELETE', '/api/v1/namespaces/brief')
  t.match(deleted.body, { kind: 'Namespace', metadata: { deletionTimestamp: /Z$/ } })
  const waiting = await api.send('GET', '/api/v1/namespaces/brief')
  t.equal(waiting.body.status.phase, 'Terminating')
  t.equal((await api.send('GET', '/api/v1/namespaces/brief/configmaps/free')).status, 404)
  const refused = await api.send('POST', '/api/v1/namespaces/brief/configmaps', {
    metadata: { name: 'late' },
  })
  t.match(refused.body, { code: 403, details: { causes: [{ reason: 'NamespaceTerminating' }] } })
  await api.send(
    'PATCH',
    '/api/v1/namespaces/brief/configmaps/held',
    [{ op: 'remove', path: '/metadata/finalizers' }],
    {
      'content-type': 'application/json-patch+json',
    },
  )
  await api.send('GET', '/healthz')
  t.equal((await api.send('GET', '/api/v1/namespaces/brief')).status, 404)
  t.match((await api.send('DELETE', '/api/v1/namespaces/default')).body, { code: 403, reason: 'Forbidden' })
})
