// RBAC as the embedded API server enforces it: which rule allows what, who is meant by a binding, and what a refusal says.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { AGENT_USER, grantAgentAccess } from '../../../../src/sandbox/agent-access.ts'
import { Authorizer, type Rule } from '../../../../src/sandbox/apiserver/authorizer.ts'
import { ensureCertificates } from '../../../../src/sandbox/apiserver/certificates.ts'
import type { KubeObject } from '../../../../src/sandbox/apiserver/kind.ts'
import { builtinKinds } from '../../../../src/sandbox/apiserver/kinds/index.ts'
import type { User } from '../../../../src/sandbox/apiserver/request.ts'
import type { Attributes } from '../../../../src/sandbox/apiserver/request-attributes.ts'
import { objectKey, type ResourceKey } from '../../../../src/sandbox/apiserver/storage.ts'
import { serviceAccountUser } from '../../../../src/sandbox/apiserver/users.ts'
import { removeCertificates, startServer, token } from './test-server.ts'

const RBAC = 'rbac.authorization.k8s.io'
const READER_TOKEN = 'reader-token'

t.teardown(removeCertificates)

/** `get /pods`, `list apps/deployments in a`, `get /pods/status in a named x`, `get path /metrics`. */
function attributes(text: string): Attributes {
  const path = /^(\S+) path (\S+)$/.exec(text)
  if (path) return { verb: path[1] ?? '', path: path[2] ?? '' }
  const [, verb = '', group = '', what = '', namespace, name] =
    /^(\S+) ([^/ ]*)\/(\S+)(?: in (\S+))?(?: named (\S+))?$/.exec(text) ?? []
  const [plural = '', subresource] = what.split('/')
  return { verb, path: '', resource: { group, plural, subresource, namespace, name } }
}

/** A store of these objects by resource. */
function storeOf(objects: Readonly<Record<string, readonly KubeObject[]>>) {
  const listed = (key: ResourceKey, namespace?: string): KubeObject[] =>
    (objects[key.split('/')[1] ?? ''] ?? []).filter(
      ({ metadata }) => namespace === undefined || metadata.namespace === namespace,
    )
  return {
    list: listed,
    get: (key: ResourceKey, namespace: string | undefined, name: string) =>
      listed(key).find(
        ({ metadata }) => objectKey(metadata.namespace, metadata.name ?? '') === objectKey(namespace, name),
      ),
  }
}

const object = (kind: string, name: string, namespace: string | undefined, rest: object): KubeObject => ({
  apiVersion: `${RBAC}/v1`,
  kind,
  metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  ...rest,
})
const bind = (kind: 'ClusterRole' | 'Role', role: string, subjects: readonly object[]) => ({
  roleRef: { apiGroup: RBAC, kind, name: role },
  subjects,
})
const person: User = { name: 'ann', uid: '1', groups: ['team'] }

t.test('which rule allows what', async (t) => {
  const cases: readonly (readonly [Rule, readonly string[], readonly string[]])[] = [
    [
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
      ['get /pods', 'list /pods in a', 'get /pods in a named x'],
      ['watch /pods', 'get apps/pods', 'get /pods/status', 'get /services', 'get path /pods'],
    ],
    [
      { apiGroups: [''], resources: ['pods/status'], verbs: ['patch'] },
      ['patch /pods/status in a named x'],
      ['patch /pods in a named x', 'patch /services/status', 'get /pods/status'],
    ],
    [
      { apiGroups: ['*'], resources: ['*/scale'], verbs: ['update'] },
      ['update apps/deployments/scale in a named x'],
      ['update apps/deployments in a named x', 'update apps/deployments/status'],
    ],
    [
      { apiGroups: ['apps'], resources: ['*'], verbs: ['*'] },
      ['delete apps/deployments', 'patch apps/deployments/status', 'deletecollection apps/replicasets'],
      ['get /pods', 'get batch/jobs'],
    ],
    [
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['get', 'list', 'create'] },
      ['get /secrets in a named one', 'list /secrets in a named one'],
      ['get /secrets in a named two', 'list /secrets in a', 'create /secrets in a'],
    ],
    [
      { nonResourceURLs: ['/metrics', '/debug/*'], verbs: ['get'] },
      ['get path /metrics', 'get path /debug/', 'get path /debug/pprof'],
      ['get path /debug', 'post path /metrics', 'get path /metrics/x', 'get /metrics'],
    ],
    [{ nonResourceURLs: ['*'], verbs: ['*'] }, ['post path /anything'], ['get /pods']],
  ]
  for (const [rule, allowed, refused] of cases) {
    const store = storeOf({
      clusterroles: [object('ClusterRole', 'one', undefined, { rules: [rule] })],
      clusterrolebindings: [
        object(
          'ClusterRoleBinding',
          'one',
          undefined,
          bind('ClusterRole', 'one', [{ kind: 'User', name: 'ann' }]),
        ),
      ],
    })
    const authorizer = new Authorizer(store)
    for (const text of allowed)
      t.ok(authorizer.decide(person, attributes(text)).isAllowed, `${JSON.stringify(rule)} allows ${text}`)
    for (const text of refused)
      t.notOk(
        authorizer.decide(person, attributes(text)).isAllowed,
        `${JSON.stringify(rule)} refuses ${text}`,
      )
  }
})

t.test('who is meant, and where', async (t) => {
  const pods = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]
  const authorizerFor = (subject: object) =>
    new Authorizer(
      storeOf({
        clusterroles: [object('ClusterRole', 'pods', undefined, { rules: pods })],
        roles: [object('Role', 'pods', 'a', { rules: pods })],
        rolebindings: [
          object('RoleBinding', 'one', 'a', bind('Role', 'pods', [subject])),
          object('RoleBinding', 'two', 'b', bind('ClusterRole', 'pods', [subject])),
          object('RoleBinding', 'three', 'c', bind('Role', 'missing', [subject])),
        ],
      }),
    )
  const account = serviceAccountUser('a', 'robot')
  const cases: readonly (readonly [object, User, boolean])[] = [
    [{ kind: 'User', name: 'ann' }, person, true],
    [{ kind: 'User', name: 'bob' }, person, false],
    [{ kind: 'Group', name: 'team' }, person, true],
    [{ kind: 'Group', name: 'ann' }, person, false],
    [{ kind: 'Group', name: 'system:authenticated' }, person, true],
    [{ kind: 'ServiceAccount', name: 'robot', namespace: 'a' }, account, true],
    [{ kind: 'ServiceAccount', name: 'robot', namespace: 'b' }, account, false],
    [{ kind: 'ServiceAccount', name: 'robot' }, account, true],
    [{ kind: 'Group', name: 'system:serviceaccounts:a' }, account, true],
    [{ kind: 'User', name: 'system:serviceaccount:a:robot' }, account, true],
  ]
  for (const [subject, user, isMeant] of cases)
    t.equal(
      authorizerFor(subject).decide(user, attributes('get /pods in a')).isAllowed,
      isMeant,
      `${JSON.stringify(subject)} and ${user.name}`,
    )
  const authorizer = authorizerFor({ kind: 'User', name: 'ann' })
  const decide = (text: string) => authorizer.decide(person, attributes(text))
  t.same(decide('get /pods in a'), {
    isAllowed: true,
    reason: 'RBAC: allowed by RoleBinding "one/a" of Role "pods" to User "ann"',
  })
  t.ok(decide('get /pods in b').isAllowed, "a cluster's role in one namespace")
  t.notOk(decide('get /pods').isAllowed, 'and not in the cluster')
  t.same(decide('get /pods in c'), {
    isAllowed: false,
    reason: `RBAC: role.${RBAC} "missing" not found`,
  })
  const master = { name: 'root', uid: '0', groups: ['system:masters'] }
  t.same(authorizer.decide(master, attributes('delete /nodes named x')), { isAllowed: true, reason: '' })
})

/** A server whose first token is the administrator's, with a ServiceAccount that may read pods of one namespace. */
async function serverWithReader() {
  const tokens = [
    { token, user: { name: 'admin', uid: '1', groups: ['system:masters'] } },
    { token: READER_TOKEN, user: serviceAccountUser('default', 'reader') },
  ]
  const server = await startServer({ kinds: builtinKinds, tokens })
  const rbac = `/apis/${RBAC}/v1/namespaces/default`
  const reader = { kind: 'ServiceAccount', name: 'reader', namespace: 'default' }
  await server.send('POST', `${rbac}/roles`, {
    metadata: { name: 'reader' },
    rules: [
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['list', 'watch'] },
      { apiGroups: [''], resources: ['configmaps'], verbs: ['patch'] },
    ],
  })
  await server.send('POST', `${rbac}/rolebindings`, {
    metadata: { name: 'reader' },
    ...bind('Role', 'reader', [reader]),
  })
  const asReader = { authorization: `Bearer ${READER_TOKEN}` }
  return { server, asReader }
}

t.test('what a refusal says, over HTTP', async (t) => {
  const { server, asReader } = await serverWithReader()
  t.teardown(() => server.close())
  const user = 'User "system:serviceaccount:default:reader" cannot'
  const cases: readonly (readonly [string, string, string | undefined])[] = [
    ['GET', '/api/v1/namespaces/default/pods', undefined],
    ['GET', '/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Done', undefined],
    ['GET', '/apis', undefined],
    ['GET', '/openapi/v3', undefined],
    [
      'GET',
      '/api/v1/pods',
      `pods is forbidden: ${user} list resource "pods" in API group "" at the cluster scope`,
    ],
    [
      'GET',
      '/api/v1/namespaces/default/secrets?watch=true',
      `secrets is forbidden: ${user} watch resource "secrets" in API group "" in the namespace "default"`,
    ],
    [
      'GET',
      '/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dtwo',
      `secrets "two" is forbidden: ${user} list resource "secrets" in API group "" in the namespace "default"`,
    ],
    [
      'DELETE',
      '/apis/apps/v1/namespaces/default/deployments',
      `deployments.apps is forbidden: ${user} deletecollection resource "deployments" in API group "apps" in the namespace "default"`,
    ],
    [
      'PATCH',
      '/api/v1/nodes/node1/status',
      `nodes "node1" is forbidden: ${user} patch resource "nodes/status" in API group "" at the cluster scope`,
    ],
    [
      'GET',
      '/api/v1/namespaces/other',
      `namespaces "other" is forbidden: ${user} get resource "namespaces" in API group "" in the namespace "other"`,
    ],
    ['GET', '/metrics', `forbidden: ${user} get path "/metrics"`],
    // Before anything is looked for.
    [
      'GET',
      '/apis/none.example/v1/things',
      `things.none.example is forbidden: ${user} list resource "things" in API group "none.example" at the cluster scope`,
    ],
  ]
  for (const [method, path, message] of cases) {
    const reply = await server.send(method, path, undefined, asReader)
    if (message === undefined) t.equal(reply.status, 200, `${method} ${path}`)
    else t.match(reply.body, { kind: 'Status', code: 403, reason: 'Forbidden', message }, `${method} ${path}`)
  }
  const details = await server.send('PATCH', '/api/v1/nodes/node1/status', undefined, asReader)
  t.same(details.body.details, { name: 'node1', kind: 'nodes' })
  t.equal((await server.send('GET', '/api/v1/nodes', undefined, { authorization: 'Bearer no' })).status, 401)
  t.equal((await server.send('GET', '/api/v1/nodes')).status, 200, 'the administrator may')
})

t.test('server-side apply of what is not there needs the right to create it', async (t) => {
  const { server, asReader } = await serverWithReader()
  t.teardown(() => server.close())
  const path = '/api/v1/namespaces/default/configmaps/one?fieldManager=test'
  const headers = { ...asReader, 'content-type': 'application/apply-patch+yaml' }
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'one' }, data: { a: 'b' } }
  t.match((await server.send('PATCH', path, body, headers)).body, {
    code: 403,
    message: /cannot create resource "configmaps"/,
  })
  await server.send('POST', '/api/v1/namespaces/default/configmaps', body)
  t.match((await server.send('PATCH', path, body, headers)).status, 200)
})

t.test('whoever may, speaks for others; reviews tell what they may', async (t) => {
  const { server, asReader } = await serverWithReader()
  t.teardown(() => server.close())
  const as = { 'impersonate-user': 'system:serviceaccount:default:reader' }
  t.equal((await server.send('GET', '/api/v1/namespaces/default/pods', undefined, as)).status, 200)
  t.equal((await server.send('GET', '/api/v1/pods', undefined, as)).status, 403)
  const master = { 'impersonate-user': 'root', 'impersonate-group': 'system:masters' }
  t.match((await server.send('GET', '/api/v1/pods', undefined, { ...asReader, ...master })).body, {
    message:
      'users "root" is forbidden: User "system:serviceaccount:default:reader" cannot impersonate resource "users" in API group "" at the cluster scope',
  })
  t.equal((await server.send('GET', '/api/v1/pods', undefined, { 'impersonate-group': 'team' })).status, 400)

  const reviews = '/apis/authorization.k8s.io/v1'
  const ask = async (path: string, spec: object, headers = asReader) =>
    (await server.send('POST', path, { spec }, headers)).body
  const resourceAttributes = { namespace: 'default', verb: 'list', resource: 'pods' }
  t.match((await ask(`${reviews}/selfsubjectaccessreviews`, { resourceAttributes })).status, {
    allowed: true,
    reason:
      'RBAC: allowed by RoleBinding "reader/default" of Role "reader" to ServiceAccount "reader/default"',
  })
  const elsewhere = { resourceAttributes: { ...resourceAttributes, namespace: 'other' } }
  t.same((await ask(`${reviews}/selfsubjectaccessreviews`, elsewhere)).status, { allowed: false })
  const path = { nonResourceAttributes: { verb: 'get', path: '/api' } }
  t.equal((await ask(`${reviews}/selfsubjectaccessreviews`, path)).status.allowed, true)
  const spec = { user: 'system:serviceaccount:default:reader', resourceAttributes }
  t.match(await ask(`${reviews}/subjectaccessreviews`, spec), { code: 403 })
  const byAdmin = { authorization: `Bearer ${token}` }
  t.equal((await ask(`${reviews}/subjectaccessreviews`, spec, byAdmin)).status.allowed, true)
  const { resourceRules } = (await ask(`${reviews}/selfsubjectrulesreviews`, { namespace: 'default' })).status
  t.match(
    resourceRules.find(({ resources }: Rule) => resources?.includes('secrets')),
    { resourceNames: ['one'] },
  )
  t.match(await ask('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}), {
    status: {
      userInfo: {
        username: 'system:serviceaccount:default:reader',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
      },
    },
  })
})

t.test('a client certificate names its user', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-certificates-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const { ca, key, cert } = await ensureCertificates(directory)
  const server = await startServer({ kinds: builtinKinds, tls: { ca, key, cert } })
  t.teardown(() => server.close())
  const openssl = (line: string) =>
    execFileSync('openssl', line.split(' '), { cwd: directory, stdio: 'pipe' })
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout'
  const certificateOf = (name: string, subject: string, authority: string) => {
    openssl(`req -new ${newKey} ${name}.key -out ${name}.csr -subj ${subject}`)
    const signer = `-CA ${authority}.crt -CAkey ${authority}.key -CAcreateserial`
    openssl(`x509 -req -in ${name}.csr ${signer} -out ${name}.crt -days 1`)
    return {
      key: readFileSync(join(directory, `${name}.key`), 'utf8'),
      cert: readFileSync(join(directory, `${name}.crt`), 'utf8'),
    }
  }
  const get = (path: string, tls: object): Promise<{ status: number; body: { message?: string } }> =>
    new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port: server.port, ca, path, agent: false, ...tls }, (incoming) => {
        let text = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (chunk: string) => {
          text += chunk
        })
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: JSON.parse(text) }))
      })
        .on('error', reject)
        .end()
    })
  const admin = certificateOf('admin', '/O=system:masters/CN=boss', 'ca')
  t.equal((await get('/api/v1/nodes', admin)).status, 200)
  const plain = certificateOf('plain', '/O=team/CN=ann', 'ca')
  t.match(await get('/api/v1/nodes', plain), { status: 403, body: { message: /User "ann" cannot list/ } })
  t.equal((await get('/api/v1/nodes', {})).status, 401)
  openssl(`req -x509 ${newKey} other.key -out other.crt -subj /CN=other -days 1`)
  const stranger = certificateOf('stranger', '/O=system:masters/CN=boss', 'other')
  t.equal((await get('/api/v1/nodes', stranger)).status, 401, 'and who signed it matters')
})

t.test("the manifests' roles", async (t) => {
  const server = await startServer({ kinds: builtinKinds })
  t.teardown(() => server.close())
  await grantAgentAccess(server.server)
  await grantAgentAccess(server.server)
  const authorizer = new Authorizer(server.server.storage)
  const may = (text: string) => authorizer.decide(AGENT_USER, attributes(text)).isAllowed
  for (const text of [
    'watch /services',
    'patch /services/status in default named web',
    'patch /nodes named node1',
    'create coordination.k8s.io/leases in kube-system',
    'update coordination.k8s.io/leases in kube-system named weir-address-allocator',
    'watch /secrets in kube-system named weir-bgp',
    'patch cilium.io/ciliumloadbalancerippools/status named pool',
  ])
    t.ok(may(text), text)
  for (const text of [
    'update /services in default named web',
    'delete /nodes named node1',
    'update coordination.k8s.io/leases in kube-system named other',
    'create coordination.k8s.io/leases in default',
    'list /secrets in kube-system',
    'get /secrets in kube-system named weir-bgp',
    'watch /secrets in kube-system named other',
    'watch /secrets in default named weir-bgp',
    'create /pods/exec in default named web',
    'create rbac.authorization.k8s.io/clusterrolebindings',
  ])
    t.notOk(may(text), text)
})
