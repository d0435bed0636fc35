// The server with its built-in kinds, over HTTP: what only the two together do.

import t from 'tap'
import { builtinKinds } from '../../../../src/sandbox/apiserver/kinds/index.ts'
import { removeCertificates, startServer } from './test-server.ts'

const api = await startServer({ kinds: builtinKinds })
const services = '/api/v1/namespaces/default/services'
const service = (name: string, spec: object = {}): object => ({
  metadata: { name },
  spec: { ports: [{ port: 80 }], ...spec },
})

t.teardown(async () => {
  await api.close()
  await removeCertificates()
})

t.test('an address or node port has one holder, until that lets go of it', async (t) => {
  const address = '10.96.0.77'
  const wish = { type: 'NodePort', clusterIP: address, ports: [{ port: 80, nodePort: 31_000 }] }
  t.equal((await api.send('POST', services, service('holder', wish))).status, 201)
  const refused = await api.send('POST', services, service('late', wish))
  t.equal(refused.status, 422)
  t.strictSame(
    refused.body.details.causes.map((cause: { field: string }) => cause.field),
    ['spec.clusterIPs', 'spec.ports[0].nodePort'],
  )
  t.match(refused.body.message, /provided IP is already allocated/)
  t.match(refused.body.message, /provided port is already allocated/)
  const moved = [{ op: 'replace', path: '/spec/ports/0/nodePort', value: 31_001 }]
  const type = { 'content-type': 'application/json-patch+json' }
  t.equal((await api.send('PATCH', `${services}/holder`, moved, type)).status, 200, 'its own is no conflict')
  const other = { type: 'NodePort', ports: [{ port: 80, nodePort: 31_000 }] }
  t.equal((await api.send('POST', services, service('port', other))).status, 201, 'the port is free again')
  await api.send('DELETE', `${services}/holder`)
  t.equal((await api.send('POST', services, service('heir', { clusterIP: address }))).status, 201)
})

t.test('the two-thousandth Service costs no more than the second', async (t) => {
  const create = async (prefix: string, count: number): Promise<number> => {
    const startMs = performance.now()
    for (let index = 0; index < count; index += 1) {
      const body = { apiVersion: 'v1', kind: 'Service', ...service(`${prefix}-${index}`) }
      const { status } = await api.server.client.request('POST', services, body)
      if (status !== 201) t.fail(`create ${prefix}-${index}: ${status}`)
    }
    return (performance.now() - startMs) / count
  }
  const firstMs = await create('first', 400)
  await create('middle', 1600)
  const lastMs = await create('last', 400)
  // Looking at every other Service would make the last ones several times as dear.
  t.ok(lastMs < 4 * firstMs, `${firstMs.toFixed(2)} ms, then ${lastMs.toFixed(2)} ms`)
})

t.test('what the cluster gives an object belongs to no writer', async (t) => {
  const created = await api.send(
    'POST',
    `${services}?fieldManager=someone`,
    service('owned', { type: 'NodePort' }),
  )
  t.match(created.body.spec, { clusterIP: /^10\.96\./, ports: [{ nodePort: Number }] })
  const [entry] = created.body.metadata.managedFields
  t.strictSame(Object.keys(entry.fieldsV1['f:spec']).sort(), [
    'f:externalTrafficPolicy',
    'f:internalTrafficPolicy',
    'f:ports',
    'f:sessionAffinity',
    'f:type',
  ])
  t.notOk('f:nodePort' in entry.fieldsV1['f:spec']['f:ports']['k:{"port":80,"protocol":"TCP"}'])
  const pod = { metadata: { name: 'owned' }, spec: { containers: [{ name: 'main', image: 'one' }] } }
  const made = await api.send('POST', '/api/v1/namespaces/default/pods', pod)
  t.match(made.body.spec, { serviceAccountName: 'default', tolerations: [{}, {}] })
  const spec = made.body.metadata.managedFields[0].fieldsV1['f:spec']
  for (const field of ['serviceAccountName', 'tolerations', 'priority']) t.notOk(`f:${field}` in spec, field)
  t.ok('f:restartPolicy' in spec, 'a default is the writer’s')
})

const refusals: {
  name: string
  type: string
  body: unknown
  query?: string
  status: number
  reason?: string
  message: RegExp
}[] = [
  {
    name: 'a misspelt field in a merge patch',
    type: 'application/merge-patch+json',
    query: '?fieldValidation=Strict',
    body: { spec: { typ: 'NodePort' } },
    status: 422,
    reason: 'Invalid',
    message: /^ "" is invalid: patch: Invalid value: .*: strict decoding error: unknown field "spec.typ"$/,
  },
  {
    name: 'a misspelt field in a strategic merge patch',
    type: 'application/strategic-merge-patch+json',
    query: '?fieldValidation=Strict',
    body: { spec: { typ: 'NodePort' } },
    status: 422,
    reason: 'Invalid',
    message:
      /patch: Invalid value: "map\[spec:map\[typ:NodePort\]\]": strict decoding error: unknown field "spec.typ"$/,
  },
  {
    name: 'a wrong type in a JSON patch',
    type: 'application/json-patch+json',
    body: [{ op: 'replace', path: '/spec/ports/0/port', value: 'http' }],
    status: 422,
    reason: 'Invalid',
    message: /json: cannot unmarshal string into Go struct field spec.ports.port of type integer$/,
  },
  {
    name: 'a misspelt field in a configuration to apply',
    type: 'application/apply-patch+yaml',
    query: '?fieldManager=someone&fieldValidation=Ignore',
    body: { apiVersion: 'v1', kind: 'Service', ...service('patched', { typ: 'NodePort' }) },
    status: 500,
    message:
      /^failed to create typed patch object \(default\/patched; \/v1, Kind=Service\): .spec.typ: field not declared in schema$/,
  },
]

t.test('bodies and patches that do not read as their kind', async (t) => {
  for (const [spec, why] of [
    [{ ports: [{ port: '80' }] }, 'string into Go struct field spec.ports.port of type integer'],
    [{ ports: [{ port: 80.5 }] }, 'number 80.5 into Go struct field spec.ports.port of type integer'],
    [{ selector: { app: true } }, 'bool into Go struct field spec.selector of type string'],
    [{ ports: {} }, 'object into Go struct field spec.ports of type array'],
  ] as const) {
    const { body } = await api.send('POST', services, service('misfit', spec))
    const message = `Service in version "v1" cannot be handled as a Service: json: cannot unmarshal ${why}`
    t.match(body, { code: 400, reason: 'BadRequest', message })
  }
  const labels = { metadata: { name: 'misfit', labels: { version: 1 } } }
  t.match((await api.send('POST', '/api/v1/namespaces/default/configmaps', labels)).body, {
    code: 400,
    message: /cannot unmarshal number into Go struct field metadata.labels of type string$/,
  })
  await api.send('POST', services, service('patched'))
  for (const { name, type, body, query = '', status, reason, message } of refusals) {
    const path = `${services}/patched${query}`
    const reply = await api.send('PATCH', path, body, { 'content-type': type })
    t.equal(reply.status, status, name)
    t.equal(reply.body.reason, reason, name)
    t.match(reply.body.message, message, name)
  }
})

t.test('what a token may do and whose it is', async (t) => {
  const post = (path: string): ReturnType<typeof api.send> =>
    api.send('POST', path, { metadata: {}, spec: {} })
  const authorization = '/apis/authorization.k8s.io/v1'
  t.match((await post(`${authorization}/selfsubjectaccessreviews`)).body.status, { allowed: true })
  t.match((await post(`${authorization}/selfsubjectrulesreviews`)).body.status, {
    resourceRules: [{ verbs: ['*'] }],
    incomplete: false,
  })
  t.match((await post('/apis/authentication.k8s.io/v1/selfsubjectreviews')).body, {
    kind: 'SelfSubjectReview',
    status: { userInfo: { username: 'tester', groups: ['system:masters'] } },
  })
})

t.test('what there is no stream for says what serves instead', async (t) => {
  const pod = '/api/v1/namespaces/default/pods/client'
  for (const [path, message] of [
    [`${pod}/exec?command=ls`, /no exec; in a rack use: weir sandbox exec default\/client -- COMMAND/],
    [`${pod}/attach`, /no attach/],
    [`${pod}/portforward`, /no portforward; in a rack use: .* curl/],
  ] as const)
    t.match((await api.send('POST', path)).body, { code: 501, reason: 'NotImplemented', message })
  t.equal((await api.send('GET', `${pod}/nothing`)).status, 404)
})
