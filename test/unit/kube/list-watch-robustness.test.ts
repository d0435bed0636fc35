// What an agent that runs for months meets: servers that forget, lag, refuse, slow down and come back, and lists too big to take at
// one go. Rows of CONFORMANCE.md by their ids.

import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { parseConfig } from '../../../src/agent/config.ts'
import { type FakeServer, fakeServer, until } from './fake-server.ts'
import { follow, serverWith } from './follow.ts'

const lists = (server: FakeServer) => server.requests.filter(({ url }) => !url.includes('watch=true'))
const watches = (server: FakeServer) => server.requests.filter(({ url }) => url.includes('watch=true'))

t.test('API-002 an object replaced under its name while nobody looked is a delete and an add', async (t) => {
  const server = await serverWith(t, 1)
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  server.removeSilently('s0')
  server.set({ name: 's0', value: 9 })
  await until('both', () => followed.changes.length === 3)
  t.same(followed.brief(), ['add s0', 'delete s0', 'add s0'])
})

t.test('API-003 pauses grow and are jittered, and Retry-After is kept to', async (t) => {
  const server = await serverWith(t, 1)
  const times: number[] = []
  server.intercept = (_request, response) => {
    times.push(performance.now())
    if (times.length > 6) return false
    response.writeHead(500).end('no')
    return true
  }
  const { follower } = follow(t, [server], { backoff: { firstMs: 16, maxMs: 64 }, random: () => 0 })
  await follower.synced
  const pauses = times.slice(1, 7).map((time, index) => time - (times[index] ?? 0))
  for (const [index, leastMs] of [8, 16, 32, 32, 32, 32].entries())
    t.ok((pauses[index] ?? 0) >= leastMs - 1, `pause ${index} of ${pauses[index]?.toFixed(1)} ms`)

  const busy = await serverWith(t, 1)
  const asked: number[] = []
  busy.intercept = (_request, response) => {
    asked.push(performance.now())
    if (asked.length > 1) return false
    response.writeHead(429, { 'retry-after': '1' }).end()
    return true
  }
  const patient = follow(t, [busy], { backoff: { firstMs: 1, maxMs: 5000 } })
  await patient.follower.synced
  t.ok((asked[1] ?? 0) - (asked[0] ?? 0) >= 990, 'a second, as the server asked')
  t.same(patient.problems, ['too-many-requests'])
})

t.test('API-003 a server that ends every watch at once is not asked in a tight loop', async (t) => {
  const server = await serverWith(t, 1)
  server.intercept = (request, response) => {
    if (!request.url?.includes('watch=true')) return false
    response.writeHead(200).end()
    return true
  }
  const { follower } = follow(t, [server], { backoff: { firstMs: 20, maxMs: 40 } })
  await follower.synced
  await sleep(300)
  t.ok(watches(server).length <= 25, `${watches(server).length} watches in 300 ms`)
})

t.test(
  'API-004 four quiet hours, in which the server compacts and ends watches, cost one list',
  async (t) => {
    const server = await serverWith(t, 2)
    const followed = follow(t, [server])
    await followed.follower.synced
    // Every five minutes etcd forgets what is older than five minutes; every minute brings a bookmark; the server ends each watch.
    let version = 1000
    let compacted = 0
    server.intercept = (request, response) => {
      const asked = Number(/resourceVersion=(\d+)/.exec(request.url ?? '')?.[1] ?? Number.POSITIVE_INFINITY)
      if (!request.url?.includes('watch=true') || asked >= compacted) return false
      response.writeHead(410).end('{"code":410,"reason":"Expired"}')
      return true
    }
    for (let fiveMinutes = 0; fiveMinutes < 48; fiveMinutes += 1) {
      await until('a watch', () => server.watches.size === 1)
      const before = version
      for (let minute = 0; minute < 5; minute += 1) {
        version += 100
        server.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version) } } })
      }
      await until('the bookmark', () => followed.follower.state.resourceVersion === String(version))
      compacted = before
      const ended = [...server.watches]
      for (const watch of ended) watch.end()
      await until('the end', () => ended.every((watch) => !server.watches.has(watch)))
    }
    await until('a watch', () => server.watches.size === 1)
    t.equal(lists(server).length, 1)
    t.equal(watches(server).length, 49)
    t.same(followed.problems, [])
  },
)

t.test('API-007 a continue token that expires: the list begins anew, in one piece', async (t) => {
  const server = await serverWith(t, 9)
  let expired = 0
  server.intercept = (request, response) => {
    if (!request.url?.includes('continue=6')) return false
    expired += 1
    server.removeSilently('s1')
    response.writeHead(410, { 'content-type': 'application/json' })
    response.end('{"kind":"Status","code":410,"reason":"Expired","message":"too old"}')
    return true
  }
  const followed = follow(t, [server], { pageSize: 3 })
  await followed.follower.synced
  t.equal(expired, 1)
  t.equal(followed.changes.length, 8, 'what went meanwhile is not there')
  t.notMatch(lists(server).at(-1)?.url, /limit=/)
  t.same(followed.problems, [], 'which is no failure')
})

t.test('API-007 pages of large objects become smaller', async (t) => {
  const server = await serverWith(t, 0)
  for (let index = 0; index < 600; index += 1)
    server.setSilently({ name: `s${index}`, value: index, padding: 'x'.repeat(5000) })
  const followed = follow(t, [server])
  await followed.follower.synced
  t.equal(followed.changes.length, 600)
  t.match(lists(server)[0]?.url, /limit=500/)
  const second = Number(/limit=(\d+)/.exec(lists(server)[1]?.url ?? '')?.[1])
  t.ok(second >= 80 && second <= 110, `then ${second}`)
})

t.test('API-008 a list is streamed where the server can, and the watch goes on behind it', async (t) => {
  const server = await serverWith(t, 3)
  server.streaming = 'served'
  const followed = follow(t, [server], { streamsLists: true })
  await followed.follower.synced
  t.equal(followed.changes.length, 3)
  t.equal(lists(server).length, 0)
  const [first] = watches(server)
  t.match(first?.url, /sendInitialEvents=true/)
  t.match(first?.url, /resourceVersionMatch=NotOlderThan/)
  t.match(first?.url, /allowWatchBookmarks=true/)
  server.set({ name: 'later', value: 4 })
  await until('the change', () => followed.changes.length === 4)
  t.equal(watches(server).length, 1, 'by the same request')
  server.removeSilently('s0')
  server.send({ type: 'ERROR', object: { code: 410, reason: 'Expired' } })
  await until('the difference', () => followed.changes.length === 5)
  t.same(followed.brief().at(-1), 'delete s0')
})

t.test('API-008 where it cannot, pages serve', async (t) => {
  const refusing = await serverWith(t, 3)
  refusing.streaming = 'refused'
  const refused = follow(t, [refusing], { streamsLists: true })
  await refused.follower.synced
  t.equal(refused.changes.length, 3)
  t.ok(lists(refusing).length >= 1)

  const old = await serverWith(t, 3)
  old.streaming = 'ignored'
  const ignored = follow(t, [old], { streamsLists: true })
  await until('the watch', () => old.watches.size === 1)
  old.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '103' } } })
  await ignored.follower.synced
  t.equal(ignored.changes.length, 3, 'a server that does not know the option sends a bookmark like any other')

  const breaking = await serverWith(t, 3)
  breaking.streaming = 'served'
  let broken = 0
  breaking.intercept = (request, response) => {
    if (!request.url?.includes('sendInitialEvents') || broken > 0) return false
    broken += 1
    response.writeHead(200).write('{"type":"ADDED","object":{"value":1,"metadata":{"name":"half"}}}\n')
    setTimeout(() => response.destroy(), 20)
    return true
  }
  const half = follow(t, [breaking], { streamsLists: true })
  await half.follower.synced
  t.same(half.brief(), ['add s0', 'add s1', 'add s2'], 'nothing of the half list was told')
})

/** Hand-overs, and in which turn of the event loop each came. */
function watchTurns() {
  const slices: { size: number; turn: number }[] = []
  let turns = 0
  let isDone = false
  const count = () => {
    turns += 1
    if (!isDone) setImmediate(count)
  }
  count()
  return {
    slices,
    note: (changes: readonly unknown[]) => slices.push({ size: changes.length, turn: turns }),
    stop: () => {
      isDone = true
    },
    total: () => slices.reduce((sum, { size }) => sum + size, 0),
  }
}

t.test('API-009 a full list is handed over in slices, and others get their turn in between', async (t) => {
  for (const streaming of ['served', 'ignored'] as const) {
    const server = await serverWith(t, 5000)
    server.streaming = streaming
    const turns = watchTurns()
    const { follower } = follow(t, [server], {
      streamsLists: streaming === 'served',
      onChanges: turns.note,
    })
    await follower.synced
    turns.stop()
    const { slices } = turns
    t.equal(turns.total(), 5000)
    t.ok(slices.every(({ size }) => size <= 500))
    t.equal(new Set(slices.map(({ turn }) => turn)).size, slices.length, 'one slice a turn')
  }
})

t.test('API-009 so is what a list after 410 finds changed', async (t) => {
  const server = await serverWith(t, 5000)
  const turns = watchTurns()
  const { follower } = follow(t, [server], { onChanges: turns.note })
  await follower.synced
  await until('a watch', () => server.watches.size === 1)
  const before = turns.slices.length
  for (let index = 0; index < 5000; index += 1) server.setSilently({ name: `s${index}`, value: -index })
  server.send({ type: 'ERROR', object: { code: 410, reason: 'Expired' } })
  await until('all changes', () => turns.total() >= 10_000)
  turns.stop()
  const slices = turns.slices.slice(before)
  t.ok(slices.every(({ size }) => size <= 500))
  t.equal(new Set(slices.map(({ turn }) => turn)).size, slices.length, 'one slice a turn')
  const watchesAsked = () => server.requests.filter(({ url }) => url.includes('watch=true')).length
  await until('the next watch', () => watchesAsked() === 2)
  server.set({ name: 's1', value: 7 })
  await until('a change alone', () => turns.total() >= 10_001)
})

t.test('API-009 whoever closes it between two slices is told nothing more', async (t) => {
  /** Closed at the first slice of the list; at the first of what went, if it is to go. */
  const toldAfterClose = async (streaming: 'served' | 'ignored', goes: boolean) => {
    const server = await serverWith(t, 1200)
    server.streaming = streaming
    let isClosed = false
    let after = 0
    const { follower } = follow(t, [server], {
      streamsLists: streaming === 'served',
      onChanges: ([first]) => {
        if (isClosed) after += 1
        if (isClosed || (goes && first?.type !== 'delete')) return
        isClosed = true
        setImmediate(() => follower.close())
      },
    })
    if (goes) {
      await follower.synced
      await until('a watch', () => server.watches.size === 1)
      for (let index = 0; index < 1200; index += 1) server.removeSilently(`s${index}`)
      server.send({ type: 'ERROR', object: { code: 410, reason: 'Expired' } })
    }
    await until('it to be closed', () => isClosed)
    await new Promise((resolve) => setTimeout(resolve, 30))
    t.equal(follower.state.phase, 'closed', 'and stays so')
    return after
  }
  for (const streaming of ['served', 'ignored'] as const)
    for (const goes of [false, true])
      t.equal(await toldAfterClose(streaming, goes), 0, `${streaming} ${goes}`)
})

t.test('API-010 nodes that start together ask one after another', async (t) => {
  const server = await serverWith(t, 1)
  const startedMs = performance.now()
  const { follower } = follow(t, [server], { startDelayMs: 80 })
  await follower.synced
  t.ok(performance.now() - startedMs >= 75)
  const closed = follow(t, [server], { startDelayMs: 60_000 })
  closed.follower.close()
  await t.rejects(closed.follower.synced, { code: 'aborted' })
})

t.test('API-010 the shipped manifests spread the start, and bring a FlowSchema for the agents', async (t) => {
  const read = (name: string) =>
    parseAllDocuments(
      readFileSync(fileURLToPath(new URL(`../../../manifests/base/${name}`, import.meta.url)), 'utf8'),
    ).map((document) => document.toJS())
  const [configMap] = read('config.yaml')
  const config = parseConfig(
    configMap.data['agent.yaml'] ?? Object.values(configMap.data)[0],
    'config.yaml',
    {
      NODE_NAME: 'node1',
      NODE_IP: '192.0.2.9',
    },
  )
  t.ok(config.kubernetes.startSpreadSeconds > 0)
  const kinds = read('flow-schema.yaml')
  t.match(kinds, [
    {
      apiVersion: 'flowcontrol.apiserver.k8s.io/v1',
      kind: 'FlowSchema',
      spec: {
        rules: [
          {
            subjects: [
              { kind: 'ServiceAccount', serviceAccount: { name: 'weir', namespace: 'kube-system' } },
            ],
          },
        ],
      },
    },
  ])
  t.match(read('kustomization.yaml')[0].resources, ['rbac.yaml', 'config.yaml', 'flow-schema.yaml'])
})

t.test('API-011 a server that lags behind what is known is asked again, and tells nothing old', async (t) => {
  const server = await serverWith(t, 2)
  const followed = follow(t, [server])
  await followed.follower.synced
  await until('a watch', () => server.watches.size === 1)
  server.set({ name: 'newest', value: 7 })
  await until('the change', () => followed.changes.length === 3)
  let answers = 0
  server.intercept = (request, response) => {
    if (request.url?.includes('watch=true') || answers >= 3) return false
    answers += 1
    response.end('{"metadata":{"resourceVersion":"101"},"items":[]}')
    return true
  }
  server.send({ type: 'ERROR', object: { code: 410, reason: 'Expired' } })
  await until('a list that is new enough', () => lists(server).length === 5)
  await until('a watch', () => server.watches.size === 1)
  t.equal(followed.changes.length, 3, 'nothing was deleted')
  t.match(followed.problems, ['gone', 'unavailable', 'unavailable', 'unavailable'])
  server.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '50' } } })
  server.set({ name: 's0', value: 1 })
  await until('the change', () => followed.changes.length === 4)
  t.equal(followed.follower.state.resourceVersion, '104')
})

t.test('API-011 a cluster restored from a backup is believed in the end', async (t) => {
  const server = await serverWith(t, 9)
  const followed = follow(t, [server])
  await followed.follower.synced
  const restored = await fakeServer()
  t.teardown(() => restored.close())
  restored.setSilently({ name: 'restored', value: 1 })
  server.intercept = (request, response) => {
    if (request.url?.includes('watch=true')) response.writeHead(410).end()
    else response.end('{"metadata":{"resourceVersion":"5"},"items":[]}')
    return true
  }
  for (const watch of server.watches) watch.end()
  await until('the older state', () => followed.changes.length === 18)
  t.equal(followed.problems.filter((code) => code === 'unavailable').length, 5)
})
