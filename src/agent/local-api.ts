// The agent's local API: JSON over HTTP on a Unix socket that only root may open. The command line and the rack read it;
// nothing else listens.

import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'

export type LocalHandler = () => unknown

/**
 * Serves `GET` of each path with the JSON of what its handler returns.
 * @param socketPath an old socket there is replaced: its agent is gone, for the state directory belongs to one agent
 */
export async function serveLocalApi(
  socketPath: string,
  handlers: Readonly<Record<string, LocalHandler>>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://agent').pathname
    const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined
    const known = Object.keys(handlers).join(', ')
    if (request.method !== 'GET' || !handler) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify({ error: `no such path; there are ${known}` })}\n`)
      return
    }
    try {
      const body = `${JSON.stringify(handler(), undefined, 2)}\n`
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(body)
    } catch (error) {
      response.writeHead(500, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify({ error: String(error) })}\n`)
    }
  })
  rmSync(socketPath, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  chmodSync(socketPath, 0o600)
  return server
}
