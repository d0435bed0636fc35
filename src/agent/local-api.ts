// The agent's local API: JSON over HTTP on a Unix socket that only root may open. The command line and the rack read it;
// nothing else listens.

import { rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'

const NOWHERE = { pathname: '', searchParams: new URLSearchParams() }

/** What it returns, or resolves to, is sent as JSON. */
export type LocalHandler = (query: URLSearchParams) => unknown

/** Thrown by a handler: the query asks for what cannot be, or is not there. */
export class RequestError extends Error {
  readonly code = 'BAD_REQUEST'
  readonly status: 400 | 404
  constructor(status: 400 | 404, message: string) {
    super(message)
    this.status = status
  }
}

/**
 * Serves `GET` of each path with the JSON of what its handler returns.
 * @param socketPath an old socket there is replaced: its agent is gone, for the state directory belongs to one agent
 */
export async function serveLocalApi(
  socketPath: string,
  handlers: Readonly<Record<string, LocalHandler>>,
): Promise<Server> {
  const server = createServer((request, response) => {
    // What is no URL (`//`) is no path either.
    const { pathname: path, searchParams } = URL.parse(request.url ?? '/', 'http://agent') ?? NOWHERE
    const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined
    const known = Object.keys(handlers).join(', ')
    if (request.method !== 'GET' || !handler) {
      send(response, 404, { error: `no such path; there are ${known}` })
      return
    }
    Promise.resolve()
      .then(() => handler(searchParams))
      .then(
        (value) => send(response, 200, value),
        (error: unknown) =>
          error instanceof RequestError
            ? send(response, error.status, { error: error.message })
            : send(response, 500, { error: String(error) }),
      )
  })
  rmSync(socketPath, { force: true })
  // The mask, and not a chmod afterwards: there is no moment in which others could connect.
  const mask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socketPath, resolve)
    })
  } finally {
    process.umask(mask)
  }
  return server
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(value, undefined, 2)}\n`)
}
