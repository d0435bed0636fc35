// Lists and watches by HTTP: selectors, pages, resuming from a revision, bookmarks, compaction, tables.

import { once } from 'node:events'
import { Agent, get } from 'node:https'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { removeCertificates, startServer } from './test-server.ts'

const api = await startServer()
const maps = '/api/v1/namespaces/default/configmaps'
const tableAccept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json'
const bigCount = 10_000

t.teardown(async () => {
  await api.close()
  await removeCertificates()
})

const create = (name: string, labels: Record<string, string> = {}, data: Record<string, string> = {}) =>
  api.send('POST', maps, { metadata: { name, labels }, data })

t.test('label and field selectors choose', async (t) => {
  await create('one', { app: 'web', tier: 'front' })
  await create('two', { app: 'web', tier: 'back' })
  await create('three', { app: 'db' })
  const cases: [string, string[]][] = [
    ['labelSelector=app%3Dweb', ['one', 'two']],
    ['labelSelector=app%3D%3Dweb,tier!%3Dback', ['one']],
    ['labelSelector=app%20in%20(web,db),!tier', ['three']],
    ['labelSelector=tier', ['one', 'two']],
    ['labelSelector=app%20notin%20(web)', ['three']],
    ['fieldSelector=metadata.name%3Dtwo', ['two']],
    ['fieldSelector=metadata.name!%3Dtwo&labelSelector=app%3Dweb', ['one']],
  ]
  for (const [query, names] of cases) {
    const reply = await api.send('GET', `${maps}?${query}`)
    t.strictSame(
      reply.body.items.map((item: { metadata: { name: string } }) => item.metadata.name).sort(),
      names,
      query,
    )
  }
  t.match((await api.send('GET', `${maps}?fieldSelector=spec.x%3D1`)).body, {
    code: 400,
    message: 'field label not supported: spec.x',
  })
  t.equal((await api.send('GET', `${maps}?labelSelector=%3D%3D`)).status, 400)
})

t.test('pages are consistent, however the world moves between them', async (t) => {
  const first = await api.send('GET', `${maps}?limit=2`)
  t.equal(first.body.items.length, 2)
  t.equal(first.body.metadata.remainingItemCount, 1)
  await api.send('DELETE', `${maps}/two`)
  const second = await api.send('GET', `${maps}?limit=2&continue=${first.body.metadata.continue}`)
  t.strictSame([second.body.items[0].metadata.name, second.body.metadata.continue], ['two', undefined])
  t.equal(second.body.metadata.resourceVersion, first.body.metadata.resourceVersion)
  const exact = `${maps}?resourceVersion=${first.body.metadata.resourceVersion}&resourceVersionMatch=Exact`
  t.equal((await api.send('GET', exact)).body.items.length, 3, 'the list as it was')
  const unknown = Buffer.from('999.1').toString('base64url')
  t.match((await api.send('GET', `${maps}?limit=2&continue=${unknown}`)).body, {
    code: 410,
    reason: 'Expired',
  })
  t.match((await api.send('GET', `${maps}?resourceVersion=999999`)).body, { code: 504, reason: 'Timeout' })
})

t.test('a watch sends what is there, then what changes, as its selector sees it', async (t) => {
  const watch = await api.watch(`${maps}?watch=true&labelSelector=app%3Dweb`)
  await watch.until(1)
  await create('four', { app: 'web' })
  const patch = { 'content-type': 'application/merge-patch+json' }
  await api.send('PATCH', `${maps}/four`, { data: { x: 'y' } }, patch)
  await api.send('PATCH', `${maps}/four`, { metadata: { labels: { app: 'db' } } }, patch)
  await api.send('PATCH', `${maps}/four`, { metadata: { labels: { app: 'web' } } }, patch)
  await api.send('DELETE', `${maps}/four`)
  const events = await watch.until(6)
  t.strictSame(
    events.map((event) => `${event.type} ${event.object.metadata.name}`),
    ['ADDED one', 'ADDED four', 'MODIFIED four', 'DELETED four', 'ADDED four', 'DELETED four'],
  )
  watch.close()
})

t.test('a watch resumes from a revision, and is told when that is gone', async (t) => {
  const list = await api.send('GET', maps)
  const from = list.body.metadata.resourceVersion
  await create('five')
  await api.send('DELETE', `${maps}/five`)
  const watch = await api.watch(`${maps}?watch=1&resourceVersion=${from}`)
  t.strictSame(
    (await watch.until(2)).map((event) => event.type),
    ['ADDED', 'DELETED'],
  )
  watch.close()
  api.server.storage.compact()
  const late = await api.send('GET', `${maps}?watch=1&resourceVersion=${from}`)
  t.match(late.body, { code: 410, reason: 'Expired', message: /too old resource version/ })
})

t.test('initial events end with a marked bookmark; a timeout ends with one too', async (t) => {
  const query =
    'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1'
  const watch = await api.watch(`${maps}?${query}`)
  const events = await watch.until(3)
  t.strictSame(
    events.map((event) => event.type),
    ['ADDED', 'ADDED', 'BOOKMARK'],
  )
  t.equal(events[2].object.metadata.annotations['k8s.io/initial-events-end'], 'true')
  await watch.until(4)
  t.match(watch.events[3], {
    type: 'BOOKMARK',
    object: { kind: 'ConfigMap', metadata: { resourceVersion: /^\d+$/ } },
  })
  await watch.until(5)
  t.ok(watch.ended)
})

t.test('tables and metadata: what kubectl prints from', async (t) => {
  const table = await api.send('GET', maps, undefined, { accept: tableAccept })
  t.match(table.body, { kind: 'Table', apiVersion: 'meta.k8s.io/v1' })
  t.strictSame(
    table.body.columnDefinitions.map((column: { name: string }) => column.name),
    ['Name', 'Data'],
  )
  t.strictSame(table.body.rows[0].cells, ['one', 0])
  t.equal(table.body.rows[0].object.kind, 'PartialObjectMetadata')
  const watch = await api.watch(`${maps}?watch=1`, { accept: tableAccept })
  const events = await watch.until(2)
  t.ok(events[0].object.columnDefinitions)
  t.equal(events[1].object.columnDefinitions, null, 'columns are sent once')
  watch.close()
  const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
  const partial = await api.send('GET', maps, undefined, { accept })
  t.equal(partial.body.kind, 'PartialObjectMetadataList')
  t.notOk('data' in partial.body.items[0])
})

t.test('ten thousand objects are listed and watched', async (t) => {
  await api.send('POST', '/api/v1/namespaces', { metadata: { name: 'big' } })
  for (let count = 0; count < bigCount; count += 1) {
    await api.server.client.request('POST', '/api/v1/namespaces/big/configmaps', {
      metadata: { name: `map-${count}` },
      data: { n: `${count}` },
    })
  }
  const list = await api.send('GET', '/api/v1/namespaces/big/configmaps')
  t.equal(list.body.items.length, bigCount)
  const watch = await api.watch('/api/v1/namespaces/big/configmaps?watch=1')
  await watch.until(bigCount)
  await api.send('DELETE', '/api/v1/namespaces/big/configmaps/map-7')
  const events = await watch.until(bigCount + 1)
  t.match(events[bigCount], { type: 'DELETED', object: { metadata: { name: 'map-7' } } })
  watch.close()
  const meanwhile = await api.watch('/api/v1/namespaces/big/configmaps?watch=1')
  await meanwhile.until(1)
  await api.send('DELETE', '/api/v1/namespaces/big/configmaps/map-8')
  const all = await meanwhile.until(bigCount)
  t.ok(
    all.slice(0, bigCount - 1).every(({ type }) => type === 'ADDED'),
    'a change waits for the end of what the watch begins with',
  )
  t.match(all[bigCount - 1], { type: 'DELETED', object: { metadata: { name: 'map-8' } } })
  meanwhile.close()
})

t.test(
  'closing ends watches in good order and does not wait for clients that keep a connection',
  async (t) => {
    const closing = await startServer()
    const watch = await closing.watch(`${maps}?watch=1`)
    const agent = new Agent({ keepAlive: true, ca: closing.ca })
    const idle = await new Promise<Socket>((resolve, reject) => {
      const options = { agent, host: '127.0.0.1', port: closing.port, path: '/version' }
      get(options, (answer) => {
        const { socket } = answer
        answer.resume().on('end', () => resolve(socket))
      }).on('error', reject)
    })
    const silent = connect(closing.port, '127.0.0.1')
    await once(silent, 'connect')
    const startMs = performance.now()
    await closing.close()
    t.ok(performance.now() - startMs < 2000, 'at once')
    await watch.until(1)
    t.ok(watch.ended)
    if (!idle.closed) await once(idle, 'close')
    if (!silent.closed) await once(silent, 'close')
    agent.destroy()
  },
)
