// A server that dies without a word: no FIN, no RST, packets just end. Its address is taken away inside a namespace of the test's own.

import { execFileSync } from 'node:child_process'
import { createServer } from 'node:http'
import t from 'tap'
import { createKubeClient } from '../../../src/kube/client.ts'
import { listWatch } from '../../../src/kube/list-watch.ts'
import { SERVICES } from '../../../src/kube/objects.ts'
import { listenTcpIn } from '../../../src/sys/libc/sockets.ts'
import { fakeServer } from './fake-server.ts'

const NOTICE_MS = 60_000
const ip = (...args: string[]) => execFileSync('ip', args)

t.test('API-005 a watch on a server that died silently goes on at another one within a minute', async (t) => {
  const name = `weir-t${process.pid}dead`
  const link = `wt${process.pid}`
  // Link-local addresses by the process, so that tests beside this one do not meet it.
  const net = `169.254.${process.pid & 127}`
  const block = ((process.pid >> 7) & 63) * 4
  const [near, far] = [`${net}.${block + 1}`, `${net}.${block + 2}`]
  ip('netns', 'add', name)
  t.teardown(() => ip('netns', 'del', name))
  ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'far', 'netns', name)
  ip('addr', 'add', `${near}/30`, 'dev', link)
  ip('link', 'set', link, 'up')
  ip('-n', name, 'addr', 'add', `${far}/30`, 'dev', 'far')
  ip('-n', name, 'link', 'set', 'far', 'up')

  const dying = createServer((request, response) => {
    response.writeHead(200)
    if (request.url?.includes('watch=true')) response.flushHeaders()
    else response.end('{"metadata":{"resourceVersion":"7"},"items":[]}')
  })
  await new Promise<void>((resolve) =>
    dying.listen({ fd: listenTcpIn(`/run/netns/${name}`, far, 6443) }, resolve),
  )
  t.teardown(() => {
    dying.close()
    dying.closeAllConnections()
  })
  const other = await fakeServer()
  t.teardown(() => other.close())
  other.setSilently({ name: 'alive', value: 1 })

  const client = createKubeClient({ servers: [`http://${far}:6443`, other.url] })
  const problems: string[] = []
  const { promise: isWatching, resolve: opened } = Promise.withResolvers<void>()
  const watch = listWatch({
    client,
    resource: SERVICES,
    project: (object) => object,
    onChanges: () => {},
    onProblem: ({ code }) => problems.push(code),
    onOpened: opened,
    streamsLists: false,
  })
  t.teardown(() => {
    watch.close()
    client.close()
  })
  await watch.synced
  await isWatching
  ip('-n', name, 'addr', 'flush', 'dev', 'far')
  const diedMs = Date.now()
  while (other.watches.size === 0 && Date.now() - diedMs < NOTICE_MS)
    await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(other.watches.size, 1, `after ${((Date.now() - diedMs) / 1000).toFixed(0)} s`)
  t.match(problems, ['interrupted'])
})
