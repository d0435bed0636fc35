// HTTP below the Kubernetes client: one exchange with one server over kept-alive connections, TLS with our own CA file, a bearer
// token; both files are read again when they change (projected tokens rotate about hourly). A server that dies without a word is
// found by the kernel's keep-alive probes. Nothing here knows Kubernetes objects; failures leave as KubeError with the code that
// says whether the request may have been acted on.

import { readFileSync, statSync } from 'node:fs'
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { steadyNowMs } from '../model/steady-clock.ts'
import { KubeError } from './errors.ts'

export interface TransportOptions {
  caFile?: string | undefined
  tokenFile?: string | undefined
  userAgent?: string | undefined
}

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path and query. */
  path: string
  body?: string | undefined
  contentType?: string | undefined
  /** Silence on the connection longer than this ends the exchange; 0 waits for ever once headers have come. */
  idleTimeoutMs: number
  signal?: AbortSignal | undefined
}

export interface Transport {
  /** Sends one request; resolves when the headers of the answer are there. */
  exchange(server: URL, request: HttpRequest): Promise<IncomingMessage>
  close(): void
}

/** A changed file is noticed within this time; a stat per request would be wasted work. */
const FILE_CHECK_MS = 1000
/** Silence before the first probe. libuv asks ten times, a second apart, so a dead server is known after 25 seconds. */
const KEEPALIVE_MS = 15_000
/** Answers larger than this are refused: a page of 500 objects is far below. */
const MAX_BODY_BYTES = 256 * 1024 * 1024
const CONNECT_TIMEOUT_MS = 5_000
/** Opening a watch may take this long before headers must be there. */
const HEADERS_TIMEOUT_MS = 10_000

const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT'])

export function createTransport(options: TransportOptions): Transport {
  const agentOptions = { keepAlive: true, scheduling: 'lifo' as const }
  const httpAgent = new HttpAgent(agentOptions)
  const ca = options.caFile === undefined ? undefined : fileReader(options.caFile, 'CA file')
  const token = options.tokenFile === undefined ? undefined : fileReader(options.tokenFile, 'token file')
  let trusted = ca?.()
  let httpsAgent = new HttpsAgent(trusted === undefined ? agentOptions : { ...agentOptions, ca: trusted })
  /** Connections that are in use stay; whoever asks next is checked against the new file. */
  const currentAgent = (): HttpsAgent => {
    const now = ca?.()
    if (now === undefined || now === trusted) return httpsAgent
    for (const idle of Object.values(httpsAgent.freeSockets).flat()) idle?.destroy()
    trusted = now
    httpsAgent = new HttpsAgent({ ...agentOptions, ca: now })
    return httpsAgent
  }

  const exchange = (server: URL, request: HttpRequest): Promise<IncomingMessage> => {
    const bearer = token?.().trim()
    const headers: Record<string, string> = {
      accept: 'application/json',
      'user-agent': options.userAgent ?? 'weir',
    }
    if (bearer !== undefined) headers['authorization'] = `Bearer ${bearer}`
    if (request.body !== undefined) {
      headers['content-type'] = request.contentType ?? 'application/json'
      headers['content-length'] = String(Buffer.byteLength(request.body))
    }
    const secure = server.protocol === 'https:'
    const send = secure ? httpsRequest : httpRequest
    const base = server.pathname.replace(/\/$/, '')
    return awaitResponse(server, request, () =>
      send({
        agent: secure ? currentAgent() : httpAgent,
        host: server.hostname.replace(/^\[|\]$/g, ''),
        port: server.port || (secure ? 443 : 80),
        path: base + request.path,
        method: request.method,
        headers,
      }),
    )
  }
  return {
    exchange,
    close: () => {
      httpAgent.destroy()
      httpsAgent.destroy()
    },
  }
}

/** Reads the whole body as text. Ends in `interrupted` when the connection breaks before the end. */
export async function readBody(response: IncomingMessage, what: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_BODY_BYTES) {
        throw new KubeError(
          'bad-response',
          `${what}: the answer exceeds ${MAX_BODY_BYTES} bytes; ask for smaller pages`,
        )
      }
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof KubeError) throw error
    throw new KubeError('interrupted', `${what}: the connection broke within the answer`, { cause: error })
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * One attempt, and one more when a kept-alive connection turned out to be closed by the server in the same moment: the
 * request then never ran. POST is not repeated, for it could have run after all and would create twice.
 */
async function awaitResponse(
  server: URL,
  request: HttpRequest,
  open: () => ClientRequest,
): Promise<IncomingMessage> {
  const first = open()
  try {
    return await runRequest(server, request, first)
  } catch (error) {
    const stale = first.reusedSocket && error instanceof KubeError && error.code === 'interrupted'
    if (!stale || request.method === 'POST' || request.signal?.aborted === true) throw error
  }
  return runRequest(server, request, open())
}

function runRequest(server: URL, request: HttpRequest, outgoing: ClientRequest): Promise<IncomingMessage> {
  const what = `${request.method} ${server.origin}${request.path}`
  return new Promise((resolve, reject) => {
    const abort = () => outgoing.destroy(new KubeError('aborted', `${what}: given up`))
    const settle = () => request.signal?.removeEventListener('abort', abort)
    if (request.signal?.aborted === true) abort()
    request.signal?.addEventListener('abort', abort, { once: true })
    outgoing.on('socket', (socket) => watchSocket(socket, () => outgoing.destroy(notConnected(what))))
    outgoing.setTimeout(request.idleTimeoutMs || HEADERS_TIMEOUT_MS, () =>
      outgoing.destroy(new KubeError('timeout', `${what}: no answer in time`)),
    )
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      settle()
      reject(error instanceof KubeError ? error : transportError(what, error))
    })
    outgoing.on('response', (response) => {
      if (request.idleTimeoutMs === 0) outgoing.setTimeout(0)
      // The signal goes on to hold for the body: a watch ends by it.
      response.once('close', settle)
      resolve(response)
    })
    outgoing.end(request.body)
  })
}

/** A request's own timeout begins with the connection: while that is being made, the kernel alone would wait two minutes. */
function watchSocket(socket: Socket, giveUp: () => void): void {
  socket.setKeepAlive(true, KEEPALIVE_MS)
  if (!socket.connecting) return
  const timer = setTimeout(giveUp, CONNECT_TIMEOUT_MS)
  const settle = () => clearTimeout(timer)
  socket.once('connect', settle)
  socket.once('close', settle)
}

function notConnected(what: string): KubeError {
  return new KubeError('unreachable', `${what}: no connection within ${CONNECT_TIMEOUT_MS / 1000} s`)
}

function transportError(what: string, error: NodeJS.ErrnoException): KubeError {
  const code = error.code ?? ''
  const certificate =
    code.startsWith('ERR_TLS') ||
    code.startsWith('CERT_') ||
    code.includes('SIGNATURE') ||
    code.includes('SELF_SIGNED')
  if (certificate) {
    return new KubeError(
      'unreachable',
      `${what}: the server's certificate is not trusted; check the CA file`,
      { cause: error },
    )
  }
  return new KubeError(
    NOT_SENT.has(code) ? 'unreachable' : 'interrupted',
    `${what}: ${code || error.message}`,
    { cause: error },
  )
}

function readRequired(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new KubeError('configuration', `cannot read the ${what} ${path}; check the path and its mode`, {
      cause: error,
    })
  }
}

/** Returns the text, re-read when the file's modification time or inode has changed. A vanished file keeps the last one. */
function fileReader(path: string, what: string): () => string {
  let text = readRequired(path, what)
  let seen = fingerprint(path)
  let checkedMs = steadyNowMs()
  return () => {
    if (steadyNowMs() - checkedMs < FILE_CHECK_MS) return text
    checkedMs = steadyNowMs()
    const now = fingerprint(path)
    if (now === seen || now === undefined) return text
    text = readRequired(path, what)
    seen = now
    return text
  }
}

function fingerprint(path: string): string | undefined {
  try {
    const { mtimeMs, ino, size } = statSync(path)
    return `${mtimeMs}/${ino}/${size}`
  } catch {
    return undefined
  }
}
