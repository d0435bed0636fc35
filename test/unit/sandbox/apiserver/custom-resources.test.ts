// CustomResourceDefinitions: kinds that come and go while the server runs; and the snapshot that keeps them over a restart.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { compileJsonPath } from '../../../../src/sandbox/apiserver/json-path.ts'
import { removeCertificates, startServer } from './test-server.ts'

const api = await startServer()
const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const widgets = '/apis/example.com/v1/namespaces/default/widgets'

t.teardown(async () => {
  await api.close()
  await removeCertificates()
})

const version = (name: string, extra: object = {}): object => ({
  name,
  served: true,
  storage: name === 'v1',
  schema: {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          required: ['size'],
          properties: {
            size: { type: 'integer', minimum: 1 },
            color: { type: 'string', default: 'red', enum: ['red', 'blue'] },
            replicas: { type: 'integer' },
          },
        },
        status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
    },
  },
  ...extra,
})

const widgetDefinition = (versions: object[]): object => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
    versions,
  },
})

const detailed = {
  subresources: {
    status: {},
    scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
  },
  additionalPrinterColumns: [
    { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Color', type: 'string', jsonPath: '.spec.color', priority: 1 },
  ],
}

t.test('a definition serves its kind at once and says so', async (t) => {
  t.equal((await api.send('GET', widgets)).status, 404)
  t.equal(
    (await api.send('POST', crds, widgetDefinition([version('v1', detailed), version('v1beta1')]))).status,
    201,
  )
  const stored = await api.send('GET', `${crds}/widgets.example.com`)
  t.match(stored.body.status, {
    conditions: [
      { type: 'NamesAccepted', status: 'True' },
      { type: 'Established', status: 'True' },
    ],
    storedVersions: ['v1'],
    acceptedNames: { plural: 'widgets', singular: 'widget', listKind: 'WidgetList' },
  })
  t.equal((await api.send('GET', widgets)).body.kind, 'WidgetList')
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'
  const discovery = await api.send('GET', '/apis', undefined, { accept })
  const group = discovery.body.items.find(
    (item: { metadata: { name: string } }) => item.metadata.name === 'example.com',
  )
  t.strictSame(
    group.versions.map((entry: { version: string }) => entry.version),
    ['v1', 'v1beta1'],
  )
  t.match(group.versions[0].resources[0], {
    resource: 'widgets',
    shortNames: ['wd'],
    subresources: [{ subresource: 'scale' }, { subresource: 'status' }],
  })
  const openApi = await api.send('GET', '/openapi/v3/apis/example.com/v1')
  t.ok(openApi.body.components.schemas['com.example.v1.Widget'].properties.spec.properties.size)
})

t.test('custom objects are validated, defaulted, pruned, printed', async (t) => {
  const created = await api.send('POST', widgets, {
    apiVersion: 'example.com/v1',
    kind: 'Widget',
    metadata: { name: 'one' },
    spec: { size: 3, typo: 1 },
  })
  t.equal(created.headers['warning'], '299 - "unknown field \\"spec.typo\\""')
  t.strictSame(created.body.spec, { size: 3, color: 'red' })
  const refused = await api.send('POST', widgets, {
    metadata: { name: 'two' },
    spec: { size: 0, color: 'green' },
  })
  t.match(refused.body, { code: 422, reason: 'Invalid', details: { group: 'example.com', kind: 'Widget' } })
  t.strictSame(refused.body.details.causes.map((cause: { field: string }) => cause.field).sort(), [
    'spec.color',
    'spec.size',
  ])
  const missing = await api.send('POST', widgets, { metadata: { name: 'two' }, spec: {} })
  t.match(missing.body.details.causes, [{ reason: 'FieldValueRequired', field: 'spec.size' }])
  const status = { status: { conditions: [{ type: 'Ready', status: 'True' }], replicas: 4 } }
  await api.send('PATCH', `${widgets}/one/status`, status, { 'content-type': 'application/merge-patch+json' })
  const table = await api.send('GET', widgets, undefined, {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  })
  t.strictSame(table.body.rows[0].cells, ['one', 3, 'True', 'red'])
  const scaled = await api.send(
    'PATCH',
    `${widgets}/one/scale`,
    { spec: { replicas: 7 } },
    { 'content-type': 'application/merge-patch+json' },
  )
  t.match(scaled.body, { spec: { replicas: 7 }, status: { replicas: 4 } })
  const unversioned = await api.send('PUT', `${widgets}/one`, {
    apiVersion: 'example.com/v1',
    kind: 'Widget',
    metadata: { name: 'one' },
    spec: { size: 1 },
  })
  t.match(
    unversioned.body.message,
    /metadata.resourceVersion: Invalid value: 0: must be specified for an update/,
  )
})

t.test('every version shows the same objects', async (t) => {
  const old = await api.send('GET', '/apis/example.com/v1beta1/namespaces/default/widgets/one')
  t.match(old.body, { apiVersion: 'example.com/v1beta1', kind: 'Widget', spec: { size: 3 } })
  const watch = await api.watch('/apis/example.com/v1beta1/widgets?watch=1')
  t.equal((await watch.until(1))[0].object.apiVersion, 'example.com/v1beta1')
  watch.close()
})

t.test('a changed definition is served anew', async (t) => {
  const stored = await api.send('GET', `${crds}/widgets.example.com`)
  stored.body.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.label = { type: 'string' }
  stored.body.spec.versions.pop()
  t.equal((await api.send('PUT', `${crds}/widgets.example.com`, stored.body)).status, 200)
  const patched = await api.send(
    'PATCH',
    `${widgets}/one`,
    { spec: { label: 'x' } },
    { 'content-type': 'application/merge-patch+json' },
  )
  t.equal(patched.body.spec.label, 'x')
  t.equal((await api.send('GET', '/apis/example.com/v1beta1/widgets')).status, 404)
})

t.test('a definition that can not work is refused or not accepted', async (t) => {
  const wrongName = { ...widgetDefinition([version('v1')]), metadata: { name: 'gadgets.example.com' } }
  t.match(
    (await api.send('POST', crds, wrongName)).body.message,
    /must be spec.names.plural\+"\."\+spec.group/,
  )
  const untyped = widgetDefinition([
    version('v1', { schema: { openAPIV3Schema: { type: 'object', properties: { spec: {} } } } }),
  ])
  t.match(
    (await api.send('POST', crds, untyped)).body.message,
    /openAPIV3Schema.properties\[spec\].type: Required value/,
  )
  const twin = {
    metadata: { name: 'others.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural: 'others', kind: 'Widget' },
      versions: [version('v1')],
    },
  }
  t.equal((await api.send('POST', crds, twin)).status, 201)
  const conditions = (await api.send('GET', `${crds}/others.example.com`)).body.status.conditions
  t.match(conditions, [
    { type: 'NamesAccepted', status: 'False', message: '"Widget" is already in use' },
    { type: 'Established', status: 'False' },
  ])
})

t.test('a deleted definition takes its objects along and the kind is gone', async (t) => {
  const watch = await api.watch(`${widgets}?watch=1`)
  await watch.until(1)
  await api.send('DELETE', `${crds}/widgets.example.com`)
  t.equal((await watch.until(2))[1].type, 'DELETED')
  watch.close()
  t.equal((await api.send('GET', widgets)).status, 404)
  t.equal((await api.send('GET', `${crds}/widgets.example.com`)).status, 404)
  const other = await api.send('GET', `${crds}/others.example.com`)
  t.match(
    other.body.status.conditions,
    [{ status: 'True' }, { status: 'True' }],
    'who waited for the name has it now',
  )
})

t.test('a snapshot brings objects, kinds and revisions back', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-snapshot-'))
  const snapshotFile = join(directory, 'snapshot.json')
  const before = await startServer({ snapshotFile })
  await before.send('POST', crds, widgetDefinition([version('v1')]))
  const kept = await before.send('POST', widgets, { metadata: { name: 'kept' }, spec: { size: 2 } })
  await before.close()
  const after = await startServer({ snapshotFile })
  t.strictSame((await after.send('GET', `${widgets}/kept`)).body, kept.body)
  const next = await after.send('POST', widgets, { metadata: { name: 'next' }, spec: { size: 2 } })
  t.ok(Number(next.body.metadata.resourceVersion) > Number(kept.body.metadata.resourceVersion))
  const old = await after.send(
    'GET',
    `${widgets}?watch=1&resourceVersion=${Number(kept.body.metadata.resourceVersion) - 1}`,
  )
  t.equal(old.status, 410)
  await after.close()
  await rm(directory, { recursive: true })
})

t.test('a server killed before its last snapshot uses no revision twice', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-snapshot-'))
  const snapshotFile = join(directory, 'snapshot.json')
  const maps = '/api/v1/namespaces/default/configmaps'
  const killed = await startServer()
  const kept = await killed.send('POST', maps, { metadata: { name: 'kept' } })
  await killed.server.snapshot(snapshotFile)
  const lost = await killed.send('POST', maps, { metadata: { name: 'lost' } })
  await killed.close()
  const after = await startServer({ snapshotFile })
  const next = await after.send('POST', maps, { metadata: { name: 'next' } })
  t.ok(Number(next.body.metadata.resourceVersion) > Number(lost.body.metadata.resourceVersion))
  for (const { body } of [kept, lost]) {
    const resumed = await after.send(
      'GET',
      `${maps}?watch=1&resourceVersion=${body.metadata.resourceVersion}`,
    )
    t.match(resumed, { status: 410, body: { reason: 'Expired' } }, 'its clients list again')
  }
  await after.close()
  await rm(directory, { recursive: true })
})

t.test('JSON paths of printer columns', (t) => {
  const object = {
    spec: {
      list: [
        { n: 'a', v: 1 },
        { n: 'b', v: 2 },
      ],
      'dotted.key': 'x',
    },
  }
  const cases: [string, unknown[]][] = [
    ['.spec.list[0].n', ['a']],
    ['.spec.list[-1].v', [2]],
    ['.spec.list[*].v', [1, 2]],
    ['.spec.list[?(@.n=="b")].v', [2]],
    ['.spec.list[?(@.v!=1)].n', ['b']],
    ['.spec.dotted\\.key', ['x']],
    [".spec['dotted.key']", ['x']],
    ['.spec.none.deeper', []],
  ]
  for (const [path, expected] of cases) t.strictSame(compileJsonPath(path)?.(object), expected, path)
  t.equal(compileJsonPath('.spec['), undefined)
  t.end()
})
