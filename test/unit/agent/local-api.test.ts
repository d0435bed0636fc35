// The local API on a real socket: what asks for nothing that is there gets an answer, and harms nobody.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { serveLocalApi } from '../../../src/agent/local-api.ts'

async function statusOf(socketPath: string, path: string): Promise<number | undefined> {
  const [response] = (await once(request({ socketPath, path }).end(), 'response')) as [IncomingMessage]
  response.resume()
  return response.statusCode
}

t.test('paths that are none, or no URL at all', async (t) => {
  // The names of sockets have to be short.
  const directory = mkdtempSync(join(tmpdir(), 'api-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const socketPath = join(directory, 'agent.sock')
  const server = await serveLocalApi(socketPath, { '/v1/status': () => ({}) })
  t.teardown(() => server.close().closeAllConnections())
  for (const path of ['//', '/', 'http://[', '/v1/status/', '/toString'])
    t.equal(await statusOf(socketPath, path), 404, path)
  t.equal(await statusOf(socketPath, '/v1/status?x=1'), 200)
})

t.test('what a POST brings', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'api-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const socketPath = join(directory, 'agent.sock')
  const seen: string[] = []
  const server = await serveLocalApi(socketPath, {
    'POST /v1/drain': (query, body) => seen.push(`${query.get('node')} ${body}`),
  })
  t.teardown(() => server.close().closeAllConnections())
  const post = async (body: string) => {
    const asked = request({ socketPath, path: '/v1/drain?node=n1', method: 'POST' }).end(body)
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode
  }
  t.equal(await post('hello'), 200)
  t.same(seen, ['n1 hello'])
  t.equal(await post('x'.repeat((1 << 20) + 1)), 400, 'too much')
  t.equal(await statusOf(socketPath, '/v1/drain?node=n1'), 404, 'asked for, it is not there')
  t.equal(seen.length, 1)
})
