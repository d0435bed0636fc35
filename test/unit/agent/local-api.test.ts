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
