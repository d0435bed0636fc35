// Secrets with passwords: followed by name, read live, and never told in an error.

import t from 'tap'
import { SecretStore } from '../../../src/agent/secrets.ts'
import { createKubeClient } from '../../../src/kube/client.ts'
import { fakeServer, until } from '../kube/fake-server.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

async function bed(t: { teardown: (run: () => Promise<void>) => void }) {
  const server = await fakeServer()
  const client = createKubeClient({ servers: [server.url] })
  const seen = { changes: 0, warnings: [] as string[] }
  const store = new SecretStore({
    client,
    log: { warn: (_: unknown, text?: string) => void seen.warnings.push(text ?? '') } as never,
    onChange: () => {
      seen.changes += 1
    },
  })
  t.teardown(async () => {
    store.close()
    client.close()
    await server.close()
  })
  return { server, store, seen }
}

t.test('a password, and its change', async (t) => {
  const { server, store, seen } = await bed(t)
  server.setSilently({ name: 'tor', data: { password: base64('first') } })
  store.follow([{ namespace: 'default', name: 'tor' }])
  t.equal(await store.read('default', 'tor', 'password'), 'first')
  t.ok(
    server.requests.every(
      ({ url }) =>
        url.startsWith('/api/v1/namespaces/default/secrets?') &&
        url.includes('fieldSelector=metadata.name%3Dtor'),
    ),
    'asked for by name alone',
  )
  const before = seen.changes
  server.set({ name: 'tor', data: { password: base64('second') } })
  await until('the change', () => seen.changes > before)
  t.equal(await store.read('default', 'tor', 'password'), 'second')
  t.equal(store.has({ namespace: 'default', name: 'tor' }), true)
})

t.test('what is missing is said, and nothing of what is there', async (t) => {
  const { server, store } = await bed(t)
  server.setSilently({ name: 'tor', data: { other: base64('first') } })
  const failure = await store.read('default', 'tor', 'password').catch((error: Error) => error.message)
  t.equal(failure, 'the Secret has no such key')
  await t.rejects(store.read('default', 'none', 'password'), { message: /there is no such Secret/ })
  t.equal(store.has({ namespace: 'default', name: 'none' }), false)
  t.equal(store.has({ namespace: 'default', name: 'unheard-of' }), undefined)
})

t.test('a Secret that the role does not grant is named, with the mend', async (t) => {
  const { server, store, seen } = await bed(t)
  server.intercept = (_, response) => {
    response.writeHead(403, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ kind: 'Status', code: 403, reason: 'Forbidden', message: 'no' }))
    return true
  }
  await t.rejects(store.read('default', 'tor', 'password'), { message: /Role weir-bgp-passwords/ })
  t.strictSame(seen.warnings, ['a Secret with a BGP password may not be read'])
})

t.test('a Secret that nobody names any more is not followed', async (t) => {
  const { server, store } = await bed(t)
  store.follow([{ namespace: 'default', name: 'tor' }])
  await until('a watch', () => server.watches.size === 1)
  store.follow([])
  await until('no watch', () => server.watches.size === 0)
})
