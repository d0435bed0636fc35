// healthCheckNodePorts over real HTTP on loopback addresses: answers, opening and closing, ports that are taken.

import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type CheckAddresses, CheckPorts } from '../../../../src/agent/health/check-ports.ts'
import { address, type Family } from '../../../../src/model/address.ts'
import { objectKey } from '../../../../src/model/service.ts'

const WEB = objectKey('shop', 'web')
const OTHER = objectKey('shop', 'other')
const LOOPBACK: CheckAddresses = { ipv4: [address('127.0.0.1')], ipv6: [address('::1')] }
const check = (port: number, localEndpoints: Partial<Record<Family, number>>) => ({ port, localEndpoints })

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

async function ask(
  host: string,
  port: number,
  options: { method?: string; agent?: Agent } = {},
): Promise<Answer> {
  const asked = request({ host, port, path: '/any/path', agent: false, ...options })
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}

const codeOf = (host: string, port: number) =>
  ask(host, port).then(
    ({ status }) => status,
    (error: NodeJS.ErrnoException) => error.code,
  )

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (await holds()) return
    await sleep(10)
  }
  throw new Error(`waited for ${what}`)
}

/** A port that was free a moment ago, in both families. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  server.close()
  await once(server, 'close')
  return typeof bound === 'object' && bound !== null ? bound.port : 0
}

function bed(t: Test) {
  const world = { isHealthy: true, addresses: LOOPBACK, events: [] as unknown[][] }
  const ports = new CheckPorts({
    nodeName: 'node1',
    addresses: () => world.addresses,
    isHealthy: () => world.isHealthy,
    events: { record: (...event) => void world.events.push(event) },
    log: { warn: () => {} },
    retryMs: 50,
  })
  t.teardown(() => ports.close())
  return { world, ports }
}

t.test('EXT-013 headers, body and status, in both families', async (t) => {
  const { ports, world } = bed(t)
  const port = await freePort()
  ports.set(WEB, 'uid', check(port, { ipv4: 2, ipv6: 0 }))
  ports.apply()
  await until('the port', async () => (await codeOf('127.0.0.1', port)) === 200)
  for (const method of ['GET', 'POST', 'DELETE']) {
    const answer = await ask('127.0.0.1', port, { method })
    t.match(answer, {
      status: 200,
      headers: {
        'content-type': 'application/json',
        'x-content-type-options': 'nosniff',
        'x-load-balancing-endpoint-weight': '2',
      },
    })
    t.equal(
      JSON.stringify(JSON.parse(answer.body)),
      '{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}',
    )
  }
  t.match(await ask('::1', port), { status: 503, headers: { 'x-load-balancing-endpoint-weight': '0' } })
  ports.set(WEB, 'uid', check(port, { ipv4: 1, ipv6: 1 }))
  t.match(await ask('::1', port), { status: 200, headers: { 'x-load-balancing-endpoint-weight': '1' } })
  world.isHealthy = false
  const sick = await ask('127.0.0.1', port)
  t.match(sick, { status: 503, headers: { 'x-load-balancing-endpoint-weight': '1' } })
  t.match(JSON.parse(sick.body), { localEndpoints: 1, serviceProxyHealthy: false })
})

t.test('EXT-015 a Service that cannot be written is not healthy, while others are', async (t) => {
  const { ports } = bed(t)
  const [port, other] = [await freePort(), await freePort()]
  ports.set(WEB, 'uid-1', check(port, { ipv4: 1 }))
  ports.set(OTHER, 'uid-2', check(other, { ipv4: 1 }))
  ports.apply(new Map([[WEB, {}]]))
  await until('the port', async () => (await codeOf('127.0.0.1', other)) === 200)
  t.equal(await codeOf('127.0.0.1', port), 503)
  ports.apply(new Map())
  t.equal(await codeOf('127.0.0.1', port), 200)
})

t.test('EXT-014 refused at once when the Service needs it no more, kept connections too', async (t) => {
  const { ports } = bed(t)
  const port = await freePort()
  ports.set(WEB, 'uid', check(port, { ipv4: 1 }))
  ports.apply()
  await until('the port', async () => (await codeOf('127.0.0.1', port)) === 200)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.equal((await ask('127.0.0.1', port, { agent })).status, 200)
  const idle = connect(port, '127.0.0.1')
  await once(idle, 'connect')
  const ended = once(idle, 'close')
  ports.set(WEB, 'uid', undefined)
  ports.apply()
  t.equal(await codeOf('127.0.0.1', port), 'ECONNREFUSED')
  await ended
  await t.rejects(ask('127.0.0.1', port, { agent }), 'nor by a connection that was kept')
  agent.destroy()
})

t.test('EXT-014 another number, another family, other addresses', async (t) => {
  const { ports, world } = bed(t)
  const [first, second] = [await freePort(), await freePort()]
  ports.set(WEB, 'uid', check(first, { ipv4: 1 }))
  ports.apply()
  await until('the first port', async () => (await codeOf('127.0.0.1', first)) === 200)
  t.equal(await codeOf('::1', first), 'ECONNREFUSED')
  ports.set(WEB, 'uid', check(second, { ipv4: 1, ipv6: 1 }))
  ports.apply()
  t.equal(await codeOf('127.0.0.1', first), 'ECONNREFUSED')
  await until('the second port', async () => (await codeOf('::1', second)) === 200)
  world.addresses = { ipv4: [address('127.0.0.2')], ipv6: [] }
  ports.apply()
  await until('the other address', async () => (await codeOf('127.0.0.2', second)) === 200)
  t.equal(await codeOf('127.0.0.1', second), 'ECONNREFUSED')
  t.equal(await codeOf('::1', second), 'ECONNREFUSED')
  world.addresses = { ipv4: 'all', ipv6: 'all' }
  ports.apply()
  for (const host of ['127.0.0.1', '127.0.0.3', '::1'])
    await until(`all addresses: ${host}`, async () => (await codeOf(host, second)) === 200)
})

t.test('EXT-014 a port that is taken only warns, and is tried again', async (t) => {
  const { ports, world } = bed(t)
  const [taken, free] = [await freePort(), await freePort()]
  const squatter = createServer().listen(taken, '127.0.0.1')
  await once(squatter, 'listening')
  ports.set(WEB, 'uid-1', check(taken, { ipv4: 1 }))
  ports.set(OTHER, 'uid-2', check(free, { ipv4: 1 }))
  ports.apply()
  await until('the Event', () => world.events.length > 0)
  await until('the other Service', async () => (await codeOf('127.0.0.1', free)) === 200)
  t.match(world.events, [
    [
      { kind: 'Service', namespace: 'shop', name: 'web', uid: 'uid-1' },
      'Warning',
      'FailedToStartServiceHealthcheck',
      /node1 failed to start healthcheck "shop\/web" on port \d+: .*EADDRINUSE/,
    ],
  ])
  t.strictSame(ports.usage, { wanted: 2, failing: 1 })
  squatter.close()
  await until('the port once it is free', async () => (await codeOf('127.0.0.1', taken)) === 200)
  t.equal(world.events.length, 1, 'the same failure is told once')
  t.strictSame(ports.usage, { wanted: 2, failing: 0 })
})

t.test('EXT-014 a number moves from one Service to another within a round', async (t) => {
  const { ports, world } = bed(t)
  const port = await freePort()
  ports.set(WEB, 'uid-1', check(port, { ipv4: 1 }))
  ports.apply()
  await until('the port', async () => (await codeOf('127.0.0.1', port)) === 200)
  ports.set(OTHER, 'uid-2', check(port, { ipv4: 3 }))
  ports.set(WEB, 'uid-1', undefined)
  ports.apply()
  await until('the other', async () => (await codeOf('127.0.0.1', port)) === 200)
  t.match(JSON.parse((await ask('127.0.0.1', port)).body), { service: { name: 'other' }, localEndpoints: 3 })
  t.strictSame(world.events, [])
})
