// The agent's local API: JSON over HTTP on a Unix socket that only root may open. The command line and the rack read it;
// nothing else listens.

import { rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { VERSION_HEADER, weirVersion } from './version.ts'

const NOWHERE = { pathname: '', searchParams: new URLSearchParams() }

/** A file somebody wants applied is far smaller. */
const BODY_BYTES_MAX = 1 << 20

/** What it returns, or resolves to, is sent as JSON. @param body of a POST; empty otherwise */
export type LocalHandler = (query: URLSearchParams, body: string) => unknown

/** Thrown by a handler: the query asks for what cannot be, or is not there. */
export class RequestError extends Error {
  readonly code = 'BAD_REQUEST'
  readonly status: 400 | 404 | 409 | 503
  constructor(status: RequestError['status'], message: string) {
    super(message)
    this.status = status
  }
}

/**
 * Serves each path with the JSON of what its handler returns: `GET`, or `POST` where the key says so (`POST /v1/drain`).
 * @param socketPath an old socket there is replaced: its agent is gone, for the state directory belongs to one agent
 */
export async function serveLocalApi(
  socketPath: string,
  handlers: Readonly<Record<string, LocalHandler>>,
): Promise<Server> {
  const version = weirVersion()
  const server = createServer((request, response) => {
    response.setHeader(VERSION_HEADER, version)
    // What is no URL (`//`) is no path either.
    const { pathname: path, searchParams } = URL.parse(request.url ?? '/', 'http://agent') ?? NOWHERE
    const key = request.method === 'GET' ? path : `${request.method} ${path}`
    const handler = Object.hasOwn(handlers, key) ? handlers[key] : undefined
    const known = Object.keys(handlers).join(', ')
    if (!handler) {
      send(response, 404, { error: `no such path; there are ${known}` })
      return
    }
    readBody(request)
      .then((body) => handler(searchParams, body))
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

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    parts.push(part as Buffer)
    bytes += (part as Buffer).length
    if (bytes > BODY_BYTES_MAX) throw new RequestError(400, `more than ${BODY_BYTES_MAX} bytes were sent`)
  }
  return Buffer.concat(parts).toString()
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(value, undefined, 2)}\n`)
}
