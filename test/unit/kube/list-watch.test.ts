import t from 'tap'
import { fakeServer, until } from './fake-server.ts'
import { follow, serverWith } from './follow.ts'

t.test('API-007 lists in pages and hands over one batch before synced resolves', async (t) => {
  const server = await serverWith(t, 5)
  const { changes, follower } = follow(t, [server], { pageSize: 2 })
  await follower.synced
  t.equal(changes.length, 5)
  t.equal(follower.get('default/s3'), 3)
  t.equal(server.requests.filter((request) => request.url.includes('limit=2')).length, 3)
  await until('a watch', () => server.watches.size === 1)
  t.match(server.requests.at(-1)?.url, /watch=true/)
  t.match(server.requests.at(-1)?.url, /allowWatchBookmarks=true/)
  t.match(server.requests.at(-1)?.url, /resourceVersion=105/)
})

t.test('adds, updates and deletes arrive in batches, with what was before', async (t) => {
  const server = await serverWith(t, 1)
  const followed = follow(t, [server], { batchMs: 20 })
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  const batchesBefore = followed.batches
  server.set({ name: 's0', value: 7 })
  server.set({ name: 'new', value: 8 })
  server.remove('s0')
  await until('the changes', () => followed.changes.length === 4)
  t.same(followed.brief(), ['add s0', 'update s0', 'add new', 'delete s0'])
  t.same(followed.changes[1], { type: 'update', key: 'default/s0', row: 7, previous: 0 })
  t.same(followed.changes[3], { type: 'delete', key: 'default/s0', previous: 7 })
  t.equal(followed.batches, batchesBefore + 1, 'one batch')
})

t.test('an object the projection skips is no row, and ends one', async (t) => {
  const server = await serverWith(t, 1)
  server.setSilently({ name: 'skipped' })
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  server.set({ name: 's0' })
  await until('the delete', () => followed.changes.length === 2)
  t.same(followed.brief(), ['add s0', 'delete s0'])
})

t.test(
  'API-003 a reset in the middle of an event resumes at the last version without a new list',
  async (t) => {
    const server = await serverWith(t, 1)
    const followed = follow(t, [server])
    await followed.follower.synced
    await until('a watch', () => server.watches.size === 1)
    server.set({ name: 'a', value: 1 })
    await until('a', () => followed.changes.length === 2)
    for (const watch of server.watches) {
      watch.write('{"type":"ADDED","object":{"meta')
      setImmediate(() => watch.socket?.resetAndDestroy())
    }
    await until('the watch to go', () => server.watches.size === 0)
    await until('a new watch', () => server.watches.size === 1)
    t.match(server.requests.at(-1)?.url, /resourceVersion=102/)
    server.set({ name: 'b', value: 2 })
    await until('b', () => followed.changes.length === 3)
    t.equal(server.requests.filter((request) => request.url.includes('limit=')).length, 1, 'one list in all')
    t.same(followed.problems, ['interrupted'])
  },
)

t.test('API-001, API-002 410 as an event: lists again and tells only differences', async (t) => {
  const server = await serverWith(t, 3)
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  server.removeSilently('s0')
  server.removeSilently('s1')
  server.setSilently({ name: 's1', value: 11 })
  server.setSilently({ name: 'late', value: 12 })
  server.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } })
  await until('differences', () => followed.changes.length === 7)
  t.same(
    followed.brief().slice(3).sort(),
    ['add late', 'add s1', 'delete s0', 'delete s1'],
    's1 was replaced; s2 untouched',
  )
  t.same(followed.problems, ['gone'])
})

t.test('API-001 410 as status lists again', async (t) => {
  const server = await serverWith(t, 1)
  let refused = 0
  server.intercept = (request, response) => {
    if (!request.url?.includes('watch=true') || refused++ > 0) return false
    server.setSilently({ name: 'meanwhile', value: 5 })
    response.writeHead(410, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }))
    return true
  }
  const followed = follow(t, [server])
  await until('the second list', () => followed.changes.length === 2)
  t.same(followed.brief(), ['add s0', 'add meanwhile'])
})

t.test('a server that came back with an older state is listed again at once', async (t) => {
  const server = await serverWith(t, 1)
  let refused = 0
  server.intercept = (request, response) => {
    if (!request.url?.includes('watch=true') || refused > 0) return false
    refused += 1
    const status = {
      kind: 'Status',
      code: 504,
      reason: 'Timeout',
      message: 'Too large resource version: 9, current: 3',
    }
    response.writeHead(504, { 'content-type': 'application/json' }).end(JSON.stringify(status))
    return true
  }
  follow(t, [server])
  await until(
    'a second list',
    () => server.requests.filter((request) => request.url.includes('limit=')).length === 2,
  )
  t.equal(refused, 1)
})

t.test('API-003 a list answered 503 is tried again with backoff, for as long as it takes', async (t) => {
  const server = await serverWith(t, 1)
  let refusals = 0
  server.intercept = (_request, response) => {
    if (refusals++ >= 4) return false
    response.writeHead(503).end('not now')
    return true
  }
  const { follower, problems } = follow(t, [server])
  await follower.synced
  t.same(problems, Array(4).fill('unavailable'))
})

t.test('a silent connection is opened anew, which is no failure', async (t) => {
  const server = await serverWith(t, 1)
  const { follower, problems } = follow(t, [server], { inactivityMs: 60 })
  await follower.synced
  await until(
    'a second watch',
    () => server.requests.filter((request) => request.url.includes('watch=')).length === 2,
  )
  t.same(problems, [])
})

t.test('API-004 bookmarks move the version on and keep the connection', async (t) => {
  const server = await serverWith(t, 1)
  const { follower } = follow(t, [server], { inactivityMs: 150 })
  await follower.synced
  await until('a watch', () => server.watches.size === 1)
  for (let version = 500; version < 505; version++) {
    server.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version) } } })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.equal(follower.state.resourceVersion, '504')
  t.equal(server.requests.filter((request) => request.url.includes('watch=')).length, 1)
})

t.test('when the server goes, the next one is used, and only differences are told', async (t) => {
  const first = await fakeServer()
  const second = await serverWith(t, 1)
  first.setSilently({ name: 's0', value: 0 })
  const followed = follow(t, [first, second])
  await followed.follower.synced
  await until('a watch', () => first.watches.size === 1)
  await first.close()
  await until('a watch at the second', () => second.watches.size === 1)
  second.set({ name: 'after', value: 1 })
  await until('the event', () => followed.changes.length === 2)
  t.same(followed.brief(), ['add s0', 'add after'])
})

t.test('a server that is gone for a while is waited for', async (t) => {
  const server = await fakeServer()
  server.setSilently({ name: 'a', value: 1 })
  const followed = follow(t, [server])
  await followed.follower.synced
  await server.close()
  await until('failures', () => followed.follower.state.failures >= 3)
  const again = await fakeServer(server.port)
  t.teardown(() => again.close())
  for (let count = 0; count < 3; count++) again.setSilently({ name: `b${count}`, value: count })
  again.intercept = (request, response) => {
    if (!request.url?.includes('resourceVersion=101&') && !request.url?.endsWith('resourceVersion=101'))
      return false
    response.writeHead(410).end()
    return true
  }
  await until('the new state', () => followed.changes.length === 5)
  t.same(followed.brief().sort(), ['add a', 'add b0', 'add b1', 'add b2', 'delete a'])
})

t.test('a line that is not JSON, and an unknown event, lead to a new list', async (t) => {
  const server = await serverWith(t, 1)
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  for (const watch of server.watches) watch.write('nonsense\n')
  await until(
    'a second list',
    () => server.requests.filter((request) => request.url.includes('limit=')).length === 2,
  )
  await until('a watch', () => server.watches.size === 1)
  server.send({ type: 'WHAT', object: { metadata: {} } })
  await until(
    'a third list',
    () => server.requests.filter((request) => request.url.includes('limit=')).length === 3,
  )
  t.same(followed.problems, ['bad-response', 'bad-response'])
  t.equal(followed.changes.length, 1, 'nothing changed')
})

t.test('characters split between chunks arrive whole', async (t) => {
  const server = await serverWith(t, 0)
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  const event = {
    type: 'ADDED',
    object: { value: 1, metadata: { name: 'käse', namespace: 'd', uid: 'x', resourceVersion: '200' } },
  }
  const bytes = Buffer.from(`${JSON.stringify(event)}\n`)
  const cut = bytes.indexOf(0xc3) + 1
  for (const watch of server.watches) {
    watch.write(bytes.subarray(0, cut))
    await new Promise((resolve) => setTimeout(resolve, 20))
    watch.write(bytes.subarray(cut))
  }
  await until('the event', () => followed.changes.length === 1)
  t.equal(followed.changes[0]?.key, 'd/käse')
})

t.test('close ends it at once and before the first list rejects synced', async (t) => {
  const server = await serverWith(t, 1)
  server.intercept = () => true
  const { follower } = follow(t, [server])
  follower.close()
  await t.rejects(follower.synced, { code: 'aborted' })
  t.equal(follower.state.phase, 'closed')
})
