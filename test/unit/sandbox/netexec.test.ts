import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'

const SCRIPT = new URL('../../../src/sandbox/netexec.ts', import.meta.url).pathname

async function freePort(): Promise<number> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

async function start(
  test: Pick<typeof t, 'teardown'>,
  env: Record<string, string> = {},
): Promise<{ child: ChildProcess; port: number }> {
  const port = await freePort()
  const args = [SCRIPT, `--http-port=${port}`, '--udp-port', String(port)]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { HOSTNAME: 'web-1', ...env },
  })
  test.teardown(() => child.kill('SIGKILL'))
  for (let tries = 0; tries < 200; tries++) {
    const up = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined)
    if (up !== undefined) break
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return { child, port }
}

async function udp(
  type: 'udp4' | 'udp6',
  address: string,
  port: number,
  ...texts: string[]
): Promise<string> {
  const socket = createSocket(type)
  for (const text of texts) socket.send(text, port, address)
  const [data] = (await once(socket, 'message', { signal: AbortSignal.timeout(2000) })) as [Buffer]
  const sourcePort = socket.address().port
  socket.close()
  return data.toString().replace(String(sourcePort), 'PORT')
}

t.test('answers over both families as agnhost netexec does', async (t) => {
  const { port } = await start(t)
  const get = async (host: string, path: string, headers = {}) => {
    const response = await fetch(`http://${host}:${port}${path}`, { headers })
    return [response.status, await response.text()]
  }
  for (const [host, plain] of [
    ['127.0.0.1', '127.0.0.1'],
    ['[::1]', '\\[::1\\]'],
  ] as const) {
    t.same(await get(host, '/hostname'), [200, 'web-1'])
    t.match((await get(host, '/clientip'))[1], new RegExp(`^${plain}:\\d+$`))
    t.same(await get(host, '/echo?msg=hello%20there'), [200, 'hello there'])
    t.same(await get(host, '/echo?msg=x&code=418'), [418, 'x'])
    t.same(await get(host, '/header?key=X-Thing', { 'x-thing': 'seen' }), [200, 'seen'])
    t.same(await get(host, '/header?key=Host'), [200, ''])
    t.match((await get(host, '/'))[1], /^NOW: \d{4}-/)
    t.same(await get(host, '/healthz'), [200, ''])
    t.equal((await get(host, '/shell?cmd=id'))[0], 404)
  }
  for (const [type, address, shown] of [
    ['udp4', '127.0.0.1', '127.0.0.1:PORT'],
    ['udp6', '::1', '[::1]:PORT'],
  ] as const) {
    t.equal(await udp(type, address, port, 'hostname\n'), 'web-1')
    t.equal(await udp(type, address, port, 'clientip'), shown)
    t.equal(await udp(type, address, port, 'echo a b c'), 'a b c')
    t.equal(await udp(type, address, port, 'hostName'), 'web-1')
    t.equal(await udp(type, address, port, 'echo Mixed Case'), 'mixed case')
    // Unknown commands and empty datagrams are passed over: the answer that comes is the next one's.
    t.equal(await udp(type, address, port, 'what', 'echo', ' ', 'hostname'), 'web-1')
  }
  const long = 'x'.repeat(2000)
  t.equal(await udp('udp4', '127.0.0.1', port, `echo ${long}`), long)
})

t.test('/exit ends with the code asked for', async (t) => {
  const { child, port } = await start(t)
  await fetch(`http://127.0.0.1:${port}/exit?code=7`)
  t.same(await once(child, 'exit'), [7, null])
})

t.test('after SIGTERM it goes on serving, and ends by itself before the grace period is over', async (t) => {
  const { child, port } = await start(t, { WEIR_GRACE_SECONDS: '1' })
  const ended = once(child, 'exit')
  const sentMs = Date.now()
  child.kill('SIGTERM')
  await new Promise((resolve) => setTimeout(resolve, 150))
  const response = await fetch(`http://127.0.0.1:${port}/hostname`)
  t.equal(await response.text(), 'web-1')
  t.same(await ended, [0, null])
  t.ok(Date.now() - sentMs >= 450 && Date.now() - sentMs < 1000, `${Date.now() - sentMs} ms`)
})
