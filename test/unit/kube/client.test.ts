import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { createKubeClient, pathOf } from '../../../src/kube/client.ts'
import { NODES, PODS, SERVICES } from '../../../src/kube/objects.ts'
import { DEPLOYMENTS } from '../../../src/kube/workloads.ts'
import { type FakeServer, fakeServer } from './fake-server.ts'

async function withServer(test: Pick<typeof t, 'teardown'>): Promise<FakeServer> {
  const server = await fakeServer()
  test.teardown(() => server.close())
  return server
}

t.test('paths', async (t) => {
  t.equal(pathOf(NODES, { name: 'n1', namespace: 'ignored' }), '/api/v1/nodes/n1')
  t.equal(
    pathOf(PODS, { namespace: 'a', name: 'p', subresource: 'status' }),
    '/api/v1/namespaces/a/pods/p/status',
  )
  t.equal(pathOf(DEPLOYMENTS, {}), '/apis/apps/v1/deployments')
})

t.test('discovery of one group, which may not be there', async (t) => {
  const server = await withServer(t)
  let status = 404
  server.intercept = (request, response) => {
    if (request.url !== '/apis/cilium.io/v2') return false
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({ kind: 'APIResourceList', resources: [{ name: 'a' }, { name: 'a/status' }] }),
    )
    return true
  }
  const client = createKubeClient({ servers: [server.url] })
  t.teardown(() => client.close())
  t.same(await client.discover('cilium.io', 'v2'), [])
  status = 200
  t.same(await client.discover('cilium.io', 'v2'), ['a', 'a/status'])
  status = 403
  await t.rejects(client.discover('cilium.io', 'v2'), { code: 'forbidden' })
})

t.test('verbs send the right method, type and body', async (t) => {
  const server = await withServer(t)
  server.intercept = (_request, response) => {
    response.end('{"metadata":{"name":"x"}}')
    return true
  }
  const client = createKubeClient({ servers: [server.url] })
  t.teardown(() => client.close())
  const path = { namespace: 'a', name: 'x' }
  await client.get(SERVICES, path)
  await client.create(SERVICES, { metadata: { namespace: 'a', name: 'x' }, spec: {} })
  await client.update(SERVICES, { metadata: path, spec: {} }, 'status')
  await client.patch(SERVICES, path, [{ op: 'test' }], { kind: 'json' })
  await client.patch(SERVICES, path, { spec: {} }, { kind: 'apply', fieldManager: 'me', force: true })
  await client.delete(SERVICES, path, { gracePeriodSeconds: 0 })
  const seen = server.requests.map(({ method, url, headers }) => [method, url, headers['content-type']])
  t.same(seen, [
    ['GET', '/api/v1/namespaces/a/services/x', undefined],
    ['POST', '/api/v1/namespaces/a/services', 'application/json'],
    ['PUT', '/api/v1/namespaces/a/services/x/status', 'application/json'],
    ['PATCH', '/api/v1/namespaces/a/services/x', 'application/json-patch+json'],
    ['PATCH', '/api/v1/namespaces/a/services/x?fieldManager=me&force=true', 'application/apply-patch+yaml'],
    ['DELETE', '/api/v1/namespaces/a/services/x', 'application/json'],
  ])
  t.match(JSON.parse(server.requests[5]?.body ?? ''), { kind: 'DeleteOptions', gracePeriodSeconds: 0 })
})

t.test('statuses become codes', async (t) => {
  const server = await withServer(t)
  const client = createKubeClient({ servers: [server.url] })
  t.teardown(() => client.close())
  const cases: [number, string, string][] = [
    [401, 'Unauthorized', 'unauthorized'],
    [403, 'Forbidden', 'forbidden'],
    [404, 'NotFound', 'not-found'],
    [409, 'AlreadyExists', 'already-exists'],
    [409, 'Conflict', 'conflict'],
    [410, 'Expired', 'gone'],
    [422, 'Invalid', 'invalid'],
    [429, 'TooManyRequests', 'too-many-requests'],
    [500, 'InternalError', 'server-error'],
    [503, 'ServiceUnavailable', 'unavailable'],
  ]
  for (const [status, reason, code] of cases) {
    server.intercept = (_request, response) => {
      response
        .writeHead(status, { 'retry-after': '3' })
        .end(JSON.stringify({ kind: 'Status', reason, message: 'because' }))
      return true
    }
    const call = client.get(SERVICES, { namespace: 'a', name: 'x' })
    await t.rejects(
      call,
      { code, status, reason, retryAfterSeconds: 3, message: /because/ },
      `${status} ${reason}`,
    )
  }
  server.intercept = (_request, response) => {
    response.end('<html>')
    return true
  }
  await t.rejects(client.get(SERVICES, { name: 'x' }), { code: 'bad-response' })
})

t.test('an unreachable server is passed over, and the next one stays current', async (t) => {
  const gone = await fakeServer()
  await gone.close()
  const server = await withServer(t)
  const client = createKubeClient({ servers: [gone.url, server.url] })
  t.teardown(() => client.close())
  await client.list(SERVICES)
  t.equal(client.currentServer(), server.url)
})

t.test('a write whose connection broke after sending is not repeated elsewhere', async (t) => {
  const first = await withServer(t)
  const second = await withServer(t)
  first.intercept = (request) => {
    request.socket.destroy()
    return true
  }
  const client = createKubeClient({ servers: [first.url, second.url] })
  t.teardown(() => client.close())
  await t.rejects(client.create(SERVICES, { metadata: { name: 'x' }, spec: {} }), { code: 'interrupted' })
  t.equal(second.requests.length, 0)
  await client.list(SERVICES)
  t.equal(second.requests.length, 1, 'the next request goes to the other server')
})

t.test('a request without answer times out; an aborted one ends at once', async (t) => {
  const server = await withServer(t)
  server.intercept = () => true
  const client = createKubeClient({ servers: [server.url], requestTimeoutMs: 40 })
  t.teardown(() => client.close())
  await t.rejects(client.get(SERVICES, { name: 'x' }), { code: 'timeout' })
  const patient = createKubeClient({ servers: [server.url] })
  t.teardown(() => patient.close())
  await t.rejects(patient.get(SERVICES, { name: 'x' }, AbortSignal.timeout(20)), { code: 'aborted' })
})

t.test('API-006 TLS: trusts its CA only; the token is read again when its file changes', async (t) => {
  const directory = t.testdir({ token: 'one\n' })
  const [key, certificate] = [join(directory, 'key'), join(directory, 'ca')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  const elliptic = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  execFileSync('openssl', ['req', '-x509', ...elliptic, '-keyout', key, '-out', certificate, ...subject], {
    stdio: 'ignore',
  })
  const tokens: (string | undefined)[] = []
  const server = createServer(
    { key: readFileSync(key), cert: readFileSync(certificate) },
    (request, response) => {
      tokens.push(request.headers.authorization)
      response.end('{"metadata":{},"items":[]}')
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const tokenFile = join(directory, 'token')

  const stranger = createKubeClient({ servers: [url], tokenFile })
  t.teardown(() => stranger.close())
  await t.rejects(stranger.list(SERVICES), { code: 'unreachable', message: /not trusted/ })

  const client = createKubeClient({ servers: [url], tokenFile, caFile: certificate })
  t.teardown(() => client.close())
  await client.list(SERVICES)
  writeFileSync(tokenFile, 'two-longer\n')
  await new Promise((resolve) => setTimeout(resolve, 1050))
  await client.list(SERVICES)
  t.same(tokens, ['Bearer one', 'Bearer two-longer'])
})

t.test('API-006 a CA that is rotated: the old server is no longer trusted, the new one is', async (t) => {
  const directory = t.testdir({})
  const make = async (name: string) => {
    const [key, certificate] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)]
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
    const elliptic = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
    execFileSync('openssl', ['req', '-x509', ...elliptic, '-keyout', key, '-out', certificate, ...subject], {
      stdio: 'ignore',
    })
    const pem = { key: readFileSync(key), cert: readFileSync(certificate) }
    const server = createServer(pem, (_request, response) => response.end('{"metadata":{},"items":[]}'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, cert: pem.cert }
  }
  const [before, after] = [await make('before'), await make('after')]
  const caFile = join(directory, 'ca.crt')
  writeFileSync(caFile, before.cert)
  const clientOf = ({ url }: { url: string }) => {
    const made = createKubeClient({ servers: [url], caFile })
    t.teardown(() => made.close())
    return made
  }
  const [old, fresh] = [clientOf(before), clientOf(after)]
  await old.list(SERVICES)
  await t.rejects(fresh.list(SERVICES), { code: 'unreachable', message: /not trusted/ })
  writeFileSync(caFile, after.cert)
  await new Promise((resolve) => setTimeout(resolve, 1050))
  await fresh.list(SERVICES)
  await t.rejects(old.list(SERVICES), { code: 'unreachable' }, 'not even by a connection it had')
})

t.test('configuration errors say what to do', async (t) => {
  t.throws(() => createKubeClient({ servers: [] }), { code: 'configuration' })
  t.throws(() => createKubeClient({ servers: ['nonsense'] }), { code: 'configuration', message: /https/ })
  t.throws(() => createKubeClient({ servers: ['https://x'], caFile: '/none' }), {
    code: 'configuration',
    message: /none/,
  })
})
