// The sockets: HTTPS with bearer tokens or client certificates in front of the request handler. Reads a request whole (bounded), writes its
// answer or its stream, and lets many listeners share one handler: by host and port, or by a listening descriptor made elsewhere (another
// network namespace).

import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { bodyTooLarge, internalError, StatusError, unauthorized } from './errors.ts'
import { type ApiRequest, type ApiResponse, jsonResponse, type LineSink, type User } from './request.ts'
import { certificateUser } from './users.ts'
import { maxBufferedBytes } from './watch-stream.ts'

/** The real server's limit (etcd's 1.5 MB for an object, twice that for a request). */
const maxBodyBytes = 3 * 1024 * 1024

/** What a closing server leaves to answers and ends of watches that are on their way. */
const lastAnswersMs = 100

export type Handler = (request: ApiRequest) => Promise<ApiResponse>

export interface TokenEntry {
  readonly token: string
  readonly user: User
}

export type ListenTarget = { host: string; port: number } | { fd: number }

/** Paths anyone may read, as in a default cluster: health and version. */
const publicPaths = new Set(['/healthz', '/livez', '/readyz', '/version', '/version/'])

/** One listening socket; closing it cuts its connections too, so that nothing holds its network namespace. */
export interface Listener {
  /** Undefined for a descriptor that is no TCP socket. */
  readonly port: number | undefined
  close(): Promise<void>
}

/** The HTTPS server does not list connections itself, for it never listens: its sockets come from these. */
interface OpenListener extends Listener {
  readonly sockets: Set<Socket>
  stopAccepting(): Promise<void>
}

export class HttpFront {
  readonly #server: Server
  readonly #handler: Handler
  readonly #tokens: readonly TokenEntry[]
  #listeners = new Set<OpenListener>()
  #streams = new Set<() => void>()

  constructor(
    handler: Handler,
    { key, cert, ca }: { key: string; cert: string; ca?: string },
    tokens: readonly TokenEntry[],
  ) {
    this.#handler = handler
    this.#tokens = tokens
    // Nobody needs a certificate; of one that is shown `certificateUser` judges.
    const forClients = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false }
    this.#server = createHttpsServer(
      { key, cert, minVersion: 'TLSv1.2', ...forClients },
      (incoming, outgoing) => {
        void this.#serve(incoming, outgoing)
      },
    )
    // Watches stay silent for as long as nothing changes.
    this.#server.requestTimeout = 0
    this.#server.timeout = 0
    this.#server.keepAliveTimeout = 120_000
  }

  /** One more listener for the same server. */
  async listen(target: ListenTarget): Promise<Listener> {
    const sockets = new Set<Socket>()
    const acceptor = createTcpServer({ noDelay: true, pauseOnConnect: false }, (socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      this.#server.emit('connection', socket)
    })
    await new Promise<void>((resolve, reject) => {
      acceptor.once('error', reject)
      acceptor.listen(target, () => {
        acceptor.off('error', reject)
        resolve()
      })
    })
    acceptor.on('error', () => undefined)
    const address = acceptor.address()
    const listener: OpenListener = {
      port: typeof address === 'object' && address !== null ? address.port : undefined,
      sockets,
      stopAccepting: () => new Promise((resolve) => acceptor.close(() => resolve())),
      close: async () => {
        this.#listeners.delete(listener)
        const stopped = listener.stopAccepting()
        for (const socket of sockets) socket.destroy()
        await stopped
      },
    }
    this.#listeners.add(listener)
    return listener
  }

  /** Ends watches and listeners, lets answers under way out, and cuts what clients keep open. */
  async close(): Promise<void> {
    for (const stop of this.#streams) stop()
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    const stopped = listeners.map((listener) => listener.stopAccepting())
    this.#server.close()
    if (listeners.some(({ sockets }) => sockets.size > 0)) await sleep(lastAnswersMs)
    for (const { sockets } of listeners) for (const socket of sockets) socket.destroy()
    await Promise.all(stopped)
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let answer: ApiResponse
    try {
      answer = await this.#handler(await this.#read(incoming))
    } catch (error) {
      answer = errorResponse(error)
    }
    if (outgoing.destroyed) {
      answer.stream?.({ write: () => true, whenReady: () => undefined, end: () => undefined })()
      return
    }
    for (const [name, value] of Object.entries(answer.headers)) outgoing.setHeader(name, value)
    outgoing.setHeader('cache-control', answer.headers['cache-control'] ?? 'no-cache, private')
    if (answer.warnings.length > 0) outgoing.setHeader('warning', answer.warnings.map(warningHeader))
    outgoing.statusCode = answer.status
    if (answer.stream) this.#stream(outgoing, answer.stream)
    else outgoing.end(incoming.method === 'HEAD' ? undefined : answer.body)
  }

  #stream(outgoing: ServerResponse, start: NonNullable<ApiResponse['stream']>): void {
    outgoing.flushHeaders()
    const sink: LineSink = {
      write: (lines) => {
        outgoing.write(lines)
        // Node holds a chunk back until whoever made the change has had his answer.
        outgoing.socket?.uncork()
        return outgoing.writableLength < maxBufferedBytes
      },
      whenReady: (next) => {
        if (outgoing.writableNeedDrain) outgoing.once('drain', next)
        else setImmediate(next)
      },
      end: () => {
        this.#streams.delete(end)
        outgoing.end()
      },
    }
    let stop = (): void => undefined
    const end = (): void => {
      stop()
      sink.end()
    }
    stop = start(sink)
    if (outgoing.writableEnded) return
    this.#streams.add(end)
    outgoing.on('close', () => {
      this.#streams.delete(end)
      stop()
    })
  }

  async #read(incoming: IncomingMessage): Promise<ApiRequest> {
    const url = new URL(incoming.url ?? '/', 'https://server')
    const headers: Record<string, string | undefined> = {}
    for (const [name, value] of Object.entries(incoming.headers))
      headers[name] = Array.isArray(value) ? value.join(',') : value
    const user = this.#authenticate(headers['authorization']) ?? certificateUser(incoming.socket as TLSSocket)
    const path = url.pathname
    if (!user && !publicPaths.has(path)) {
      incoming.resume()
      throw unauthorized()
    }
    const body = await readBody(incoming)
    return { method: incoming.method ?? 'GET', path, query: url.searchParams, headers, body, user }
  }

  #authenticate(authorization: string | undefined): User | undefined {
    const match = /^Bearer\s+(\S+)$/i.exec(authorization ?? '')
    const given = Buffer.from(match?.[1] ?? '')
    return this.#tokens.find(({ token }) => isSameSecret(Buffer.from(token), given))?.user
  }
}

/** Takes the same time wherever two tokens differ. */
const isSameSecret = (known: Buffer, given: Buffer): boolean =>
  known.length === given.length && known.length > 0 && timingSafeEqual(known, given)

const readBody = async (incoming: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of incoming) {
    const part = chunk as Buffer
    bytes += part.length
    if (bytes > maxBodyBytes) throw bodyTooLarge(maxBodyBytes)
    chunks.push(part)
  }
  return Buffer.concat(chunks)
}

export const warningHeader = (text: string): string =>
  `299 - "${text.replace(/[\\"]/g, (character) => `\\${character}`).replace(/[^\x20-\x7e]/g, '?')}"`

export const errorResponse = (error: unknown): ApiResponse => {
  const status =
    error instanceof StatusError
      ? error
      : internalError(error instanceof Error ? error.message : String(error))
  const retryAfter = status.details?.retryAfterSeconds ?? (status.code === 429 ? 1 : undefined)
  const headers: Record<string, string> = {}
  if (retryAfter !== undefined) headers['retry-after'] = String(retryAfter)
  if (status.code === 401) headers['www-authenticate'] = 'Bearer'
  return jsonResponse(status.code, status.toStatus(), headers)
}
