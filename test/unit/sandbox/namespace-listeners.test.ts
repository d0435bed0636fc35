import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { namespacePath } from '../../../src/sandbox/names.ts'
import { NamespaceListeners } from '../../../src/sandbox/namespace-listeners.ts'
import { networkNamespaceId } from '../../../src/sys/libc/namespaces.ts'
import { listenTcpIn } from '../../../src/sys/libc/sockets.ts'

const PORT = 16_443
const namespace = `weir-t${process.pid}-listeners`
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' })
const make = (): void => {
  ip('netns', 'add', namespace)
  ip('-n', namespace, 'link', 'set', 'lo', 'up')
}
const remove = (): void => {
  if (existsSync(namespacePath(namespace))) ip('netns', 'del', namespace)
}

/** Listening TCP sockets of port 16443 inside, by the namespace's own table. */
const isServed = (): boolean => {
  const table = execFileSync('nsenter', [`--net=${namespacePath(namespace)}`, 'cat', '/proc/net/tcp'], {
    encoding: 'utf8',
  })
  return table.includes(`:${PORT.toString(16).toUpperCase()} 00000000:0000 0A`)
}

const until = async (isSo: () => boolean, limitMs = 5000): Promise<boolean> => {
  const endMs = performance.now() + limitMs
  while (!isSo() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 20))
  return isSo()
}

t.test('a namespace is served as often as it is made, and let go when it is removed', async (t) => {
  t.teardown(remove)
  const open = new Set<string>()
  const listeners = new NamespaceListeners(
    [namespace],
    async (path) => {
      const id = networkNamespaceId(path)
      const server = createServer()
      const fd = listenTcpIn(path, '127.0.0.1', PORT)
      await new Promise<void>((resolve) => server.listen({ fd }, resolve))
      open.add(id)
      return {
        close: () =>
          new Promise((resolve) =>
            server.close(() => {
              open.delete(id)
              resolve()
            }),
          ),
      }
    },
    (message) => t.comment(message),
  )
  await listeners.start()
  t.equal(open.size, 0, 'a missing namespace is no error')
  make()
  t.ok(await until(() => open.size === 1))
  t.ok(isServed())
  const [first] = open
  remove()
  t.ok(await until(() => open.size === 0), 'nothing holds the removed namespace')
  make()
  t.ok(await until(() => open.size === 1))
  t.notOk(open.has(first ?? ''), 'another namespace of the same name')
  t.ok(isServed())
  await listeners.close()
  t.notOk(isServed())
})
